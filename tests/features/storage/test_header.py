"""The header states sizes, moments and names; a missing or unfinished store is refused with a hint."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_rows import activations, damage, write
from numpy.testing import assert_array_equal

from universality.errors import FormatError
from universality.features import Dictionary
from universality.features.storage.header import open_file, read_header
from universality.models.unembedding import Unembedding


def test_sizes_moments_and_optional_elements(tmp_path: Path) -> None:
    path, matrix = tmp_path / "a.h5", activations(30)
    unembedding = Unembedding(np.ones((3, 5)), np.ones(3), np.ones(5, bool), False)
    write(path, matrix, dictionary=Dictionary(np.ones((12, 2))), unembedding=unembedding).close()
    with open_file(path) as file:
        header = read_header(path, file)
    assert (header.n_tokens, header.n_features, header.n_stored, header.n_documents) == (30, 12, matrix.nnz, 3)
    assert_array_equal(header.moments.count, matrix.getnnz(axis=0))
    assert header.unembedding == unembedding.hash
    assert header.has("dictionary")
    assert header.has("dictionary/decoder")
    assert not header.has("dictionary/bias")
    assert not header.has("dict")


def test_of_a_missing_store_the_message_names_what_is_left(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"a\.h5: no such feature store$"):
        open_file(tmp_path / "a.h5")
    (tmp_path / "a.h5.segments").touch()
    with pytest.raises(FileNotFoundError, match=r"a\.h5\.segments was left by a writer .*create\(…, resume=True\)"):
        open_file(tmp_path / "a.h5")


def test_a_store_without_the_last_mark_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", activations(5)).close()

    def unmark(file: h5py.File) -> None:
        file.attrs["complete"] = False

    damage(tmp_path / "a.h5", unmark)
    with pytest.raises(FormatError, match=r"incomplete: its writer was stopped before finish\(\)"):
        open_file(tmp_path / "a.h5")
