"""A writer that was killed at any moment resumes from what it committed, and ends in the same contents."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from feature_rows import activations, token_columns, write
from numpy.testing import assert_array_equal

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, MismatchError
from universality.features import FeatureStore, FeatureWriter
from universality.features.storage import writer as writer_module

N, BATCH = 400, 20
MATRIX, COLUMNS = activations(N), token_columns(N)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    with write(tmp_path_factory.mktemp("whole") / "a.h5", MATRIX) as store:
        return store.content_hash()


@pytest.fixture(autouse=True)
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "BUFFER", 300)  # about three batches


def begin(path: Path, resume: bool = True, **changed: Any) -> FeatureWriter:
    given: dict[str, Any] = {"n_features": 12, "provenance": {"seed": 1}} | changed
    return FeatureStore.create(path, resume=resume, **given)


def batches(start: int, stop: int = N) -> Iterator[tuple[Any, dict[str, Any]]]:
    for first in range(start, stop, BATCH):
        part = slice(first, min(stop, first + BATCH))
        yield MATRIX[part], {name: column[part] for name, column in COLUMNS.items()}


def fill(writer: FeatureWriter, stop: int = N) -> FeatureWriter:
    for rows, columns in batches(writer.n_tokens, stop):
        writer.append(rows, **columns)
    return writer


def leave(path: Path, stop: int = N) -> Path:
    """What a writer leaves that is stopped after ``stop`` rows; the name of its segments."""
    with suppress(KeyboardInterrupt), begin(path) as writer:
        fill(writer, stop)
        raise KeyboardInterrupt
    return path.with_name(path.name + ".segments")


def finish(path: Path, expected: str) -> int:
    """Resume and finish; the rows that were found."""
    with begin(path) as writer:
        found = writer.n_tokens
        fill(writer)
    with FeatureStore.open(path) as store:
        store.verify()
        assert store.content_hash() == expected
    assert [left.name for left in path.parent.iterdir()] == [path.name]
    return found


def test_a_stopped_writer_resumes_to_the_same_contents(tmp_path: Path, expected: str) -> None:
    path = tmp_path / "a.h5"
    leave(path, 100)
    leave(path, 260)  # stopped, resumed and stopped again
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5.segments"]
    with pytest.raises(FileNotFoundError, match=r"a\.h5\.segments was left by a writer .*create.* resumes"):
        FeatureStore.open(path)
    assert 200 < finish(path, expected) < 260


def test_killed_at_any_moment(tmp_path: Path, expected: str) -> None:
    """SIGKILL at random moments, over and over, until an attempt gets to its end; in a few worlds."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("kill_writers.py"), tmp_path],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    worlds = json.loads(done.stdout)
    assert {world["hash"] for world in worlds} == {expected}
    found = [n for world in worlds for n in world["resumed_at"]]
    assert any(0 < n < N for n in found), "no kill fell between two commits"
    for world in worlds:
        assert world["resumed_at"] == sorted(world["resumed_at"]), "a commit was lost"


def test_a_record_torn_anywhere_is_dropped(tmp_path: Path, expected: str) -> None:
    left = leave(tmp_path / "a.h5")
    whole = left.read_bytes()
    found = []
    for place in [*range(0, len(whole), len(whole) // 20), len(whole) - 1, len(whole)]:
        left.write_bytes(whole[:place])
        found.append(finish(tmp_path / "a.h5", expected))
        (tmp_path / "a.h5").unlink()
    assert found[0] == 0
    assert found == sorted(found)
    assert len(set(found)) > 5


def test_a_flipped_bit_in_a_segment_drops_it_and_what_follows(tmp_path: Path, expected: str) -> None:
    left = leave(tmp_path / "a.h5")
    whole = left.read_bytes()
    found = []
    for place in range(len(whole) // 13, len(whole), len(whole) // 13):
        content = bytearray(whole)
        content[place] ^= 16
        left.write_bytes(content)
        found.append(finish(tmp_path / "a.h5", expected))
        (tmp_path / "a.h5").unlink()
    assert found == sorted(found)
    assert found[-1] < N


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "provenance": ({"provenance": {"seed": 2}}, r"begun for another store: provenance \{'seed': 1\} \(now \{'seed': 2"),
    "width": ({"n_features": 13}, r"n_features 12 \(now 13\); resume with what it was begun for, or pass resume=False"),
    "rounding": ({"mantissa_bits": 9}, r"mantissa_bits 23 \(now 9\)"),
    "documents": ({"documents": DocumentTable(("a",), ("k",), ("g",), ("train",))}, "another store: documents None"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_another_store_is_not_resumed_and_nothing_is_lost(tmp_path: Path, expected: str, name: str) -> None:
    path = tmp_path / "a.h5"
    before = leave(path).read_bytes()
    changed, message = OTHERS[name]
    with pytest.raises(MismatchError, match=message):
        begin(path, **changed)
    assert path.with_name("a.h5.segments").read_bytes() == before
    assert finish(path, expected) > 0


def test_another_store_is_begun_anew_where_it_may_be_overwritten(tmp_path: Path) -> None:
    leave(tmp_path / "a.h5")
    with begin(tmp_path / "a.h5", provenance={"seed": 2}, overwrite=True) as writer:
        assert writer.n_tokens == 0
        fill(writer)
    leave(tmp_path / "b.h5")
    with begin(tmp_path / "b.h5", overwrite=True) as writer:
        assert writer.n_tokens > 0
        fill(writer)


def test_documents_that_are_given_are_resumed(tmp_path: Path) -> None:
    n = len(set(COLUMNS["document"]))
    table = DocumentTable(tuple(map(str, range(n))), ("k",) * n, ("g",) * n, ("train",) * n)
    path = tmp_path / "a.h5"
    with suppress(KeyboardInterrupt), begin(path, documents=table) as writer:
        fill(writer, 200)
        raise KeyboardInterrupt
    with begin(path, documents=table) as writer:
        assert writer.n_tokens > 100
        fill(writer)
    with FeatureStore.open(path) as store:
        assert store.documents == table
        assert_array_equal(store.csr().toarray(), MATRIX.toarray())


def test_without_resume_nothing_is_taken_or_left(tmp_path: Path, expected: str) -> None:
    path = tmp_path / "a.h5"
    leave(path)
    with suppress(KeyboardInterrupt), begin(path, resume=False) as writer:
        assert writer.n_tokens == 0
        fill(writer, 200)
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())
    assert finish(path, expected) == 0  # resume=True where there is nothing begins anew


def test_discard_removes_committed_rows(tmp_path: Path) -> None:
    fill(begin(tmp_path / "a.h5")).discard()
    assert not list(tmp_path.iterdir())


def test_a_finished_store_is_not_resumed(tmp_path: Path, expected: str) -> None:
    finish(tmp_path / "a.h5", expected)
    with pytest.raises(FileExistsError, match="exists already"):
        begin(tmp_path / "a.h5")


def test_two_writers_do_not_resume_at_once(tmp_path: Path) -> None:
    leave(tmp_path / "a.h5")
    with begin(tmp_path / "a.h5") as writer:
        with pytest.raises(FormatError, match="another writer is at work on it"):
            begin(tmp_path / "a.h5")
        fill(writer)
