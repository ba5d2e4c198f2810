import bz2
import gzip
import json
import lzma
import os
import sys
from pathlib import Path

import pytest

from universality.corpus import read_passages, read_source
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
        ("a.jsonl", b'{"text": "\xff"}', "line 1: expected UTF-8 text, found byte 0xff at offset 10"),
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
    with pytest.raises(CorpusError, match=f"{x}/a.txt: another source holds this file too"):
        read_passages([x, x])
    assert {p.id for p in read_passages(tmp_path)} == {"x/a.txt", "y/a.txt"}
    (y / "a.txt").rename(y / "b.txt")
    assert [p.id for p in read_passages([x, y])] == ["a.txt", "b.txt"]


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
    with pytest.raises(CorpusError, match=r"Parquet needs pyarrow; pip install 'universality\[parquet\]'"):
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
            gzip.compress(b'{"text": "x"}' * 99, mtime=0)[:-12],
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


def test_more_kinds_than_a_store_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universality.corpus.passages.MAX_KINDS", 2)
    path = tmp_path / "a.jsonl"
    path.write_text(lines(*({"text": "x", "kind": k} for k in "aba")))
    assert len(read_passages(path)) == 3
    path.write_text(lines(*({"text": "x", "kind": k} for k in "abc")))
    with pytest.raises(CorpusError, match="line 3: more than 2 kinds, which is all that a feature store can number"):
        read_passages(path)


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone")
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress(b"two"))
    assert [p.text for p in read_passages(tmp_path)] == ["one", "two"]


def test_records_below_a_folder_are_named_by_their_path(tmp_path: Path) -> None:
    for language in ("en", "fr"):
        (tmp_path / language).mkdir()
        (tmp_path / language / "part.jsonl").write_text(lines({"text": language}, {"text": "x", "kind": "own"}))
    found = {p.id: p.kind for p in read_passages(tmp_path)}
    assert found == {
        "en/part.jsonl:1": "en",
        "en/part.jsonl:2": "own",
        "fr/part.jsonl:1": "fr",
        "fr/part.jsonl:2": "own",
    }
    with pytest.raises(CorpusError, match=r"both hold a passage with the id 'part\.jsonl:1'.*give the folder above"):
        read_passages([tmp_path / "en" / "part.jsonl", tmp_path / "fr" / "part.jsonl"])
    (tmp_path / "fr" / "part.jsonl").write_text(lines({"text": "x", "id": "same"}, {"text": "y", "id": "same"}))
    with pytest.raises(CorpusError, match=r"line 2 and .*line 1: two passages have the id 'same'.*Change one"):
        read_passages(tmp_path)


def test_data_without_text_in_a_folder_is_plain_text_and_said(tmp_path: Path) -> None:
    (tmp_path / "package.json").write_text('{"name": "x"}')
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "more.json").write_text('{"text": "one"}')
    reading = read_source(tmp_path)
    assert [p.text for p in reading.passages] == ["one", '{"name": "x"}', "a,b\n1,2\n"]
    assert [note.split(": ")[0] for note in reading.notes] == [str(tmp_path / n) for n in ("package.json", "table.csv")]


def test_a_folder_as_people_have_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside, source = tmp_path / "disk" / "greek", tmp_path / "text"
    for folder in (outside, source / "english", source / ".git", source / ".ipynb_checkpoints"):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text(folder.name)
    (source / "greek").symlink_to(outside)
    (source / "again").symlink_to(source / "english")
    (source / "english" / "loop").symlink_to(source)
    (outside / "up").symlink_to(outside)
    (source / "gone.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(source / "pipe.txt")
    reading = read_source(source)
    assert [(p.id, p.kind) for p in reading.passages] == [("english/a.txt", "english"), ("greek/a.txt", "greek")]
    assert reading.notes == (
        f"{source}: hidden files and folders are not read: .git, .ipynb_checkpoints",
        f"{source}: links to folders that are read elsewhere are not followed: again, english/loop, greek/up",
        f"{source}: broken links and what is neither file nor folder are not read: gone.txt, pipe.txt",
    )
    assert caplog.messages == list(reading.notes)
    with pytest.raises(CorpusError, match=r"pipe\.txt: neither a file nor a folder"):
        read_passages(source / "pipe.txt")


def test_names_that_are_not_utf8_are_refused_readably(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    with pytest.raises(
        CorpusError, match=r"caf\\xe9\.txt: the name of this file or folder is not UTF-8; rename it"
    ) as e:
        read_passages(tmp_path)
    str(e.value).encode()


def test_nothing_behind_max_documents_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines({"text": ""}, {"text": "one"}, {"text": "two"}) + "\nnot JSON")
    assert [p.text for p in read_passages(path, max_documents=2)] == ["one", "two"]
    assert [p.text for p in read_passages([path, tmp_path / "gone"], max_documents=2)] == ["one", "two"]
    with pytest.raises(CorpusError, match="line 4: not JSON"):
        read_passages(path, max_documents=3)


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CorpusError, match="the folder cannot be read: Permission denied; allow it, or move it"):
        read_passages(tmp_path)


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


def test_a_file_that_two_sources_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_text("one")
    with pytest.raises(CorpusError, match=r"a\.txt: another source holds this file too; name it, or the folder above"):
        read_passages([tmp_path, tmp_path / "inner"])


def test_no_documents_at_all_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(CorpusError, match="max_documents: expected at least 1, found -1"):
        read_passages(tmp_path / "a.txt", -1)
