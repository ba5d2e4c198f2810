"""Explanations and scores in the format of EleutherAI's delphi: a folder with one small JSON file a feature.

`delphi <https://github.com/EleutherAI/delphi>`_ (``delphi/__main__.py``, ``delphi/log/result_analysis.py``) writes into
``results/NAME``: ``run_config.json`` (``model``, ``sparse_model``, ``explainer_model``, …),
``explanations/MODULE_latentINDEX.txt`` with a JSON string, and ``scores/SCORER/MODULE_latentINDEX.txt`` with a list of
judged examples, of which ``activating`` is the truth and ``prediction`` the scorer's answer, null where there was none.
A ``/`` in the name of a module becomes ``--`` in the names of scores.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from universality.checked_json import Settings
from universality.errors import FormatError, UniversalityError
from universality.files import as_path, write_bytes, write_json
from universality.labels.label_file import Labels
from universality.labels.published import PublishedLabel, PublishedLabels, whole_characters

_PLACEHOLDERS = ("Explanation could not be parsed.", "No explanation found")
"""Texts that delphi's explainers and loaders put in place of an explanation, and whose scores say nothing."""
LARGEST_FILE = 16 * 2**20
"""Largest file in bytes; an explanation has some hundreds, the examples of a score some 100,000."""
_YES = 0.5
"""Least prediction that counts as yes, as in delphi's summary; some scorers write probabilities."""
_NAME = re.compile(r"(?P<module>.+)_latent(?P<index>[0-9]{1,12})\.txt")
_MODULE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{,199}")


def read_delphi(folder: str | Path, *, model: str | None = None, sae: str | None = None) -> PublishedLabels:
    """Read the results of a run of delphi.

    A score is the balanced accuracy over the examples that were judged, as in delphi's own summary.

    Parameters
    ----------
    folder
        Folder of the results, which holds ``explanations``.
    model, sae
        Names of the model and the SAEs; by default those in ``run_config.json``.

    Returns
    -------
    PublishedLabels
        ``left_out`` counts what was not read: links, other files, features without an explanation, scores of another
        form, and examples that the scorer did not judge.

    Raises
    ------
    FormatError
        If there are no explanations, or a file is not of this format.
    """
    folder, left_out = as_path(folder), Counter[str]()
    explanations = folder / "explanations"
    if not explanations.is_dir():
        raise FormatError(f"{folder}: expected the folder of delphi's results, with `explanations` in it, found none")
    config = _config(folder, model, sae)
    scores = _scores(folder / "scores", left_out)
    labels = []
    for module, index, path in _feature_files(explanations, left_out):
        text = _json(path) or ""  # null where an explainer returned nothing
        if not isinstance(text, str):
            raise FormatError(f"{path}: expected a JSON string, found {type(text).__name__}")
        text = whole_characters(text.strip())
        found = scores.pop((module.replace("/", "--"), index), {})
        if not text or text in _PLACEHOLDERS:
            left_out["explanation that delphi could not parse" if text else "explanation without a text"] += 1
            continue
        labels.append(
            PublishedLabel(config["model"], module, config["sae"], index, text, found, config["explainer"], str(path))
        )
    if scores:
        left_out["score of a feature without an explanation"] += len(scores)
    return PublishedLabels(tuple(labels), dict(left_out))


def write_delphi(folder: str | Path, labels: Labels, *, module: str, model: str = "", sae: str = "") -> Path:
    """Write explanations as delphi keeps them, so that its scorers and viewers find them.

    Scores are not written: delphi keeps the judgement of each example, which `Labels` do not hold. Features without an
    explanation are left out.

    Parameters
    ----------
    folder
        Folder of the results, made if there is none. It must hold no explanations.
    labels
        Labels of features.
    module
        delphi's name of the module, such as ``"layers.6.mlp"``.
    model, sae
        Names of the model and the SAEs for ``run_config.json``.

    Raises
    ------
    UniversalityError
        If the module's name cannot be part of a file's name, or the folder holds explanations.
    """
    folder = as_path(folder)
    if not _MODULE.fullmatch(module):
        raise UniversalityError(f"module: expected letters, digits, dots, hyphens and underscores, found {module!r}")
    explanations = folder / "explanations"
    if explanations.exists() and any(explanations.iterdir()):
        raise UniversalityError(f"{explanations}: holds explanations already; choose another folder")
    explanations.mkdir(parents=True, exist_ok=True)
    explainer = labels.header.get("explainer")
    explained_by = str(explainer.get("name", "")) if isinstance(explainer, Mapping) else ""
    for one in labels.labels.values():
        if one.explanation:
            content = json.dumps(one.explanation).encode("ascii")
            write_bytes(explanations / f"{module}_latent{one.feature}.txt", content)
    config = {"model": model, "sparse_model": sae, "hookpoints": [module], "explainer_model": explained_by}
    write_json(folder / "run_config.json", config)
    return folder


def _config(folder: Path, model: str | None, sae: str | None) -> dict[str, str]:
    path = folder / "run_config.json"
    config = Settings.read(path) if path.is_file() else Settings({}, str(path))
    return {
        "model": model or config.text("model", ""),
        "sae": sae or config.text("sparse_model", ""),
        "explainer": config.text("explainer_model", ""),
    }


def _feature_files(folder: Path, left_out: Counter[str]) -> Iterator[tuple[str, int, Path]]:
    """Module, index and path of each file that is named for a feature; links could lead out of the folder."""
    found = []
    for path in folder.iterdir():
        match = _NAME.fullmatch(path.name)
        if path.is_symlink() or not path.is_file():
            left_out["link or folder among the files"] += 1
        elif match is None:
            left_out["file that is not named MODULE_latentINDEX.txt"] += 1
        else:
            found.append((match["module"], int(match["index"]), path))
    return iter(sorted(found))


def _scores(folder: Path, left_out: Counter[str]) -> dict[tuple[str, int], dict[str, float]]:
    scores: dict[tuple[str, int], dict[str, float]] = {}
    scorers = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for scorer in scorers:
        if scorer.is_symlink():
            left_out["link or folder among the files"] += 1
            continue
        for module, index, path in _feature_files(scorer, left_out):
            value = _balanced_accuracy(_json(path), left_out)
            if value is not None:
                scores.setdefault((module, index), {})[scorer.name] = value
    return scores


def _balanced_accuracy(examples: Any, left_out: Counter[str]) -> float | None:
    """Mean of the shares of firing and of silent examples that were judged rightly; None if it cannot be told."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for one in examples if isinstance(examples, list) else [None]:
        judged = one if isinstance(one, dict) else {}
        truth, answer = judged.get("activating"), judged.get("prediction")
        if not isinstance(truth, bool | int) or truth not in (0, 1):
            left_out["score of another form"] += 1
            return None
        if not isinstance(answer, bool | int | float) or not 0 <= answer <= 1:
            left_out["example that the scorer did not judge"] += 1
            continue
        right[bool(truth)].append((answer >= _YES) == bool(truth))
    if not (right[True] and right[False]):
        left_out["score without judged examples of both kinds"] += 1
        return None
    return sum(sum(of_kind) / len(of_kind) for of_kind in right.values()) / 2


def _json(path: Path) -> Any:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise FormatError(f"{path}: {size:,} bytes; expected at most {LARGEST_FILE:,}")
    try:
        return json.loads(path.read_bytes().decode("utf-8"), parse_constant=str)  # NaN: no number
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path}: cannot be read as JSON: {error}") from None
