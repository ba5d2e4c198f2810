"""Tables and graphs of a run say of every pair what is known of it."""

import shutil
from pathlib import Path

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from tokenizers import Tokenizer as HFTokenizer
from tokenizers import decoders, models, pre_tokenizers

from universality.config import load_config
from universality.matching import match
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.write_exports import ceilings, decoder, make_exports
from universality.similarity import Similarity
from universality.statistics import Calibration


@pytest.fixture(scope="module")
def matches(finished: Path) -> Path:
    return finished / "matches"


def test_edges_of_a_match_weigh_as_much_as_their_held_out_score(matches: Path) -> None:
    frame = Calibration.load(matches / "A-B.w64.activation.npz").to_frame()
    graph = nx.read_graphml(matches / "A-B.w64.activation.graphml")
    assert graph.number_of_edges() == len(frame)
    for row in frame.itertuples():
        edge = graph.edges[f"a:{row.row}", f"b:{row.col}"]
        assert edge["chosen"] == row.score
        for name, value in (("weight", row.held_out), ("q", row.q), ("q_kind", row.q_kind)):
            assert edge.get(name, np.nan) == pytest.approx(value, nan_ok=True), name
    edges = [values for _, _, values in graph.edges(data=True)]
    assert any("logit_r" in edge for edge in edges)
    assert any(edge["weight"] < edge["chosen"] for edge in edges if "weight" in edge), "the two are not one number"
    living = [node for _, node in graph.nodes(data=True) if not node["dead"]]
    assert {node["model"] for node in living} == {"A", "B"}
    assert all(node["label"].startswith(f"{node['model']}/{node['feature']}:") for node in living)
    assert all({"kind", "tokens", "density"} <= set(node) for node in living)


def test_tables_have_logit_r_nearest_partners_and_ceilings(matches: Path) -> None:
    calibration = Calibration.load(matches / "A-B.w64.activation.npz")
    table = pd.read_csv(matches / "A-B.w64.activation.csv").set_index("row")
    rows = calibration.match.rows
    with np.load(matches.parent / "similarity" / "A-B.w64.npz") as drawn:
        assert_allclose(table.loc[rows, "logit_r"], drawn["logit"], rtol=1e-6)
    best = calibration.match.nearest
    assert table.loc[rows, "row_nearest"].tolist() == best.best_col[rows].tolist()
    assert_allclose(table.loc[rows, "row_nearest_score"], best.best_col_score[rows])
    assert_allclose(table.loc[rows, "row_nearest_held_out"], calibration.best_col_held_out[rows])
    assert {"ceiling_a", "ceiling_b"} <= set(table)


def test_tables_and_graphs_of_a_match_that_is_no_longer_made_are_deleted(finished: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished, folder.root, ignore=shutil.ignore_patterns("report", "figures", "effects"))
    folder.logit_calibration("A-B.w64").unlink()
    matches, stale = folder.root / "matches", "A-B.w64.logit."
    before = {path.name for path in matches.iterdir()}
    assert sum(name.startswith(stale) for name in before) == 6
    (matches / "A-B.w64.decoder.csv").write_text("of models in one basis")
    files = make_exports(load_config(folder.root / "config.yaml"), folder)
    assert {path.name for path in matches.iterdir()} == {name for name in before if not name.startswith(stale)}
    assert matches / "A-B.w32.logit.csv" in files


