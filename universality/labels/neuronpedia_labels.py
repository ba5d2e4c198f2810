"""Explanations in the format of Neuronpedia's exports: JSON lines, one explanation a line.

The public exports hold ``v1/MODEL/SOURCE/explanations/batch-0.jsonl.gz``, … (`Neuronpedia, Exports
<https://docs.neuronpedia.org/api-and-data/exports>`_). A line has ``modelId`` (``"gpt2-small"``), ``layer``
(``"6-res-jb"``: the number of the layer, then the set of SAEs), ``index`` (a string of digits or a number),
``description``, ``explanationModelName``, ``typeName``, and fields that are of no use here, such as an ``embedding``.
Files of scores nest: a line has the feature, and ``explanations``, each with ``scores`` of
``explanationScoreTypeName``, ``explanationScoreModelName`` and ``value``; the answer of the address
``/api/feature/MODEL/SOURCE/INDEX`` is such an object. Earlier exports were one JSON list of explanations. All are read.
"""

from __future__ import annotations

import gzip
import io
import json
import math
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from universality.checked_json import Settings
from universality.errors import FormatError, UniversalityError
from universality.files import as_path, write_bytes
from universality.labels.label_file import Labels
from universality.labels.published import PublishedLabel, PublishedLabels, whole_characters
from universality.obstacles import check_openable

LONGEST_LINE = 4 * 2**20
"""Longest line in bytes; explanations with their embeddings have some 10,000."""
LARGEST_LIST = 2**28
"""Largest file in bytes that holds one JSON list, which is read at once."""
MOST_LABELS = 2**24
"""Most explanations of one call, so that a small compressed file cannot fill the memory."""
LONGEST_TEXT = 2**16
"""Longest explanation in characters."""
_USED = frozenset({"modelId", "layer", "index", "description", "explanationModelName", "typeName", "scores"})


def read_neuronpedia(path: str | Path) -> PublishedLabels:
    """Read an export of Neuronpedia.

    Parameters
    ----------
    path
        A file of JSON lines (``.jsonl``, with ``.gz`` if compressed), a ``.json`` file with one list or one feature, or
        a folder of such files.

    Returns
    -------
    PublishedLabels
        ``left_out`` counts the fields that are not used and the explanations without a text.

    Raises
    ------
    FormatError
        If there is no such file, or a line is not of this format; names the line.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> line = (
    ...     '{"modelId": "gpt2-small", "layer": "6-res-jb", "index": "204", "description": "time-related phrases", '
    ...     '"explanationModelName": "gpt-4o-mini", "embedding": "[0.0, 1.0]"}'
    ... )
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, "batch-0.jsonl").write_text(line)
    ...     published = read_neuronpedia(folder)
    >>> label = published.labels[0]
    >>> label.model, label.site, label.sae, label.feature, label.explanation
    ('gpt2-small', '6', 'res-jb', 204, 'time-related phrases')
    >>> published.left_out
    {"field 'embedding' not used": 1}
    """
    path, left_out = as_path(path), Counter[str]()
    labels: list[PublishedLabel] = []
    for file in _files(path):
        for one in _objects(file):
            labels += _labels(one, left_out)
            if len(labels) > MOST_LABELS:
                raise FormatError(f"{one.where}: more than {MOST_LABELS:,} explanations; read fewer files at a time")
    return PublishedLabels(tuple(labels), dict(left_out))


def write_neuronpedia(path: str | Path, labels: Labels, *, model: str, source: str) -> Path:
    """Write labels as JSON lines that Neuronpedia's importers and `read_neuronpedia` read.

    Features without an explanation are left out. Scores are those of the explanation, named
    ``"universality detection"`` and so on: they are measured on other examples than Neuronpedia's.

    Parameters
    ----------
    path
        Name of the file, compressed if it ends in ``.gz``. An existing file is replaced.
    labels
        Labels of features.
    model
        Name of the model in Neuronpedia.
    source
        Name of the SAE there: the layer's number, a hyphen and the set of SAEs, such as ``"6-res-jb"``.

    Raises
    ------
    UniversalityError
        If the source is not of that form.
    """
    layer, hyphen, name = source.partition("-")
    if not (layer.isdecimal() and hyphen and name):
        raise UniversalityError(f"source: expected a layer's number, a hyphen and a name (6-res-jb), found {source!r}")
    explainer = labels.header.get("explainer")
    explained_by = str(explainer.get("name", "")) if isinstance(explainer, Mapping) else ""
    lines = []
    for one in labels.labels.values():
        if one.explanation:
            scores = [
                {"explanationScoreTypeName": f"universality {score.name}", "value": score.value}
                for score in one.scores
                if score.by == "explanation" and not math.isnan(score.value)
            ]
            line = {
                "modelId": model,
                "layer": source,
                "index": str(one.feature),
                "description": one.explanation,
                "explanationModelName": explained_by,
                "typeName": "universality",
                "scores": scores,
            }
            lines.append(json.dumps(line) + "\n")  # ASCII, so that lone surrogates pass
    content = "".join(lines).encode("ascii")
    return write_bytes(path, gzip.compress(content, mtime=0) if str(path).endswith(".gz") else content)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(one for one in path.iterdir() if one.name.endswith((".jsonl", ".jsonl.gz")) and one.is_file())
        if not files:
            raise FormatError(f"{path}: expected files .jsonl or .jsonl.gz, as in an export's folder, found none")
        return sorted(files, key=lambda one: (len(one.name), one.name))  # batch-2 before batch-10
    if not path.is_file():
        raise FormatError(f"{path}: no such file; give an export of Neuronpedia, or a folder of its batches")
    return [path]


