"""A checksum is of decoded contents: storage does not matter, every value does; `verify` compares them."""

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_rows import activations, damage, write

from universality.errors import FormatError
from universality.features import FeatureStore
from universality.features.storage.checksums import Checksum, checksum_of_array, checksum_of_dataset, checksum_of_text

VALUES = np.arange(12, dtype="<f4").reshape(6, 2)


def test_an_array_is_hashed_by_its_bytes_with_dtype_and_shape() -> None:
    assert checksum_of_array(VALUES) == Checksum("<f4", (6, 2), hashlib.sha256(VALUES.tobytes()).hexdigest())
    assert checksum_of_array(VALUES).to_json()["shape"] == [6, 2]
    assert checksum_of_array(VALUES) != checksum_of_array(VALUES.reshape(2, 6))


def test_text_is_hashed_without_a_separator_that_a_name_could_hold() -> None:
    assert checksum_of_text(["a,b"]) != checksum_of_text(["a", "b"])
    assert checksum_of_text("é") == Checksum("str", (), hashlib.sha256(b'"\\u00e9"').hexdigest())


@pytest.mark.parametrize("options", [{}, {"chunks": (4, 1), "compression": "gzip", "shuffle": True}])
def test_chunks_and_compression_do_not_matter(tmp_path: Path, options: dict) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        assert checksum_of_dataset(file.create_dataset("a", data=VALUES, **options)) == checksum_of_array(VALUES)
        names = file.create_dataset("names", data=["x", "yé"], dtype=h5py.string_dtype())
        assert checksum_of_dataset(names) == checksum_of_text(["x", "yé"])
        assert checksum_of_dataset(file.create_dataset("one", data="x")) == checksum_of_text("x")


def test_a_store_with_one_changed_value_is_not_what_was_written(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", activations(20)).close()
    damage(tmp_path / "a.h5", lambda file: file["tokens/token"].__setitem__(7, 1000))
    with (
        FeatureStore.open(tmp_path / "a.h5") as store,
        pytest.raises(FormatError, match="tokens/token is not what was written: expected Checksum"),
    ):
        store.verify()
