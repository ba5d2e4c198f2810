import json
import lzma
from pathlib import Path

import pytest

from universality.corpus import (
    TextLayout,
    build_common,
    build_corpus,
    load_tokenizer,
    read_passages,
    read_source,
    train_bpe,
)
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


def test_more_kinds_than_a_store_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("universality.corpus.passage.MAX_KINDS", 2)
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


def test_nothing_behind_max_documents_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(lines({"text": ""}, {"text": "one"}, {"text": "two"}) + "\nnot JSON")
    assert [p.text for p in read_passages(path, max_documents=2)] == ["one", "two"]
    assert [p.text for p in read_passages([path, tmp_path / "gone"], max_documents=2)] == ["one", "two"]
    with pytest.raises(CorpusError, match="line 4: not JSON"):
        read_passages(path, max_documents=3)


def test_a_file_that_two_sources_hold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.txt").write_text("one")
    with pytest.raises(CorpusError, match=r"a\.txt: another source holds this file too; name it, or the folder above"):
        read_passages([tmp_path, tmp_path / "inner"])


def test_no_documents_at_all_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one")
    with pytest.raises(CorpusError, match="max_documents: expected at least 1, found -1"):
        read_passages(tmp_path / "a.txt", -1)


STORIES = [f"Story {i}. " + f"The cat of story {i} sat on the mat. " * (40 * i) for i in range(1, 13)]


def test_one_long_file_is_cut_and_works_stay_together(tmp_path: Path) -> None:
    path = tmp_path / "stories.txt"
    path.write_text("<|endoftext|>\n".join(STORIES))
    corpus = build_corpus(path, n_ctx=32, held_out=0.5)
    documents = corpus.blocks.documents
    assert corpus.blocks.flagged_kinds == ()
    assert len(set(documents.group)) == len(STORIES) < len(documents)
    splits = {group: set() for group in documents.group}
    for group, split in zip(documents.group, documents.split, strict=True):
        splits[group].add(split)
    assert all(len(found) == 1 for found in splits.values())  # no work straddles a split
    assert corpus.notes == (f"{path}: cut at the separator '<|endoftext|>' into 12 works",)
    assert [p.id for p in read_passages(path)[:3]] == ["stories.txt:1.1", "stories.txt:2.1", "stories.txt:3.1"]


def test_a_long_file_without_marks_is_one_flagged_work(tmp_path: Path) -> None:
    path = tmp_path / "novel.txt"
    path.write_text("\n\n".join(STORIES))
    corpus = build_corpus(path, n_ctx=32)
    assert set(corpus.blocks.documents.group) == {"novel.txt"}
    assert set(corpus.blocks.documents.split) == {"train", "choose", "report"}
    assert corpus.blocks.flagged_kinds == ("text",)
    assert corpus.notes == (f"{path}: cut into passages of one work, which are split one by one",)
    by_line = build_corpus(path, n_ctx=32, layout=TextLayout(cut="blank_lines"))
    assert by_line.blocks.flagged_kinds == ()
    assert len(set(by_line.blocks.documents.group)) == len(STORIES)
    assert [p.id for p in read_passages(path, layout=TextLayout(cut="whole"))] == ["novel.txt"]


def test_files_among_others_are_cut_on_request_alone(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("\n\n".join(STORIES))
    assert [p.id for p in read_passages(tmp_path)] == ["a.txt", "b.txt"]
    passages = read_passages(tmp_path, layout=TextLayout(cut="passages"))
    assert {p.group for p in passages} == {"a.txt", "b.txt"}
    assert max(len(p.text) for p in passages) <= 4000
    (tmp_path / "a.txt").write_text("x<END>y")
    reading = read_source(tmp_path, layout=TextLayout(separator="<END>"))
    assert [p.group for p in reading.passages][:2] == ["a.txt:1", "a.txt:2"]
    assert reading.notes == (
        f"{tmp_path}/a.txt: cut at the separator '<END>' into 2 works",
        f"{tmp_path}/b.txt: the separator '<END>' is nowhere between two works, so the file is one work",
    )


@pytest.mark.parametrize(
    ("layout", "mark"),
    [(TextLayout(separator="<END>"), "the separator '<END>'"), (TextLayout(cut="headings"), "a heading")],
)
def test_a_mark_that_is_nowhere_is_refused(tmp_path: Path, layout: TextLayout, mark: str) -> None:
    (tmp_path / "a.txt").write_text("\n\n".join(STORIES))
    with pytest.raises(CorpusError, match=rf"a\.txt: {mark} is nowhere between two works, .*; give the right mark"):
        read_passages(tmp_path / "a.txt", layout=layout)


def test_a_budget_reads_the_beginning_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\n\n".join(STORIES).encode() + b"\n" * 70_000 + b"\xff")
    layout = TextLayout(cut="passages")
    corpus = build_corpus(path, n_ctx=32, max_tokens=3000, layout=layout)
    assert 3000 <= corpus.blocks.n_tokens < 3000 + 4000
    assert "cut into passages of one work" in corpus.notes[0]
    common = build_common(
        path, {"a": load_tokenizer("starter"), "b": train_bpe(STORIES, 300)}, n_ctx=32, max_tokens=3000, layout=layout
    )
    assert max(blocks.n_tokens for blocks in common.own.values()) < 3000 + 4000
    with pytest.raises(CorpusError, match="expected UTF-8 text, found byte 0xff at offset"):
        read_passages(path)
