"""Explanations of system errors that keep a sound file from being read or written.

A store that another process has open is intact, and so is one on a disk that failed for a moment. If it were taken
for corrupt it would be written again, which may cost hours.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from universality.errors import UniversalityError

_NO_LOCKS = (
    "its file system has no locks, and the environment variable HDF5_USE_FILE_LOCKING asks HDF5 to take one: "
    "set it to FALSE"
)
_LOST = "the network file system lost the connection to it; try again when it is back"
_LEFT_OPEN = (
    "another program opened it for writing, and has it open or was killed; if none is at work on it, clear HDF5's mark "
    "with `h5clear -s` and the file's name, then check it with `universality info --verify`"
)
_REASONS = {
    errno.EAGAIN: "another process has it open for writing; wait until that process is done",
    errno.EACCES: "permission denied; ask its owner for it, or change the permissions",
    errno.EPERM: "permission denied by the system; ask its owner, or an administrator",
    errno.EROFS: "the file system is read-only; choose a writable place",
    errno.ENOTDIR: "a part of this path is a file, not a folder; choose another place",
    errno.EISDIR: "a folder, where a file is expected",
    errno.ENAMETOOLONG: "the name is too long for this file system; choose a shorter one",
    errno.EMFILE: "this process has too many files open; raise the limit (ulimit -n), or close some",
    errno.ENFILE: "the machine has too many files open; close some",
    errno.EIO: "the disk gave an input/output error; check the disk, then try again: the file may be whole",
    errno.ENOMEM: "the system is out of memory; free some, then try again",
    errno.ENOSPC: "no space left on the disk; free some, then run the same command again",
    errno.EDQUOT: "your disk quota is used up; free some, then run the same command again",
    errno.ENOSYS: _NO_LOCKS,
    errno.ENOLCK: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
    524: _NO_LOCKS,  # the Linux kernel's ENOTSUPP, for which the C library has no name
    errno.ESTALE: _LOST,
    errno.ENOTCONN: _LOST,
    errno.ETIMEDOUT: _LOST,
}


def obstacle(error: BaseException) -> str | None:
    """Explain a system error and what to do about it; None if the error is of another type.

    Examples
    --------
    >>> obstacle(OSError(errno.EROFS, "Read-only file system"))
    'the file system is read-only; choose a writable place'
    >>> obstacle(ValueError("bad"))
    """
    if "already open for write" in str(error):
        return _LEFT_OPEN
    number = getattr(error, "errno", None)
    # HDF5 and safetensors give the number of a system error in their text only.
    if number is None and (match := re.search(r"errno = (\d+)|\(os error (\d+)\)", str(error))):
        number = int(match[1] or match[2])
    return _REASONS.get(number) if number is not None else None


@contextmanager
def naming_obstacles(path: str | Path) -> Iterator[None]:
    """Turn system errors that `obstacle` knows into a `UniversalityError` that names ``path``; others pass.

    Use it inside a handler that takes every error for corruption, and let that handler pass a `UniversalityError`.
    """
    try:
        yield
    except UniversalityError:
        raise
    except Exception as error:  # h5py, zipfile, safetensors and the system raise their own
        if reason := obstacle(error):
            raise UniversalityError(f"{path}: {reason}") from error
        raise


def check_openable(path: Path) -> None:
    """Open a file and close it, for libraries that report every failure to open a file as "no such file".

    Raises
    ------
    UniversalityError
        If something keeps the file from being opened. A missing file raises nothing.
    """
    with naming_obstacles(path), suppress(FileNotFoundError):
        path.open("rb").close()
