"""Locks between processes, on file systems that support them.

Many clusters mount Lustre or NFS without ``flock``, and Windows has none: the program then works without locks.
"""

import errno
import os
import warnings
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two processes in one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)  # EACCES: NFS, which makes flock a lock of a range of bytes


def take_lock(descriptor: int, path: Path) -> bool:
    """Lock an open file exclusively; the lock is released with the descriptor, however the process ends.

    Parameters
    ----------
    descriptor
        File descriptor, open for writing: NFS locks no others.
    path
        Name of the file, for the warning.

    Returns
    -------
    bool
        False if another process holds the lock; True otherwise, also on a file system without locks (with a warning,
        once per process).
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno == errno.EBADF:  # a closed descriptor is a bug of ours
            raise
        _warn_once(path.parent.resolve(), os.strerror(error.errno or 0))
    return True


def is_locked(path: Path) -> bool:
    """Tell whether another process holds the lock of a file; False without such a file or without locks."""
    if fcntl is None or not path.is_file():
        return False
    with path.open("rb") as file:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in _HELD
    return False


def _warn_once(folder: Path, reason: str) -> None:
    if not _warned:  # once, since a process usually works on one mount
        _warned.append(True)
        warnings.warn(
            f"{folder}: this file system has no locks ({reason}); continuing without: nothing keeps two processes "
            "apart there, so run one at a time",
            RuntimeWarning,
            stacklevel=4,
        )


_warned: list[bool] = []
