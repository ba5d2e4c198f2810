"""Published explanations of every kind of file are told apart by their contents."""

import json
from pathlib import Path

import pytest

from universality.errors import FormatError
from universality.labels import FeatureLabel, LabelSettings, LabelWriter, read_reported, write_delphi, write_neuronpedia
from universality.labels.label_file import Labels, read_labels

WHO = {"name": "someone", "settings": {}}
HEADER = {
    "store": "0" * 64, "model": {"name": "gpt2"}, "features": [3, 4], "settings": LabelSettings().as_dict(),
    "explainer": WHO, "scorer": WHO,
}  # fmt: skip


@pytest.fixture
def labels(tmp_path: Path) -> Labels:
    writer = LabelWriter(tmp_path / "labels.jsonl", HEADER)
    writer.append(FeatureLabel(3, "days of the week", "answered"))
    writer.append(FeatureLabel(4, "", "refused"))
    return read_labels(tmp_path / "labels.jsonl")


def names(path: Path) -> list[tuple[str, str]]:
    return [(one.name, one.description) for one in read_reported(path)]


def test_lists_of_concepts(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("name,description\nwaltz,music in three-four time\n")
    (tmp_path / "a.jsonl").write_text('\n{"name": "waltz", "description": "music in three-four time"}\n')
    assert names(tmp_path / "a.csv") == names(tmp_path / "a.jsonl") == [("waltz", "music in three-four time")]


def test_labels_of_this_package(labels: Labels, tmp_path: Path) -> None:
    assert names(tmp_path / "labels.jsonl") == [("gpt2/3", "days of the week")]


def test_neuronpedia_and_delphi(labels: Labels, tmp_path: Path) -> None:
    for name in ("export/batch-0.jsonl", "export/batch-1.jsonl.gz"):
        (tmp_path / "export").mkdir(exist_ok=True)
        write_neuronpedia(tmp_path / name, labels, model="gpt2", source="6-res")
    write_delphi(tmp_path / "delphi", labels, module="layers.6", model="gpt2")
    one = ("gpt2/6/res/3", "days of the week")
    assert names(tmp_path / "export" / "batch-0.jsonl") == names(tmp_path / "export" / "batch-1.jsonl.gz") == [one]
    assert names(tmp_path / "export") == [one, (f"{one[0]} (2)", one[1])]
    assert names(tmp_path / "delphi") == [("gpt2/layers.6/3", "days of the week")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]\n", "line 1: expected a JSON object"),
        ('{"index": 3', "line 1: cannot be read"),
        ("", "at least one concept"),
    ],
)
def test_what_is_none_of_these(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(FormatError, match=message):
        read_reported(tmp_path / "a.jsonl")
    with pytest.raises(FormatError, match="no such file or folder of published explanations"):
        read_reported(tmp_path / "none")


def test_a_file_of_labels_of_another_version_is_named(labels: Labels, tmp_path: Path) -> None:
    header = json.loads((tmp_path / "labels.jsonl").read_text().splitlines()[0])
    (tmp_path / "labels.jsonl").write_text(json.dumps(header | {"version": 9}) + "\n")
    with pytest.raises(FormatError, match=r"universality\.labels version 1"):
        read_reported(tmp_path / "labels.jsonl")
