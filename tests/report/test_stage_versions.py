"""A stage that makes other contents under the version that it had would leave old results standing after an upgrade.

``stage_hashes.json`` keeps a hash of what each stage makes, and the version that made it. Where a test here fails
after a change that is meant, raise ``VERSION`` in the stage's module in ``universality/pipeline/stages/`` and record
anew:

    RECORD_STAGE_HASHES=1 python -m pytest tests/report/test_stage_versions.py

Hashes must be those of every processor. Trained weights are not, so of the stages up to ``collect`` they take what is
exact (token ids, splits, documents, names, shapes, steps) from the smoke run, as do those of ``effects``; ``match`` to
``report`` work on stores made by hand, where sums are in float64: numbers are taken to four digits, those kept in
float32 by their form alone.
Of pictures the tables behind them count; of pages the words without numbers.
"""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from universality import FeatureStore
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.pipeline.runner import STAGE_MODULES
from universality.pipeline.stages import run_controls, train_crosscoder
from universality.pipeline.stages.write_exports import make_exports

RECORD = Path(__file__).with_name("stage_hashes.json")
VERSIONS = {stage.STAGE: stage.VERSION for stage in (*STAGE_MODULES, run_controls, train_crosscoder)}
UNTESTED = {"controls", "crosscoder", "map"}
"""The first two take minutes, and are made by the functions of the other stages; a layout amplifies the last digit."""
TRAINED = re.compile(r"loss|quality|explained|l0|alive|density|norm|seconds|per_second|hash|saes$|recovered|mse|device")


def rounded(value: Any) -> Any:
    """JSON with its numbers to four digits; what is below 1e-9 is rounding's."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    if isinstance(value, float) and abs(value) < 1e-9:
        return 0.0
    if isinstance(value, float):
        return float(f"{value:.3e}") if math.isfinite(value) else str(value)
    return value


def form(value: Any) -> Any:
    """JSON without what training decides."""
    if isinstance(value, dict):
        return {
            key: sorted(part) if TRAINED.search(key) and isinstance(part, dict)
            else type(part).__name__ if TRAINED.search(key) else form(part)
            for key, part in sorted(value.items())
        }  # fmt: skip
    if isinstance(value, list):
        return [form(part) for part in value]
    return rounded(value)


def array(values: np.ndarray) -> Any:
    if values.dtype == np.uint8 and values.ndim == 1:  # a header
        return rounded(json.loads(values.tobytes()))
    if values.dtype == np.float32:
        return [values.dtype.str, values.shape, np.isnan(values).sum().item()]
    return [values.dtype.str, values.shape, rounded(values.tolist())]


def text(path: Path) -> str:
    return re.sub(r"-?\d+\.\d+(e-?\d+)?", lambda number: str(rounded(float(number[0]))), path.read_text("utf-8"))


def words(path: Path) -> str:
    """Of a page, without numbers, pictures and style."""
    shown = re.sub(r"<(style|script|svg)\b.*?</\1>|<[^>]*>|[\d,.]*\d|-", " ", path.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(shown.split())


def of_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as file:
        return {name: array(file[name]) for name in sorted(file.files)}


def of_store(path: Path) -> Any:
    with FeatureStore.open(path) as store:
        names = sorted(store._header.checksums)
        return [
            store.tokens_hash,
            store.n_tokens,
            store.n_features,
            store.mantissa_bits,
            sorted(store.provenance),
            names,
        ]


def of_tensors(path: Path) -> Any:
    with safe_open(path, framework="numpy") as file:
        tensors = {name: file.get_slice(name) for name in sorted(file.keys())}
        return {name: [part.get_shape(), part.get_dtype()] for name, part in tensors.items()}


def of_lines(path: Path) -> Any:
    return [form(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


READERS: dict[str, Callable[[Path], Any]] = {
    ".npz": of_npz,
    ".h5": of_store,
    ".safetensors": of_tensors,
    ".json": lambda path: rounded(json.loads(path.read_text("utf-8"))),
    ".jsonl": of_lines,
    ".csv": text,
    ".graphml": text,
    ".gexf": text,
    ".cyjs": text,
    ".html": words,
}
LEFT_OUT = {".png", ".svg", ".parquet", ".js"}  # drawn or packed from what the others say
IN_FORM = ("train-models", "train-saes", "collect", "effects")


def contents(root: Path, stage: str, files: list[Path]) -> Iterator[list[Any]]:
    for path in sorted(files):
        name = re.sub(r"unembedding-\w+", "unembedding", path.relative_to(root).as_posix())
        if path.suffix in LEFT_OUT:
            yield [name]
        elif stage == "effects" and path.suffix == ".json":
            value = json.loads(path.read_text("utf-8"))
            yield [name, sorted(value), *map(sorted, value.get("rows", [])[:1])]
        elif stage in IN_FORM and path.suffix == ".json":
            yield [name, form(json.loads(path.read_text("utf-8")))]
        elif stage in IN_FORM and path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                yield [name, {key: [file[key].dtype.str, file[key].ndim] for key in sorted(file.files)}]
        else:
            yield [name, READERS[path.suffix](path)]


def stamped(root: Path, stage: str) -> list[Path]:
    stamps = (json.loads(path.read_text()) for path in (root / ".done").glob("*.json"))
    return [root / name for stamp in stamps if stamp["task"].split("/")[0] == stage for name in stamp["outputs"]]


@pytest.fixture(scope="module")
def made(finished: Path, planted: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, list[Path]]]:
    """Stage → (folder, files that it made there)."""
    found = {name: (finished, stamped(finished, name)) for name in ("corpus", *IN_FORM)}
    root = tmp_path_factory.mktemp("planted") / "run"
    shutil.copytree(planted[1].root, root, ignore=shutil.ignore_patterns("report", "figures"))
    config, folder = planted[0], RunFolder(root)
    found["match"] = root, [*(root / "matches").glob("*.npz"), *(root / "similarity").glob("*.npz")]
    found["families"] = root, [folder.families(name) for name in config.models.names]
    found["export"] = root, make_exports(config, folder)
    page = report_as_it_is(root)
    found["report"] = root, [page, page.with_name("summary.json"), *(root / "figures").rglob("*.*")]
    return found


def test_every_stage_is_tested_or_named() -> None:
    assert set(json.loads(RECORD.read_text())) == set(VERSIONS) - UNTESTED


@pytest.mark.parametrize("stage", [name for name in VERSIONS if name not in UNTESTED])
def test_contents_change_only_with_the_version(stage: str, made: dict[str, tuple[Path, list[Path]]]) -> None:
    root, files = made[stage]
    assert files
    found = json.dumps(list(contents(root, stage, files)), sort_keys=True)
    now = {"version": VERSIONS[stage], "hash": hashlib.sha256(found.encode()).hexdigest()[:16]}
    kept = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    if os.environ.get("RECORD_STAGE_HASHES"):
        RECORD.write_text(json.dumps(kept | {stage: now}, indent=1, sort_keys=True) + "\n")
        return
    assert kept[stage] == now, (
        f"{stage} makes other contents than were recorded: raise VERSION in its module in universality/pipeline/stages/"
        ", unless that was done since the last release, and record anew as the head of this file says"
    )


def test_a_number_a_name_and_a_version_make_a_difference(planted: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    hashes = set()
    for value in ({"p": 0.12341}, {"p": 0.12342}, {"p": 0.1235}, {"q": 0.12341}, {"p": [0.12341]}, {"p": None}):
        path.write_text(json.dumps(value))
        hashes.add(json.dumps(list(contents(tmp_path, "match", [path]))))
    assert len(hashes) == 5  # the first two differ in the fifth digit alone
