"""Evaluation over the vocabulary: token types in two halves, and the nulls of logit weights.

Halves
------
Partners are chosen on one half of the token types and scored on the other. Every two neighbours in frequency (of one
script) are divided between the halves. A feature's weights on both halves follow from one direction of d_model numbers:
the reporting half takes away the luck of picking the best over particular types, and no other.

Nulls
-----
- ``"vocabulary"``: B's token types are exchanged with others of the same script and nearly equal frequency
  (`universality.statistics.token_types`), the same for all features. It keeps all that features agree on because of
  scripts and frequencies. Under it, directions of the two models that are unrelated token by token are exchangeable.
- ``"directions"``: the features of the side that does not carry the null are replaced by Gaussian directions with the
  mean and covariance of theirs, after each is scaled to unit logit weights (r does not depend on a direction's length).
  It keeps the vocabulary as it is, and with it that both models place similar tokens alike: in two trained models *any*
  direction of one has a direction of the other that writes alike. It asks whether the two dictionaries have chosen
  directions that agree more closely than directions of these subspaces do.

Both leave no type of the choosing half out, so the observed scores are those that chose the partners, and p is uniform
where nothing is shared that the null does not preserve (`universality.statistics.null_distribution`).

Classes
-------
Null scores are pooled over features with similar firing counts, as for activations, so that tables by firing count read
alike; the count is of all tokens of the store. What chance gives depends mostly on something else, so every stratum is
divided further: under ``"vocabulary"`` by the share of the feature's variance of logit weights that lies between the
classes of token types, and under ``"directions"`` by its mean r² with the other side, which the covariance determines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

import numpy as np

from universality.arrays import IntArray
from universality.devices import CPU, card_of
from universality.errors import UniversalityError
from universality.execution import SERIAL, Executor
from universality.models.vocabulary import Vocabulary
from universality.similarity import DEFAULT_BUDGET, Similarity
from universality.similarity.measures.logit_weights import LogitWeights
from universality.statistics.bootstrap import Moments
from universality.statistics.null_distribution import NullModel, Side
from universality.statistics.null_settings import AnyNull
from universality.statistics.token_types import TokenTypes, exchanged

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

# Streams of random numbers that one seed gives; replicates are numbered after them.
_HALVES, _CLASSES, _GROUPS, _EXCHANGES, _DIRECTIONS = range(5)


@dataclass(frozen=True, eq=False)
class EvaluatedVocabulary:
    """Logit weights of two stores compared over token types in two halves; see `Evaluation`."""

    types: TokenTypes
    chosen_types: IntArray
    """[n] positions in the joint vocabulary of the types that choose partners."""
    reported_types: IntArray
    chosen_weights: LogitWeights
    reported_weights: LogitWeights
    counts: tuple[IntArray, IntArray]
    """Firings ([n_rows], [n_cols]) on all tokens of the stores."""
    seed: int
    executor: Executor = SERIAL
    device: str = CPU
    grouped: str = "token types"

    @classmethod
    def of(
        cls,
        a: FeatureStore,
        b: FeatureStore,
        seed: int,
        vocabulary: Vocabulary | None = None,
        memory_budget: int = DEFAULT_BUDGET,
        executor: Executor = SERIAL,
        device: str = CPU,
    ) -> EvaluatedVocabulary:
        """Divide the token types that count in both models; parameters and errors as for `calibrate`."""
        weights = LogitWeights.of(a, b, memory_budget)
        unembeddings = weights.a.unembedding, weights.b.unembedding
        types = TokenTypes.of((a, b), unembeddings, weights.joint, vocabulary)
        choose, report = types.halves(np.random.default_rng((seed, _HALVES)))
        counts = a.moments().count, b.moments().count
        halves = weights.only(choose), weights.only(report)
        if executor is not SERIAL and card_of(device) is not None:
            raise UniversalityError("an executor's workers compute on their CPUs; give a device or an executor")
        return cls(types, choose, report, *halves, counts, seed, executor, device)

    @cached_property
    def choose(self) -> Similarity:
        """Scores over the types that choose partners."""
        return Similarity(self.chosen_weights.source()).on(self.device)

    @cached_property
    def report(self) -> Similarity:
        """Scores over the types that report."""
        return Similarity(self.reported_weights.source())

    @property
    def moments(self) -> Moments:
        """Sums by group of token types."""
        group = self.types.groups(self.reported_types, np.random.default_rng((self.seed, _GROUPS)))
        return partial(self.reported_weights.by_group, group=group)

    def null_model(self, null: AnyNull, anchor: Side, notes: list[str]) -> NullModel:
        """Prepare a null on the types that choose partners."""
        if self.types.note not in notes:
            notes.append(self.types.note)
        weights = self.chosen_weights
        own: Literal["a", "b"] = "a" if anchor == "rows" else "b"
        other: Literal["a", "b"] = "b" if anchor == "rows" else "a"
        if null == "vocabulary":
            code = self.types.classes(self.chosen_types, np.random.default_rng((self.seed, _CLASSES)))
            bound_to = weights.share_between(own, code)
            by_chance = partial(_exchanged, weights, code, self.seed, self.device)
        elif null == "directions":
            bound_to = weights.expected_square(own)
            by_chance = partial(_redrawn, weights, other, self.seed, self.device)
        else:
            raise UniversalityError(f"null {null!r} re-pairs text; logit weights have vocabulary and directions")
        too_rare = "on the tokens of its store: no p-value"
        return NullModel(null, self.choose, self.counts, bound_to, by_chance, too_rare, self.executor)


def _exchanged(weights: LogitWeights, code: IntArray, seed: int, device: str, replicate: int) -> Similarity:
    """Exchange B's token types within their classes."""
    order = exchanged(code, np.random.default_rng((seed, _EXCHANGES, replicate)))
    return Similarity(weights.permuted(order).source()).on(device)


def _redrawn(weights: LogitWeights, side: Literal["a", "b"], seed: int, device: str, replicate: int) -> Similarity:
    """Replace one side's directions by random ones."""
    rng = np.random.default_rng((seed, _DIRECTIONS, replicate))
    return Similarity(weights.redrawn(side, rng).source()).on(device)
