"""Labels of a comparison's features, as the report and its explorer show them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from universality.family import Families
from universality.labels.label_file import FeatureLabel, Labels
from universality.labels.literature import ConceptResult
from universality.labels.scoring import EXPLANATION
from universality.labels.shown import SCORES, ShownScore, cut, main_score, shown_score, shown_text
from universality.labels.split_explanations import explanation_scores, split_gain
from universality.labels.summary import summarise, worth
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.stored_labels import stored_literature
from universality.report.data import (
    FeatureNote,
    LabelTable,
    LiteratureRow,
    PredictorRow,
    ReportLabels,
    ReportLiterature,
    SplitRow,
    SplitTable,
)
from universality.report.explorer import packed
from universality.visible_tokens import visible

MOST_CONCEPTS = 200
"""Rows of the table of published concepts."""
LONGEST = 1_000
"""Characters of an explanation on the page of a pair; elsewhere it is cut shorter."""
Json = dict[str, Any]


def labels_of_sides(results: RunResults, compared: ComparisonResult) -> tuple[Labels | None, Labels | None]:
    """Return the labels of both stores of a comparison."""
    return results.labels(compared.comparison.a), results.labels(compared.comparison.b)


def labels_of_widths(results: RunResults, model: str, families: Families) -> list[Labels | None]:
    """Return the labels of every dictionary of a model's families, the narrowest first."""
    seed = results.config.saes.seeds[0]
    return [results.labels(results.folder.store(model, level.width, seed)) for level in families.levels]


def report_labels(
    results: RunResults, compared: ComparisonResult | None, families: Mapping[str, Families]
) -> ReportLabels | None:
    """Fill the report's part on labels; None where neither side has any."""
    if compared is None:
        return None
    sides = labels_of_sides(results, compared)
    if not any(sides):
        return None
    named = zip(compared.comparison.sides, sides, strict=True)
    notes_a, notes_b = (_notes(labels) for labels in sides)
    tables = tuple(_table(name, labels) for name, labels in named if labels is not None)
    score = score_of_tables(sides)
    models = dict.fromkeys(name for name in compared.comparison.models if name in families)
    splits = (_split(results, name, families[name], score) for name in models)
    return ReportLabels(tables, (notes_a, notes_b), tuple(split for split in splits if split is not None))


def _split(results: RunResults, model: str, families: Families, score: str) -> SplitTable | None:
    """Compare explanations of parents and children; None where no parent and child are scored."""
    scores = [explanation_scores(labels, score) for labels in labels_of_widths(results, model, families)]
    found = split_gain(families, scores)
    if not len(found.parents):
        return None
    rows = found.summary()[list(SplitRow.__dataclass_fields__)].to_dict("records")
    return SplitTable(model, score, found.level, tuple(SplitRow(**row) for row in rows))  # type: ignore[misc]


def report_literature(results: RunResults, compared: ComparisonResult | None) -> ReportLiterature | None:
    """Fill the report's part on published concepts; None where they were not searched for in the present stores."""
    if compared is None:
        return None
    c = compared.comparison
    stores = {name: results.store(path) for name, path in zip(c.sides, (c.a, c.b), strict=True)}
    found = stored_literature(results.folder, c.name, stores)
    if found is None:
        return None
    settings = found.header["settings"]
    rows = tuple(_literature_row(one) for one in found.best_first()[:MOST_CONCEPTS])
    scorer = str(found.header["scorer"].get("name", ""))
    return ReportLiterature(scorer, settings["method"], settings["level"], str(found), len(found.results), rows)


def _literature_row(one: ConceptResult) -> LiteratureRow:
    return LiteratureRow(
        concept=cut(one.concept),
        description=cut(one.description),
        source=cut(one.source),
        model=cut(one.model),
        found=one.found,
        feature=one.feature,
        explanation=cut(one.explanation),
        score=one.score,
        null_mean=one.null_mean,
        q=one.q,
    )


def _notes(labels: Labels | None) -> dict[int, FeatureNote]:
    explained = {} if labels is None else {k: one for k, one in labels.labels.items() if one.explanation}
    return {feature: FeatureNote(shown_text(one), main_score(one)) for feature, one in explained.items()}


def _table(name: str, labels: Labels) -> LabelTable:
    summary = summarise(labels)
    columns = list(PredictorRow.__dataclass_fields__)
    return LabelTable(
        side=name,
        n=len(labels.labels),
        outcomes=dict(Counter(one.outcome for one in labels.labels.values()).most_common()),
        explainer=str(labels.header["explainer"].get("name", "")),
        scorer=str(labels.header["scorer"].get("name", "")),
        rows=tuple(PredictorRow(**row) for row in summary[columns].to_dict("records")),  # type: ignore[misc]
        worth=tuple(worth(summary)),
    )


def explored_label(label: FeatureLabel) -> Json:
    """Return what the page of a pair shows of a label: texts, and for each score those of all predictors."""
    predictors = list(dict.fromkeys([EXPLANATION, *(one.by for one in label.scores)]))
    scores: dict[str, list[list[float | None] | None]]
    scores = {one.name: [None] * len(predictors) for one in label.scores}
    for one in label.scores:
        scores[one.name][predictors.index(one.by)] = [_number(value) for value in (one.value, one.low, one.high)]
    return {
        "text": _safe(shown_text(label, LONGEST)),
        "logits": _safe(label.logit_explanation[:LONGEST]),
        "outcome": label.outcome,
        "by": [_safe(by) for by in predictors],
        "scores": [[_safe(name), values] for name, values in scores.items()],
    }


def score_of_tables(labels: Sequence[Labels | None]) -> str:
    """Name the score that tables of the explorer show: the first that was asked for."""
    asked = {name for one in labels if one is not None for name in one.header["settings"].get("scores", SCORES)}
    return next((name for name in SCORES if name in asked), SCORES[0])


def label_column(labels: Labels | None, features: Sequence[int], score: str) -> Json:
    """Pack explanations of features and one score beside its highest floor, in the order of the features."""
    known = [None if labels is None else labels.labels.get(feature) for feature in features]
    scores: list[ShownScore | None] = [None if one is None else shown_score(one, score) for one in known]
    return {
        "text": [_safe(shown_text(one)) for one in known],
        "score": packed(np.array([np.nan if one is None else one.value for one in scores]), "f4"),
        "floor": packed(np.array([np.nan if one is None else one.floor for one in scores]), "f4"),
    }


def explored_families(levels: Sequence[Labels | None], starts: Sequence[int], score: str) -> Json:
    """Pack the labelled features of a model's dictionaries, numbered over all widths."""
    parts = [
        (start + feature, one)
        for start, labels in zip(starts, levels, strict=True)
        for feature, one in (labels.labels.items() if labels is not None else ())
        if one.explanation
    ]
    whole = Labels({"settings": {}}, dict(parts))
    nodes = list(whole.labels)
    return {"node": packed(np.array(nodes, np.int64), "i4"), **label_column(whole, nodes, score)}


def _safe(text: str) -> str:
    """Write out control characters and whatever could reorder the text around it."""
    return visible(text, alone=True)


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
