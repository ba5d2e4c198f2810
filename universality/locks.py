"""Locks between processes, on file systems that have them.

Many clusters mount Lustre or NFS without ``flock``, and Windows has none: work goes on there without it.
"""

import errno
import os
import warnings
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two processes at one place are then not told apart
    fcntl = None  # type: ignore[assignment]

_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES)  # EACCES: NFS, which makes flock a lock of a range of bytes


def take_lock(descriptor: int, path: Path) -> bool:
    """Lock an open file for this process alone; the lock goes with the descriptor, however the process ends.

    Parameters
    ----------
    descriptor
        Open for writing: NFS refuses others.
    path
        Its name, for the warning.

    Returns
    -------
    bool
        False where another process holds the lock. True too where the file system has no locks, which is said once.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno == errno.EBADF:  # ours, not the file system's
            raise
        _warn_once(path.parent.resolve(), os.strerror(error.errno or 0))
    return True


def _warn_once(folder: Path, reason: str) -> None:
    if not _warned:  # a process works on one mount, as a rule
        _warned.append(True)
        warnings.warn(
            f"{folder}: this file system has no locks ({reason}); going on without: nothing keeps two processes apart "
            "there, so start one at a time",
            RuntimeWarning,
            stacklevel=4,
        )


_warned: list[bool] = []
