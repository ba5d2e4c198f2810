"""Labels as tables, graphs and pages show them: the text, one score, and the best of its floors and baselines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from universality.labels.label_file import FeatureLabel, Labels
from universality.labels.scoring import EXPLANATION

SCORES = ("detection", "fuzzing", "simulation")
"""Scores in tables, the one that is shown where there is room for one first."""
LONGEST = 200
"""Characters of an explanation in tables and graphs; explanations are untrusted text of any length."""
NAN = float("nan")


@dataclass(frozen=True)
class ShownScore:
    """Score of an explanation, beside the highest score of its floors and baselines.

    The highest of several noisy scores lies above the best one's expectation, so a comparison with it is strict.
    """

    name: str
    value: float
    low: float
    high: float
    floor: float
    floor_by: str


def shown_score(label: FeatureLabel, name: str) -> ShownScore | None:
    """Return one score of a label's explanation; None if it was not measured, or predictions were too few."""
    own = label.score(name)
    if own is None or np.isnan(own.value):
        return None
    others = [one for one in label.scores if one.name == name and one.by != EXPLANATION and not np.isnan(one.value)]
    best = max(others, key=lambda one: one.value, default=None)
    return ShownScore(
        name, own.value, own.low, own.high, NAN if best is None else best.value, "" if best is None else best.by
    )


def main_score(label: FeatureLabel) -> ShownScore | None:
    """Return the first of `SCORES` that the label has."""
    return next((shown for name in SCORES if (shown := shown_score(label, name)) is not None), None)


def shown_text(label: FeatureLabel | None, longest: int = LONGEST) -> str:
    """Return the explanation, cut to a number of characters; empty where there is none.

    Examples
    --------
    >>> shown_text(FeatureLabel(0, "days of the week", "answered"), 8)
    'days of…'
    """
    return "" if label is None else cut(label.explanation, longest)


def cut(text: str, longest: int = LONGEST) -> str:
    """Return a text, cut to a number of characters."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def label_columns(labels: Labels, features: Iterable[int]) -> pd.DataFrame:
    """Tabulate labels of some features, one row each in their order.

    Returns
    -------
    DataFrame
        Columns ``label`` (the explanation, empty for none), and for each of `SCORES` that was asked for
        ``label_detection`` and ``label_detection_floor``, the highest score of its floors and baselines; NaN where
        there is none.
    """
    features = list(features)
    known = [labels.labels.get(feature) for feature in features]
    columns: dict[str, object] = {"label": [shown_text(one) for one in known]}
    wanted = labels.header["settings"].get("scores", SCORES)
    for name in (name for name in SCORES if name in wanted):
        scores = [None if one is None else shown_score(one, name) for one in known]
        columns[f"label_{name}"] = np.array([NAN if one is None else one.value for one in scores], np.float64)
        columns[f"label_{name}_floor"] = np.array([NAN if one is None else one.floor for one in scores], np.float64)
    return pd.DataFrame(columns)
