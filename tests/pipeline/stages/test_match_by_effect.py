"""Features matched by effect: held-out scores, what is exported, and what is left out and why."""

import json
import shutil
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from run_commands import SMOKE

from universality import FeatureStore, Similarity
from universality.config import load_config
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages import match_by_effect as stage
from universality.pipeline.stages.compare_partner_effects import make_agreement
from universality.pipeline.stages.match_by_effect import OVER_ALL_TOKENS, read_effect_match
from universality.pipeline.stages.write_exports import _export_by_effect
from universality.pipeline.study import comparisons, effect_comparisons
from universality.statistics import Calibration, Halves, equal_halves

NAME = "A-B.w128"


def test_partners_are_chosen_on_one_part_of_the_reporting_half_and_scored_on_the_other(finished: Path) -> None:
    folder = RunFolder(finished)
    found = Calibration.load(folder.effect_calibration(NAME))
    pairs = found.match.rows, found.match.cols
    with FeatureStore.open(folder.effects("A", 128, 0)) as a, FeatureStore.open(folder.effects("B", 128, 0)) as b:
        halves = equal_halves(a, load_config(SMOKE).statistics.seed)
        chosen, reported = (Similarity.effect(a, b, documents=part) for part in (halves.choose, halves.report))
        assert_allclose(found.match.scores, chosen.pairs(*pairs))
        scored = ~np.isnan(found.held_out)
        assert_allclose(found.held_out[scored], reported.pairs(*pairs)[scored])
        assert scored.sum() > 10
    assert found.match.provenance["measure"] == "effect"
    assert found.summary().optimism > 0.05  # at this size chosen scores flatter
    assert found.settings["null"] == load_config(SMOKE).statistics.nulls[:1]
    of_seeds = Calibration.load(folder.effect_calibration("A-A.w128.s0-s1"))
    ceiling = dict(zip(of_seeds.match.rows.tolist(), of_seeds.held_out.tolist(), strict=True))
    frame = found.to_frame()
    assert_allclose(frame["ceiling_a"], [ceiling.get(row, np.nan) for row in frame["row"]])
    assert frame["ci_low"].notna().any()


@pytest.mark.parametrize("name", [NAME, "B-B.w128.s0-s1", "A-B.neurons"])
def test_they_are_exported_beside_activation_and_say_what_they_are(finished: Path, name: str) -> None:
    stem = str(RunFolder(finished).effect_calibration(name)).removesuffix(".npz")
    pairs = {(row, col) for row, col in Calibration.load(f"{stem}.npz").to_frame()[["row", "col"]].to_numpy().tolist()}
    by_activation = pd.read_csv(stem.replace(".effect", ".activation") + ".csv").set_index(["row", "col"])
    table, graph = pd.read_csv(f"{stem}.csv").set_index(["row", "col"]), nx.read_graphml(f"{stem}.graphml")
    assert set(table.index) == pairs
    assert (table["same_by_activation"] == table.index.isin(by_activation.index)).all()
    both = table.index.intersection(by_activation.index)
    assert_allclose(table.loc[both, "effect_r"], by_activation.loc[both, "effect_r"])
    assert table.loc[table["same_by_activation"] == 0, "effect_r"].isna().all()
    assert graph.graph["measure"] == "effect"
    assert graph.graph["note"] == OVER_ALL_TOKENS
    assert {edge["same_by_activation"] for *_, edge in graph.edges(data=True)} <= {0.0, 1.0}
    assert graph.number_of_edges() == len(pairs)
    assert json.loads(Path(f"{stem}.cyjs").read_text())["data"]["note"] == OVER_ALL_TOKENS
    assert json.loads(Path(f"{stem}.json").read_text())["graph"]["note"] == OVER_ALL_TOKENS
    assert "mostly measure firing together" in Path(f"{stem}.gexf").read_text()
    assert nx.read_graphml(stem.replace(".effect", ".activation") + ".graphml").graph["measure"] == "activation"


def test_a_configuration_without_them_deletes_them(finished: Path, tmp_path: Path) -> None:
    folder, config = RunFolder(tmp_path / "run"), load_config(SMOKE, ["effects.match=false"])
    shutil.copytree(finished / "matches", folder.root / "matches")
    compared = next(c for c in comparisons(config, folder) if c.name == NAME)
    before = {path.name for path in (folder.root / "matches").iterdir()}
    stale = {name for name in before if name.startswith(f"{NAME}.effect.")}
    assert {f"{NAME}.effect.{ending}" for ending in ("npz", "csv", "graphml", "gexf", "cyjs", "json")} <= stale
    assert read_effect_match(config, folder, compared) is None
    assert _export_by_effect(config, folder, compared, pd.DataFrame(), (), None, (), []) == []
    assert {path.name for path in (folder.root / "matches").iterdir()} == before - stale


def test_text_that_cannot_be_divided_gives_a_reason(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left_out = shutil.ignore_patterns("report", "figures", "families", "maps")
    folder = RunFolder(Path(shutil.copytree(finished, tmp_path / "run", ignore=left_out)))
    config = load_config(SMOKE, ["effects.pair_contexts=0"])
    compared = next(c for c in effect_comparisons(config, folder) if c.name == "A-B.neurons")
    one = Halves(np.array([3]), np.array([], np.int64))
    monkeypatch.setattr("universality.statistics.equal_halves", lambda *_: one)
    files = make_agreement(config, folder, compared)
    assert not folder.effect_calibration(compared.name).exists()
    reason = json.loads(folder.unmeasured_effects(compared.name).read_text())["matching by effect"]
    assert "a single document or work" in reason
    assert folder.effect_agreement(compared.name) in files
    assert stage.read_effect_match(config, folder, compared) is None
