"""A file that is written under another name and renamed only when it is complete."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import h5py

from universality.errors import FormatError
from universality.locks import take_lock
from universality.obstacles import naming_obstacles


class UnfinishedFile:
    """An HDF5 file under a temporary name, ``NAME.unfinished`` in the same folder.

    The name is fixed, so the next attempt overwrites what a killed process left. A lock on the empty file ``NAME.lock``
    beside it, which ends with its process, keeps two writers apart. The lock is not on the file itself, since HDF5 may
    lock that one too: the environment variable HDF5_USE_FILE_LOCKING has the last word there.

    Parameters
    ----------
    path
        The name that the file gets when it is complete.

    Raises
    ------
    FileNotFoundError
        When the folder does not exist.
    FormatError
        When another writer is at work on the same name.
    """

    def __init__(self, path: Path) -> None:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; create it first")
        self._path = path
        self._temporary = path.with_name(path.name + ".unfinished")
        self._lock_path = path.with_name(path.name + ".lock")
        self._lock = _locked(self._lock_path, path)
        try:
            # HDF5 1.10's layout carries checksums in its own tables too.
            with naming_obstacles(self._temporary):
                self.file = h5py.File(self._temporary, "w", libver=("v110", "v110"), locking=False)
        except BaseException:
            self._unlock()
            raise
        self.file.attrs["complete"] = False

    def complete(self, scratch: Path) -> None:
        """Mark the file complete, rename it, and delete ``scratch``, in this order."""
        self.file.flush()  # all contents before the mark: a file with the mark is whole
        self.file.attrs["complete"] = True
        self.file.close()
        _sync(self._temporary)  # on the disk before the name, or a power cut could leave the name on an empty file
        os.replace(self._temporary, self._path)
        scratch.unlink(missing_ok=True)  # after the rename: killed in between, nothing needs it and nothing is lost
        _sync(self._path.parent)
        self._unlock()

    def remove(self) -> None:
        """Delete the file; the lock is released last, so that no other writer's file is deleted."""
        # On a full disk HDF5 could not flush what it holds, and would crash at exit: give it room first.
        with suppress(FileNotFoundError):
            os.truncate(self._temporary, 0)
        with suppress(OSError, RuntimeError):  # whatever is wrong with it, the file goes
            self.file.close()
        self._temporary.unlink(missing_ok=True)
        self._unlock()

    def _unlock(self) -> None:
        self._lock_path.unlink(missing_ok=True)
        os.close(self._lock)


def _locked(path: Path, store: Path) -> int:
    """Open the file ``path``, created if missing, and take the lock of a store on it; return the descriptor."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not take_lock(descriptor, path):
            os.close(descriptor)
            raise FormatError(f"{store}: another writer is at work on it; wait for it, or choose another name")
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last owner removed it between open and lock: this lock guards nothing, try again


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    """Flush a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
