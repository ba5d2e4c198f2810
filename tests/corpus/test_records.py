"""Records of every format are read alike, and damaged ones are refused with their place."""

import bz2
import gzip
import json
import lzma
import sys
from pathlib import Path

import pytest

from universality.corpus import TextLayout, read_passages, read_source
from universality.corpus.records import read_pieces, read_text
from universality.errors import CorpusError, MissingExtraError


@pytest.mark.parametrize(("name", "opener"), [("a.jsonl", open), ("a.jsonl.gz", gzip.open), ("a.jsonl.xz", lzma.open)])
def test_json_lines_plain_and_compressed(tmp_path: Path, name: str, opener) -> None:
    with opener(tmp_path / name, "wt", encoding="utf-8") as file:
        file.write(
            json.dumps({"text": "one", "kind": "k", "group": "g", "id": 7}) + "\n\n" + json.dumps({"text": "two"})
        )
    first, second = read_passages(tmp_path / name)
    assert (first.id, first.kind, first.group, first.text) == ("7", "k", "g", "one")
    assert (second.kind, second.group) == ("text", second.id)


def lines(*records: dict[str, object]) -> str:
    return "\n".join(json.dumps(record) for record in records)


@pytest.mark.parametrize("nothing", [None, float("nan"), "", "  "])
@pytest.mark.parametrize("field", ["id", "kind", "group"])
def test_what_holds_nothing_is_absent(tmp_path: Path, field: str, nothing: object) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines(*({"text": f"t{i}", "group": "w", "kind": "k", field: nothing} for i in range(3))))
    found = read_passages(path)
    assert len({p.id for p in found}) == 3
    assert {p.kind for p in found} == {"text" if field == "kind" else "k"}
    assert {p.group for p in found} == ({p.id for p in found} if field == "group" else {"w"})
    path.write_text(lines(*({"text": f"t{i}", field: f"None{i}"} for i in range(3))))  # control: a name that is text
    assert {getattr(p, field) for p in read_passages(path)} == {"None0", "None1", "None2"}


