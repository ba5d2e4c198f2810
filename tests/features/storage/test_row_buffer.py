"""Buffered rows come out as they went in; codes of kinds follow their first row."""

import numpy as np
import pytest
from feature_rows import activations, token_columns
from numpy.testing import assert_array_equal
from scipy import sparse

from universality.errors import FormatError
from universality.features.storage.row_batch import check_batch
from universality.features.storage.row_buffer import Buffer, Kinds

MATRIX, COLUMNS = activations(60), token_columns(60)


def filled(step: int) -> tuple[Buffer, Kinds]:
    buffer, kinds = Buffer(), Kinds()
    for start in range(0, 60, step):
        part = {name: column[start : start + step] for name, column in COLUMNS.items()}
        batch = check_batch(MATRIX[start : start + step], 12, "here", mantissa_bits=23, **part)
        buffer.add(batch, kinds.add(batch.kind, batch.document, "here"))
    return buffer, kinds


@pytest.mark.parametrize("step", [1, 25, 60])
@pytest.mark.parametrize("limit", [20, 10**6])
def test_segments_hold_the_rows_in_order(step: int, limit: int) -> None:
    buffer, kinds = filled(step)
    assert len(buffer) == 60 + MATRIX.nnz
    segments = buffer.take(12, limit, kinds.names)
    assert len(buffer) == 0
    assert_array_equal(sparse.vstack([s.csr for s in segments]).toarray(), MATRIX.toarray())
    assert_array_equal(np.concatenate([s.token for s in segments]), COLUMNS["token"])
    assert all(s.csr.nnz <= limit or s.csr.shape[0] == 1 for s in segments)
    assert [s.new_kinds for s in segments] == [kinds.names] + [()] * (len(segments) - 1)


def test_codes_and_documents_do_not_depend_on_batches() -> None:
    (_, one), (_, other) = filled(1), filled(60)
    assert one.names == other.names == ("en", "dna", "base64")
    assert one.documents() == other.documents()
    assert one.documents().kind == ("en", "dna", "base64", "en", "dna")


def test_more_kinds_than_an_int16_counts_are_refused() -> None:
    kinds = np.array([f"kind {i}" for i in range(40_000)])
    with pytest.raises(FormatError, match="here: a store holds 32767 kinds at most, found 40000; is kind= a label"):
        Kinds().add(kinds, np.arange(40_000, dtype=np.int32), "here")
