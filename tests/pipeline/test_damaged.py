"""Files of a run that are torn or altered: each says its name and that it is not whole, with no traceback."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from universality.archive import read_arrays
from universality.errors import FormatError
from universality.files import read_json, read_json_lines
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.crosscoder_tables import describe_crosscoder
from universality.pipeline.reporting.terminal_summary import print_summary


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("read", [read_json, read_json_lines])
def test_torn_json_is_named(tmp_path: Path, read: Callable[[Path], Any], content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    if not content and read is read_json_lines:
        assert read(path) == []
        return
    with pytest.raises(FormatError, match=r"a\.json: truncated, or not JSON: .*; delete it and run again"):
        read(path)


def test_json_of_another_sort_and_missing_json_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1]")
    with pytest.raises(FormatError, match=r"a\.json: expected a JSON object, found list"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match=r"b\.json: no such file; run the stage that writes it") as error:
        read_json(tmp_path / "b.json")
    assert error.value.errno is None  # which the command line takes for one of ours


def test_torn_arrays_are_named(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04torn", b"\x93NUMPY"):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(FormatError, match=r"a\.npz: not a whole file of arrays"):
            read_arrays(tmp_path / "a.npz")


def test_what_a_run_reads_of_itself_is_named_where_it_is_torn(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.report.parent.mkdir()
    folder.report.with_name("summary.json").write_text('{"headline": ')
    with pytest.raises(FormatError, match=r"summary\.json: truncated"):
        print_summary(folder)
    home = tmp_path / "crosscoder"
    home.mkdir()
    for name in ("quality", "summary"):
        (home / f"{name}.json").write_text("{}")
    (home / "classes.csv").write_text("")
    with pytest.raises(FormatError, match=r"classes\.csv: truncated or corrupt table"):
        describe_crosscoder(home)
