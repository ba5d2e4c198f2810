"""Numbers of pairs come from calibrations and from tables."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from universality.errors import UniversalityError
from universality.plot.pair_table import is_calibration, pair_columns
from universality.statistics import Calibration


def test_a_calibration_and_its_table_give_the_same(calibration: Calibration) -> None:
    names = ("score", "held_out", "row")
    assert is_calibration(calibration)
    assert not is_calibration(calibration.to_frame())
    for of_one, of_other in zip(
        pair_columns(calibration, names, "x"), pair_columns(calibration.to_frame(), names, "x"), strict=True
    ):
        assert_array_equal(of_one, of_other)


def test_missing_values_of_any_dtype_are_nan() -> None:
    frame = pd.DataFrame({"r": pd.array([0.5, None], dtype="Float64"), "n": pd.array([1, None], dtype="Int64")})
    assert_array_equal(pair_columns(frame, ("r", "n"), "x"), [[0.5, np.nan], [1, np.nan]])


def test_what_is_no_table_of_pairs_is_refused() -> None:
    with pytest.raises(UniversalityError, match=r"^held_out: expected a calibration or a table .* found list$"):
        pair_columns([1, 2], ("score",), "held_out")  # type: ignore[arg-type]
    frame = pd.DataFrame({"score": ["high"]})
    with pytest.raises(UniversalityError, match=r"^x: expected numbers in the column score"):
        pair_columns(frame, ("score",), "x")
    with pytest.raises(UniversalityError, match=r"^x: the table lacks p, q; it has the columns score"):
        pair_columns(frame, ("p", "q", "score"), "x")
