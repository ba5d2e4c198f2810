"""Do the explanations of a labelled run carry over to the other model, and do they hold where features fire?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from universality.errors import UniversalityError
from universality.labels.answer_cache import AnswerCache
from universality.labels.endpoint import Endpoint
from universality.labels.explanation_specificity import PlannedSpecificity, plan_specificity
from universality.labels.label_file import Labels
from universality.labels.label_specificity import LabelSpecificity
from universality.labels.label_transfer import LabelTransfer
from universality.labels.labelling import EQUAL_DENSITY
from universality.labels.sampled_firings import SpecificitySettings
from universality.labels.transfer import PlannedTransfer, plan_transfer
from universality.labels.transfer_trials import PARTNER, SECOND_A, SecondSeed, TransferSettings
from universality.pipeline.label_run import PricedModel
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.runner import alone_in
from universality.pipeline.scoring_plan import PlannedScorer, ScoringPlan
from universality.pipeline.study import ceilings_of
from universality.visible_tokens import visible


@dataclass(frozen=True, eq=False)
class RunTransfer:
    """Transfer and specificity of a run's explanations; printing them shows the findings.

    Attributes
    ----------
    transfer
        Scores of the first side's explanations on the second side's features.
    specificity
        Specificity of the explanations by name of the side.
    files
        The files that hold them.
    """

    transfer: LabelTransfer
    specificity: Mapping[str, LabelSpecificity]
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        losses = self.transfer.summary().set_index(["name", "pairing"])
        given = self.transfer.given_r()
        for name in self.transfer.names:
            yield f"{name}: {_scores(losses.loc[name])}"
            for row in given[(given["name"] == name) & (given["n_partners"] > 0)].itertuples():
                yield (
                    f"  loss on partners beyond that of {_CONTROLS[str(row.against)]} at equal r and own score: "
                    f"{_with_interval(row)} ({row.n_partners} partners, {row.n_outside} outside the range of r)"
                )
            if not (given.loc[given["name"] == name, "n_partners"] > 0).any():
                yield "  no partners could be compared with other pairs at equal r: too few, or at no common r"
        if len(self.transfer.judgements):
            rates = self.transfer.same_explanation().set_index("pairs")
            judged = ", ".join(_judged(rates, pairs) for pairs in ("partners", "random pairs"))
            yield f"judged to describe the same: {judged}"
        for side, measured in self.specificity.items():
            yield f"{visible(side)}, specificity: {_specificity(measured)}"
        answers = Counter(self.transfer.provenance["answers"])
        for measured in self.specificity.values():
            answers.update(measured.provenance["answers"])
        if unusable := {name: n for name, n in answers.items() if name != "answered"}:
            counted = ", ".join(f"{n:,} {name}" for name, n in unusable.items())
            yield f"of {answers.total():,} answers that predict: {counted}; the next call asks failed ones again"
        yield from map(str, self.files)


_CONTROLS = {"second seeds": "second SAE seeds", "non-partners": "other features of B", "both": "both"}


def _with_interval(row: object) -> str:
    difference, low, high = (float(getattr(row, name)) for name in ("difference", "low", "high"))
    bounds = "no interval: too few features" if np.isnan(low) else f"{low:.3f} to {high:.3f}"
    return f"{difference:+.3f} [{bounds}]"


def _judged(rates: pd.DataFrame, pairs: str) -> str:
    """Write the rate of some pairs, or that there is none."""
    n, missing, rate = (rates.loc[pairs, column] for column in ("n", "missing", "rate"))
    if n:
        return f"{rate:.2f} of {pairs}"
    return f"no verdict on {missing:,} {pairs} could be read" if missing else f"no {pairs} were judged"


def _scores(losses: pd.DataFrame) -> str:
    parts = []
    if PARTNER in losses.index:
        partner = losses.loc[PARTNER]
        parts = [f"own {partner['own']:.2f}", f"partner {partner['score']:.2f} (n = {int(partner['n'])})"]
    beside = {SECOND_A: "second SAE seed", EQUAL_DENSITY: "random feature of equal density"}
    parts += [
        f"{text} {losses.loc[pairing, 'score']:.2f}" for pairing, text in beside.items() if pairing in losses.index
    ]
    return ", ".join(parts)


def _specificity(measured: LabelSpecificity) -> str:
    rows = measured.summary().itertuples()
    return "; ".join(f"{row.by}, {row.share} {row.mean:.2f}" for row in rows) or "no feature fires"


def transfer_run(
    results: RunResults,
    scorer: PricedModel,
    settings: TransferSettings | None = None,
    specificity: SpecificitySettings | None = None,
    *,
    confirm: Callable[[ScoringPlan], bool] | None = None,
) -> RunTransfer:
    """Measure transfer and specificity of a labelled run's explanations; see `universality.Study.transfer`."""
    compared = results.headline
    sides = _labelled(results, compared)
    assert compared is not None  # `_labelled` refuses a run without a matching
    if isinstance(scorer.model, Endpoint):
        scorer.model.check()
    with alone_in(results.folder.root), AnswerCache(results.folder.label_answers) as cache:
        job = _Job(results, compared, sides, PlannedScorer(scorer, cache, confirm))
        planned = job.transfer(settings or TransferSettings())
        judged = {name: job.specificity(name, specificity or SpecificitySettings()) for name in sides}
        if not job.agrees(planned, judged):
            raise UniversalityError(f"{results.folder.root}: not measured, as you decided; nothing was asked")
        return job.measured(planned, judged)


