"""Locks where the file system has them, and work that continues where it has none."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from universality import FeatureStore, locks
from universality.locks import is_locked, take_lock
from universality.pipeline.runner import alone_in


def write_two_stores(folder: Path) -> None:
    with alone_in(folder):
        for name in ("a.h5", "b.h5"):
            writer = FeatureStore.create(folder / name, 4, {})
            writer.append(
                sparse.csr_matrix(np.eye(4)), token=[0] * 4, document=[0] * 4, position=[1] * 4, kind=["x"] * 4
            )
            with writer.finish() as store:
                store.verify()


# Errors of flock on Lustre mounted without -o flock, NFS without lockd, and others.
@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, 524, errno.EIO])
def test_without_locks_runs_and_stores_are_written_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(locks, "_warned", [])
    with pytest.warns(RuntimeWarning) as warned:
        write_two_stores(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "a.h5", "b.h5"]
    (message,) = [str(warning.message) for warning in warned]
    assert message.startswith(f"{tmp_path}: this file system has no locks ({os.strerror(code)})")


def test_a_lock_is_held_until_its_file_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with path.open("w") as first, path.open("w") as second:
        assert take_lock(first.fileno(), path)
        assert not take_lock(second.fileno(), path)
        first.close()
        assert take_lock(second.fileno(), path)


def test_a_closed_file_is_no_file_system_without_locks(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        number = file.fileno()
    with pytest.raises(OSError, match="Bad file descriptor"):
        take_lock(number, tmp_path / "lock")


def test_a_lock_is_seen_without_being_taken(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert not is_locked(path)
    with path.open("a") as file:
        assert not is_locked(path)
        assert take_lock(file.fileno(), path)
        assert is_locked(path)
    assert not is_locked(path)
