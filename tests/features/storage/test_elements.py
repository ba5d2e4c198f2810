"""Every element must be in its place, of its encoding, dtype and length; nothing is followed or believed blindly."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_rows import activations, write

from universality.errors import FormatError
from universality.features import Dictionary
from universality.features.storage.elements import ELEMENTS, check_elements, check_length, read_shape

PATHS = {element.path: element for element in ELEMENTS}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "a.h5", activations(30), dictionary=Dictionary(np.ones((12, 2)))).close()
    return tmp_path / "a.h5"


def test_the_elements_of_a_store_are_found_and_optional_ones_may_be_absent(path: Path) -> None:
    with h5py.File(path) as file:
        nodes = check_elements(path, file)
        assert read_shape(path, file) == (30, 12)
        absent = {element.path for element in ELEMENTS} - {element.path for element in nodes}
        optional = ("dictionary/encoder", "dictionary/bias", "dictionary/residual")
        assert absent == {*optional, "unembedding", "unembedding/file", "unembedding/sha256"}


def test_lengths_and_axes_are_compared_with_the_sizes(path: Path) -> None:
    with h5py.File(path) as file:
        decoder = PATHS["dictionary/decoder"]
        check_length(path, decoder, file["dictionary/decoder"], {"n_features": 12})
        with pytest.raises(FormatError, match="decoder must have n_features = 13 entries, found 12"):
            check_length(path, decoder, file["dictionary/decoder"], {"n_features": 13})
        with pytest.raises(FormatError, match=r"tokens/token must have 1 axes, found shape \[12, 2\]"):
            check_length(path, PATHS["tokens/token"], file["dictionary/decoder"], {"n_tokens": 12})


def test_a_link_is_refused_before_it_is_followed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["moments"]
        file["moments"] = h5py.ExternalLink(str(path.with_name("other.h5")), "/")
        with pytest.raises(FormatError, match="moments is a link to elsewhere"):
            check_elements(path, file)


def test_a_size_that_the_file_cannot_hold_is_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        attributes = dict(file["by_token/data"].attrs)
        del file["by_token/data"]
        claimed = file.create_dataset("by_token/data", (1 << 40,), "<f4", chunks=(1 << 10,))
        for name, value in attributes.items():
            claimed.attrs[name] = value
        with pytest.raises(FormatError, match="by_token/data claims 4,398,046,511,104 bytes"):
            check_elements(path, file)
