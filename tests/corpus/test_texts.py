"""Lists, tables and data sets in memory become one file, read back as the same passages."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from universality.corpus import build_corpus, load_tokenizer, read_passages, write_texts
from universality.errors import CorpusError

RECORDS = [
    {"text": 'one, "two"\nthree\u2028four', "kind": "k", "group": "g", "id": "1"},
    {"text": "\u05d0\0", "kind": "text", "group": "texts:1", "id": "texts:1"},
]
CANONICAL = b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in RECORDS)


def dataset() -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_list([RECORDS[0], {"text": RECORDS[1]["text"]}])


@pytest.mark.parametrize(
    "make",
    [
        lambda: [RECORDS[0], RECORDS[1]["text"]],
        lambda: (item for item in [RECORDS[0], {"text": RECORDS[1]["text"], "kind": None, "more": [1]}]),
        lambda: pandas.DataFrame([RECORDS[0], {"text": RECORDS[1]["text"]}]),
        lambda: pandas.DataFrame(
            [RECORDS[0], {"text": RECORDS[1]["text"], "kind": pandas.NA, "id": np.float32("nan")}]
        ),
        dataset,
        lambda: dataset().to_iterable_dataset(),
    ],
    ids=["list", "generator", "pandas", "pandas with NA", "Dataset", "IterableDataset"],
)
def test_every_container_gives_the_same_bytes(tmp_path: Path, make: Callable[[], Any]) -> None:
    path = write_texts(make(), tmp_path / "new" / "texts.jsonl")
    assert path.read_bytes() == CANONICAL
    assert [vars(passage) for passage in read_passages(path)] == RECORDS


def test_columns_of_other_names_and_class_labels(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {"body": datasets.Value("string"), "topic": datasets.ClassLabel(names=["World", "Sports"])}
    )
    made = datasets.Dataset.from_dict({"body": ["a", "b", "c"], "topic": [1, 0, -1]}, features=features)
    path = write_texts(made, tmp_path / "a.jsonl", columns={"text": "body", "kind": "topic"})
    assert [(p.text, p.kind) for p in read_passages(path)] == [("a", "Sports"), ("b", "World"), ("c", "-1")]
    with pytest.raises(CorpusError, match="texts: no column 'text' to read text from; found 'body', 'topic'; name"):
        write_texts(made, tmp_path / "b.jsonl")


def test_a_budget_reads_no_more_than_it_needs(tmp_path: Path) -> None:
    taken: list[int] = []

    def endless() -> Iterator[str]:
        number = 0
        while True:
            taken.append(number)
            yield f"{number:04d} abcdefghijklmno"  # 20 bytes
            number += 1

    path = write_texts(endless(), tmp_path / "a.jsonl", max_tokens=11)
    assert len(taken) == len(read_passages(path)) == 3  # 5 tokens each: 10 are not enough
    tokenizer = load_tokenizer("starter")
    path = write_texts(endless(), tmp_path / "a.jsonl", max_tokens=100, tokenizer=tokenizer)
    counts = [len(ids) for ids in tokenizer.encode([p.text for p in read_passages(path)])]
    assert sum(counts[:-1]) < 100 <= sum(counts)
    assert len(read_passages(write_texts(endless(), tmp_path / "a.jsonl", max_documents=2))) == 2


def test_a_corpus_is_built_from_the_file(tmp_path: Path) -> None:
    texts = [{"text": f"the cat sat on mat {i}. " * 9, "group": f"work {i // 2}"} for i in range(20)]
    corpus = build_corpus(write_texts(texts, tmp_path / "a.jsonl"), n_ctx=16, held_out=0.4)
    split = corpus.blocks.documents.split
    assert set(split) == {"train", "choose", "report"}
    assert split[::2] == split[1::2]  # no work is in two splits
    assert corpus.blocks.flagged_kinds == ()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "texts: expected a list of texts, found one str 'one text'; put it in a list"),
        (
            {"train": ["a"], "test": ["b"]},
            r"a mapping with 'train', 'test'; give one of its values, as texts\['tr",
        ),
        (3, "texts: expected a list of texts, found int"),
        (["a", None], r"texts\[1\]: expected a string or a mapping with a 'text', found NoneType 'None'"),
        (["a", b"b"], r"texts\[1\]: expected a string or a mapping with a 'text', found bytes"),
        (
            ["a", {"body": "b"}],
            r"texts\[1\]: expected an object with a string 'text', found the fields 'body'",
        ),
        (["a", {"text": 7}], r"texts\[1\]: expected an object with a string 'text', found int as text"),
        (["a", {"text": "b", "kind": ["k"]}], r"texts\[1\]: kind: expected text or a number, found list"),
        (["a", "so \ud83d sad"], r"texts\[1\]: text holds half a character, U\+D83D, at character 3"),
        (
            [{"text": "a", "id": 1}, "b", {"text": "c", "id": "1"}],
            r"texts\[2\] and texts\[0\]: two passages have",
        ),
        ([{"text": "a", "group": "a\0"}], r"texts\[0\]: group .* holds a NUL or a lone surrogate"),
        ([], "texts: expected text, found none"),
        (["", {"text": None}], "texts: expected text, found none"),
    ],
)
def test_a_bad_item_is_named_and_nothing_is_written(tmp_path: Path, texts: Any, message: str) -> None:
    (tmp_path / "a.jsonl").write_text("before")
    with pytest.raises(CorpusError, match=message):
        write_texts(texts, tmp_path / "a.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == "before"


def test_settings_that_cannot_work(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"a\.txt: expected a name that ends in \.jsonl"):
        write_texts(["a"], tmp_path / "a.txt")
    with pytest.raises(CorpusError, match=r"columns: expected text, id, kind, group → the name .*, found 'body'"):
        write_texts(["a"], tmp_path / "a.jsonl", columns={"body": "text"})
    with pytest.raises(CorpusError, match=r"texts\[0\]: no column 'lang' to read kind from; found 'text'; name"):
        write_texts([{"text": "a"}], tmp_path / "a.jsonl", columns={"kind": "lang"})
    with pytest.raises(CorpusError, match="max_tokens: expected at least 1, found 0"):
        write_texts(["a"], tmp_path / "a.jsonl", max_tokens=0)
    with pytest.raises(CorpusError, match="max_documents: expected at least 1, found 0"):
        write_texts(["a"], tmp_path / "a.jsonl", max_documents=0)


def test_empty_items_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_texts(["a", "", "\ufeffc"], tmp_path / "a.jsonl")
    assert [(p.id, p.text) for p in read_passages(path)] == [("texts:0", "a"), ("texts:2", "c")]
    assert caplog.messages == ["texts: items without text are left out: 1"]
