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
    assert line.startswith(
        "detection: explanations beat chance, all floors and baselines, the best of which is top tokens ("
    )
    alone = worth(summarise(labels({"explanation": [0.9, 0.8]})))
    assert alone == ["detection: nothing to compare with, so that the scores say little"]
    one = worth(summarise(labels({"explanation": [0.9], "top tokens": [0.1]})))
    assert one == ["detection: explanations do not beat chance and top tokens: too few features for an interval"]
    none = worth(summarise(labels({"explanation": [NAN], "top tokens": [0.1]})))
    assert none == ["detection: no explanation has a score"]


def test_a_random_scorer_beats_nothing_though_a_baseline_lies_below_chance() -> None:
    rng = np.random.default_rng(1)
    values = {by: rng.normal(0.5, 0.05, 30).tolist() for by in ("explanation", "random explanation")}
    values["token table"] = rng.normal(0.3, 0.05, 30).tolist()
    table = summarise(labels(values)).set_index("by")
    assert table.loc["token table", "advantage_low"] > 0  # the comparison alone would say that the table is beaten
    (line,) = worth(table.reset_index())
    assert line == "detection: explanations do not beat chance, random explanation and token table"
    values["explanation"] = [1.0] * 30  # an oracle
    (line,) = worth(summarise(labels(values)))
    assert line.startswith("detection: explanations beat chance, all floors and baselines, the best of which is ")
    values["random explanation"] = rng.normal(0.4, 0.01, 30).tolist()
    (line,) = worth(summarise(labels(values)))
    assert line.endswith("the best of which is chance (advantage 0.50, 0.50 to 0.50)")


@pytest.mark.parametrize(("low", "beats"), [(-0.1, "do not beat chance"), (0.1, "beat chance, all")])
def test_chance_is_zero_for_correlations(low: float, beats: str) -> None:
    scores = [
        Score("simulation, random", by, value, 0, 1, 60) for by, value in (("explanation", 0.2), ("token table", -0.3))
    ]
    found = {i: FeatureLabel(i, "a", "answered", scores=tuple(scores)) for i in range(3)}
    own = [Score("simulation, random", "explanation", low, 0, 1, 60), scores[1]]
    found[0] = FeatureLabel(0, "a", "answered", scores=tuple(own))
    table = summarise(Labels({"features": [0, 1, 2]}, found))
    (line,) = worth(table)
    assert beats in line


def test_missing_predictions_are_counted_in_the_summary() -> None:
    scores = (
        Score("detection", "explanation", NAN, NAN, NAN, 2, 8),
        Score("detection", "top tokens", 0.5, 0, 1, 7, 3),
        Score("detection", "token table", 0.5, 0, 1, 10),
    )
    found = Labels({"features": [0]}, {0: FeatureLabel(0, "a", "answered", scores=scores)})
    lines = list(describe_scores(found, "A"))
    assert "  detection: 11 of 20 predictions missing, 1 score left out for it (`missing` in the file)" in lines
    assert "  detection: no explanation has a score" in lines
    complete = labels({"explanation": [0.9, 0.8], "top tokens": [0.6, 0.5]})
    assert "  detection" in list(describe_scores(complete, "A"))
