"""The file of a family graph: node-link JSON with a format name, a version and provenance beside it.

``networkx.node_link_graph(json.load(file))`` reads it with no code of ours. Nodes are ``[level, feature]``.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.errors import FormatError
from universality.family.candidates import Met
from universality.family.chance_edges import Chance, Reseeded
from universality.family.consistent_paths import PathConsistency
from universality.family.dictionaries import Level
from universality.family.edge_rule import EdgeRule
from universality.family.edges import Edges
from universality.family.networkx_graph import EDGE_ATTRIBUTES
from universality.family.orphans import Origins
from universality.files import as_path, read_json_value, replacing_text

if TYPE_CHECKING:
    import networkx as nx

FORMAT = "universality.families"
VERSION = 2


def save_families(path: str | Path, header: dict[str, Any], graph: "nx.DiGraph") -> Path:
    """Write the graph as JSON, atomically.

    ``header`` holds ``n_tokens`` of each level, ``chance``, ``paths`` and ``provenance``.
    """
    import networkx as nx

    path = as_path(path)
    data = {"format": FORMAT, "version": VERSION, **header, **nx.node_link_data(graph, edges="edges")}
    with replacing_text(path) as file:
        file.write(json.dumps(data, allow_nan=False) + "\n")
    return path


def load_families(path: str | Path) -> dict[str, Any]:
    """The fields of ``Families`` from a file of ``save_families``.

    Raises
    ------
    FormatError
        When the file is torn, foreign, of another version, or contradicts itself.
    """
    data = _read(as_path(path))
    try:
        attributes = data["graph"]
        rule = EdgeRule(**{name: attributes[name] for name in EdgeRule.__dataclass_fields__})
        nodes = [[node for node in data["nodes"] if node["level"] == i] for i in range(len(attributes["widths"]))]
        described = zip(attributes["stores"], attributes["widths"], data["n_tokens"], nodes, strict=True)
        levels = tuple(_level(*some) for some in described)
        return {
            "levels": levels,
            "edges": _edges(data["edges"], levels),
            "origins": tuple(_origins(some) for some in nodes),
            "rule": rule,
            "reconstruction": attributes["reconstruction"],
            "chance": _chance(data["chance"], len(levels) - 1),
            "paths": tuple(PathConsistency(**some) for some in data["paths"]),
            "provenance": data["provenance"],
        }
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise FormatError(f"{path}: contents contradict themselves ({problem}); make the families again") from problem


def _read(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = read_json_value(path)
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise FormatError(f"{path}: expected format {FORMAT!r}, found {found!r}; is this a file of Families.save()?")
    if data.get("version") != VERSION:
        raise FormatError(
            f"{path}: expected version {VERSION} of {FORMAT}, found {data.get('version')}; make the families again"
        )
    return data


def _level(name: str, width: int, n_tokens: int, nodes: list[dict[str, Any]]) -> Level:
    nodes.sort(key=lambda node: int(node["feature"]))
    if [node["feature"] for node in nodes] != list(range(width)):
        raise ValueError(f"level {name} should hold features 0 to {width - 1}, each once")
    return Level(
        name,
        int(n_tokens),
        np.array([node["count"] for node in nodes], dtype=np.int64),
        np.array([node["max_activation"] for node in nodes], dtype=np.float32),
        np.array([node["purity"] for node in nodes], dtype=np.float64),
        tuple(node["kind"] for node in nodes),
    )


def _origins(nodes: list[dict[str, Any]]) -> Origins:
    """Of one level, whose nodes are in order."""
    columns = {name: _floats(nodes, name) for name in Origins.__dataclass_fields__ if name != "nearest"}
    nearest = np.array([-1 if node["nearest"] is None else node["nearest"] for node in nodes], dtype=np.int64)
    return Origins(nearest=nearest, **columns)


def _floats(items: list[dict[str, Any]], name: str) -> npt.NDArray[np.float64]:
    return np.array([item[name] for item in items], dtype=np.float64)  # None becomes NaN


def _chance(entry: dict[str, Any], n_steps: int) -> Chance:
    if len(entry["found"]) != n_steps or len(entry["repaired"]) != n_steps:
        raise ValueError(f"chance of {len(entry['repaired'])} steps, expected {n_steps}")
    return Chance(
        null=entry["null"],
        seed=entry["seed"],
        found=tuple(Met(**met) for met in entry["found"]),
        repaired=tuple(tuple(Met(**met) for met in step) for step in entry["repaired"]),
        share=entry["share"],
        note=entry["note"],
        reseeded=tuple(Reseeded(**{**some, "met": Met(**some["met"])}) for some in entry["reseeded"]),
    )


def _edges(items: list[dict[str, Any]], levels: Sequence[Level]) -> Edges:
    for item in items:
        (low, parent), (high, child) = item["source"], item["target"]
        if high != low + 1 or not 0 <= parent < levels[low].width or not 0 <= child < levels[high].width:
            raise ValueError(f"edge from {item['source']} to {item['target']}")
    ends = np.array([[*item["source"], item["target"][1]] for item in items], dtype=np.int64).reshape(-1, 3)
    values = {name: _floats(items, name) for name in EDGE_ATTRIBUTES}
    return Edges(level=ends[:, 0], parent=ends[:, 1], child=ends[:, 2], **values).sorted()
