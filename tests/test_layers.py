"""Data flows left to right: a module imports only from its left, and heavy libraries stay behind their borders."""

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import universality

PACKAGE = Path(universality.__file__).parent
LAYERS = (
    (
        "arrays",
        "compiled",
        "config_errors",
        "errors",
        "formatting",
        "heap",
        "locks",
        "notebook_card",
        "progress",
        "unique_yaml",
        "visible_tokens",
    ),
    ("checked_settings", "devices", "extras", "obstacles", "shipped_configs"),
    ("execution", "files"),
    ("archive", "checked_json", "hooks", "hub"),
    ("corpus",),
    ("models",),
    ("activations",),
    ("sae",),
    ("features",),
    ("effects",),
    ("similarity",),
    ("matching",),
    ("statistics",),
    ("family",),
    ("maps",),
    ("labels",),
    ("export",),
    ("plot",),
    ("report",),
    ("config",),
    ("pipeline",),
    ("serve",),
    ("cli",),
    ("__main__", "__init__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def imports_of(path: Path) -> set[str]:
    """Full names of the package's modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("relative import")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_only_from_its_left(path: Path) -> None:
    own = layer_of(path)
    for name in imports_of(path):
        assert name != "relative import", "absolute imports only"
        parts = name.split(".")
        if parts[0] == "universality" and len(parts) > 1 and parts[1] in RANK:
            assert parts[1] == own or RANK[parts[1]] < RANK[own], f"{own} imports {name}"


def test_every_top_level_module_has_a_layer() -> None:
    assert {layer_of(path) for path in MODULES} == set(RANK)


def test_the_check_can_fail(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text("def f():\n    from universality.report import html\n", encoding="utf-8")
    assert "universality.report" in imports_of(tmp_path / "x.py")


BORDERS = {
    "hdbscan": {"maps"},
    "sklearn": set(),  # what the two others import
    "umap": {"maps"},
    "datasets": {"corpus"},  # these three come with TransformerLens
    "openai": {"labels/repeated_requests.py", "labels/requesting.py"},
    "opentelemetry": set(),
    "starlette": {"serve"},
    "uvicorn": {"serve/serving.py"},
    "wandb": {"sae/training/watchers.py"},
    "transformer_lens": {"models", "activations"},
    "matplotlib": {"plot", "report", "pipeline/finished_study.py"},
    "networkx": {"family", "export", "matching", "plot", "report", "pipeline/reporting/report_pages.py"},
    "torch": {
        "devices.py",
        "models",
        "activations",
        "sae",
        "features/collection.py",
        "effects",
        "family/device_pairs.py",
        "labels/attention_cache.py",
        "labels/batch_decoding.py",
        "labels/local_model.py",
        "similarity",
        "statistics/carried_loss.py",
        "statistics/sae_transfer.py",
        "statistics/stand_ins.py",
        "pipeline",
    },
}


@pytest.mark.parametrize("library", BORDERS)
def test_heavy_imports_stay_behind_borders(library: str) -> None:
    for path in MODULES:
        if any(name.split(".")[0] == library for name in imports_of(path)):
            inner = path.relative_to(PACKAGE).as_posix()
            assert any(
                inner == allowed or inner.startswith((f"{allowed}/", f"{allowed}.py")) for allowed in BORDERS[library]
            ), inner


def test_opening_a_store_and_matching_needs_no_torch() -> None:
    script = (
        "import sys, universality as u; from universality import FeatureStore, Similarity, match, calibrate, families;"
        "bad = {'torch', 'transformer_lens', 'matplotlib', 'networkx'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_loading_a_config_needs_no_torch() -> None:
    script = (
        "import sys; import universality.cli, universality.pipeline;"
        "bad = {'torch', 'transformer_lens', 'matplotlib'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_reading_activations_and_training_need_no_models_and_no_config() -> None:
    script = (
        "import sys, universality.activations, universality.sae, universality.features.collection;"
        "bad = {'transformer_lens', 'transformers', 'pydantic', 'typer', 'matplotlib', 'networkx'}"
        " & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_no_module_is_hidden_by_a_name_of_its_package() -> None:
    """``import universality.a.b as m`` gives the module: no function or class of its package bears its name."""
    names = [module.name for module in pkgutil.walk_packages(universality.__path__, "universality.")]
    for name in names:
        if not name.endswith("__main__"):
            module = importlib.import_module(name)
            package, _, last = name.rpartition(".")
            assert getattr(sys.modules[package], last) is module, name
