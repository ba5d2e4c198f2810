"""Planted splits, merges and novel features come back; with tokens or directions shuffled nothing does."""

from collections.abc import Callable

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import universality
from universality.errors import MismatchError, UniversalityError
from universality.family import Families, families
from universality.features.storage.store import FeatureStore

Node = tuple[int, int]


def test_every_planted_edge_and_no_other(planted: Families, true_edges: set[tuple[Node, Node]]) -> None:
    found = set(planted.graph.edges)
    hits = len(found & true_edges)
    assert hits / len(found) == 1.0, "precision"
    assert hits / len(true_edges) == 1.0, "recall"


def test_control_shuffled_tokens_give_no_edges(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    rng = np.random.default_rng(3)
    stores = [write_store(f"w{len(p.sets)}", p.x[rng.permutation(len(p.x))], p.decoder) for p in plants]
    assert len(families(stores, n_replicates=0).edges) == 0


def test_control_shuffled_decoder_rows_give_no_edges(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    rng = np.random.default_rng(3)
    stores = [
        write_store(f"w{len(p.sets)}", p.x, rng.standard_normal(p.decoder.shape).astype(np.float32)) for p in plants
    ]
    assert len(families(stores, n_replicates=0).edges) == 0


def test_a_feature_that_fires_everywhere_is_kept_out_by_its_direction_alone(
    plants: tuple, write_store: Callable[..., FeatureStore]
) -> None:
    rng = np.random.default_rng(4)
    narrow, middle = plants[:2]
    always = np.concatenate([narrow.x, rng.uniform(0.9, 1, (len(narrow.x), 1))], axis=1).astype(np.float32)
    decoder = np.concatenate([narrow.decoder, rng.standard_normal((1, narrow.decoder.shape[1]))], dtype=np.float32)
    stores = [write_store("a", always, decoder), write_store("b", middle.x, middle.decoder)]
    last = (0, narrow.x.shape[1])
    assert families(stores, n_replicates=0).graph.out_degree(last) == 0
    asks_nothing = {"min_decoder_cosine": -1, "min_recovered": -1e9, "n_replicates": 0}
    assert families(stores, **asks_nothing).graph.out_degree(last) == middle.x.shape[1]
    assert families(stores, min_decoder_cosine=-1, n_replicates=0).graph.out_degree(last) < middle.x.shape[1]


def slow_edge(a: np.ndarray, b: np.ndarray, d: np.ndarray, e: np.ndarray) -> dict[str, float]:
    """The definitions, written out for one pair."""

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))

    a, b, d, e = (v.astype(np.float64) for v in (a, b, d, e))
    on_a, on_b = a > 0, b > 0
    values = {
        "decoder_cosine": cosine(d, e),
        "masked_cosine": max(cosine(a[on_a], b[on_a]), cosine(a[on_b], b[on_b])),
        "coverage": (on_a & on_b).sum() / on_b.sum(),
        "share": (on_a & on_b).sum() / on_a.sum(),
    }
    return values | {"weight": np.sqrt(values["decoder_cosine"] * values["masked_cosine"])}


def test_attributes_of_edges_are_their_definitions(planted: Families, plants: tuple) -> None:
    for (level, i), (above, j), values in planted.graph.edges(data=True):
        low, high = plants[level], plants[above]
        expected = slow_edge(low.x[:, i], high.x[:, j], low.decoder[i], high.decoder[j])
        assert values.keys() == expected.keys() | {"kind", "recovered", "support"}
        for name in expected:
            assert_allclose(values[name], expected[name], rtol=1e-5, err_msg=name)


