"""What is saved comes back, networkx reads it too, and damaged files are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest
from numpy.testing import assert_array_equal

from universality.errors import FormatError
from universality.family import Families
from universality.features.storage.store import FeatureStore


@pytest.fixture
def saved(planted: Families, tmp_path: Path) -> tuple[Families, Path]:
    """The planted families and their file."""
    return planted, planted.save(tmp_path / "families.json")


def test_round_trip(saved: tuple[Families, Path]) -> None:
    found, path = saved
    back = Families.load(path)
    assert (back.rule, back.chance, back.provenance) == (found.rule, found.chance, found.provenance)
    assert nx.utils.graphs_equal(back.graph, found.graph)
    assert back.graph.graph == found.graph.graph
    assert back.summary() == found.summary()
    for name, column in found.edges.columns().items():
        assert_array_equal(back.edges.columns()[name], column)
    assert back.nodes_frame().equals(found.nodes_frame())


def test_provenance_names_what_it_was_made_from(saved: tuple[Families, Path], stores: list[FeatureStore]) -> None:
    provenance = saved[0].provenance
    assert provenance["tokens_hash"] == stores[0].tokens_hash
    assert [entry["name"] for entry in provenance["stores"]] == [store.path.name for store in stores]


def test_networkx_reads_the_file_without_us(saved: tuple[Families, Path]) -> None:
    found, path = saved
    assert nx.utils.graphs_equal(nx.node_link_graph(json.loads(path.read_text())), found.graph)


def test_saving_twice_gives_equal_bytes_and_leaves_nothing_else(saved: tuple[Families, Path]) -> None:
    found, path = saved
    before = path.read_bytes()
    found.save(path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def edit(path: Path, change: Callable[[dict], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="other"), "expected format 'universality.families', found 'other'"),
        (lambda d: d.update(version=1), "expected version 2 of universality.families, found 1"),
        (lambda d: d["nodes"].pop(), "should hold features 0 to 20, each once"),
        (lambda d: d["edges"][0].update(target=[0, 1]), "contents contradict themselves"),
        (lambda d: d["edges"][0].update(target=[1, 99]), "contents contradict themselves"),
        (lambda d: d["edges"][0].pop("weight"), "contents contradict themselves"),
        (lambda d: d["n_tokens"].pop(), "contents contradict themselves"),
        (lambda d: d["chance"]["repaired"].pop(), "chance of 1 steps, expected 2"),
        (lambda d: d.pop("provenance"), "contents contradict themselves"),
        (
            lambda d: d["graph"].update(min_masked_cosine=7),
            "min_masked_cosine must be at least -1 and at most 1, found 7",
        ),
    ],
)
def test_files_that_cannot_be_right_are_refused(
    saved: tuple[Families, Path], change: Callable[[dict], object], message: str
) -> None:
    edit(saved[1], change)
    with pytest.raises(FormatError, match=message):
        Families.load(saved[1])


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_torn_and_foreign_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "torn.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"truncated, or not JSON|expected format"):
        Families.load(path)


def test_other_tools_get_every_attribute_with_its_type(planted: Families, tmp_path: Path) -> None:
    """GraphML and GEXF hold what ``universality.family.networkx_graph`` documents; what does not apply is left out."""
    from universality.export import write_gexf, write_graphml
    from universality.family import networkx_graph as documented

    exact = {"label": str, "width": int, "level": int, "feature": int, "count": int, "density": float,
             "max_activation": float, "alive": bool, "kind": str, "purity": float, "status": str, "vanished": bool,
             "n_parents": int, "n_children": int}  # fmt: skip
    optional = {"missing": float, "nearest": int, "nearest_cosine": float, "nearest_coverage": float, "presence": float}
    carried = dict.fromkeys(documented.EDGE_ATTRIBUTES, float) | {"kind": str}
    for read, path in (
        (nx.read_graphml, write_graphml(planted.graph, tmp_path / "a.graphml")),
        (nx.read_gexf, write_gexf(planted.graph, tmp_path / "a.gexf")),
    ):
        graph = read(path)
        for node, values in planted.graph.nodes(data=True):
            found = graph.nodes[f"{node[0]}:{node[1]}"]
            assert {name: type(found[name]) for name in exact} == exact
            for name, kind in optional.items():
                assert (name in found) == (values[name] is not None), name
                assert name not in found or type(found[name]) is kind
        for *_, values in graph.edges(data=True):
            assert {name: type(values[name]) for name in carried} == carried
    for name in (*exact, *optional, *carried):
        assert f"``{name}``" in (documented.__doc__ or ""), name


def test_the_tree_counts_what_it_dropped_after_a_round_trip(saved: tuple[Families, Path]) -> None:
    found, path = saved
    tree = Families.load(path).tree()
    assert tree.graph["kept_edges"] + tree.graph["dropped_edges"] == len(found.edges)
    assert tree.graph == found.tree().graph
