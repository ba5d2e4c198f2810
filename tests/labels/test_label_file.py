"""Files of labels: what is written is read, and what cannot be right is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from universality.errors import FormatError, MismatchError
from universality.labels import FeatureLabel, LabelWriter, Score, read_labels

NAN = float("nan")
HEADER = {
    "store": "ab" * 32,
    "features": [3, 5, 8],
    "settings": {"seed": 0},
    "explainer": {"name": "m", "settings": {"temperature": 0}},
    "scorer": {"name": "m", "settings": {"temperature": 0}},
}
LABEL = FeatureLabel(
    feature=3,
    explanation="the word “not”, ע and \udcd7",
    outcome="answered",
    density=0.25,
    maximum=9.5,
    top_tokens=(" not", "⏎"),
    scores=(
        Score("simulation", "explanation", -0.5, NAN, NAN, 540, 3),
        Score("detection", "top tokens", 1.0, 0.5, 1.0, 60),
    ),
    answers={"explanation": {"answered": 3, "refused": 1}},
    floors_from={"random explanation": 5},
    explain_rows={"top": (4, 9), "random": ()},
    score_rows={"top": (70,)},
    logit_explanation="days",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    writer = LabelWriter(tmp_path / "labels.jsonl", HEADER)
    writer.append(LABEL)
    writer.append(FeatureLabel(8, "", "silent"))
    return writer.path


def test_what_is_written_is_read(path: Path) -> None:
    found = read_labels(path)
    assert found.header["format"] == "universality.labels"
    assert found.header["version"] == 1
    assert {key: found.header[key] for key in HEADER} == HEADER
    assert repr(found.labels[3]) == repr(LABEL).replace("\\udcd7", "\\\\udcd7")  # UTF-8 has no lone surrogates
    assert found.labels[8] == FeatureLabel(8, "", "silent")
    assert found.missing == (5,)
    frame = found.to_frame()
    assert frame["feature"].tolist() == [3, 3]
    assert frame["value"].tolist() == [-0.5, 1.0]
    assert list(frame.columns) == ["feature", "explanation", "name", "by", "value", "low", "high", "n", "missing"]


def test_it_is_json_without_nan(path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    lines = [json.loads(line, parse_constant=refuse) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[1]["scores"][0]["low"] is None


def test_a_last_line_without_its_end_is_not_there(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert set(read_labels(path).labels) == {3}
    writer = LabelWriter(path, HEADER)
    assert set(writer.earlier) == {3}
    writer.append(FeatureLabel(8, "", "silent"))
    assert path.read_bytes() == whole


@pytest.mark.parametrize("key", ["store", "features", "settings", "explainer", "scorer"])
def test_labels_of_something_else_are_not_continued(path: Path, key: str) -> None:
    with pytest.raises(
        MismatchError, match=f"its labels were made from something else: {key}(.name)? is .* there and .* now"
    ):
        LabelWriter(path, {**HEADER, key: [1] if key == "features" else {"name": "other"}})
    assert set(read_labels(path).labels) == {3, 8}


def test_a_file_without_labels_is_begun_again_whatever_its_header(path: Path) -> None:
    header = path.read_bytes().split(b"\n")[0] + b"\n"
    path.write_bytes(header)
    assert not LabelWriter(path, {**HEADER, "settings": {"seed": 7}}).earlier
    assert read_labels(path).header["settings"] == {"seed": 7}


def change(line: int, edit: Callable[[dict[str, Any]], Any]) -> Callable[[list[str]], list[str]]:
    def apply(lines: list[str]) -> list[str]:
        values = json.loads(lines[line])
        edit(values)
        return [*lines[:line], json.dumps(values), *lines[line + 1 :]]

    return apply


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda lines: [], "expected the header of a file of labels in the first line"),
        (lambda lines: lines[1:], "expected universality.labels version 1, found None"),
        (change(0, lambda v: v.update(version=2)), "version 2"),
        (change(0, lambda v: v.pop("features")), "incomplete, it lacks features"),
        (change(0, lambda v: v.update(features=["a"])), "features must be a list of whole numbers"),
        (change(0, lambda v: v.update(features=[3])), "labels of features that the header does not name: .8."),
        (lambda lines: [*lines, lines[1]], "line 4: a second label of feature 3"),
        (lambda lines: [lines[0], "{" + lines[1]], "line 2: cannot be read as JSON"),
        (lambda lines: [lines[0], "[1]"], "line 2: expected a JSON object, found list"),
        (change(1, lambda v: v.pop("outcome")), "line 2: incomplete, it lacks outcome"),
        (change(1, lambda v: v.update(feature=-1)), "feature must be a whole number from 0"),
        (change(1, lambda v: v["scores"][0].update(value="high")), "value must be a number or null, found 'high'"),
        (change(1, lambda v: v["scores"][1].update(value=7)), "line 2: .*value of detection must .* 0 to 1, found 7"),
        (change(1, lambda v: v["scores"][1].update(value=-0.2)), "detection must be a balanced accuracy, from 0"),
        (change(1, lambda v: v["scores"][0].update(value=-1.5)), "simulation must be a correlation, from -1 to 1"),
        (change(1, lambda v: v.update(density=None)), "line 2: density must be a number from 0 to 1, found None"),
        (change(1, lambda v: v.pop("density")), "line 2: density must be"),
        (change(1, lambda v: v.update(density=1.5)), "density must be a number from 0 to 1, found 1.5"),
        (change(1, lambda v: v["explain_rows"].update(top=[0.5])), "top must be a list of whole numbers"),
        (change(1, lambda v: v["answers"].update(explanation=3)), "explanation must be an object"),
    ],
)
def test_corrupt_files_are_refused(path: Path, edit: Callable[[list[str]], list[str]], message: str) -> None:
    lines = edit(path.read_text(encoding="utf-8").splitlines())
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    with pytest.raises(FormatError, match=message):
        read_labels(path)


def test_a_missing_file_and_an_endless_line(tmp_path: Path) -> None:
    with pytest.raises((FormatError, FileNotFoundError)):
        read_labels(tmp_path / "none.jsonl")
    long = tmp_path / "long.jsonl"
    long.write_bytes(b"[" * (5 * 2**20))
    with pytest.raises(FormatError, match="line 1 is longer than 4,194,304 bytes"):
        read_labels(long)


def test_one_score_by_name(path: Path) -> None:
    found = read_labels(path).labels[3]
    score = found.score("detection", "top tokens")
    assert score is not None
    assert score.n == 60
    assert found.score("detection") is None
