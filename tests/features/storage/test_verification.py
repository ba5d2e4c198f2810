"""What checksums cannot see (a file that was changed and sealed again) is found by comparing its parts."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from feature_rows import activations, damage, write

from universality.errors import FormatError
from universality.features.storage.header import open_file, read_header
from universality.features.storage.verification import verify


def check(path: Path) -> None:
    with open_file(path) as file:
        verify(path, file, read_header(path, file))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "a.h5", activations(40)).close()
    return tmp_path / "a.h5"


def test_an_intact_store_passes(path: Path) -> None:
    check(path)


def swapped_values(file: h5py.File) -> None:
    """Two values of one feature change places in one of the two matrices: all sums stay the same."""
    start = file["by_feature/indptr"][1]
    data = file["by_feature/data"][...]
    data[[start, start + 1]] = data[[start + 1, start]]
    file["by_feature/data"][...] = data


def zero(file: h5py.File) -> None:
    file["by_token/data"][0] = 0


def other_sum(file: h5py.File) -> None:
    file["moments/sum"][...] = file["moments/sum"][...] + np.eye(12)[0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (swapped_values, "by_token and by_feature hold different matrices"),
        (zero, "by_token/data must hold finite values other than 0"),
        (other_sum, "moments are not those of the stored values"),
    ],
)
def test_parts_that_contradict_each_other_are_found(
    path: Path, edit: Callable[[h5py.File], None], message: str
) -> None:
    damage(path, edit, seal=True)
    with pytest.raises(FormatError, match=message):
        check(path)
