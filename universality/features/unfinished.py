"""A file that is written beside its place and takes it only when it is complete."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import h5py

from universality.errors import FormatError

try:
    import fcntl
except ImportError:  # Windows: two writers of one name are then not told apart
    fcntl = None  # type: ignore[assignment]


class UnfinishedFile:
    """An HDF5 file under a temporary name, ``NAME.unfinished`` in the same folder.

    The name is fixed, so what a killed process left is overwritten by the next attempt; a lock, which dies with
    its process, keeps two writers apart.

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
            raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist; make it first")
        self._path = path
        self._temporary = path.with_name(path.name + ".unfinished")
        self._lock = _locked(self._temporary)
        # HDF5 1.10's layout carries checksums in its own tables too; h5py's locks would collide with ours.
        self.file = h5py.File(self._temporary, "w", libver=("v110", "v110"), locking=False)
        self.file.attrs["complete"] = False

    def complete(self, scratch: Path) -> None:
        """Mark the file complete, the last thing that is written, give it its name, and delete ``scratch``."""
        self.file.flush()
        self.file.attrs["complete"] = True
        self.file.close()
        _sync(self._temporary)
        os.replace(self._temporary, self._path)
        scratch.unlink(missing_ok=True)
        _sync(self._path.parent)
        os.close(self._lock)

    def remove(self) -> None:
        """Delete what was written; the lock goes last, so that no other writer's file is deleted."""
        # On a full disk HDF5 could not flush what it holds, and would crash at exit: give it room first.
        os.ftruncate(self._lock, 0)
        with suppress(OSError, RuntimeError):  # whatever is wrong with it, the file goes
            self.file.close()
        self._temporary.unlink(missing_ok=True)
        os.close(self._lock)


def _locked(path: Path) -> int:
    """Descriptor of the file ``path``, made if missing, on which this process holds the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if fcntl is None:
            return descriptor
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise FormatError(f"{path}: another writer is at work on it; wait for it, or choose another name") from None
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last owner renamed or removed it in between


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _sync(path: Path) -> None:
    """Bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
