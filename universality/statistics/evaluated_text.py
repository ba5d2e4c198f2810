"""Evaluation over text: documents in two halves, and nulls that re-pair blocks of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import IntArray
from universality.devices import CPU
from universality.errors import UniversalityError
from universality.execution import SERIAL, Executor
from universality.similarity import GroupMoments, Similarity
from universality.statistics.bootstrap import Moments
from universality.statistics.held_out import Halves, evaluation_halves
from universality.statistics.null_classes import between_kinds
from universality.statistics.null_distribution import NullModel, Side
from universality.statistics.null_settings import AnyNull
from universality.statistics.repairing import Repairing, plan_repairing

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

MIN_SHARE = 0.5
"""Share of the tokens in the null's blocks below which a note is added: r on half of the tokens has a null that is
wider by about √2."""


@dataclass(frozen=True, eq=False)
class EvaluatedText:
    """Two stores compared over the tokens of documents in two halves; see `Evaluation`."""

    stores: tuple[FeatureStore, FeatureStore]
    choose: Similarity
    report: Similarity
    documents: IntArray
    """Documents that choose partners."""
    seed: int
    block_length: int | None
    executor: Executor = SERIAL
    grouped: str = "documents"

    @classmethod
    def of(
        cls,
        measure: str,
        a: FeatureStore,
        b: FeatureStore,
        seed: int,
        block_length: int | None,
        memory_budget: int,
        executor: Executor = SERIAL,
        device: str = CPU,
        halves: Halves | None = None,
    ) -> EvaluatedText:
        """Compare two stores by a measure over tokens; parameters and errors as for `calibrate`."""
        whole = Similarity.over_tokens(measure, a, b, memory_budget, executor=executor).on(device)
        halves = evaluation_halves(a) if halves is None else halves
        _check_halves(halves)
        choose, report = whole.restrict(halves.choose), whole.restrict(halves.report)
        return cls((a, b), choose, report, halves.choose, seed, block_length, executor)

    @property
    def counts(self) -> tuple[IntArray, IntArray]:
        """Firings ([n_rows], [n_cols]) on the choosing half."""
        counts = self.choose.counts
        assert counts is not None  # a measure over tokens
        return counts

    @property
    def moments(self) -> Moments | None:
        """Sums by group of documents; None for measures other than Pearson's r of activations or effects."""
        is_pearson = self.report.name in ("activation", "effect")
        return partial(_sums_by_group, self.report.here()) if is_pearson else None

    def null_model(self, null: AnyNull, anchor: Side, notes: list[str]) -> NullModel | None:
        """Plan the re-pairing of blocks of the choosing half; None, with a note, where none can be re-paired."""
        store = self.stores[0 if anchor == "rows" else 1]
        plan = self._plan(store, null, notes)
        if plan is None:
            return None
        rows = plan.draw(self.seed)[0]  # A's rows are the same in every draw: the null's blocks
        as_is = self.choose.repaired(rows, rows)
        counts = as_is.counts
        assert counts is not None
        # A replicate is a unit of its own, unless it is itself divided into units.
        divided = as_is.in_units or self.choose.in_units
        choose, executor = (self.choose, SERIAL) if divided else (self.choose.here(), self.executor)
        return NullModel(
            null,
            as_is,
            counts,
            bound_to=between_kinds(store, rows) if null == "kind" else None,
            by_chance=partial(_repaired, choose, plan, self.seed),
            too_rare=f"on the blocks of the {null} null: no p-value under it",
            executor=executor,
        )

    def _plan(self, store: FeatureStore, null: AnyNull, notes: list[str]) -> Repairing | None:
        """Find the null's blocks; None, with a note, where there are none."""
        if null not in ("global", "kind"):
            raise UniversalityError(f"null {null!r} is of logit weights; over text there are global and kind")
        try:
            plan = plan_repairing(store, null, self.documents, self.block_length)
        except UniversalityError as error:
            notes.append(f"no p-values: {error}")
            return None
        notes.extend(note for note in plan.notes if note not in notes)
        if plan.share < MIN_SHARE:
            notes.append(
                f"only {plan.share:.0%} of the tokens lie in blocks of {plan.length} that the {null} null can re-pair: "
                "it has fewer tokens than the match and is too wide; a smaller corpus.n_ctx would take in more, or a "
                "shorter block_length in Python"
            )
        return plan


def _sums_by_group(report: Similarity, i: IntArray, j: IntArray) -> GroupMoments:
    """Sums by group of documents of given pairs."""
    return report.pairs(i, j, by="group")


def _repaired(choose: Similarity, plan: Repairing, seed: int, replicate: int) -> Similarity:
    """Pair the blocks of the choosing half anew."""
    return choose.repaired(*plan.draw(seed, replicate))


def _check_halves(halves: Halves) -> None:
    if (both := np.intersect1d(halves.choose, halves.report)).size:
        raise UniversalityError(
            f"calibrate: halves: expected two sets of documents without a common one, found {both.size} in both "
            f"(document {both[0]} first); a pair must be scored on text that did not choose it"
        )
    n_choose, n_report = halves.choose.size, halves.report.size
    if not n_choose or not n_report:
        raise UniversalityError(
            f"calibrate: expected documents in both halves of the evaluation, found {n_choose} of split 'choose', "
            f"which choose partners, and {n_report} of split 'report', which score them. Write the stores with "
            "at least two documents (`document` of FeatureStore.from_csr names each token's), or with one in each split"
        )
