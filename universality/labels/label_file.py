"""Files of labels: explanations of features, their scores and what they were made from, as JSON lines.

The format ``universality.labels``, version 1, is UTF-8 text with one JSON object a line, each line ended by a newline.
docs/labels.md specifies it. Lines are appended as features are finished. An interrupted run leaves a shorter file, and
perhaps a last line without its newline, which readers ignore and the next run overwrites.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from universality.checked_json import Settings
from universality.errors import FormatError, MismatchError
from universality.files import as_path, write_bytes
from universality.labels.scoring import SIMULATIONS, Score
from universality.obstacles import check_openable

FORMAT, VERSION = "universality.labels", 1
_SHOWN = 100  # characters of a value in a message
_ROUNDING = 1e-6
"""Excess over its range that a score may have by rounding."""
_LONGEST_LINE = 4 * 2**20
"""Longest line in bytes; real ones have some thousands."""


@dataclass(frozen=True)
class FeatureLabel:
    """Explanation of one feature, and how well it predicts the feature.

    Parameters
    ----------
    feature
        Index in the store.
    explanation
        Text; empty if there is none.
    outcome
        ``"answered"``, ``"cut off"``, ``"refused"``, ``"malformed"`` or ``"failed"``; ``"silent"`` for a feature that
        does not fire in the half that explains, for which nothing was asked.
    problem
        Reason, if the explainer's answer failed.
    density
        Share of the store's tokens on which the feature fires.
    maximum
        Strongest activation in the half that explains.
    top_tokens
        Visible strings of the tokens that hold most of its activation.
    scores
        Scores of the explanation, of floors and of baselines.
    answers
        Scorer's answers by predictor and by what became of them. Those about logits are under the predictor's name with
        ``", logit tokens"``.
    floors_from
        Features whose explanations are the floors, by floor.
    explain_rows, score_rows
        Rows of the store by group of examples. With the store and the settings, they give the examples again.
    logit_explanation
        Explanation from the tokens that the feature raises; empty if there is none.
    """

    feature: int
    explanation: str
    outcome: str
    problem: str = ""
    density: float = 0.0
    maximum: float = 0.0
    top_tokens: tuple[str, ...] = ()
    scores: tuple[Score, ...] = ()
    answers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    floors_from: Mapping[str, int] = field(default_factory=dict)
    explain_rows: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    score_rows: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    logit_explanation: str = ""

    @property
    def failed(self) -> bool:
        """Whether an answer failed to come, so that asking again may help."""
        return self.outcome == "failed" or any(counts.get("failed") for counts in self.answers.values())

    def score(self, name: str, by: str = "explanation") -> Score | None:
        """Return one score; None if it was not measured."""
        return next((one for one in self.scores if (one.name, one.by) == (name, by)), None)


@dataclass(frozen=True)
class Labels:
    """Labels of a store's features.

    Parameters
    ----------
    header
        Format, version, and what the labels were made from.
    labels
        Labels by feature.
    """

    header: Mapping[str, Any]
    labels: Mapping[int, FeatureLabel]

    @property
    def missing(self) -> tuple[int, ...]:
        """Features that the run was to label and has not."""
        return tuple(feature for feature in self.header["features"] if feature not in self.labels)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a score: feature, explanation, and the fields of `Score`."""
        rows = [
            {"feature": one.feature, "explanation": one.explanation, **asdict(score)}
            for one in self.labels.values()
            for score in one.scores
        ]
        columns = ["feature", "explanation", *Score.__dataclass_fields__]
        return pd.DataFrame(rows, columns=columns)


class LabelWriter:
    """Appends labels to a file, after those that an earlier run left there.

    Labels for which an answer failed to come are taken out of the file, so that they are made again. A file without any
    label is begun again.

    Parameters
    ----------
    path
        Name of the file.
    header
        What the labels are made from; see `Labels.header`.

    Raises
    ------
    MismatchError
        If the file holds labels made from something else.
    FormatError
        If it holds something else.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Any]) -> None:
        self.path = as_path(path)
        try:
            self.earlier: Mapping[int, FeatureLabel] = earlier_labels(self.path, header)
        except MismatchError as error:
            raise MismatchError(f"{error}; choose another file, or delete it to begin again") from None
        if self.earlier:
            _keep(self.path, set(self.earlier))
        else:
            write_bytes(self.path, _encoded(_whole(header)))

    def append(self, label: FeatureLabel) -> None:
        """Write one label; it is on the disk's queue when the call returns."""
        with self.path.open("ab") as file:
            file.write(_encoded(asdict(label)))


def earlier_labels(path: str | Path, header: Mapping[str, Any]) -> dict[int, FeatureLabel]:
    """Read the labels that need not be made again: those without a failed answer; none where there is no file.

    Parameters
    ----------
    path
        Name of the file.
    header
        What labels are to be made from now; see `Labels.header`.

    Raises
    ------
    MismatchError
        If the file holds labels made from something else.
    FormatError
        If it holds something else.
    """
    path = as_path(path)
    if not path.exists():
        return {}
    earlier = read_labels(path)
    if earlier.labels:  # there are none if an earlier run was stopped before its first answer
        _check_same(path, earlier.header, _whole(header))
    return {feature: one for feature, one in earlier.labels.items() if not one.failed}


