"""Transfer and specificity of explanations, as the report and its explorer show them."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from universality.labels.label_transfer import LabelTransfer
from universality.labels.shown import SCORES
from universality.labels.transfer_trials import PARTNER
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.stored_labels import stored_specificity, stored_transfer
from universality.plot.transfer_by_similarity import TransferPoints
from universality.report.data import (
    EffectLossRow,
    GivenRRow,
    OverChanceRow,
    ReportTransfer,
    SameRow,
    SpecificityRow,
    TransferRow,
)
from universality.report.explorer import packed
from universality.report.figures.figure_table import Table

Json = dict[str, Any]


def transfer_of(results: RunResults, compared: ComparisonResult | None) -> LabelTransfer | None:
    """Read the transfer of a comparison's explanations; None where there is none of its present stores and labels."""
    if compared is None:
        return None
    c = compared.comparison
    return stored_transfer(results.folder, c.name, results.store(c.a), results.store(c.b))


def main_score(transfer: LabelTransfer) -> str:
    """Name the score that the answer is about: the first of those in tables that was measured."""
    return next((name for name in SCORES if name in transfer.names), transfer.names[0])


def report_transfer(results: RunResults, compared: ComparisonResult | None) -> ReportTransfer | None:
    """Fill the report's part on transfer and specificity; None where transfer was not measured, or on no pair."""
    transfer = transfer_of(results, compared)
    if compared is None or transfer is None or not transfer.names:
        return None
    a, b = compared.comparison.sides
    answers = Counter(transfer.provenance.get("answers", {}))
    specificity = list(_specificity(results, compared, answers))
    return ReportTransfer(
        a=a,
        b=b,
        scorer=str(transfer.provenance["scorer"].get("name", "")),
        level=float(transfer.settings["level"]),
        main=main_score(transfer),
        pairings=tuple(_rows(TransferRow, transfer.summary())),
        over_chance=tuple(_rows(OverChanceRow, transfer.over_equal_density())),
        given_r=tuple(_rows(GivenRRow, transfer.given_r())),
        with_effects=tuple(_rows(EffectLossRow, transfer.with_effects())),
        same=tuple(_rows(SameRow, transfer.same_explanation())) if len(transfer.judgements) else (),
        specificity=tuple(specificity),
        unusable={outcome: n for outcome, n in answers.most_common() if outcome != "answered"},
    )


def _specificity(results: RunResults, compared: ComparisonResult, answers: Counter[str]) -> Iterator[SpecificityRow]:
    """Yield the rows of both sides, and add what became of the answers to ``answers``."""
    c = compared.comparison
    for side, path in zip(c.sides, (c.a, c.b), strict=True):
        measured = stored_specificity(results.folder, results.store(path))
        if measured is not None:
            answers.update(measured.provenance.get("answers", {}))
            yield from _rows(SpecificityRow, measured.summary().assign(side=side))


def _rows(row: type[Any], frame: pd.DataFrame) -> Iterator[Any]:
    """Make one row of the report of each row of a table."""
    columns = list(row.__dataclass_fields__)
    return (row(**values) for values in frame[columns].to_dict("records"))


def transfer_table(transfer: LabelTransfer) -> Table:
    """Make the table of the figure: the columns of `TransferPoints`, and the name of the score."""
    name = main_score(transfer)
    points = TransferPoints.of(transfer, name)
    return {"score": np.full(len(points.loss), name), **vars(points)}


def explored_transfer(transfer: LabelTransfer, compared: ComparisonResult) -> Json:
    """Pack the scores of explanations on partners in the order of the pairs, NaN where there are none.

    For each score: ``own`` (A's explanation on A's feature), ``score`` on the partner with ``low`` and ``high``, and
    ``others_own`` (the partner's explanation on the partner).
    """
    frame = transfer.to_frame()
    partners = frame[frame["pairing"] == PARTNER]
    order = pd.MultiIndex.from_frame(compared.frame[["row", "col"]])
    scores = {}
    for name in transfer.names:
        of_name = partners[partners["name"] == name].set_index(["explained", "scored"]).reindex(order)
        columns = ("own", "score", "low", "high", "others_own")
        scores[name] = {column: packed(of_name[column].to_numpy(np.float64), "f4") for column in columns}
    return {"main": main_score(transfer), "scores": scores, "same": packed(_same(transfer, order), "i1")}


def _same(transfer: LabelTransfer, order: pd.MultiIndex) -> Any:
    """Give the judgement of each pair: 1 the same, 0 not, -1 not judged."""
    judged = transfer.judgements
    if not len(judged):
        return np.full(len(order), -1)
    judged = judged[judged["pairs"] == "partners"].set_index(["feature", "other"])["same"]
    return judged.reindex(order).fillna(-1).to_numpy(np.int64)
