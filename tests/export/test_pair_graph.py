"""The graph of a match says of each pair and of each feature what a reader needs to judge it."""

from pathlib import Path

import igraph
import networkx as nx
import numpy as np
import pandas as pd
import pytest
from schema import GEXF, GRAPHML, PAIR_ATTRIBUTES, faults, lacking

from universality.errors import MismatchError
from universality.export import annotate, match_graph, match_table, partite_graph, split_tokens, write_graph
from universality.features.storage.store import FeatureStore
from universality.matching import Match, match
from universality.similarity import Similarity

Stores = tuple[FeatureStore, FeatureStore]
KNOWN = {"q": 0.01, "q_kind": 0.02, "ceiling_a": 0.9, "ceiling_b": 0.8}


@pytest.fixture
def matched(two_stores: Stores) -> Match:
    return match(Similarity.activation(*two_stores))


@pytest.fixture
def calibration(matched: Match) -> pd.DataFrame:
    """Held-out scores a little below the chosen ones; the second pair has none."""
    frame = matched.to_frame()[["row", "col", "score"]].assign(**KNOWN)
    return frame.assign(held_out=np.where(frame["row"] == 1, np.nan, frame["score"] - 0.05))


def test_the_weight_is_the_held_out_score_and_chosen_stands_beside_it(
    two_stores: Stores, matched: Match, calibration: pd.DataFrame
) -> None:
    pairs = match_table(matched, *two_stores, calibration=calibration, logit_r=[0.1, 0.2, 0.3])
    graph = match_graph(matched, *two_stores, pairs=pairs)
    for place, (row, col, score) in enumerate(zip(matched.rows, matched.cols, matched.scores, strict=True)):
        edge = graph.edges[f"a:{row}", f"b:{col}"]
        assert edge["chosen"] == score
        assert {name: edge[name] for name in KNOWN} == KNOWN
        assert edge["logit_r"] == [0.1, 0.2, 0.3][place]
        assert edge.get("weight") == (None if row == 1 else pytest.approx(score - 0.05))
        assert "ci_low" not in edge


def test_a_match_that_was_not_calibrated_has_no_weight(two_stores: Stores, matched: Match) -> None:
    for graph in (matched.to_graph(), match_graph(matched, *two_stores)):
        assert graph.number_of_edges() == 3
        assert all(set(values) == {"chosen"} for _, _, values in graph.edges(data=True))


def test_nodes_say_what_they_are(two_stores: Stores, matched: Match) -> None:
    words = [f" w{i}" for i in range(10)]
    graph = match_graph(matched, *two_stores, names=("small", "large"), decode=lambda ids: [words[i] for i in ids], k=3)
    for side, model, store in zip("ab", ("small", "large"), two_stores, strict=True):
        rows, values = store.feature(1)
        heaviest = words[np.bincount(store.tokens.token[rows], values).argmax()]
        node = graph.nodes[f"{side}:1"]
        assert (node["model"], node["feature"], node["kind"]) == (model, 1, "y")
        assert node["label"] == f"{model}/1:{heaviest}"
        assert node["tokens"][0] == heaviest
        assert node["density"] == pytest.approx(len(rows) / store.n_tokens)
    assert graph.nodes["b:3"]["label"] == "large/3", "a dead feature has no token"


def test_every_reader_finds_what_files_promise(
    two_stores: Stores, matched: Match, calibration: pd.DataFrame, tmp_path: Path
) -> None:
    pairs = match_table(matched, *two_stores, calibration=calibration, logit_r=[0.1, 0.2, 0.3])
    graphml, gexf, *_ = write_graph(match_graph(matched, *two_stores, pairs=pairs), tmp_path / "m")
    assert faults(graphml, GRAPHML) == faults(gexf, GEXF) == []
    found = [nx.read_graphml(graphml), nx.read_gexf(gexf, version="1.3")]
    for graph in found:
        assert lacking(graph, PAIR_ATTRIBUTES) == []
        assert "weight" in graph.edges["a:0", "b:2"]
        assert split_tokens(graph.nodes["a:0"]["tokens"])
    assert "weight" not in found[0].edges["a:1", "b:1"]
    weights = igraph.Graph.Read_GraphML(str(graphml)).es["weight"]
    assert [np.isnan(weight) for weight in weights] == [row == 1 for row in matched.rows]
    del found[0].edges["a:0", "b:2"]["chosen"], found[0].nodes["a:0"]["model"]
    assert lacking(found[0], PAIR_ATTRIBUTES) == ["node a:0: model", "edge a:0-b:2: chosen"], "the control"


def test_the_graph_of_several_models_has_held_out_weights_where_they_are_known() -> None:
    one = match(Similarity.from_dense(np.eye(2) * 0.9 + 0.01))
    models = [("A", "B"), ("A", "C"), ("B", "C")]
    known = pd.DataFrame({"row": [0, 1], "col": [0, 1], "held_out": [0.5, np.nan], "q": [0.01, 0.5]})
    graph = partite_graph(dict.fromkeys(models, one), {models[0]: known, **dict.fromkeys(models[1:], known.iloc[:0])})
    chosen = pytest.approx(0.91)
    assert graph.edges[("A", 0), ("B", 0)] == {"chosen": chosen, "weight": 0.5, "q": 0.01}
    assert graph.edges[("A", 1), ("B", 1)] == {"chosen": chosen, "q": 0.5}
    assert graph.edges[("B", 1), ("C", 1)] == {"chosen": chosen}


def test_each_store_needs_a_name(two_stores: Stores, matched: Match) -> None:
    with pytest.raises(MismatchError, match="names: expected one for each of 2 stores, found 1"):
        annotate(matched.to_graph(), two_stores, names=["A"])
