"""Weights that do not fit together are refused."""

from typing import Any

import numpy as np
import pytest

from universality.errors import FormatError, MismatchError
from universality.features import Dictionary, Moments

ONES = np.ones((3, 4))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({"decoder": np.ones(3)}, MismatchError, r"decoder must have 2 axes, found shape \[3\]"),
        ({"decoder": ONES, "bias": ONES}, MismatchError, r"bias must have 1 axes, found shape \[3, 4\]"),
        (
            {"decoder": ONES, "encoder": ONES.T},
            MismatchError,
            r"encoder must be \[3, 4\] as the decoder is, found \[4, 3\]",
        ),
        ({"decoder": ONES, "bias": np.ones(4)}, MismatchError, "bias needs 3 rows as the decoder has, found 4"),
        ({"decoder": ONES, "residual": np.ones((2, 9))}, MismatchError, "residual needs 3 rows"),
        ({"decoder": ONES * np.nan}, FormatError, "decoder holds values that are not finite in float32"),
        ({"decoder": ONES, "bias": [0, 1e39, 0]}, FormatError, "bias holds values that are not finite in float32"),
    ],
)
def test_bad_dictionaries(weights: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Dictionary(**weights)


def test_weights_become_float32_and_contiguous() -> None:
    weights = Dictionary(ONES.T.astype(np.float64), bias=np.arange(4))
    assert weights.decoder.dtype == np.float32
    assert weights.decoder.flags.c_contiguous
    assert weights.bias is not None
    assert weights.bias.dtype == np.float32
    assert len(weights) == 4


def test_density_without_tokens_is_zero() -> None:
    zeros = np.zeros(2)
    assert not Moments(0, zeros.astype(int), zeros, zeros, zeros.astype(np.float32)).density.any()
