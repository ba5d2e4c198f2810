"""Scores of labels over features: means of each predictor, and the explanation's advantage, with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import isnan, sqrt
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from universality.arrays import FloatArray
from universality.formatting import fixed, interval, listed, plural
from universality.labels.label_file import Labels
from universality.labels.scoring import EXPLANATION, SHUFFLED, TOKEN_TABLE, is_correlation
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
        bounds = np.clip(bounds, -1 if is_correlation(str(name)) else 0, 1).tolist()
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
        yield f"  {visible(str(score_name))}{_missing(labels, str(score_name))}"
        for row in part.itertuples():
            against = row.by != EXPLANATION and row.n_both
            advantage = f"{fixed(row.advantage)} ({interval(row.advantage_low, row.advantage_high) or 'no interval'})"
            shown = f"{visible(row.by):<18}{fixed(row.mean):>6}  {interval(row.low, row.high) or '–':<14}{row.n:>7,}"
            yield f"    {shown}  {advantage if against else ''}".rstrip()
    yield from (f"  {line}" for line in worth(summary))


def _missing(labels: Labels, name: str) -> str:
    """Count the predictions of a score that the scorer did not give, over all explanations; empty if it gave all."""
    given = [one for label in labels.labels.values() for one in label.scores if one.name == name and one.by != SHUFFLED]
    missing = sum(one.missing for one in given)
    if not missing:
        return ""
    asked = sum(one.n + one.missing for one in given if one.by != TOKEN_TABLE)  # the table needs no scorer
    unscored = sum(bool(one.missing) and isnan(one.value) for one in given)
    lost = f", {plural(unscored, 'score')} left out for it" if unscored else ""
    return f": {missing:,} of {plural(asked, 'prediction')} missing{lost} (`missing` in the file)"


def worth(summary: pd.DataFrame) -> list[str]:
    """State for each score whether explanations beat chance, floors and baselines: whether the interval excludes 0.

    Chance is 0.5 for balanced accuracy and 0 for correlations. It is a floor of its own, since predictors can score
    below it: explanations that do not lie above chance beat nothing.

    Parameters
    ----------
    summary
        Table of `summarise`.

    Examples
    --------
    >>> row = dict(name="detection", n=40, n_both=40, mean=0.7, low=0.6, high=0.8)
    >>> row |= dict(advantage=0.01, advantage_low=-0.1, advantage_high=0.1)
    >>> worth(pd.DataFrame([row | {"by": "explanation"}, row | {"by": "top tokens"}]))
    ['detection: explanations do not beat top tokens']
    >>> worth(pd.DataFrame([row | {"by": "explanation", "low": 0.4}, row | {"by": "top tokens", "advantage_low": 0.0}]))
    ['detection: explanations do not beat chance and top tokens']
    """
    lines = []
    for name, part in summary.groupby("name", sort=False):
        own = part[(part["by"] == EXPLANATION) & (part["n"] > 0)]
        if not len(own):
            lines.append(f"{name}: no explanation has a score")
            continue
        rivals = [
            _Rival(visible(row.by), row.advantage, row.advantage_low, row.advantage_high)
            for row in part[(part["by"] != EXPLANATION) & (part["n_both"] > 0)].itertuples()
        ]
        if not rivals:
            lines.append(f"{name}: nothing to compare with, so that the scores say little")
            continue
        lines.append(f"{name}: {_verdict(_over_chance(str(name), next(own.itertuples())), rivals)}")
    return lines


class _Rival(NamedTuple):
    """Chance, a floor or a baseline, and the explanation's mean advantage over it."""

    name: str
    advantage: float
    low: float
    high: float


def _over_chance(name: str, own: Any) -> _Rival:
    chance = 0.0 if is_correlation(name) else 0.5
    return _Rival("chance", own.mean - chance, own.low - chance, own.high - chance)


def _verdict(chance: _Rival, rivals: list[_Rival]) -> str:
    above_chance = chance.low > 0
    unbeaten = [one for one in (chance, *rivals) if not (above_chance and one.low > 0)]
    if unbeaten:
        few = "" if any(not isnan(one.low) for one in unbeaten) else ": too few features for an interval"
        return f"explanations do not beat {listed([one.name for one in unbeaten])}{few}"
    least = min((chance, *rivals), key=lambda one: one.advantage)
    bounds = f"advantage {fixed(least.advantage)}, {interval(least.low, least.high)}"
    return f"explanations beat chance, all floors and baselines, the best of which is {least.name} ({bounds})"
