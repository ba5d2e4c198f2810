"""Scores of labels over features: means of each predictor, and the explanation's advantage, with intervals."""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from universality.arrays import FloatArray
from universality.labels.label_file import Labels
from universality.labels.scoring import EXPLANATION

_COLUMNS = ("name", "by", "n", "mean", "low", "high", "n_both", "advantage", "advantage_low", "advantage_high")


def summarise(labels: Labels, level: float = 0.95) -> pd.DataFrame:
    """Average scores over features, with intervals over features.

    Intervals are Student's t of the mean over features, cut where scores end. They say how sure the mean over such
    features is on this text, with this scorer; those of a single feature's score say how sure that score is on other
    text.

    Parameters
    ----------
    labels
        Labels of features.
    level
        Nominal coverage, between 0 and 1.

    Returns
    -------
    DataFrame
        One row a score and predictor: ``name``, ``by``, number ``n`` of features with that score, ``mean``, ``low``,
        ``high``; over the ``n_both`` features that also have the explanation's score, the mean of its ``advantage``
        (explanation minus this predictor), ``advantage_low`` and ``advantage_high``. Bounds are NaN for fewer than two
        features.

    Examples
    --------
    >>> from universality.labels.label_file import FeatureLabel
    >>> from universality.labels.scoring import Score
    >>> def scored(feature, value, floor):
    ...     scores = (
    ...         Score("detection", "explanation", value, 0, 1, 60),
    ...         Score("detection", "top tokens", floor, 0, 1, 60),
    ...     )
    ...     return FeatureLabel(feature, "a word", "answered", scores=scores)
    >>> labels = Labels({"features": [3, 5]}, {3: scored(3, 0.75, 0.5), 5: scored(5, 1.0, 0.5)})
    >>> summarise(labels)[["by", "n", "mean", "advantage"]].values.tolist()
    [['explanation', 2, 0.875, 0.0], ['top tokens', 2, 0.5, 0.375]]
    """
    frame = labels.to_frame()
    rows = []
    for (name, by), part in frame.groupby(["name", "by"], sort=False):
        reference = frame[(frame["name"] == name) & (frame["by"] == EXPLANATION)].set_index("feature")["value"]
        values = part.set_index("feature")["value"].astype(float)
        advantage = (reference.reindex(values.index) - values).dropna().to_numpy(np.float64)
        known = values.dropna().to_numpy(np.float64)
        mean, *bounds = mean_interval(known, level)
        bounds = np.clip(bounds, -1 if str(name).startswith("simulation") else 0, 1).tolist()
        rows.append((name, by, known.size, mean, *bounds, advantage.size, *mean_interval(advantage, level)))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def mean_interval(values: FloatArray, level: float = 0.95) -> tuple[Any, Any, Any]:
    """Return the mean of values over features, with Student's interval; bounds NaN for fewer than two."""
    n = values.size
    if not n:
        return (float("nan"),) * 3
    mean = float(values.mean())
    if n < 2:
        return mean, float("nan"), float("nan")
    reach = float(stdtrit(n - 1, (1 + level) / 2)) * float(values.std(ddof=1)) / sqrt(n)
    return mean, mean - reach, mean + reach
