"""Results come back as they were written, in either format; files that are corrupt, foreign or newer are refused."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality.archive import read_archive, read_arrays, write_archive
from universality.errors import FormatError

HEADER = {"method": "x", "seed": np.int64(3)}
ARRAYS = {"r": np.array([0.1, np.nan, -np.inf]), "rows": np.arange(6, dtype=np.int32).reshape(2, 3)}
ARRAYS["words"] = np.array(["a", "1.5", "NaN"])


@pytest.fixture(params=["json", "npz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_archive(tmp_path / f"a.{request.param}", "toy", 2, HEADER, ARRAYS)


def test_header_and_arrays_come_back(path: Path) -> None:
    header, arrays = read_archive(path, "toy", 2)
    assert header == {"method": "x", "seed": 3}
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    assert [left.name for left in path.parent.iterdir()] == [path.name]


def test_other_files_are_refused(path: Path) -> None:
    with pytest.raises(FormatError, match="not a match file"):
        read_archive(path, "match", 2)
    with pytest.raises(FormatError, match="toy version 2, but this program reads version 1; it was written by a newer"):
        read_archive(path, "toy", 1)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(FormatError, match=r"not a whole toy file"):
        read_archive(path, "toy", 2)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_archive(path, "toy", 2)


def test_arrays_alone_are_read_from_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **ARRAYS)
    assert_array_equal(read_arrays(tmp_path / "a.npz")["rows"], ARRAYS["rows"])
    (tmp_path / "a.npz").write_bytes(b"PK")
    with pytest.raises(FormatError, match=r"a\.npz: not a whole file of arrays"):
        read_arrays(tmp_path / "a.npz")


def test_what_is_no_archive_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"expected a name ending in \.json or \.npz"):
        write_archive(tmp_path / "a.csv", "toy", 1, {}, {})
    with pytest.raises(TypeError, match=r"a header holds JSON only, found .*Path"):
        write_archive(tmp_path / "a.json", "toy", 1, {"path": tmp_path}, {})
