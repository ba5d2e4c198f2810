"""Scores of labels over features: means of each predictor, and the explanation's advantage, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from universality.arrays import FloatArray
from universality.formatting import fixed, interval, listed, plural
from universality.labels.label_file import Labels
from universality.labels.scoring import EXPLANATION
from universality.visible_tokens import visible

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


def describe_scores(labels: Labels, name: str) -> Iterator[str]:
    """Yield lines on what became of some labels: outcomes, mean scores beside floors, and what the scores are worth.

    Parameters
    ----------
    labels
        Labels of features, of an interrupted run too.
    name
        Name of the features, such as their model's.
    """
    outcomes = Counter(one.outcome for one in labels.labels.values())
    counted = ", ".join(f"{n:,} {visible(outcome)}" for outcome, n in outcomes.most_common())
    missing = f"; {plural(len(labels.missing), 'label')} missing" if labels.missing else ""
    yield f"{name}: {plural(len(labels.labels), 'feature')}{f' ({counted})' if counted else ''}{missing}"
    answers: Counter[str] = Counter()
    for one in labels.labels.values():
        for by_outcome in one.answers.values():
            answers.update(by_outcome)
    if answers:
        yield f"  scorer's answers: {', '.join(f'{n:,} {visible(outcome)}' for outcome, n in answers.most_common())}"
    summary = summarise(labels)
    if len(summary):
        yield f"  {'':<20}{'mean':>6}  {'95%':<14}{'n':>7}  advantage of the explanation"
    for score_name, part in summary.groupby("name", sort=False):
        yield f"  {visible(str(score_name))}"
        for row in part.itertuples():
            against = row.by != EXPLANATION and row.n_both
            advantage = f"{fixed(row.advantage)} ({interval(row.advantage_low, row.advantage_high) or 'no interval'})"
            shown = f"{visible(row.by):<18}{fixed(row.mean):>6}  {interval(row.low, row.high) or '–':<14}{row.n:>7,}"
            yield f"    {shown}  {advantage if against else ''}".rstrip()
    yield from (f"  {line}" for line in worth(summary))


def worth(summary: pd.DataFrame) -> list[str]:
    """State for each score whether explanations beat their floors and baselines: whether the interval excludes 0.

    Parameters
    ----------
    summary
        Table of `summarise`.

    Examples
    --------
    >>> row = dict(name="detection", n=40, n_both=40, mean=0.7, advantage=0.01, advantage_low=-0.1, advantage_high=0.1)
    >>> worth(pd.DataFrame([row | {"by": "explanation"}, row | {"by": "top tokens"}]))
    ['detection: explanations do not beat top tokens']
    """
    lines = []
    for name, part in summary.groupby("name", sort=False):
        if not ((part["by"] == EXPLANATION) & (part["n"] > 0)).any():
            lines.append(f"{name}: no explanation has a score")
            continue
        rivals = part[(part["by"] != EXPLANATION) & (part["n_both"] > 0)]
        beaten = rivals[rivals["advantage_low"] > 0]
        others = rivals[~(rivals["advantage_low"] > 0)]
        if not len(rivals):
            lines.append(f"{name}: nothing to compare with, so that the scores say little")
        elif len(others):
            names = listed([visible(by) for by in others["by"]])
            few = "" if others["advantage_low"].notna().any() else ": too few features for an interval"
            lines.append(f"{name}: explanations do not beat {names}{few}")
        else:
            least = _advantage(next(beaten.nsmallest(1, "advantage").itertuples()))
            lines.append(f"{name}: explanations beat all floors and baselines, the best of which is {least}")
    return lines


def _advantage(row: Any) -> str:
    bounds = interval(row.advantage_low, row.advantage_high)
    return f"{visible(row.by)} (advantage {fixed(row.advantage)}, {bounds})"
