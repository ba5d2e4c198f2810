"""Numbers of a calibration that was put together by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.errors import FormatError, MismatchError
from universality.matching import match
from universality.similarity import Similarity
from universality.statistics import Calibration, CalibrationSummary, Chance, NullSummary

R = np.asarray([0.9, 0.8, 0.6, 0.4])


def null(name: str, q: list[float]) -> Chance:
    ones = np.ones(4, np.int64)
    scores = np.asarray([[0.1, 0.2, -np.inf, np.nan], [0.3, 0.4, 0.2, np.nan]])  # unmatched once; one dead feature
    return Chance(
        null=name, observed=R, p=np.asarray(q), q=np.asarray(q), tau=0.4 * ones, calibrated=(R - 0.4) / 0.6,
        detectable=0.5 * ones, count_a=10 * ones, count_b=20 * ones, stratum=0 * ones, edges=np.asarray([10.0, np.inf]),
        scores=scores, best_of_rows=np.asarray([0.2, 0.3]), best_of_cols=np.asarray([0.1, 0.1]),
    )  # fmt: skip


@pytest.fixture
def calibration() -> Calibration:
    """Four pairs of five living rows; the last pair has no held-out score."""
    matrix = np.full((5, 4), 0.05)
    matrix[np.arange(4), np.arange(4)] = R
    found = match(Similarity.from_dense(matrix))
    held_out = np.asarray([0.8, 0.7, 0.5, np.nan])
    nan = np.full(4, np.nan)
    return Calibration(
        match=found, held_out=held_out, ci_low=nan, ci_high=nan, median_ci=np.asarray([0.4, 0.6]), n_groups=9,
        count_a=np.full(4, 30), count_b=np.full(4, 40), best_col_held_out=np.append(held_out, 0.1),
        best_row_held_out=held_out, anchor="cols",
        chances=(null("global", [0.01, 0.02, 0.2, np.nan]), null("kind", [0.04, 0.2, 0.3, np.nan])),
        settings={"alpha": 0.05, "measure": "activation", "null": ["global", "kind"], "min_firings": 10}, notes=(),
    )  # fmt: skip


def test_medians_and_shares_count_every_living_feature_of_the_smaller_side(calibration: Calibration) -> None:
    summary = calibration.summary()
    assert (summary.n_rows, summary.n_living, summary.n_pairs, summary.n_scored) == (5, 4, 4, 3)
    assert summary.held_out_median == pytest.approx(0.6)  # of 0.8, 0.7, 0.5 and one without a score
    assert summary.chosen_median == pytest.approx(0.7)  # of the same pairs
    assert summary.shares == (3 / 4, 2 / 4)
    assert summary.median_ci == (0.4, 0.6)
    assert_allclose(summary.optimism, 0.1)
    assert summary.nearest_median == 0.5
    assert summary.nearest_median_cols == pytest.approx(0.6)  # of 0.8, 0.7, 0.5 and one without a score
    assert math.isnan(replace(calibration, held_out=np.full(4, np.nan)).summary().held_out_median)


def test_each_null_has_its_own_numbers(calibration: Calibration) -> None:
    summary = calibration.summary()
    assert list(summary.nulls) == ["global", "kind"]
    assert summary.first_null == "global"
    assert summary.null == summary.nulls["global"]
    assert (summary.share_significant("global"), summary.share_significant("kind")) == (2 / 4, 1 / 4)
    assert summary.null.share_of_tested == 2 / 3
    assert (summary.null.n_tested, summary.null.replicates) == (3, 2)
    assert_allclose(summary.null.median, 0.2)  # of -inf, 0.1, 0.2, 0.2, 0.3, 0.4
    assert (summary.null.nearest_median, summary.null.nearest_median_cols) == (0.25, 0.1)
    loose = calibration.summary(q_level=0.2)
    assert (loose.q_level, loose.share_significant("global"), loose.share_significant("kind")) == (0.2, 3 / 4, 2 / 4)


def test_a_null_that_was_not_run_or_tested_nothing_has_no_share(calibration: Calibration) -> None:
    untested = replace(calibration, chances=(null("kind", [np.nan] * 4),)).summary()
    assert untested.first_null == "kind"
    assert math.isnan(untested.share_significant("kind"))
    assert math.isnan(untested.share_significant("global"))
    assert math.isnan(CalibrationSummary().null.share_significant)
    assert CalibrationSummary(nulls={"kind": NullSummary(replicates=3)}).null.replicates == 3


def test_the_ceiling_of_a_pair_is_the_held_out_score_of_its_features(calibration: Calibration) -> None:
    with_a = calibration.with_ceilings(a=calibration)
    assert with_a.ceiling_a is not None
    assert with_a.ceiling_b is not None
    assert_allclose(with_a.ceiling_a, calibration.held_out)
    assert np.isnan(with_a.ceiling_b).all()
    with pytest.raises(MismatchError, match=r"with_ceilings: expected for b a calibration by activation .* 4 features"):
        calibration.with_ceilings(b=calibration)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_a_saved_calibration_gives_the_same_summary(calibration: Calibration, tmp_path: Path, suffix: str) -> None:
    path = calibration.save(tmp_path / f"c{suffix}")
    assert Calibration.load(path).summary() == calibration.summary()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FormatError):
        Calibration.load(path)


def test_the_notebook_card_shows_both_nulls(calibration: Calibration) -> None:
    html = calibration._repr_html_()
    assert "<th>held_out_median</th><td>0.6</td>" in html
    assert "share_significant 0.5" in html
    assert "share_significant 0.2" in html