def _whole(header: Mapping[str, Any]) -> dict[str, Any]:
    return {"format": FORMAT, "version": VERSION, **header}


def read_labels(path: str | Path) -> Labels:
    """Read a file of labels, complete or not.

    Raises
    ------
    FormatError
        If it is missing, of another format or version, corrupt, or contradicts itself.
    """
    path = as_path(path)
    check_openable(path)
    header: Settings | None = None
    labels: dict[int, FeatureLabel] = {}
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_LONGEST_LINE):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) >= _LONGEST_LINE:
                    raise FormatError(f"{path}: line {number} is longer than {_LONGEST_LINE:,} bytes")
                break  # an interrupted run's last line
            values = _parsed(line, f"{path}: line {number}")
            if header is None:
                header = _checked_header(values)
                continue
            label = _label(values)
            if label.feature in labels:
                raise FormatError(f"{values.where}: a second label of feature {label.feature}")
            labels[label.feature] = label
    if header is None:
        raise FormatError(f"{path}: expected the header of a file of labels in the first line, found none")
    wanted = set(header.values["features"])
    strange = sorted(labels.keys() - wanted)
    if strange:
        raise FormatError(f"{path}: labels of features that the header does not name: {strange[:5]}")
    return Labels(header.values, labels)


def _parsed(line: bytes, where: str) -> Settings:
    try:
        values = json.loads(line.decode("utf-8"), parse_constant=str)  # NaN: no number
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise FormatError(f"{where}: expected a JSON object, found {type(values).__name__}")
    return Settings(values, where)


def _checked_header(header: Settings) -> Settings:
    if header.text("format", "") != FORMAT or header.values.get("version") != VERSION:
        raise FormatError(
            f"{header.where}: expected {FORMAT} version {VERSION}, found {header.values.get('format')!r} "
            f"version {header.values.get('version')!r}"
        )
    header.text("store")
    header.require("features")
    header.integers("features")
    for name in ("settings", "explainer", "scorer"):
        header.section(name)
    return header


def _label(line: Settings) -> FeatureLabel:
    return FeatureLabel(
        feature=line.count("feature"),
        explanation=line.text("explanation"),
        outcome=line.text("outcome"),
        problem=line.text("problem", ""),
        density=_density(line),
        maximum=line.real("maximum"),
        top_tokens=line.texts("top_tokens"),
        scores=tuple(_score(one) for one in line.sections("scores")),
        answers={by: _counts(line.section("answers").section(by)) for by in line.section("answers").values},
        floors_from=_counts(line.section("floors_from")),
        explain_rows=_rows(line.section("explain_rows")),
        score_rows=_rows(line.section("score_rows")),
        logit_explanation=line.text("logit_explanation", ""),
    )


def _density(line: Settings) -> float:
    density = line.real("density")
    if not 0 <= density <= 1:
        raise FormatError(
            f"{line.where}: density must be a number from 0 to 1, found {_shortened(line.values.get('density'))}"
        )
    return density


def _score(one: Settings) -> Score:
    name, value = one.text("name"), one.real("value")
    least, kind = (-1, "a correlation") if name in SIMULATIONS else (0, "a balanced accuracy")
    if not (math.isnan(value) or least - _ROUNDING <= value <= 1 + _ROUNDING):
        raise FormatError(
            f"{one.where}: value of {_shortened(name)} must be {kind}, from {least} to 1, found {value:g}"
        )
    return Score(
        name,
        one.text("by"),
        value,
        one.real("low"),
        one.real("high"),
        one.count("n"),
        one.count("missing"),
    )


def _counts(section: Settings) -> dict[str, int]:
    return {key: section.count(key) for key in section.values}


def _rows(section: Settings) -> dict[str, tuple[int, ...]]:
    return {key: section.integers(key) for key in section.values}


def _encoded(value: Any) -> bytes:
    return (json.dumps(_plain(value), ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")


def _plain(value: Any) -> Any:
    """Replace NaN by null, which JSON has, and lone surrogates by escapes, which UTF-8 lacks."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _check_same(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    name, there, now = _difference(found, _plain(wanted))
    if name:
        raise MismatchError(
            f"{path}: its labels were made from something else: {name} is {_shortened(there)} there and "
            f"{_shortened(now)} now"
        )


def _difference(found: Any, wanted: Any) -> tuple[str, Any, Any]:
    """Name of the first entry in which two headers differ, such as ``settings.seed``, and its values."""
    if not (isinstance(found, Mapping) and isinstance(wanted, Mapping)):
        return "", found, wanted
    for key in (*wanted, *found):
        if found.get(key) != wanted.get(key):
            name, *values = _difference(found.get(key), wanted.get(key))
            return (f"{key}.{name}" if name else key), *values
    return "", None, None


def _shortened(value: Any) -> str:
    text = str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _keep(path: Path, features: set[int]) -> None:
    """Keep the header and the labels of some features; a last line that was not written to its end goes as well."""
    content = path.read_bytes()
    header, *lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
    kept = b"".join([header, *(line for line in lines if json.loads(line)["feature"] in features)])
    if kept != content:
        write_bytes(path, kept)
