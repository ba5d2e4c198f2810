"""Choices among n things become distinct indices, or say what is wrong."""

import numpy as np
import pytest

from universality.features.storage.choices import chosen_indices, chosen_mask


def test_each_way_to_choose() -> None:
    for choice, expected in ((None, [0, 1, 2, 3]), (slice(1, 3), [1, 2]), ([3, 0], [3, 0]), ([], [])):
        assert chosen_indices("x", "f", choice, 4).tolist() == expected
    assert chosen_indices("x", "f", np.array([True, False, False, True]), 4).tolist() == [0, 3]
    assert chosen_mask("x", "f", [2], 4).tolist() == [False, False, True, False]


@pytest.mark.parametrize("choice", [[0.5], [[0]], [1, 1], [True, False]])
def test_what_chooses_nothing_certain(choice: object) -> None:
    with pytest.raises(ValueError, match="x: f= must be a slice, a mask of length 4 or distinct integers"):
        chosen_indices("x", "f", choice, 4)  # type: ignore[arg-type]


def test_out_of_range() -> None:
    with pytest.raises(ValueError, match="x: f= must lie in 0 … 3, found -1 … 2"):
        chosen_indices("x", "f", [-1, 2], 4)
