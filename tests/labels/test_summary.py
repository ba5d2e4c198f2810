"""Means over features against SciPy, and the advantage of an explanation over a floor of the same feature."""

import numpy as np
import pytest
from scipy import stats

from universality.labels import FeatureLabel, Labels, Score, summarise
from universality.labels.summary import describe_scores, worth

NAN = float("nan")


def labels(values: dict[str, list[float]]) -> Labels:
    n = len(next(iter(values.values())))
    found = {}
    for i in range(n):
        scores = tuple(Score("detection", by, column[i], 0, 1, 60) for by, column in values.items())
        found[i] = FeatureLabel(i, "a", "answered", scores=scores)
    return Labels({"features": list(range(n))}, found)


def test_means_and_intervals_are_students() -> None:
    rng = np.random.default_rng(0)
    own, floor = rng.uniform(0.6, 0.9, 20), rng.uniform(0.4, 0.6, 20)
    floor[3] = NAN
    table = summarise(labels({"explanation": own.tolist(), "equal density": floor.tolist()}), level=0.9)
    first, second = (row for row in table.itertuples(index=False))
    assert (first.by, first.n, second.n, second.n_both) == ("explanation", 20, 19, 19)
    low, high = stats.t.interval(0.9, 19, own.mean(), stats.sem(own))
    assert (first.mean, first.low, first.high) == pytest.approx((own.mean(), low, high))
    difference = np.delete(own - floor, 3)
    low, high = stats.t.interval(0.9, 18, difference.mean(), stats.sem(difference))
    assert (second.advantage, second.advantage_low, second.advantage_high) == pytest.approx(
        (difference.mean(), low, high)
    )


def test_intervals_end_where_scores_do() -> None:
    row = summarise(labels({"explanation": [1.0, 1.0, 0.8]})).iloc[0]
    assert row.high == 1
    assert row.low < 0.8


def test_too_few_features_have_no_interval() -> None:
    row = summarise(labels({"explanation": [0.7]})).iloc[0]
    assert row["mean"] == 0.7
    assert np.isnan([row.low, row.high]).all()
    none = summarise(labels({"explanation": [NAN]})).iloc[0]
    assert none.n == 0
    assert np.isnan(none["mean"])
    assert summarise(Labels({"features": []}, {})).empty


def test_a_summary_says_what_became_of_the_features_and_what_the_scores_are_worth() -> None:
    found = labels({"explanation": [0.9, 0.8, 0.85], "top tokens": [0.6, 0.5, 0.5], "equal density": [0.9, 0.75, 0.85]})
    found.labels[7] = FeatureLabel(7, "", "refused", answers={"explanation": {"malformed": 3}})  # type: ignore[index]
    found.header["features"].append(9)
    text = "\n".join(describe_scores(found, "A"))
    assert text.startswith("A: 4 features (3 answered, 1 refused); 1 label missing\n  scorer's answers: 3 malformed\n")
    assert "    top tokens          0.53  0.39 to 0.68        3  0.32 (0.24 to 0.39)" in text
    (line,) = worth(summarise(found))
    assert line == "detection: explanations do not beat equal density"


def test_explanations_that_beat_everything_are_measured_by_the_best_of_it() -> None:
    found = labels({"explanation": [0.9, 0.8, 0.85], "top tokens": [0.6, 0.5, 0.5], "token table": [0.2, 0.1, 0.2]})
    (line,) = worth(summarise(found))
    assert line.startswith("detection: explanations beat all floors and baselines, the best of which is top tokens (")
    alone = worth(summarise(labels({"explanation": [0.9, 0.8]})))
    assert alone == ["detection: nothing to compare with, so that the scores say little"]
    one = worth(summarise(labels({"explanation": [0.9], "top tokens": [0.1]})))
    assert one == ["detection: explanations do not beat top tokens: too few features for an interval"]
    none = worth(summarise(labels({"explanation": [NAN], "top tokens": [0.1]})))
    assert none == ["detection: no explanation has a score"]