def _objects(path: Path) -> Iterator[Settings]:
    """JSON objects of one file, each with its place."""
    check_openable(path)
    if path.name.endswith((".json", ".json.gz")):
        with _opened(path) as file:
            yield from _listed(path, _bounded(path, file))
        return
    with _opened(path) as file:
        for number, line in enumerate(_lines(path, file), 1):
            if line.strip():
                where = f"{path}: line {number}"
                yield _object(_json(line, where), where)


def _opened(path: Path) -> IO[bytes]:
    return io.BufferedReader(gzip.open(path, "rb")) if path.name.endswith(".gz") else path.open("rb")


def _lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    number = 0
    while True:
        number += 1
        try:
            line = file.readline(LONGEST_LINE + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise FormatError(f"{path}: line {number}: truncated or corrupt: {error}; download it again") from None
        if not line:
            return
        if len(line) > LONGEST_LINE:
            raise FormatError(f"{path}: line {number} is longer than {LONGEST_LINE:,} bytes")
        yield line


def _bounded(path: Path, file: IO[bytes]) -> bytes:
    try:
        content = file.read(LARGEST_LIST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise FormatError(f"{path}: truncated or corrupt: {error}; download it again") from None
    if len(content) > LARGEST_LIST:
        raise FormatError(f"{path}: a list of more than {LARGEST_LIST:,} bytes; use the exports in JSON lines")
    return content


def _listed(path: Path, content: bytes) -> Iterator[Settings]:
    value = _json(content, str(path))
    for number, one in enumerate(value if isinstance(value, list) else [value], 1):
        yield _object(one, f"{path}: item {number}")


def _json(content: bytes, where: str) -> Any:
    try:
        return json.loads(content.decode("utf-8"), parse_constant=str)  # NaN: no number
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{where}: cannot be read as JSON: {error}") from None


def _object(value: Any, where: str) -> Settings:
    if not isinstance(value, dict):
        raise FormatError(f"{where}: expected a JSON object, found {type(value).__name__}")
    return Settings(value, where)


def _labels(one: Settings, left_out: Counter[str]) -> Iterator[PublishedLabel]:
    """Explanations of one object: its own, or those that it nests."""
    if "explanations" not in one:
        yield from _label(one, one, left_out)
        return
    _count_fields(one, left_out, _USED | {"explanations"})
    for nested in one.sections("explanations"):
        yield from _label(one, nested, left_out)


def _label(feature: Settings, one: Settings, left_out: Counter[str]) -> Iterator[PublishedLabel]:
    _count_fields(one, left_out, _USED)
    text = whole_characters(one.text("description", "").strip())
    if len(text) > LONGEST_TEXT:
        raise FormatError(f"{one.where}: an explanation of {len(text):,} characters; expected at most {LONGEST_TEXT:,}")
    if not text:
        left_out["explanation without a text"] += 1
        return
    site, _, sae = feature.text("layer").partition("-")
    yield PublishedLabel(
        model=feature.text("modelId"),
        site=site,
        sae=sae,
        feature=_index(feature),
        explanation=text,
        scores=_scores(one, left_out),
        explainer=one.text("explanationModelName", ""),
        source=one.where,
    )


def _count_fields(one: Settings, left_out: Counter[str], used: frozenset[str]) -> None:
    for name in one.values.keys() - used:
        shown = name if len(name) <= 40 else f"{name[:37]}..."
        left_out[f"field {shown!r} not used"] += 1


def _index(one: Settings) -> int:
    value = one.values.get("index")
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 12:
        return int(value)
    return one.count("index")


def _scores(one: Settings, left_out: Counter[str]) -> dict[str, float]:
    """Last value of each scorer; several of one kind are told apart by the scoring model."""
    scores: dict[str, float] = {}
    for score in one.sections("scores") if "scores" in one else ():
        value = score.real("value")
        if math.isnan(value):
            left_out["score without a value"] += 1
            continue
        kind, by = score.text("explanationScoreTypeName"), score.text("explanationScoreModelName", "")
        scores[f"{kind} by {by}" if by else kind] = value
    return scores
