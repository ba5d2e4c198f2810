"""What is saved comes back, networkx reads it too, and damaged files are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import networkx as nx
import pytest
from numpy.testing import assert_array_equal

from universality.errors import FormatError
from universality.families import Families
from universality.features.store import FeatureStore


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
        (lambda d: d["graph"].update(min_masked_cosine=7), "expected a cosine"),
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
    with pytest.raises(FormatError, match=r"torn or foreign file|expected format"):
        Families.load(path)
