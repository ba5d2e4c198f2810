"""System errors are explained; a store that cannot be read for one of them: tests/features/test_obstacles.py."""

import errno
from pathlib import Path

import pytest

from universality.errors import FormatError, UniversalityError
from universality.obstacles import check_openable, naming_obstacles, obstacle


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk; free some"),
        (
            OSError("Unable to open file (errno = 13, error message = 'Permission denied')"),
            "permission denied; ask its",
        ),
        (RuntimeError("Read-only file system (os error 30)"), "the file system is read-only"),
        (OSError("file is already open for write (may use <h5clear file> to clear)"), "another program opened it"),
    ],
)
def test_system_errors_are_known_by_number_or_text(error: Exception, explained: str) -> None:
    assert (obstacle(error) or "").startswith(explained)


@pytest.mark.parametrize("error", [OSError("short read"), ValueError("x"), FileNotFoundError(errno.ENOENT, "none")])
def test_other_errors_are_none_and_pass(error: Exception) -> None:
    assert obstacle(error) is None
    with pytest.raises(type(error)), naming_obstacles("a.h5"):
        raise error


def test_the_file_is_named_and_errors_of_ours_pass() -> None:
    with (
        pytest.raises(UniversalityError, match=r"a\.h5: the disk gave an input/output"),
        naming_obstacles("a.h5"),
    ):
        raise OSError(errno.EIO, "Input/output error")
    with pytest.raises(FormatError, match="mine"), naming_obstacles("a.h5"):
        raise FormatError("mine")


def test_a_folder_cannot_be_opened_and_a_missing_file_is_none_of_its_business(tmp_path: Path) -> None:
    check_openable(tmp_path / "missing")
    with pytest.raises(UniversalityError, match="a folder, where a file is expected"):
        check_openable(tmp_path)
