"""Locks where there are some, and work that goes on where there are none."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from universality.locks import take_lock

# Makes flock fail as Lustre mounted without -o flock, NFS without lockd, and others do.
WITHOUT = """
import fcntl, os, sys, warnings
from pathlib import Path
import numpy as np
from scipy import sparse

def flock(descriptor, operation):
    raise OSError(int(sys.argv[2]), os.strerror(int(sys.argv[2])))
fcntl.flock = flock

from universality import FeatureStore
from universality.pipeline.runner import alone_in
folder = Path(sys.argv[1])
with alone_in(folder):
    for name in ("a.h5", "b.h5"):
        writer = FeatureStore.create(folder / name, 4, {})
        writer.append(sparse.csr_matrix(np.eye(4)), token=[0] * 4, document=[0] * 4, position=[1] * 4, kind=["x"] * 4)
        with writer.finish() as store:
            store.verify()
print(sorted(path.name for path in folder.iterdir()))
"""


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, 524, errno.EIO])
def test_without_locks_runs_and_stores_are_made_and_it_is_said_once(tmp_path: Path, code: int) -> None:
    command = [sys.executable, "-c", WITHOUT, str(tmp_path), str(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "['.lock', 'a.h5', 'b.h5']\n", done.stderr
    assert done.stderr.count("this file system has no locks") == 1
    assert str(tmp_path) in done.stderr


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
