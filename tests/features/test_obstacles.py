"""A whole store that cannot be read at the moment is called neither damaged nor torn."""

import errno
import os
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from feature_rows import activations, write

from universality.checked_json import Settings
from universality.errors import FormatError, UniversalityError
from universality.family import Families
from universality.features import FeatureStore
from universality.features.storage.hdf5 import reading
from universality.files import read_json, read_json_lines
from universality.matching import Match
from universality.models.unembedding import Unembedding
from universality.obstacles import naming_obstacles, obstacle
from universality.report.figures.figure_table import load_table

HOLD = """
import h5py, sys
file = h5py.File(sys.argv[1], "r+")
print("open", flush=True)
sys.stdin.read()
"""
READ = """
import os, resource, sys
from universality import FeatureStore
from universality.errors import UniversalityError
if "files" in sys.argv:
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
if "nobody" in sys.argv:
    os.setgid(65534); os.setuid(65534)
try:
    FeatureStore.open(sys.argv[1])
except UniversalityError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    write(path, activations(30)).close()
    return path


def test_a_store_that_another_process_writes_to_is_said_to_be(store: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(UniversalityError, match=r"a\.h5: another process has it open for writing; wait") as error:
            FeatureStore.open(store)
        holder.kill()
    assert not isinstance(error.value, FormatError)
    with pytest.raises(UniversalityError, match=r"has it open or was killed; if none is at work on it, clear") as error:
        FeatureStore.open(store)
    assert not isinstance(error.value, FormatError)


@pytest.mark.parametrize(
    ("why", "message"),
    [
        ("files", "a.h5: this process has too many files open; raise the limit (ulimit -n)"),
        pytest.param(
            "nobody",
            "a.h5: permission denied; ask its owner",
            marks=pytest.mark.skipif(getattr(os, "getuid", lambda: 1)() != 0, reason="only root can become nobody"),
        ),
    ],
)
def test_what_the_system_refuses_is_named(store: Path, why: str, message: str) -> None:
    store.chmod(0o600)
    for folder in store.parents[:4]:  # a worker of pytest-xdist has a folder of its own among them
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & stat.S_ISVTX:
            folder.chmod(0o755)
    command = [sys.executable, "-c", READ, str(store), why]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("UniversalityError "), done.stdout + done.stderr
    assert message in done.stdout
    assert "damaged" not in done.stdout


@pytest.mark.parametrize("value", ["TRUE", "1", "BEST_EFFORT", "FALSE", "0"])
def test_stores_are_written_and_read_whatever_hdf5_is_told_about_locks(tmp_path: Path, value: str) -> None:
    code = (
        "import sys; from feature_rows import activations, write\n"
        "from pathlib import Path\n"
        "for rows in (30, 20):\n"
        "    path = Path(sys.argv[1]); path.unlink(missing_ok=True)\n"
        "    store = write(path, activations(rows)); store.verify()\n"
        "print(store.n_tokens)"
    )
    environment = {**os.environ, "HDF5_USE_FILE_LOCKING": value, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-c", code, str(tmp_path / "a.h5")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.stdout == "20\n", done.stderr
    assert os.listdir(tmp_path) == ["a.h5"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EIO, "Input/output error"), "the disk gave an input/output error"),
        (
            OSError("Can't read data (file read failed: errno = 5)"),
            "the disk gave an input/output",
        ),
        (RuntimeError("unable to lock file, errno = 38, error message = 'x'"), "HDF5_USE_FILE_LOCKING"),
        (ValueError("I/O error: Permission denied (os error 13)"), "permission denied"),  # as safetensors says it
        (OSError(errno.ESTALE, "Stale file handle"), "the network file system lost the connection"),
    ],
)
def test_reasons_are_found_in_numbers_and_in_texts(error: Exception, said: str) -> None:
    with pytest.raises(UniversalityError, match=said) as found, reading(Path("x.h5"), "by_token"):
        raise error
    assert not isinstance(found.value, FormatError)


def test_damage_is_no_obstacle() -> None:
    for error in (OSError("truncated file"), KeyError("x"), OSError(errno.EINVAL, "Invalid argument")):
        assert obstacle(error) is None
        with pytest.raises(FormatError, match="truncated or corrupt"), reading(Path("x.h5"), "by_token"):
            raise error
    with pytest.raises(FormatError, match="mine"), naming_obstacles("x"):
        raise FormatError("mine")


READERS = {
    "a.npz": Match.load,
    "b.json": Families.load,
    "c.json": read_json,
    "d.jsonl": read_json_lines,
    "e.csv": load_table,
    "f.safetensors": Unembedding.load,
    "g.json": Settings.read,
}


@pytest.mark.parametrize("name", READERS)
def test_every_reader_of_ours_names_too_many_open_files(tmp_path: Path, name: str) -> None:
    import resource

    path = tmp_path / name
    path.write_bytes(b"\0torn")
    with suppress(FormatError):
        READERS[name](path)  # imports what it needs
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        with pytest.raises(UniversalityError, match="too many files open") as error:
            READERS[name](path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not isinstance(error.value, FormatError)
