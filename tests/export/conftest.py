"""The graph that every format is tried on, and two small stores."""

import math
import sys
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from universality.features.storage.store import FeatureStore

NASTY = [
    "\x07",
    "\x00",
    "\\",
    "=cmd|' /C calc'!A0",
    " the",
    " ",
    "",
    "\ud83d",
    "\udce2",
    "\n\r\t",
    '<a href="x">&amp;]]>',
    "\u202e",
    "🙂",
]


@pytest.fixture
def nasty() -> list[str]:
    """Token strings that break formats."""
    return list(NASTY)


@pytest.fixture(params=[True, False], ids=["directed", "undirected"])
def graph(request: pytest.FixtureRequest) -> nx.Graph:
    """Those tokens as labels, and values of every type, some missing."""
    directed = request.param
    graph = nx.DiGraph(provenance={"model": "a\x07", "seed": 1}) if directed else nx.Graph()
    for i, token in enumerate(NASTY):
        graph.add_node((0, i), label=token, width=512, feature=i, density=0.1 * i if i else math.nan, alive=i != 3)
    for i in range(1, len(NASTY)):
        graph.add_edge((0, i - 1), (0, i), weight=1 / i, coverage=None if i == 2 else 0.25)
    return graph


@pytest.fixture
def two_stores(tmp_path: Path) -> tuple[FeatureStore, FeatureStore]:
    """Three features of kinds x, y, x, and the same in reverse order with a dead one after them."""
    rng = np.random.default_rng(0)
    n = 400
    kind = np.where(np.arange(n) // 40 % 2 == 0, "x", "y")
    x = np.where(rng.random((n, 3)) < 0.2, rng.uniform(1, 2, (n, 3)), 0)
    x[kind == "y"] *= [0.2, 1, 0.2]
    x[kind == "x"] *= [1, 0.2, 1]
    token = rng.integers(0, 10, n)
    sides = {"a": x, "b": np.concatenate([x[:, ::-1], np.zeros((n, 1))], axis=1)}
    stores = []
    for name, values in sides.items():
        writer = FeatureStore.create(tmp_path / f"{name}.h5", values.shape[1], {})
        rows, place = sparse.csr_matrix(values.astype(np.float32)), np.arange(n)
        writer.append(rows, token=token, document=place // 40, position=place % 40 + 1, kind=kind)
        stores.append(writer.finish())
    return stores[0], stores[1]


sys.path.append(str(Path(__file__).parent))  # makes schema importable, whatever pytest's import mode