RECORDS = [{"text": 'one, "two"\nthree', "kind": "k", "group": "g", "id": "1"}, {"text": "null"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.JSONL", lines(*RECORDS).encode()),
        ("a.ndjson", b"\xef\xbb\xbf" + lines(*RECORDS).encode()),
        ("a.jsonl", json.dumps(RECORDS).encode()),
        ("a.json", json.dumps(RECORDS, indent=1).encode()),
        ("a.json", lines(*RECORDS).encode()),
        ("a.Json.GZ", gzip.compress(json.dumps(RECORDS).encode(), mtime=0)),
        ("a.jsonl.bz2", bz2.compress(lines(*RECORDS).encode())),
        ("a.csv", b'\xef\xbb\xbfid,text,kind,group\r\n1,"one, ""two""\nthree",k,g\r\n,null,,\r\n'),
        ("a.tsv", b'text\tid\tkind\tgroup\n"one, ""two""\nthree"\t1\tk\tg\nnull\t\t\t\n'),
    ],
)
def test_records_of_every_format(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    first, second = read_passages(tmp_path / name)
    assert (first.id, first.kind, first.group, first.text) == ("1", "k", "g", 'one, "two"\nthree')
    assert (second.id, second.kind, second.group, second.text) == (f"{name}:2", "text", second.id, "null")


def test_parquet_with_and_without_its_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.parquet"
    frame = pandas.DataFrame({"text": ["one", "two", None], "group": [1.0, None, 2.0], "other": [[1], [2], [3]]})
    frame.to_parquet(path)
    assert [(p.id, p.group, p.text) for p in read_passages(path)] == [
        ("a.parquet:1", "1.0", "one"),
        ("a.parquet:2", "a.parquet:2", "two"),
    ]
    assert read_source(path).notes == (f"{path}: passages without text are left out: 1",)
    frame.rename(columns={"text": "body"}).to_parquet(path)
    with pytest.raises(CorpusError, match=r"expected a column 'text' .*found 'body', 'group', 'other'; rename"):
        read_passages(path)
    path.write_bytes(b"PAR1")
    with pytest.raises(CorpusError, match=r"a\.parquet: cannot be read as Parquet"):
        read_passages(path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"Parquet needs pyarrow, .* run pip install 'universality\[parquet\]'"):
        read_passages(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.jsonl",
            b'\n{"text": "so \\ud83d sad"}',
            r"a\.jsonl, line 2: text holds half a character, U\+D83D, at",
        ),
        ("a.jsonl", b'{"text": "x", "kind": "a\\u0000b"}', r"line 1: kind 'a\\x00b' holds a NUL or a lone surrogate"),
        ("a.jsonl", b'{"text": "x", "group": "\\udc80"}', "line 1: group .* holds a NUL or a lone surrogate"),
        (
            "a.jsonl",
            lines({"text": "x", "id": "i" * 5000}).encode(),
            "line 1: id 'i+'… has 5000 characters",
        ),
        ("a.jsonl", b'{"text": "x", "more": ' + b"[" * 100_000, "line 1: nested too deeply to be read"),
        ("a.jsonl", b'{"text": "x", "n": ' + b"9" * 5000 + b"}", "line 1: holds a number of thousands of digits"),
        ("a.jsonl", b'{"text": "x", "kind": ["k"]}', "line 1: kind: expected text or a number, found list"),
        ("a.jsonl", b'{"text": "x"}\n[1]', r"line 2: expected an object with a string 'text', found b'\[1\]'"),
        ("a.jsonl", b'{"body": "x"}', "expected an object with a string 'text', found the fields 'body'"),
        ("a.json", b"[1]", r"a\.json, record 1: expected an object with a string 'text', found int '1'"),
        (
            "a.jsonl.gz",
            gzip.compress(b'{"text": "x"}' * 9, mtime=0)[:-12],
            r"a\.jsonl\.gz: cannot be read as JSON lines",
        ),
        ("a.csv", b"body,kind\nx,y\n", "expected a column 'text' .*found 'body', 'kind'; rename the one"),
        (
            "a.csv",
            b"text,kind\nx,y,z\n",
            "line 2: more cells than the 2 columns; put a text with commas in double quotes",
        ),
        ("a.csv", b'text\n"x" y\n', "after line 1: not CSV"),
        ("a.csv", b"text\n\xe9\n", "expected UTF-8 text, found byte 0xe9; save the table as UTF-8"),
        ("a.txt", "wide".encode("utf-16-le"), "found NUL at every other byte: probably UTF-16"),
        ("a.txt", "wide".encode("utf-16"), "it is probably UTF-16; save it as UTF-8"),
        ("a.docx", b"PK\x03\x04\xff", r"a\.docx: expected UTF-8 text.*it is a ZIP archive"),
        ("a.npy", b"\x93NUMPY", r"it is an array of NumPy; token ids are read where a \.npy is the only"),
    ],
)
def test_what_cannot_be_used_later_is_refused_with_its_place(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read_passages(tmp_path / name)


def test_a_field_or_column_given_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one", "text": "two"}')
    with pytest.raises(CorpusError, match=r"line 1: a field is given twice, found 'text', 'text'; leave one out"):
        read_passages(tmp_path / "a.jsonl")
    (tmp_path / "a.csv").write_text("text,kind,kind\none,a,b\n")
    with pytest.raises(CorpusError, match="the column 'kind' is there twice; leave one out"):
        read_passages(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("text;kind\none;a\n")
    with pytest.raises(CorpusError, match="expected commas between columns, found 'text;kind'; save it with commas"):
        read_passages(tmp_path / "b.csv")


COLUMNS = {"text": "body", "kind": "lang"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines({"body": "one", "lang": "k", "text": "no", "id": 7}).encode()),
        ("a.json", json.dumps([{"body": "one", "lang": "k", "text": "no", "id": 7}]).encode()),
        ("a.csv", b"id,body,lang,text\n7,one,k,no\n"),
        ("a.tsv", b"body\tlang\ttext\tid\none\tk\tno\t7\n"),
    ],
)
def test_columns_of_other_names(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    (found,) = read_passages(tmp_path / name, layout=TextLayout(columns=COLUMNS))
    assert (found.id, found.kind, found.text) == ("7", "k", "one")
    assert read_passages(tmp_path / name)[0].text == "no"  # control: without the setting another column is read
    with pytest.raises(CorpusError, match=r"no column 'author' to read group from; found .*'body'.*name the right one"):
        read_passages(tmp_path / name, layout=TextLayout(columns={"group": "author"}))


def test_parquet_reads_the_named_columns_alone(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "a.parquet"
    pandas.DataFrame({"body": ["one", "two"], "lang": ["k", None], "text": [[1], [2]]}).to_parquet(path)
    found = read_passages(path, layout=TextLayout(columns=COLUMNS))
    assert [(p.text, p.kind) for p in found] == [("one", "k"), ("two", "text")]
    with pytest.raises(CorpusError, match=r"a\.parquet: no column 'content' to read text from; found 'body', 'lang'"):
        read_passages(path, layout=TextLayout(columns={"text": "content"}))


def test_a_long_text_is_read_in_pieces_like_a_whole_one(tmp_path: Path) -> None:
    text = "".join("é\u05d0\U0001f600"[i % 3] * (i % 50_000) + "\r\n" * (i % 2) for i in range(1, 60_000, 7_919))
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + text.encode(), mtime=0))
    pieces = list(read_pieces(tmp_path / "a.txt.gz"))
    assert "".join(pieces) == text
    assert all("\n" not in piece[:-1] for piece in pieces)
    assert max(map(len, pieces)) < 3 << 16
    for damage in (b"\xff", b"\xf0\x9f", "\U0001f600".encode()[:3] + b"a"):
        (tmp_path / "b.txt").write_bytes(b"a" * 65_535 + b"\xc3\xa9" * 70_000 + damage)
        messages = []
        for read in (read_text, lambda path: list(read_pieces(path))):
            with pytest.raises(CorpusError) as caught:
                read(tmp_path / "b.txt")
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
