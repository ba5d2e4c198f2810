"""The wheel, installed into clean environments and used outside the clone."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.clean_environment import (
    CLONE,
    build_wheel,
    environment_variables,
    install,
    make_environment,
    with_requirements,
)

PROJECT = tomllib.loads((CLONE / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
UNUSED = {"wandb", *(f"opentelemetry-{part}" for part in ("api", "sdk", "proto", "semantic-conventions"))}
"""Distributions that TransformerLens brings along and a study does not need."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


def run(command: list[object], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder outside the clone, with nothing of this process's environment."""
    env = environment_variables() | variables
    return subprocess.run(list(map(str, command)), cwd=folder, env=env, capture_output=True, text=True, check=False)


LIGHT = """
import sys
from pathlib import Path
import numpy as np
from universality import FeatureStore, Similarity, calibrate, families, match
from universality.features import Dictionary
from universality.export import match_graph, match_table, write_csv, write_graph
from universality.statistics.synthetic import World, plant

world = World(n_documents=48, blocks=2, block_length=32, n_shared=12, n_alone=4, topic_share=1, density=(2e-2, 1e-1))
planted = plant(world, Path("world"))
a, b = FeatureStore.open(planted.a.path), FeatureStore.open(planted.b.path)
found = match(Similarity.activation(a, b))
true = planted.is_true(found.rows, found.cols)
assert true.sum() >= 11, true
assert (found.scores[true].min() > 0.5) and not true.all()
frame = calibrate(a, b, replicates=2, bootstrap=20, null="global").to_frame().dropna(subset="held_out")
best = frame.sort_values("held_out").tail(6)
assert planted.is_true(best["row"], best["col"]).all() and best["p"].max() < 0.1, best
directions = np.random.default_rng(0).standard_normal((a.n_features, 64)).astype(np.float32)
def level(n):
    provenance, tokens = {"model": {"name": "A", "hash": "0"}, "site": "s"}, a.tokens
    writer = FeatureStore.create(f"{n}.h5", n, provenance, a.documents)
    kind = np.array(tokens.kinds)[tokens.kind]
    writer.append(a.csr()[:, :n], token=tokens.token, document=tokens.document, position=tokens.position, kind=kind)
    return writer.finish(Dictionary(directions[:n]))
tree = families([level(8), level(16)], n_replicates=0, bootstrap=0)
assert {(u[1], v[1]) for u, v in tree.graph.edges} >= {(j, j) for j in range(8)}, tree.graph.edges
write_csv(match_table(found, a, b), "pairs.csv")
files = write_graph(match_graph(found, a, b), Path("pairs"))
assert all(file.stat().st_size for file in files)
assert "site-packages" in sys.modules["universality"].__file__
absent = {"torch", "transformers", "transformer_lens", "tokenizers", "huggingface_hub", "matplotlib", "jinja2"}
assert not absent & set(sys.modules)
print("light")
"""


@pytest.mark.slow
def test_the_plain_installation_matches_calibrates_and_exports(wheel: Path, tmp_path: Path) -> None:
    """With the plain dependencies alone. Compiled functions run as Python, which spares the compiler."""
    python = make_environment(tmp_path / "venv", with_requirements(PROJECT["dependencies"]).values())
    install(wheel, python)
    program, here = python.parent / "universality", tmp_path / "outside"
    here.mkdir()
    done = run([python, "-c", LIGHT], here, NUMBA_DISABLE_JIT="1")
    assert done.stdout == "light\n", done.stderr
    assert sorted(path.suffix for path in here.glob("pairs*")) == [".csv", ".cyjs", ".gexf", ".graphml", ".json"]
    assert run([program, "--version"], here).stdout == f"universality {PROJECT['version']}\n"
    told = run([program, "info", here / "8.h5"], here)
    assert told.returncode == 0, told.stderr
    for arguments, missing in {
        (
            "run",
            "smoke",
        ): "this run needs torch, umap, hdbscan, threadpoolctl, jinja2, matplotlib, which are not installed; run "
        "pip install 'universality[train,report]'",
        ("plan", "smoke"): "plan needs torch, which is not installed; run pip install 'universality[train]'",
        ("figures", "runs/smoke"): "needs matplotlib, which is not installed; run pip install 'universality[report]'",
    }.items():
        refused = run([program, *arguments], here)
        assert refused.returncode == 2
        assert missing in refused.stderr
    examined = run([program, "doctor"], here)
    assert examined.returncode == 0, examined.stdout
    assert "needs torch, transformer-lens, transformers: pip install 'universality[train]'" in examined.stdout


@pytest.mark.slow
def test_the_smoke_study_runs_from_the_wheel_without_what_transformer_lens_adds(wheel: Path, tmp_path: Path) -> None:
    wanted = [*PROJECT["dependencies"], *(text for extra in ("train", "hub", "report") for text in EXTRAS[extra])]
    python = make_environment(tmp_path / "venv", with_requirements(wanted, without={"universality", *UNUSED}).values())
    install(wheel, python)
    here = tmp_path / "outside"
    here.mkdir()
    find = "from importlib.util import find_spec; print([find_spec(name) for name in ('wandb', 'opentelemetry')])"
    absent = run([python, "-c", find], here)
    assert absent.stdout == "[None, None]\n"
    done = run([python.parent / "universality", "run", "smoke"], here)
    assert done.returncode == 0, done.stderr
    assert (here / "runs" / "smoke" / "report" / "index.html").stat().st_size > 10_000
    told = run([python.parent / "universality", "doctor"], here).stdout
    missing = set(re.findall(r"needs .*universality\[(\w+)\]", told))
    assert missing <= set(EXTRAS) - {"train", "hub", "report"}, told
    assert "cluster" in missing