def _labelled(results: RunResults, compared: ComparisonResult | None) -> dict[str, tuple[Path, Labels]]:
    """Stores and labels of the sides that have labels, the first side among them."""
    root = results.folder.root
    if compared is None:
        raise UniversalityError(f"{root}: this run has no matching yet; finish it first")
    c = compared.comparison
    found = {name: (store, results.labels(store)) for name, store in zip(c.sides, (c.a, c.b), strict=True)}
    labelled = {name: (store, labels) for name, (store, labels) in found.items() if labels is not None}
    if c.sides[0] not in labelled:
        raise UniversalityError(
            f"{results.folder.labels(c.a)}: expected labels of the present store {c.a.name}, found none; "
            f"`universality label {root}` makes them"
        )
    return labelled


@dataclass(frozen=True, eq=False)
class _Job:
    """Inputs that both measurements share."""

    results: RunResults
    compared: ComparisonResult
    sides: Mapping[str, tuple[Path, Labels]]
    planned: PlannedScorer

    def transfer(self, settings: TransferSettings) -> PlannedTransfer:
        results, c = self.results, self.compared.comparison
        second_a, second_b = self._second_seeds()
        labels = [self.sides[name][1] if name in self.sides else None for name in c.sides]
        assert labels[0] is not None  # as `_labelled` has seen
        return plan_transfer(
            labels[0],
            results.store(c.a),
            results.store(c.b),
            self.compared.calibration,
            results.decode,
            scorer=self.planned.scorer.model,
            labels_b=labels[1],
            second_a=second_a,
            second_b=second_b,
            effects=self.compared.effects,
            settings=settings,
            ask=self.planned.asking("transfer"),
        )

    def specificity(self, side: str, settings: SpecificitySettings) -> PlannedSpecificity:
        store, labels = self.sides[side]
        return plan_specificity(
            self.results.store(store),
            labels,
            self.results.decode,
            scorer=self.planned.scorer.model,
            settings=settings,
            ask=self.planned.asking(f"specificity {visible(side)}"),
        )

    def agrees(self, transfer: PlannedTransfer, specificity: Mapping[str, PlannedSpecificity]) -> bool:
        """Put the estimates of all measurements, and their sum, before the user at once."""
        a, b = map(visible, self.compared.comparison.sides)
        parts = {f"explanations of {a} tried on {b}": transfer.expected}
        for side, planned in specificity.items():
            parts[f"specificity of the explanations of {visible(side)}"] = planned.expected
        return self.planned.agrees_to(parts)

    def measured(self, transfer: PlannedTransfer, specificity: Mapping[str, PlannedSpecificity]) -> RunTransfer:
        """Ask, and write each measurement when it is there."""
        folder = self.results.folder
        tried = transfer.measure()
        files = [tried.save(folder.label_transfer(self.compared.comparison.name))]
        judged: dict[str, LabelSpecificity] = {}
        for side, planned in specificity.items():
            judged[side] = planned.measure()
            files.append(judged[side].save(folder.label_specificity(self.sides[side][0])))
        return RunTransfer(tried, judged, tuple(files))

    def _second_seeds(self) -> Iterator[SecondSeed | None]:
        """Second SAEs of both models, as far as they differ in their seed only."""
        results = self.results
        by_name = {result.comparison.name: result for result in results.compared}
        for ceiling in ceilings_of(results.config, results.folder, self.compared.comparison):
            result = None if ceiling is None else by_name.get(ceiling.name)
            if result is None or not results.likeness(result).is_ceiling:
                yield None
            else:
                yield SecondSeed(results.store(result.comparison.b), result.calibration)