def test_nodes_say_what_they_are(planted: Families, plants: tuple) -> None:
    graph = planted.graph
    assert graph.number_of_nodes() == sum(len(p.sets) for p in plants)
    for (level, j), values in graph.nodes(data=True):
        plant = plants[level]
        assert values["width"] == len(plant.sets)
        assert values["label"] == f"{len(plant.sets)}/{j}"
        assert values["count"] == (plant.x[:, j] > 0).sum()
        assert values["alive"]
        assert_allclose(values["density"], values["count"] / len(plant.x))
        assert_allclose(values["max_activation"], plant.x[:, j].max())
        known_below = level > 0 and any(plant.sets[j] & other for other in plants[level - 1].sets)
        assert values["status"] == ("root" if level == 0 else "child" if known_below else "novel")
        assert values["kind"] in {"k0", "k1", "k2"}
        assert 1 / 3 <= values["purity"] < 0.5
        assert values["n_parents"] == graph.in_degree((level, j))
        assert values["n_children"] == graph.out_degree((level, j))


def test_summary_counts_the_plant(planted: Families) -> None:
    summary = planted.summary()
    narrow, middle, wide = summary["levels"]
    # 4+2 children of [0..3], [4,5]; [6], [7] merge into [6,7]; [8..11] has two.
    assert (narrow["split"], narrow["childless"], narrow["edges_out"]) == (3, 0, 8)
    assert_allclose(narrow["children_per_parent"], 8 / 5)
    assert_allclose(narrow["tree_children_per_parent"], 7 / 4)
    assert (middle["novel"], middle["merged"], middle["novel_share"]) == (3, 1, 0.3)
    assert_allclose(middle["parents_per_child"], 8 / 7)
    assert (wide["novel"], wide["merged"]) == (3, 0)
    assert wide["edges_out"] is None
    assert narrow["edges_in"] is None
    assert narrow["novel"] is None
    assert (summary["edges"], summary["tree_edges"], summary["dropped_edges"]) == (26, 25, 1)


def test_dead_and_rare_features_stay_as_nodes_without_edges(
    plants: tuple, write_store: Callable[..., FeatureStore]
) -> None:
    narrow, middle = plants[:2]
    x, decoder = middle.x.copy(), middle.decoder
    dead, rare = middle.sets.index(frozenset({4})), middle.sets.index(frozenset({5}))
    x[:, dead] = 0
    x[np.flatnonzero(x[:, rare])[9:], rare] = 0
    stores = [write_store("a", narrow.x, narrow.decoder), write_store("b", x, decoder)]
    found = families(stores)
    states = {j: found.graph.nodes[1, j]["status"] for j in (dead, rare)}
    assert states == {dead: "dead", rare: "rare"}
    assert found.graph.degree((1, dead)) == found.graph.degree((1, rare)) == 0
    level = found.summary()["levels"][1]
    assert (level["dead"], level["rare"], level["eligible"]) == (1, 1, len(middle.sets) - 2)
    assert families(stores, min_firings=9).graph.in_degree((1, rare)) == 1


def test_tree_is_the_maximum_spanning_forest(planted: Families) -> None:
    tree = planted.tree()
    expected = nx.maximum_branching(planted.graph, attr="weight")
    assert set(tree.edges) == set(expected.edges)
    assert set(tree.nodes) == set(planted.graph.nodes)
    assert nx.is_branching(tree)
    dropped = planted.edges.weight.sum() - sum(w for *_, w in tree.edges(data="weight"))
    assert (tree.graph["kept_edges"], tree.graph["dropped_edges"]) == (25, 1)
    assert_allclose(tree.graph["dropped_weight"], dropped / planted.edges.weight.sum())
    assert planted.graph.number_of_edges() == 26, "the graph keeps what the tree drops"


def test_families_of_the_tree_hang_together(planted: Families, plants: tuple) -> None:
    tree = planted.tree()
    for component in nx.weakly_connected_components(tree):
        root = min(component)
        assert {tree.nodes[node]["family"] for node in component} == {tree.nodes[root]["label"]}
    big = (0, plants[0].sets.index(frozenset({0, 1, 2, 3})))
    below = {node for node in tree if tree.nodes[node]["family"] == tree.nodes[big]["label"]}
    assert {plants[level].sets[j] for level, j in below} == {
        frozenset(s) for s in ({0, 1, 2, 3}, {0, 1}, {2, 3}, {0}, {1}, {2}, {3})
    }