@pytest.mark.parametrize("comparison", ["A-B.w32", "A-B.neurons", "A-A.w128.s0-s1"])
def test_matches_by_logit_weights_have_tables_and_graphs(matches: Path, comparison: str) -> None:
    stem = matches / f"{comparison}.logit"
    calibration = Calibration.load(stem.with_name(f"{stem.name}.npz"))
    found, frame = calibration.match, calibration.to_frame()
    endings = ("csv", "parquet", "graphml", "gexf", "cyjs", "json")
    assert all(stem.with_name(f"{stem.name}.{ending}").is_file() for ending in endings)
    table = pd.read_csv(f"{stem}.csv").set_index("row")
    assert_allclose(table.loc[found.rows, "score"], found.scores)
    for column, values in (("held_out", "held_out"), ("logit_r", "held_out"), ("q_directions", "q_directions")):
        assert_allclose(table.loc[found.rows, column], frame[values])
    graph = nx.read_graphml(f"{stem}.graphml")
    assert graph.number_of_edges() == len(found.rows)
    for row in frame.itertuples():
        edge = graph.edges[f"a:{row.row}", f"b:{row.col}"]
        values = {
            "chosen": row.score,
            "weight": row.held_out,
            "logit_r": row.held_out,
            "q_directions": row.q_directions,
        }
        for name, value in values.items():
            assert edge.get(name, np.nan) == pytest.approx(value, nan_ok=True), name


def test_nodes_have_the_ceilings_of_their_own_feature_matched_or_not(finished: Path) -> None:
    ceiling = Calibration.load(finished / "matches" / "A-A.w128.s0-s1.activation.npz")
    own = dict(zip(ceiling.match.rows.tolist(), ceiling.held_out.tolist(), strict=True))
    known = {feature: value for feature, value in own.items() if not np.isnan(value)}
    for name, node in (("matches/A-B.w128.activation", "a:{}"), ("families/A", "2:{}")):
        graph = nx.read_graphml(finished / f"{name}.graphml")
        found = {f: graph.nodes[node.format(f)].get("ceiling") for f in range(128)}
        assert {f: value for f, value in found.items() if value is not None} == pytest.approx(known)
    assert len(known) > 10
    narrow = nx.read_graphml(finished / "matches" / "A-B.w64.activation.graphml")
    assert not any("ceiling" in values for _, values in narrow.nodes(data=True)), "it has no second SAE"
    wide = nx.read_graphml(finished / "matches" / "A-B.w128.activation.graphml")
    assert any(value is not None for _, value in wide.nodes(data="effect_ceiling"))


def test_nodes_of_families_name_their_model(finished: Path) -> None:
    graph = nx.read_graphml(finished / "families" / "A.graphml")
    assert {model for _, model in graph.nodes(data="model")} == {"A"}
    assert graph.nodes["0:3"]["label"] == "32/3"


def test_a_ceiling_goes_with_its_feature_whoever_the_partner_is() -> None:
    other = match(Similarity.from_dense(np.eye(3)[[1, 0, 2]] + 0.1))
    pairs = pd.DataFrame({"row": [0, 1], "col": [0, 2], "ceiling_a": [0.5, 0.6], "ceiling_b": [0.7, 0.8]})
    frame = ceilings(other, pairs)
    assert_allclose(frame["ceiling_a"], [0.5, 0.6, np.nan])
    assert frame["col"].tolist() == [1, 0, 2]
    assert_allclose(frame["ceiling_b"], [np.nan, 0.7, 0.8])
    assert ceilings(other, pairs[["row", "col"]])[["ceiling_a", "ceiling_b"]].isna().all(axis=None)


def test_tokens_without_strings_stay_apart_in_a_row(tmp_path: Path) -> None:
    """A corpus of token ids has no tokenizer."""
    assert "".join(decoder(RunFolder(tmp_path))([1, 22, 3])) == " 1 22 3"


def test_tables_and_pages_show_tokens_as_text(tmp_path: Path) -> None:
    pieces = [("<unk>", 0.0), ("<s>", 0.0), ("▁caf", -1.0), ("é", -1.0), ("ć", -1.0)]
    backend = HFTokenizer(models.Unigram(pieces, 0, False))
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    (tmp_path / "corpus").mkdir()
    backend.save(str(tmp_path / "corpus" / "tokenizer.json"))
    assert decoder(RunFolder(tmp_path))([2, 3, 4]) == [" caf", "é", "ć"]
