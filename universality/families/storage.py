"""The file of a family graph: node-link JSON with a format name, a version and provenance beside it.

``networkx.node_link_graph(json.load(file))`` reads it with no code of ours. Nodes are ``[level, feature]``.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.errors import FormatError
from universality.families.chance import Chance
from universality.families.edges import Edges
from universality.families.graph import EDGE_ATTRIBUTES
from universality.families.levels import Level
from universality.families.rule import EdgeRule

if TYPE_CHECKING:
    import networkx as nx

FORMAT = "universality.families"
VERSION = 1


def save_families(path: str | Path, header: dict[str, Any], graph: "nx.DiGraph") -> Path:
    """Write the graph as JSON, atomically.

    ``header`` holds ``n_tokens`` of each level, ``chance`` and ``provenance``.
    """
    import networkx as nx

    path = Path(path)
    data = {"format": FORMAT, "version": VERSION, **header, **nx.node_link_data(graph, edges="edges")}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(data, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load_families(path: str | Path) -> tuple[tuple[Level, ...], Edges, EdgeRule, Chance, dict[str, Any]]:
    """Levels, edges, rule, chance and provenance from a file of ``save_families``.

    Raises
    ------
    FormatError
        When the file is torn, foreign, of another version, or contradicts itself.
    """
    data = _read(Path(path))
    try:
        attributes = data["graph"]
        rule = EdgeRule(**{name: attributes[name] for name in EdgeRule.__dataclass_fields__})
        levels = tuple(
            _level(name, width, n_tokens, [node for node in data["nodes"] if node["level"] == i])
            for i, (name, width, n_tokens) in enumerate(
                zip(attributes["stores"], attributes["widths"], data["n_tokens"], strict=True)
            )
        )
        edges = _edges(data["edges"], levels)
        return levels, edges, rule, _chance(data["chance"], len(levels) - 1), data["provenance"]
    except (KeyError, TypeError, ValueError, IndexError) as problem:
        raise FormatError(f"{path}: contents contradict themselves ({problem}); make the families again") from problem


def _read(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise FormatError(f"{path}: expected JSON, found a torn or foreign file ({problem})") from problem
    found = data.get("format") if isinstance(data, dict) else None
    if found != FORMAT:
        raise FormatError(f"{path}: expected format {FORMAT!r}, found {found!r}; is this a file of Families.save()?")
    if data.get("version") != VERSION:
        raise FormatError(
            f"{path}: expected version {VERSION} of {FORMAT}, found {data.get('version')}; make the families again"
        )
    return data


def _level(name: str, width: int, n_tokens: int, nodes: list[dict[str, Any]]) -> Level:
    nodes = sorted(nodes, key=lambda node: int(node["feature"]))
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


def _chance(entry: dict[str, Any], n_steps: int) -> Chance:
    if len(entry["edges"]) != n_steps:
        raise ValueError(f"chance of {len(entry['edges'])} steps, expected {n_steps}")
    return Chance(**{**entry, "edges": tuple(tuple(counts) for counts in entry["edges"])})


def _edges(items: list[dict[str, Any]], levels: Sequence[Level]) -> Edges:
    for item in items:
        (low, parent), (high, child) = item["source"], item["target"]
        if high != low + 1 or not 0 <= parent < levels[low].width or not 0 <= child < levels[high].width:
            raise ValueError(f"edge from {item['source']} to {item['target']}")
    ends = np.array([[*item["source"], item["target"][1]] for item in items], dtype=np.int64).reshape(-1, 3)
    values = {name: np.array([item[name] for item in items], dtype=np.float64) for name in EDGE_ATTRIBUTES}
    return Edges(level=ends[:, 0], parent=ends[:, 1], child=ends[:, 2], **values).sorted()
