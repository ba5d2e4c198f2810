"""Files of concepts are read, and refused with the line where they cannot be right."""

from collections.abc import Callable
from pathlib import Path

import pytest

from universality.errors import FormatError
from universality.labels import CONCEPTS, Concept, PublishedLabel, PublishedLabels, published_concepts, read_concepts
from universality.labels import concept_lists as module
from universality.report import published_concepts as reported

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def written(name: str, content: str) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
        return path

    return written


def test_both_formats(write: Write) -> None:
    expected = (Concept("waltz", "music in\nthree-four time", "Strauß 1867"), Concept("דג", "fish"))
    lines = (
        '{"name": "waltz", "description": "music in\\nthree-four time", "source": "Strauß 1867", "year": 1867}\n\n'
        '{"name": "דג", "description": " fish ", "source": null}'
    )
    assert read_concepts(write("a.jsonl", lines)) == expected
    table = '\ufeffname,year,description,source\r\nwaltz,1867,"music in\nthree-four time",Strauß 1867\r\nדג,,fish,\r\n'
    assert read_concepts(write("a.csv", table)) == expected


def test_the_shipped_concepts_are_those_of_the_report() -> None:
    assert {concept.name for concept in CONCEPTS} == set(reported.CONCEPTS)
    assert {concept.source for concept in CONCEPTS} == {reported.CITATION}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", r"a.txt: expected a file of concepts that ends in .jsonl or .csv"),
        ("a.csv", "name,text\na,b\n", "expected the columns name and description, it lacks description"),
        ("a.csv", "name,description\na,b\nc\n", "line 3: expected a description, found none"),
        ("a.csv", 'name,description\na,"b\n', "line 2: cannot be read as CSV"),
        ("a.csv", "name,description\n", "expected at least one concept, found none"),
        ("a.csv", "name,description\na,b\na,c\n", "two concepts are named 'a'"),
        ("a.jsonl", '{"name": "a", "description": "b"}\n[1]', "line 2: expected a JSON object, found list"),
        ("a.jsonl", '{"name": "a"', "line 1: cannot be read as JSON"),
        ("a.jsonl", "[" * 100_000, "line 1: cannot be read as JSON"),
        ("a.jsonl", '{"name": 3, "description": "b"}', "line 1: name must be a string, found 3"),
        ("a.jsonl", f'{{"name": "a", "description": "{"b" * 2001}"}}', "a description of 2,001 characters"),
        ("a.jsonl", "\udcff", "expected UTF-8 text"),
    ],
)
def test_what_cannot_be_right_is_refused(write: Write, name: str, content: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_concepts(write(name, content))


def test_missing_and_large_files(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FormatError, match="no such file of concepts"):
        read_concepts(tmp_path / "none.csv")
    monkeypatch.setattr(module, "LARGEST", 10)
    with pytest.raises(FormatError, match="expected at most 10"):
        read_concepts(write("a.csv", "name,description\na,b\n"))


def test_published_labels_as_concepts() -> None:
    twice = PublishedLabel("gpt2-small", "6", "res-jb", 3, "dates", source="x.jsonl: line 1")
    concepts = published_concepts(PublishedLabels((twice, twice, PublishedLabel("", "layers.2", "", 7, "names"))))
    names = [concept.name for concept in concepts]
    assert names == ["gpt2-small/6/res-jb/3", "gpt2-small/6/res-jb/3 (2)", "layers.2/7"]
    assert concepts[0].source == "x.jsonl: line 1"
