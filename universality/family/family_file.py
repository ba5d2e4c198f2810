"""File of a family graph: node-link JSON with a format name, a version and provenance beside it.

``networkx.node_link_graph(json.load(file))`` reads it without this package. Nodes are ``[level, feature]``.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.errors import FormatError
from universality.family.candidates import RuleCounts
from universality.family.chance_edges import ChanceCounts, Reseeded
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


def save_families(
    path: str | Path,
    levels: Sequence[Level],
    chance: ChanceCounts,
    paths: Sequence[PathConsistency],
    provenance: dict[str, Any],
    graph: "nx.DiGraph",
) -> Path:
    """Write the graph as JSON, atomically, with everything about it that is no attribute of its nodes and edges."""
    import networkx as nx

    path = as_path(path)
    header = {
        "n_tokens": [level.n_tokens for level in levels],
        "chance": _chance_entry(chance),
        "paths": [asdict(each) for each in paths],
        "provenance": provenance,
    }
    data = {"format": FORMAT, "version": VERSION, **header, **nx.node_link_data(graph, edges="edges")}
    with replacing_text(path) as file:
        file.write(json.dumps(data, allow_nan=False) + "\n")
    return path


def load_families(path: str | Path) -> dict[str, Any]:
    """Read the fields of ``Families`` from a file written by ``save_families``.

    Raises
    ------
    FormatError
        If the file is corrupt, of another format or version, or contradicts itself.
    """
    data = _read(as_path(path))
    try:
        attributes = data["graph"]
        rule = EdgeRule(**{name: attributes[name] for name in EdgeRule.__dataclass_fields__})
        nodes = [[node for node in data["nodes"] if node["level"] == i] for i in range(len(attributes["widths"]))]
        described = zip(attributes["stores"], attributes["widths"], data["n_tokens"], nodes, strict=True)
        levels = tuple(_level(*description) for description in described)
        return {
            "levels": levels,
            "edges": _edges(data["edges"], levels),
            "origins": tuple(_origins(of_level) for of_level in nodes),
            "rule": rule,
            "reconstruction": attributes["reconstruction"],
            "chance": _chance(data["chance"], len(levels) - 1),
            "paths": tuple(PathConsistency(**each) for each in data["paths"]),
            "provenance": data["provenance"],
        }
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise FormatError(f"{path}: contents contradict themselves ({problem}); make the families again") from problem


def _read(path: Path) -> dict[str, Any]:
    """Read the file and check format and version."""
    data: dict[str, Any] = read_json_value(path)
    name = data.get("format") if isinstance(data, dict) else None
    if name != FORMAT:
        raise FormatError(f"{path}: expected format {FORMAT!r}, found {name!r}; is this a file of Families.save()?")
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
    """Read the origins of one level, whose nodes are in order of the features."""
    columns = {name: _floats(nodes, name) for name in Origins.__dataclass_fields__ if name != "nearest"}
    nearest = np.array([-1 if node["nearest"] is None else node["nearest"] for node in nodes], dtype=np.int64)
    return Origins(nearest=nearest, **columns)


def _floats(items: list[dict[str, Any]], name: str) -> npt.NDArray[np.float64]:
    return np.array([item[name] for item in items], dtype=np.float64)  # None becomes NaN


def _chance_entry(chance: ChanceCounts) -> dict[str, Any]:
    """Turn counts into the file's entry, where the observed ones are "found" and those of a pair of seeds "met"."""
    entry = {"found" if name == "observed" else name: value for name, value in asdict(chance).items()}
    entry["reseeded"] = [
        {"met" if name == "counts" else name: value for name, value in each.items()} for each in entry["reseeded"]
    ]
    return entry


def _chance(entry: dict[str, Any], n_steps: int) -> ChanceCounts:
    if len(entry["found"]) != n_steps or len(entry["repaired"]) != n_steps:
        raise ValueError(f"chance of {len(entry['repaired'])} steps, expected {n_steps}")
    reseeded = [{**each, "counts": RuleCounts(**each["met"])} for each in entry["reseeded"]]
    return ChanceCounts(
        null=entry["null"],
        seed=entry["seed"],
        observed=tuple(RuleCounts(**counts) for counts in entry["found"]),
        repaired=tuple(tuple(RuleCounts(**counts) for counts in step) for step in entry["repaired"]),
        share=entry["share"],
        note=entry["note"],
        reseeded=tuple(Reseeded(**{k: v for k, v in each.items() if k != "met"}) for each in reseeded),
    )


def _edges(items: list[dict[str, Any]], levels: Sequence[Level]) -> Edges:
    for item in items:
        (low, parent), (high, child) = item["source"], item["target"]
        if high != low + 1 or not 0 <= parent < levels[low].width or not 0 <= child < levels[high].width:
            raise ValueError(f"edge from {item['source']} to {item['target']}")
    ends = np.array([[*item["source"], item["target"][1]] for item in items], dtype=np.int64).reshape(-1, 3)
    values = {name: _floats(items, name) for name in EDGE_ATTRIBUTES}
    return Edges(level=ends[:, 0], parent=ends[:, 1], child=ends[:, 2], **values).sorted()
