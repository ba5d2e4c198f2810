"""Files are written whole or not at all, and read with their faults named."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from universality.errors import FormatError
from universality.files import (
    as_path,
    expand_home,
    read_json,
    read_json_lines,
    read_json_value,
    replacing,
    replacing_text,
    write_bytes,
    write_json,
)


def halfway(path: Path) -> None:
    with replacing(path) as partial:
        partial.write_bytes(b"half")
        raise KeyError


def halfway_in_text(path: Path) -> None:
    with replacing_text(path) as file:
        file.write("half")
        raise KeyError


@pytest.mark.parametrize("write", [halfway, halfway_in_text])
def test_a_block_that_raises_leaves_what_stood_there(write: Callable[[Path], None], tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "new" / "a.bin", b"old")
    for target in (path, path.with_name("b")):
        with pytest.raises(KeyError):
            write(target)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["a.bin"]


def test_a_block_that_ends_replaces(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a", b"old")
    with replacing(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    write_json(path, {"b": "é", "a": [1]})
    assert path.read_bytes() == '{\n "a": [\n  1\n ],\n "b": "é"\n}\n'.encode()
    with replacing_text(path) as file:
        file.write("one\r\ntwo\n")
    assert path.read_bytes() == b"one\r\ntwo\n"
    assert os.listdir(tmp_path) == ["a"]


def test_a_block_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "a", b"old")
    with pytest.raises(FileNotFoundError), replacing(path):
        pass
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_the_process_s(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        path = write_bytes(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": ["é", None]})
    assert read_json(tmp_path / "a.json") == {"a": ["é", None]}
    (tmp_path / "lines").write_text('{"step": 1}\n[2]\n')
    assert read_json_lines(tmp_path / "lines") == [{"step": 1}, [2]]


def test_json_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(FormatError, match=r"a\.json: truncated, or not JSON: .*; delete it"):
        read_json_value(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(FormatError, match=r"a\.json: expected a JSON object, found list"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match=r"b\.json: no such file; run the stage that writes it"):
        read_json_value(tmp_path / "b.json")


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_home("~/a") == f"{tmp_path}/a"
    assert as_path("~/a") == tmp_path / "a"
    assert as_path("b") == Path("b")
