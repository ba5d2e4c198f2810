"""Published concepts of any file that the package reads: lists of concepts, labels, Neuronpedia's and delphi's files.

What a file is follows from its contents, since several kinds of it end in ``.jsonl``.
"""

from __future__ import annotations

import json
from pathlib import Path

from universality.errors import FormatError
from universality.files import as_path
from universality.labels.concept_lists import Concept, check_concepts, published_concepts, read_concepts
from universality.labels.delphi_labels import read_delphi
from universality.labels.label_file import FORMAT, Labels, read_labels
from universality.labels.neuronpedia_labels import read_neuronpedia
from universality.obstacles import check_openable

_LONGEST_LINE = 4 * 2**20


def read_reported(path: str | Path) -> tuple[Concept, ...]:
    """Read published concepts.

    Parameters
    ----------
    path
        A list of concepts (``.csv`` or ``.jsonl``, see `read_concepts`), labels of this package (``.jsonl``), an export
        of Neuronpedia (a file, or a folder of its batches), or a folder of delphi's results.

    Raises
    ------
    FormatError
        If the file is missing or of none of these kinds, or a line of it cannot be read; names the line.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> line = '{"modelId": "gpt2-small", "layer": "6-res-jb", "index": "204", "description": "time-related phrases"}'
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "batch-0.jsonl")
    ...     _ = path.write_text(line)
    ...     [(one.name, one.description) for one in read_reported(path)]
    [('gpt2-small/6/res-jb/204', 'time-related phrases')]
    """
    path = as_path(path)
    concepts = _read(path)
    check_concepts(concepts, str(path))
    return concepts


def _read(path: Path) -> tuple[Concept, ...]:
    if path.is_dir():
        return published_concepts(read_delphi(path) if (path / "explanations").is_dir() else read_neuronpedia(path))
    if not path.is_file():
        raise FormatError(f"{path}: no such file or folder of published explanations")
    if path.suffix == ".csv":
        return read_concepts(path)
    first = _first_object(path) if path.suffix == ".jsonl" else {}
    if first.get("format") == FORMAT:
        return labelled_concepts(read_labels(path), str(path))
    return read_concepts(path) if "name" in first else published_concepts(read_neuronpedia(path))


def labelled_concepts(labels: Labels, source: str = "") -> tuple[Concept, ...]:
    """Take labels as concepts, named by their model and feature.

    Examples
    --------
    >>> from universality.labels.label_file import FeatureLabel
    >>> labels = {7: FeatureLabel(7, "days of the week", "answered"), 9: FeatureLabel(9, "", "refused")}
    >>> labelled_concepts(Labels({"model": {"name": "gpt2"}}, labels))
    (Concept(name='gpt2/7', description='days of the week', source=''),)
    """
    model = labels.header.get("model")
    name = str(model.get("name") or "") if isinstance(model, dict) else str(model or "")
    return tuple(
        Concept("/".join(filter(None, (name, str(feature)))), one.explanation, source)
        for feature, one in sorted(labels.labels.items())
        if one.explanation
    )


def _first_object(path: Path) -> dict[str, object]:
    """Return the object in the first line that holds anything; empty if it is none."""
    check_openable(path)
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE):
            if line.strip():
                try:
                    value = json.loads(line.decode("utf-8-sig"))
                except (ValueError, RecursionError):
                    return {}
                return value if isinstance(value, dict) else {}
    return {}
