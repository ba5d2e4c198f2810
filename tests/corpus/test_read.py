import gzip
import json
import lzma
from pathlib import Path

import pytest

from universality.corpus import read_passages
from universality.errors import CorpusError


def test_starter_corpus_is_what_its_licence_file_says() -> None:
    passages = read_passages("starter")
    assert len(passages) == 7129
    assert sum(len(p.text.encode()) for p in passages) == 20_659_808
    assert {"english", "python", "hebrew", "arabic-script", "dna", "base64"} <= {p.kind for p in passages}


def test_folder_takes_kinds_from_first_folder(tmp_path: Path) -> None:
    (tmp_path / "greek").mkdir()
    (tmp_path / "greek" / "a.txt").write_text("αβγ", encoding="utf-8")
    (tmp_path / "b.txt").write_text("plain", encoding="utf-8")
    found = {p.id: (p.kind, p.text) for p in read_passages(tmp_path)}
    assert found == {"b.txt": ("text", "plain"), "greek/a.txt": ("greek", "αβγ")}


@pytest.mark.parametrize(("name", "opener"), [("a.jsonl", open), ("a.jsonl.gz", gzip.open), ("a.jsonl.xz", lzma.open)])
def test_json_lines_plain_and_compressed(tmp_path: Path, name: str, opener) -> None:
    with opener(tmp_path / name, "wt", encoding="utf-8") as file:
        file.write(
            json.dumps({"text": "one", "kind": "k", "group": "g", "id": 7}) + "\n\n" + json.dumps({"text": "two"})
        )
    first, second = read_passages(tmp_path / name)
    assert (first.id, first.kind, first.group, first.text) == ("7", "k", "g", "one")
    assert (second.kind, second.group) == ("text", second.id)


def test_several_sources_in_order(tmp_path: Path) -> None:
    for name in "ba":
        (tmp_path / f"{name}.txt").write_text(name, encoding="utf-8")
    assert [p.text for p in read_passages([tmp_path / "b.txt", tmp_path / "a.txt"])] == ["b", "a"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\xff\xfe", "expected UTF-8 text, found byte 0xff at offset 0"),
        ("a.txt", b"", "expected text, found none"),
        ("a.jsonl", b'{"text": 1}', "line 1: expected an object with a string 'text'"),
        ("a.jsonl", b'{"text": "x"', "line 1: not JSON"),
        ("a.jsonl", b'{"text": "x", "id": 1}\n{"text": "y", "id": 1}', "two passages have the id '1'"),
        ("a.jsonl.xz", b"no xz", "cannot be read as JSON lines"),
        ("a.jsonl", b'{"text": "\xff"}', "cannot be read as JSON lines"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read_passages(tmp_path / name)


def test_missing_file() -> None:
    with pytest.raises(CorpusError, match="no such file or folder"):
        read_passages("nowhere/at-all.txt")


def test_equal_names_in_two_sources_are_refused_and_one_above_them_tells_them_apart(tmp_path: Path) -> None:
    for inside in "xy":
        (tmp_path / inside).mkdir()
        (tmp_path / inside / "a.txt").write_text(f"text of {inside}", encoding="utf-8")
    x, y = tmp_path / "x", tmp_path / "y"
    message = (
        f"{y} and {x}: both hold a passage with the id 'a.txt'; ids must differ.*give the folder above both as one"
    )
    with pytest.raises(CorpusError, match=message):
        read_passages([x, y])
    with pytest.raises(CorpusError, match=f"{x} and {x}: both hold a passage"):
        read_passages([x, x])
    assert {p.id for p in read_passages(tmp_path)} == {"x/a.txt", "y/a.txt"}
    (y / "a.txt").rename(y / "b.txt")
    assert [p.id for p in read_passages([x, y])] == ["a.txt", "b.txt"]
