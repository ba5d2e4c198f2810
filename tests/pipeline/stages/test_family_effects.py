"""Effects along the edges of families: the tokens they are of, their exports, and what is left out."""

import json
import shutil
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from run_commands import SMOKE

from universality import FeatureStore
from universality.config import load_config
from universality.effects import read_gradient_norms
from universality.family import Families
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.family_effects import make_family_effects, read_family_effects
from universality.pipeline.stages.measure_effects import tasks
from universality.statistics import EffectAgreement
from universality.statistics.co_firing_effects import MIN_TOKENS


def test_an_edge_has_r_of_the_slopes_of_parent_and_child_where_both_fire(finished: Path) -> None:
    folder = RunFolder(finished)
    paths = [path(*one) for one in (("A", 32, 0), ("A", 64, 0)) for path in (folder.effect_activations, folder.effects)]
    stores = [FeatureStore.open(path) for path in (*paths, folder.gradient_norms("A"))]
    fired_p, effect_p, fired_c, effect_c = (store.csr().toarray().astype(float) for store in stores[:4])
    norm = read_gradient_norms(stores[4])
    edges = Families.load(folder.families("A")).edges
    measured = read_family_effects(load_config(SMOKE), folder, "A")
    assert measured is not None
    assert list(zip(measured["level"], measured["parent"], measured["child"], strict=True)) == list(
        zip(edges.level, edges.parent, edges.child, strict=True)
    )
    known = 0
    for edge in measured[measured["level"] == 0].itertuples():
        both = (fired_p[:, edge.parent] != 0) & (fired_c[:, edge.child] != 0) & (norm > 0)
        assert edge.effect_n == both.sum()
        if both.sum() < MIN_TOKENS:
            assert np.isnan(edge.effect_r)
            continue
        slopes = effect_p[both, edge.parent] / norm[both], effect_c[both, edge.child] / norm[both]
        assert edge.effect_r == pytest.approx(np.corrcoef(*slopes)[0, 1], abs=1e-6)
        known += 1
    assert known > 5
    assert measured["effect_r"].median() > measured["effect_null_r"].median() + 0.1
    for store in stores:
        store.close()


def test_graphs_and_tables_of_families_have_them(finished: Path) -> None:
    folder, stem = RunFolder(finished), finished / "families" / "A"
    measured = read_family_effects(load_config(SMOKE), folder, "A")
    assert measured is not None
    widths = np.array([32, 64, 128])
    table = pd.read_csv(stem.with_suffix(".edges.csv"))
    assert_allclose(table["effect_r"], measured["effect_r"])
    assert (table["parent_width"] == widths[measured["level"]]).all()
    graph = nx.read_graphml(stem.with_suffix(".graphml"))
    for edge in measured.itertuples():
        found = graph.edges[f"{edge.level}:{edge.parent}", f"{edge.level + 1}:{edge.child}"]
        assert found.get("effect_r", np.nan) == pytest.approx(edge.effect_r, nan_ok=True)
        assert found["effect_n"] == edge.effect_n


def test_without_them_narrow_dictionaries_are_not_measured(finished: Path, tmp_path: Path) -> None:
    folder, config = RunFolder(finished), load_config(SMOKE, ["effects.families=false"])
    assert read_family_effects(config, folder, "A") is None
    assert not [task for task in tasks(config, RunFolder(tmp_path)) if task.name.endswith("families")]
    assert {path.name for path in (finished / "effects").glob("A.w*-s*.h5")} >= {"A.w32-s0.h5", "A.w64-s0.h5"}


def test_a_hook_without_effects_leaves_them_out_with_the_reason(finished: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished / "families", folder.root / "families")
    (folder.root / "effects").mkdir()
    folder.unmeasured_effects("A").write_text(json.dumps({"effects": "nothing depends on it"}))
    files = make_family_effects(load_config(SMOKE), folder, "A")
    assert files == [folder.unmeasured_effects("A.families")]
    assert json.loads(files[0].read_text()) == {"effects of families": "nothing depends on it"}


def test_a_feature_may_be_in_several_pairs(finished: Path) -> None:
    folder = RunFolder(finished)
    frames = [EffectAgreement.load(folder.family_effects("A", *widths)).to_frame() for widths in ((32, 64), (64, 128))]
    assert any(frame["row"].duplicated().any() for frame in frames)
