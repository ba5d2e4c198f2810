"""Registry of the figures of a report, each drawn from its table alone, so that they can be drawn again for print.

A new figure is a module with a drawing function and its caption, and one entry in ``DRAWINGS``; `figure_tables` of
`universality.pipeline.reporting.figure_data` makes its table.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from universality.errors import FormatError
from universality.plot.class_boxes import strata_by_number
from universality.plot.effects_by_similarity import EffectPoints
from universality.plot.firing_rates import DensitySample
from universality.plot.loss_by_threshold import LossCurve
from universality.plot.matched_share import CoverageCurve
from universality.plot.median_by_firings import FrequencySample
from universality.plot.training_log import TrainingCurve
from universality.plot.transfer_by_similarity import TransferPoints
from universality.plot.tree_layout import choose_family
from universality.report.data import Caption, ConceptRow, FamilyLevel, FamilyTable, Picture, Sample, Section, sample
from universality.report.figures.concepts import concept_dots, describe_concepts
from universality.report.figures.consistency import consistency_by_frequency, describe_consistency
from universality.report.figures.coverage import describe_coverage, quality_against_coverage
from universality.report.figures.crosscoder_norms import describe_relative_norms, relative_norms
from universality.report.figures.densities import describe_densities, feature_densities
from universality.report.figures.distributions import best_match_distribution, describe_distribution
from universality.report.figures.effect_figures import (
    LABELS,
    carried_by_shared,
    describe_carried,
    describe_effects,
    effects_against_activation,
)
from universality.report.figures.figure_table import Table
from universality.report.figures.heatmap import (
    MatchedMatrix,
    clustered_heatmap,
    describe_clustered,
    describe_heatmap,
    matched_heatmap,
)
from universality.report.figures.icicle import describe_icicle, family_icicle
from universality.report.figures.label_figures import describe_transfer, transfer_against_similarity
from universality.report.figures.saving import picture
from universality.report.figures.scatter import (
    activation_against_logit,
    chosen_against_held_out,
    describe_held_out,
    describe_logit,
)
from universality.report.figures.similarity_strata import describe_strata, similarity_by_firings
from universality.report.figures.splitting import describe_splitting, splitting_factors
from universality.report.figures.training import describe_training, training_curves
from universality.report.figures.tree_drawing import describe_family, family_tree

MOST_CHILDREN = 8
"""Nodes drawn of each level of a family."""
Drawn = tuple[Figure, Caption]


@dataclass(frozen=True)
class Drawing:
    """How a table becomes a figure.

    Parameters
    ----------
    section, title
        As of ``Picture``.
    columns
        Columns that the table must have.
    draw
        Function from table to figure and caption.
    """

    section: Section
    title: str
    columns: tuple[str, ...]
    draw: Callable[[Table], Drawn]


def draw(name: str, table: Table) -> Drawn:
    """Draw a figure from its table, and write its caption.

    Raises
    ------
    FormatError
        If the table lacks a column, or no figure has the name.
    """
    if name not in DRAWINGS:
        raise FormatError(f"{name}: no figure of that name; expected one of {', '.join(DRAWINGS)}")
    missing = set(DRAWINGS[name].columns) - set(table)
    if missing:
        raise FormatError(f"{name}: its table has columns {', '.join(table)}, but not {', '.join(sorted(missing))}")
    return DRAWINGS[name].draw(table)


def draw_picture(name: str, table: Table) -> Picture:
    """Draw a figure as a picture of the report."""
    figure, caption = draw(name, table)
    title = DRAWINGS[name].title
    if name in ("family", "icicle"):
        title = f"{title} of model {table['model'][0]}"
    return picture(name, DRAWINGS[name].section, title, figure, caption)


def samples_table(samples: list[Sample]) -> Table:
    """Make a table with one row per score: ``role label without r``; a sample without scores has one row of NaN."""
    rows = [(s.role, s.label, s.without, value) for s in samples for value in (s.values if s.values.size else [np.nan])]
    role, label, without, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return {
        "role": np.asarray(role, dtype=np.str_),
        "label": np.asarray(label, dtype=np.str_),
        "without": np.asarray(without, dtype=np.int64),
        "r": np.asarray(values, dtype=np.float64),
    }


def _samples(table: Table) -> list[Sample]:
    samples = []
    for label in dict.fromkeys(table["label"].tolist()):
        rows = table["label"] == label
        samples.append(sample(table["role"][rows][0], label, table["r"][rows], int(table["without"][rows][0])))
    return samples


def _best_match(table: Table) -> Drawn:
    samples = _samples(table)
    return best_match_distribution(samples), describe_distribution(samples)


def _coverage(table: Table) -> Drawn:
    curves = [CoverageCurve.of(sample) for sample in _samples(table)]
    return quality_against_coverage(curves), describe_coverage(curves)


def _consistency(table: Table) -> Drawn:
    samples = []
    for label in dict.fromkeys(table["label"].tolist()):
        rows = table["label"] == label
        samples.append(FrequencySample(table["role"][rows][0], label, table["firings"][rows], table["r"][rows]))
    return consistency_by_frequency(samples), describe_consistency(samples)


def _matrix(table: Table) -> MatchedMatrix:
    a, b = table["sides"].tolist() if "sides" in table else ("A", "B")  # tables of earlier versions name none
    return MatchedMatrix(table["sample"], table["best"], int(table["n_pairs"]), (a, b))


def _heatmap(table: Table) -> Drawn:
    return matched_heatmap(_matrix(table)), describe_heatmap(_matrix(table))


def _clustered(table: Table) -> Drawn:
    return clustered_heatmap(_matrix(table)), describe_clustered(_matrix(table))


def _held_out(table: Table) -> Drawn:
    both = table["chosen"], table["held_out"]
    return chosen_against_held_out(*both), describe_held_out(*both)


def _logit(table: Table) -> Drawn:
    given = table["held_out"], table["logit"], table.get("by_chance", ())  # runs of earlier versions lack the last
    return activation_against_logit(*given), describe_logit(*given)


def _strata(table: Table) -> Drawn:
    classes = strata_by_number(table["firings"], table["held_out"], table["edges"], table["null_quantile"])
    return similarity_by_firings(classes), describe_strata(classes, int((~np.isnan(table["held_out"])).sum()))


def _densities(table: Table) -> Drawn:
    samples = []
    for model, width in dict.fromkeys(zip(table["model"].tolist(), table["width"].tolist(), strict=True)):
        rows = (table["model"] == model) & (table["width"] == width)
        samples.append(DensitySample(str(model), int(width), table["density"][rows].astype(np.float64)))
    return feature_densities(samples), describe_densities(samples)


CONCEPT_COLUMNS = ("kind", "n_tokens", "feature", "n_groups", "f1", "held_out", "ci_low", "ci_high")


def concepts_table(rows: tuple[ConceptRow, ...], sides: tuple[str, str]) -> Table:
    """Make the table of concepts for two sides."""
    columns = {name: [getattr(row, name) for row in rows] for name in CONCEPT_COLUMNS}
    columns["n_groups"] = [np.nan if n is None else n for n in columns["n_groups"]]
    named = dict(zip(("side_a", "side_b"), ([side] * len(rows) for side in sides), strict=True))
    return {name: np.asarray(values) for name, values in (columns | named).items()}


def _concepts(table: Table) -> Drawn:
    names_of_fields = {field.name for field in fields(ConceptRow)} & set(table)
    rows = []
    for i in range(len(table["kind"])):
        values: dict[str, Any] = {name: _item(table[name][i]) for name in names_of_fields}
        values["n_groups"] = None if np.isnan(values["n_groups"]) else int(values["n_groups"])
        rows.append(ConceptRow(**values))
    names = (str(table["side_a"][0]), str(table["side_b"][0])) if "side_a" in table else ("A", "B")
    return concept_dots(tuple(rows), names), describe_concepts(tuple(rows), names)


NODE_ATTRIBUTES = ("width", "feature", "kind", "density")


def family_members(graph: nx.DiGraph) -> list[Any]:
    """List the features of the family to show, its root first; empty where no family is large enough."""
    root = choose_family(graph, MOST_CHILDREN)
    return [] if root is None else [root, *sorted(nx.descendants(graph, root))]


def family_table(model: str, graph: nx.DiGraph, members: list[Any], tokens: dict[Any, tuple[str, ...]]) -> Table:
    """Make the table of a family: its features (the root first), their tokens, and the edges among them."""
    places = {node: i for i, node in enumerate(members)}
    edges = [(places[a], places[b], w) for a, b, w in graph.subgraph(members).edges(data="weight")]
    parent, child, weight = zip(*edges, strict=True) if edges else ((), (), ())
    most = max((len(strings) for strings in tokens.values()), default=0)
    columns = {name: np.asarray([graph.nodes[node].get(name) or 0 for node in members]) for name in NODE_ATTRIBUTES[:2]}
    kinds = [graph.nodes[node].get("kind") or "" for node in members]
    return {
        **columns,
        "model": np.asarray([model]),
        "level": np.asarray([node[0] for node in members], dtype=np.int64),
        "kind": np.asarray(kinds, dtype=np.str_),
        "density": np.asarray([graph.nodes[node].get("density", np.nan) for node in members], dtype=np.float64),
        "tokens": np.asarray([[*tokens.get(node, ()), *[""] * most][:most] for node in members], dtype=np.str_),
        "n_tokens": np.asarray([len(tokens.get(node, ())) for node in members], dtype=np.int64),
        "parent": np.asarray(parent, dtype=np.int64),
        "child": np.asarray(child, dtype=np.int64),
        "weight": np.asarray(weight, dtype=np.float64),
    }


def _family(table: Table) -> Drawn:
    nodes = list(zip(table["level"].tolist(), table["feature"].tolist(), strict=True))
    graph: nx.DiGraph = nx.DiGraph()
    tokens = {}
    for i, node in enumerate(nodes):
        graph.add_node(node, **{name: _item(table[name][i]) for name in NODE_ATTRIBUTES})
        tokens[node] = tuple(table["tokens"][i, : table["n_tokens"][i]].tolist())
    for parent, child, weight in zip(table["parent"], table["child"], table["weight"].tolist(), strict=True):
        graph.add_edge(nodes[parent], nodes[child], weight=weight)
    drawn = family_tree(graph, nodes[0], tokens, most=MOST_CHILDREN)
    return drawn, describe_family(graph, nodes[0], tokens, most=MOST_CHILDREN)


LEVEL_COLUMNS = tuple(field.name for field in fields(FamilyLevel))


def splitting_table(tables: list[FamilyTable]) -> Table:
    """Make a table with one row per model and width; NaN where a width has no neighbour to count towards."""
    rows = [(table.model, level) for table in tables for level in table.levels]
    columns = {name: [getattr(level, name) for _, level in rows] for name in LEVEL_COLUMNS}
    numbers = {name: np.asarray([np.nan if x is None else x for x in column]) for name, column in columns.items()}
    return {"model": np.asarray([model for model, _ in rows], dtype=np.str_), **numbers}


def _splitting(table: Table) -> Drawn:
    tables = []
    for model in dict.fromkeys(table["model"].tolist()):
        levels = []
        for i in np.flatnonzero(table["model"] == model):
            counted = {name: _item(table[name][i]) for name in LEVEL_COLUMNS if not np.isnan(table[name][i])}
            levels.append(FamilyLevel(**counted))
        tables.append(FamilyTable(str(model), tuple(levels)))
    return splitting_factors(tables), describe_splitting(tables)


ICICLE_COLUMNS = {
    "node": ("level", "feature", "width", "kind", "status"),
    "edge": ("parent_width", "parent", "child_width", "child", "in_tree"),
}


def icicle_table(model: str, nodes: pd.DataFrame, edges: pd.DataFrame) -> Table:
    """Make the table of all features of a model and the edges among them: ``node.level`` … ``edge.in_tree``."""
    table = {"model": np.asarray([model])}
    for what, frame in (("node", nodes), ("edge", edges)):
        for name in ICICLE_COLUMNS[what]:
            text = frame[name].dtype.kind not in "biuf"
            table[f"{what}.{name}"] = np.asarray(
                frame[name].fillna("") if text else frame[name], np.str_ if text else None
            )
    return table


def _icicle(table: Table) -> Drawn:
    nodes, edges = (
        pd.DataFrame({name: table[f"{what}.{name}"] for name in columns}) for what, columns in ICICLE_COLUMNS.items()
    )
    nodes["kind"] = nodes["kind"].where(nodes["kind"] != "")
    return family_icicle(nodes, edges), describe_icicle(nodes, edges)


def _item(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def training_table(curves: list[TrainingCurve], unit: str) -> Table:
    """One row a logged number: ``run measure at value unit``."""
    rows = [(c.run, c.measure, x, y, unit) for c in curves for x, y in zip(c.x, c.y, strict=True)]
    run, measure, at, value, units = zip(*rows, strict=True) if rows else ((),) * 5
    return {
        "run": np.asarray(run, dtype=np.str_),
        "measure": np.asarray(measure, dtype=np.str_),
        "at": np.asarray(at, dtype=np.float64),
        "value": np.asarray(value, dtype=np.float64),
        "unit": np.asarray(units, dtype=np.str_),
    }


def _training(table: Table) -> Drawn:
    keys = list(zip(table["run"].tolist(), table["measure"].tolist(), strict=True))
    drawn = []
    for key in dict.fromkeys(keys):
        rows = np.asarray([other == key for other in keys])
        drawn.append(TrainingCurve(*key, tuple(table["at"][rows].tolist()), tuple(table["value"][rows].tolist())))
    unit = str(table["unit"][0]) if keys else "tokens"
    return training_curves(drawn, unit), describe_training(drawn, unit)


def _crosscoder(table: Table) -> Drawn:
    first, second = table["models"].tolist()
    parts = table["relative_norm"], table["partners"].astype(bool), table["unpaired"], (first, second)
    return relative_norms(*parts), describe_relative_norms(*parts)


def _carried(table: Table) -> Drawn:
    curves: dict[str, list[LossCurve]] = {}
    keys = zip(table["model"].tolist(), table["role"].tolist(), strict=True)
    for model, role in dict.fromkeys(keys):
        points = (table["model"] == model) & (table["role"] == role)
        numbers = (table[name][points].astype(np.float64) for name in ("threshold", "recovered", "low", "high"))
        curves.setdefault(str(model), []).append(LossCurve(role, LABELS.get(role, role), *numbers))
    return carried_by_shared(curves), describe_carried(curves)


def _effects(table: Table) -> Drawn:
    pairs = EffectPoints(*(table[name].astype(np.float64) for name in PAIR_EFFECTS))
    return effects_against_activation(pairs), describe_effects(pairs)


def _transfer(table: Table) -> Drawn:
    numbers = (table[column].astype(np.float64) for column in ("r", "effect_r", "loss"))
    pairs, name = TransferPoints(np.asarray(table["pairing"], np.str_), *numbers), str(table["score"][0])
    return transfer_against_similarity(pairs, name), describe_transfer(pairs, name)


PAIR_EFFECTS = tuple(field.name for field in fields(EffectPoints))
_BY_FREQUENCY = ("role", "label", "firings", "r")
_SCORES = ("role", "label", "without", "r")
_PAIRS = ("sample", "best", "n_pairs")
DRAWINGS: dict[str, Drawing] = {
    "best_match": Drawing("answer", "Similarity of matched features", _SCORES, _best_match),
    "heatmap": Drawing("answer", "Similarity matrix of matched features", _PAIRS, _heatmap),
    "held_out": Drawing("answer", "Chosen against held-out similarity", ("chosen", "held_out"), _held_out),
    "coverage": Drawing("answer", "Quality against coverage", _SCORES, _coverage),
    "strata": Drawing(
        "answer", "Similarity by firing count", ("firings", "held_out", "edges", "null_quantile"), _strata
    ),
    "consistency": Drawing("answer", "Similarity by frequency, with ceilings", _BY_FREQUENCY, _consistency),
    "carried_loss": Drawing(
        "carried", "Loss that shared features carry", ("model", "role", "threshold", "recovered", "low", "high"),
        _carried,
    ),
    "effects": Drawing("effects", "Agreement of effects and of activations", PAIR_EFFECTS, _effects),
    "clustered": Drawing("pairs", "Similarity matrix, clustered", _PAIRS, _clustered),
    "logit": Drawing("pairs", "Activation and logit-weight similarity", ("held_out", "logit"), _logit),
    "crosscoder": Drawing(
        "pairs", "Features shared in a crosscoder", ("relative_norm", "partners", "unpaired", "models"), _crosscoder
    ),
    "densities": Drawing("widths", "Firing rates", ("model", "width", "density"), _densities),
    "concepts": Drawing("concepts", "Concepts across models", CONCEPT_COLUMNS, _concepts),
    "splitting": Drawing("families", "Splitting and merging", ("model", "width", "eligible"), _splitting),
    "icicle": Drawing("families", "All families", ("model", "node.level", "node.kind", "edge.parent"), _icicle),
    "family": Drawing("families", "A family", ("model", "level", "tokens", "parent", "child", "weight"), _family),
    "label_transfer": Drawing(
        "transfer", "Transfer of explanations", ("score", "pairing", "r", "effect_r", "loss"), _transfer
    ),
    "training": Drawing("training", "Training of the SAEs", ("run", "measure", "at", "value", "unit"), _training),
}  # fmt: skip


def tables_in(folder: Path) -> dict[str, Path]:
    """Map the figures whose tables are in a folder to their files, in the report's order."""
    files = {path.stem: path for path in sorted(folder.glob("*")) if path.suffix in (".csv", ".npz")}
    return {name: files[name] for name in DRAWINGS if name in files}
