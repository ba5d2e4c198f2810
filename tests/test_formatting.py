"""How numbers are written."""

import math

import numpy as np
import pytest

from universality.formatting import count, fixed, interval, listed, percent, plural, power_of_ten, small


@pytest.mark.parametrize("write", [fixed, percent, count, small])
@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_what_is_unknown_is_a_dash(write, missing) -> None:  # type: ignore[no-untyped-def]
    assert write(missing) == "–"


def test_a_share_that_is_neither_nothing_nor_all_is_not_written_as_such() -> None:
    assert [percent(s) for s in (0, 0.001, 0.5, 0.996, 1)] == ["0%", "<1%", "50%", ">99%", "100%"]
    assert percent(0.00004, 2) == "<0.01%"
    assert percent(0.123456, 1) == "12.3%"


def test_small_numbers_keep_two_digits() -> None:
    assert [small(v) for v in (0.05, 1.234e-5, -2e-9, 123.4, 0)] == ["0.05", "1.2×10⁻⁵", "−2.0×10⁻⁹", "123", "0"]
    assert power_of_ten(-12) == "10⁻¹²"


def test_numpy_numbers_are_written_like_pythons() -> None:
    assert (fixed(np.float32(0.25)), count(np.int64(2048)), percent(np.float64(0.25))) == ("0.25", "2,048", "25%")


def test_an_interval_needs_both_ends() -> None:
    assert interval(-0.1, 0.25) == "−0.10 to 0.25"
    assert interval(0.1, math.nan) == interval(None, 0.1) == ""


def test_words() -> None:
    assert [listed(["a", "b", "c"][:n]) for n in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert [plural(n, "pair") for n in (0, 1, 2)] == ["0 pairs", "1 pair", "2 pairs"]
