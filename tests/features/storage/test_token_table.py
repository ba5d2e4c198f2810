"""Blocks are read off positions, and weights that do not fit together are refused."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.errors import FormatError, MismatchError
from universality.features.storage.token_table import Dictionary, TokenTable, check_weights
from universality.models.unembedding import Unembedding

ONES = np.ones((3, 4))


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        ({"decoder": np.ones(3)}, MismatchError, r"decoder must have 2 axes, found shape \[3\]"),
        ({"decoder": ONES, "bias": ONES}, MismatchError, r"bias must have 1 axes, found shape \[3, 4\]"),
        ({"decoder": ONES, "encoder": ONES.T}, MismatchError, "encoder needs 3 rows as the decoder has, found 4"),
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


def test_a_block_ends_where_position_or_document_does_not_follow() -> None:
    document, position = np.array([0, 0, 0, 1, 1]), np.array([1, 2, 1, 2, 3])
    table = TokenTable(document, document, position, np.array([1, 1, 1, 0, 0]), ("a", "b"))
    assert_array_equal(table.block, [0, 0, 1, 2, 2])
    assert_array_equal(table.kind_names, ["b", "b", "b", "a", "a"])


def test_weights_must_be_of_the_store_and_of_one_model() -> None:
    weights = Dictionary(ONES, residual=ONES)
    check_weights("a.h5", 3, weights, None)
    with pytest.raises(MismatchError, match=r"a\.h5: the store has 4 features, the dictionary 3 rows"):
        check_weights("a.h5", 4, weights, None)
    unembedding = Unembedding(np.ones((5, 9)), np.ones(5), np.ones(9, bool), True)
    with pytest.raises(MismatchError, match="the unembedding reads d_model 5, but the dictionary's residual has 4"):
        check_weights("a.h5", 3, weights, unembedding)
