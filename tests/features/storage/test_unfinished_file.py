"""A file gets its name only when it is complete, and two writers do not work on one name."""

from pathlib import Path

import h5py
import pytest

from universality.errors import FormatError
from universality.features.storage.unfinished_file import UnfinishedFile


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_complete_file_has_its_name_and_the_mark(tmp_path: Path) -> None:
    (tmp_path / "scratch").touch()
    unfinished = UnfinishedFile(tmp_path / "a.h5")
    assert names(tmp_path) == ["a.h5.lock", "a.h5.unfinished", "scratch"]
    assert not unfinished.file.attrs["complete"]
    unfinished.file["x"] = 1
    unfinished.complete(scratch=tmp_path / "scratch")
    assert names(tmp_path) == ["a.h5"]
    with h5py.File(tmp_path / "a.h5") as file:
        assert file.attrs["complete"]


def test_a_removed_one_leaves_nothing(tmp_path: Path) -> None:
    UnfinishedFile(tmp_path / "a.h5").remove()
    assert names(tmp_path) == []


def test_another_writer_is_refused_until_the_first_is_done(tmp_path: Path) -> None:
    first = UnfinishedFile(tmp_path / "a.h5")
    with pytest.raises(FormatError, match=r"a\.h5: another writer is at work on it"):
        UnfinishedFile(tmp_path / "a.h5")
    first.remove()
    UnfinishedFile(tmp_path / "a.h5").remove()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"the folder .*no does not exist; create it first"):
        UnfinishedFile(tmp_path / "no" / "a.h5")