def test_frames(planted: Families, true_edges: set[tuple[Node, Node]]) -> None:
    frame, nodes = planted.to_frame(), planted.nodes_frame()
    widths = [len(s) for s in (planted.levels[i].count for i in range(3))]
    pairs = {
        ((widths.index(r.parent_width), r.parent), (widths.index(r.child_width), r.child)) for r in frame.itertuples()
    }
    assert pairs == true_edges
    assert len(frame) == len(true_edges)
    assert frame["in_tree"].sum() == 25
    assert len(nodes) == planted.graph.number_of_nodes()
    for row in nodes.to_dict("records"):
        known = {name: None if pd.isna(value) else value for name, value in row.items()}
        assert known == planted.graph.nodes[row["level"], row["feature"]]


def test_a_small_memory_budget_gives_the_same(stores: list[FeatureStore]) -> None:
    a, b = families(stores, n_replicates=0), families(stores, n_replicates=0, memory_budget=100_000)
    for name, column in a.edges.columns().items():
        assert_allclose(b.edges.columns()[name], column)


def test_two_widths_are_enough_and_one_is_not(stores: list[FeatureStore]) -> None:
    assert len(families(stores[:2]).edges) == 8
    for few in (stores[:1], []):
        with pytest.raises(MismatchError, match=f"dictionaries of at least two widths, found {len(few)}"):
            families(few)


@pytest.mark.parametrize("order", [(1, 0), (1, 1), (0, 2, 1)])
def test_widths_that_do_not_rise_are_refused(stores: list[FeatureStore], order: tuple[int, ...]) -> None:
    with pytest.raises(MismatchError, match="give the stores by rising width"):
        families([stores[i] for i in order])


def test_stores_that_do_not_belong_together_are_refused(
    plants: tuple, write_store: Callable[..., FeatureStore]
) -> None:
    narrow, middle = plants[:2]
    a = write_store("a", narrow.x, narrow.decoder)
    other = {
        "model nnnnnnnn, but .* has mmmmmmmm": {"model": "n"},
        "site elsewhere, but": {"site": "elsewhere"},
        "both stores must see the same tokens": {"token_seed": 1},
    }
    for i, (message, change) in enumerate(other.items()):
        b = write_store(f"b{i}", middle.x, middle.decoder, **change)
        with pytest.raises(MismatchError, match=message):
            families([a, b])
    with pytest.raises(MismatchError, match=r"decoder rows of width 128, but .* has 256"):
        families([a, write_store("short", middle.x, middle.decoder[:, :128])])


def test_a_store_without_decoder_rows_is_refused(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    a, b = (write_store(str(i), plants[i].x, None if i else plants[i].decoder) for i in (0, 1))
    with pytest.raises(UniversalityError, match=r"1\.h5: holds no dictionary"):
        families([a, b])


def test_a_dead_dictionary_is_refused(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    a = write_store("a", np.zeros_like(plants[0].x), plants[0].decoder)
    b = write_store("b", plants[1].x, plants[1].decoder)
    with pytest.raises(MismatchError, match=r"a\.h5: every one of its 5 features is dead"):
        families([a, b])


def test_negative_activations_are_refused(plants: tuple, write_store: Callable[..., FeatureStore]) -> None:
    a, b = write_store("a", plants[0].x, plants[0].decoder), write_store("b", -plants[1].x, plants[1].decoder)
    with pytest.raises(UniversalityError, match="families need activations that are never "):
        families([a, b])


def test_the_root_name_can_be_called_before_and_after_the_package_is_imported(stores: list[FeatureStore]) -> None:
    for _ in range(2):
        assert len(universality.families(stores[:2], n_replicates=0).edges) == 8
    from universality import families as from_root

    assert len(from_root(stores[:2], n_replicates=0).edges) == 8
