"""Exports of Neuronpedia: all their forms are read, ours are read back, and hostile files are refused."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from universality.errors import FormatError, UniversalityError
from universality.labels import FeatureLabel, Labels, Score, neuronpedia_labels, read_neuronpedia, write_neuronpedia

LINE = {
    "id": "cm1",
    "modelId": "gemma-2-2b",
    "layer": "20-gemmascope-res-16k",
    "index": "10956",
    "authorId": "cl",
    "description": "references to dates",
    "embedding": "[0.1,0.2]",
    "typeName": "oai_token-act-pair",
    "explanationModelName": "gpt-4o-mini",
}


def line(**changed: Any) -> str:
    return json.dumps({**LINE, **changed}) + "\n"


def test_a_folder_of_compressed_batches(tmp_path: Path) -> None:
    for batch, index in ((10, "3"), (2, 2), (0, "1")):
        content = line(index=index) + "\n" + line(index=index, description=" ")
        (tmp_path / f"batch-{batch}.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    (tmp_path / "release.json").write_text("{}")
    published = read_neuronpedia(tmp_path)
    assert [label.feature for label in published.labels] == [1, 2, 3]
    label = published.labels[0]
    assert (label.model, label.site, label.sae) == ("gemma-2-2b", "20", "gemmascope-res-16k")
    assert (label.explanation, label.explainer) == ("references to dates", "gpt-4o-mini")
    assert label.source == f"{tmp_path / 'batch-0.jsonl.gz'}: line 1"
    assert published.left_out == {
        "explanation without a text": 3,
        **{f"field '{name}' not used": 6 for name in ("id", "authorId", "embedding")},
    }


def test_lists_and_nested_scores(tmp_path: Path) -> None:
    scores = [
        {"value": 0.8, "explanationScoreTypeName": "eleuther_fuzz", "explanationScoreModelName": "haiku"},
        {"value": None, "explanationScoreTypeName": "eleuther_recall", "explanationScoreModelName": "haiku"},
    ]
    nested = [{"description": "dates", "explanationModelName": "a", "scores": scores}, {"description": "years"}]
    feature = {"modelId": "m", "layer": "6", "index": 4, "maxActApprox": 3.0, "explanations": nested}
    for name, content in (("a.jsonl", json.dumps(feature)), ("b.json", json.dumps(feature))):
        (tmp_path / name).write_text(content)
        published = read_neuronpedia(tmp_path / name)
        assert [label.explanation for label in published.labels] == ["dates", "years"]
        assert [(label.site, label.sae, label.feature) for label in published.labels] == [("6", "", 4)] * 2
        assert published.labels[0].scores == {"eleuther_fuzz by haiku": 0.8}
        assert published.left_out == {"field 'maxActApprox' not used": 1, "score without a value": 1}
    (tmp_path / "old.json").write_text(f"[{line()}, {line(index='7')}]")
    assert [label.feature for label in read_neuronpedia(tmp_path / "old.json").labels] == [10956, 7]


LABELS = Labels(
    {"features": [1, 2, 5], "explainer": {"name": "llama3.2"}},
    {
        1: FeatureLabel(
            1,
            "dates, ע and \udcd7",
            "answered",
            scores=(
                Score("detection", "explanation", 0.75, 0.6, 0.9, 60),
                Score("detection", "random explanation", 0.5, 0.4, 0.6, 60),
                Score("fuzzing", "explanation", float("nan"), 0, 0, 0),
            ),
        ),
        2: FeatureLabel(2, "", "silent"),
        5: FeatureLabel(5, "names", "answered"),
    },
)


@pytest.mark.parametrize("name", ["x.jsonl", "new/x.jsonl.gz"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    path = write_neuronpedia(tmp_path / name, LABELS, model="gpt2-small", source="6-mine")
    found = read_neuronpedia(path)
    assert [(one.feature, one.explanation) for one in found.labels] == [(1, "dates, ע and \\udcd7"), (5, "names")]
    assert {(one.model, one.site, one.sae, one.explainer) for one in found.labels} == {
        ("gpt2-small", "6", "mine", "llama3.2")
    }
    assert found.labels[0].scores == {"universality detection": 0.75}
    assert found.left_out == {}
    first = path.read_bytes()
    assert write_neuronpedia(path, LABELS, model="gpt2-small", source="6-mine").read_bytes() == first


def test_a_source_without_a_layer_is_refused(tmp_path: Path) -> None:
    for source in ("res-jb", "6", "6-", ""):
        with pytest.raises(UniversalityError, match="expected a layer's number, a hyphen and a name"):
            write_neuronpedia(tmp_path / "x.jsonl", LABELS, model="m", source=source)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (line() + "{", "line 2: cannot be read as JSON"),
        (line() + "[" * 100_000, "line 2: cannot be read as JSON"),
        (line() + "3", "line 2: expected a JSON object, found int"),
        (line(index=-1), "line 1: index must be a whole number"),
        (line(index="1e3"), "line 1: index must be a whole number"),
        (line(index="٣"), "line 1: index must be a whole number"),
        (line(index="9" * 40), "line 1: index must be a whole number"),
        (line(index=True), "line 1: index must be a whole number"),
        (line(modelId=None), "line 1: incomplete, it lacks modelId"),
        (line(layer=6), "line 1: layer must be a string"),
        (line(description=["a"]), "line 1: description must be a string"),
        (line(description="a" * 70_000), "line 1: an explanation of 70,000 characters"),
        (line(scores="0.5"), "line 1: scores must be a list of objects"),
        (line(explanations=[3]), "line 1: explanations must be a list of objects"),
        (line(scores=[{"value": "high", "explanationScoreTypeName": "a"}]), "value must be a number or null"),
    ],
)
def test_hostile_lines_are_refused_with_their_number(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(content)
    with pytest.raises(FormatError, match=message):
        read_neuronpedia(path)


def test_hostile_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = gzip.compress("".join(line(index=i) for i in range(2000)).encode())
    for content in (whole[:-100], whole[:200] + b"\0" * 50 + whole[250:], b"plain"):
        (tmp_path / "a.jsonl.gz").write_bytes(content)
        with pytest.raises(FormatError, match=r"a.jsonl.gz: line \d+: (truncated or corrupt|cannot be read)"):
            read_neuronpedia(tmp_path / "a.jsonl.gz")
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(b"[1]")[:-4])
    with pytest.raises(FormatError, match=r"b.json.gz: truncated or corrupt"):
        read_neuronpedia(tmp_path / "b.json.gz")
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b" " * (neuronpedia_labels.LONGEST_LINE + 1)))
    with pytest.raises(FormatError, match="line 1 is longer than 4,194,304 bytes"):
        read_neuronpedia(tmp_path / "c.jsonl.gz")
    with pytest.raises(FormatError, match="no such file"):
        read_neuronpedia(tmp_path / "d.jsonl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match=r"expected files .jsonl or .jsonl.gz"):
        read_neuronpedia(tmp_path / "empty")
    (tmp_path / "e.jsonl").write_text(line() * 3)
    monkeypatch.setattr(neuronpedia_labels, "MOST_LABELS", 2)
    with pytest.raises(FormatError, match="line 3: more than 2 explanations"):
        read_neuronpedia(tmp_path / "e.jsonl")
    monkeypatch.setattr(neuronpedia_labels, "LARGEST_LIST", 20)
    (tmp_path / "f.json").write_text(f"[{line()}]")
    with pytest.raises(FormatError, match="a list of more than 20 bytes"):
        read_neuronpedia(tmp_path / "f.json")
