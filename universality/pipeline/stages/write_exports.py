"""The stage ``export``: matches and families as tables and graphs for other tools."""

from collections.abc import Callable, Sequence
from functools import partial
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from universality.config import Config
from universality.export.agreement_columns import PREFIXES
from universality.features.descriptions import Described
from universality.features.examples import Decode
from universality.files import read_json_value
from universality.pipeline.input_hashes import hashes_by_place
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages import build_families, match_features, measure_effects
from universality.pipeline.stages.compare_partner_effects import read_agreement
from universality.pipeline.stages.family_effects import read_family_effects
from universality.pipeline.stages.match_by_effect import OVER_ALL_TOKENS, read_effect_match
from universality.pipeline.stages.sae_likeness import likeness
from universality.pipeline.stored_labels import label_files, stored_labels
from universality.pipeline.study import Comparison, comparisons, headline_width
from universality.pipeline.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from universality.family import Families
    from universality.labels import Labels
    from universality.matching import Match
    from universality.sae.training.distributed import Ranks
    from universality.statistics import Calibration, EffectAgreement

STAGE, VERSION = "export", 6
TOP_TOKENS = 5
"""Tokens that name a feature in tables and graphs."""


def tasks(config: Config, folder: RunFolder, ranks: "Ranks | None" = None) -> list[Task]:
    """Return the one task of this stage; it reads matches, family graphs, the effects of pairs, and labels if any."""
    stages = (match_features, build_families, measure_effects)
    results = [task.name for stage in stages for task in stage.tasks(config, folder)]
    # Labels are made by a command of their own, so their files count as inputs, not as tasks.
    settings = hashes_by_place(label_files(folder)) or None
    return [Task(STAGE, settings, ("corpus", *results), partial(make_exports, config, folder), VERSION)]


def make_exports(config: Config, folder: RunFolder) -> list[Path]:
    """Write tables and graphs of every comparison, of families, and of three or more models together."""
    decode = decoder(folder)
    files: list[Path] = []
    with OpenStores() as stores:

        def opened(*paths: Path) -> list[Described]:
            return [stores.described(path) for path in paths]

        for comparison in comparisons(config, folder):
            files += _export_matches(config, folder, comparison, opened(comparison.a, comparison.b), decode)
        for name in config.models.names:
            paths = [folder.store(name, width, config.saes.seeds[0]) for width in config.saes.widths_for(name)]
            if len(paths) < 2:
                continue
            files += _export_families(config, folder, name, opened(*paths), decode)
        if len(config.models.names) > 2:
            files += _export_partite(config, folder, opened, decode)
    return files


def decoder(folder: RunFolder) -> Callable[[Sequence[int]], list[str]]:
    """Return a function from token or segment ids to strings; ids without text give strings like " 17"."""
    from universality.corpus import load_tokenizer

    if folder.segments.exists():  # models of several tokenizers: ids are those of segments
        segments = read_json_value(folder.segments)
        return lambda ids: [segments[int(i)] for i in ids]
    if not folder.tokenizer.exists():
        return lambda ids: [f" {int(i)}" for i in ids]  # the space separates ids that stand in a row
    strings = load_tokenizer(folder.tokenizer).token_texts
    return lambda ids: [strings[int(i)] for i in ids]


def _export_matches(
    config: Config, folder: RunFolder, comparison: Comparison, stores: Sequence[Described], decode: Any
) -> list[Path]:
    """Export the calibrated matches: by activation, and by logit weights, effects and decoder rows where there are."""
    from universality.matching import Match
    from universality.statistics import Calibration

    source, by_logit = folder.calibration(comparison.name), folder.logit_calibration(comparison.name)
    calibration = Calibration.load(source)
    pairs = pair_frame(config, folder, comparison, calibration)
    labels = labels_of(folder, stores)
    own = [own_ceilings(config, folder, path) for path in (comparison.a, comparison.b)]
    columns = {"calibration": pairs, "logit_r": logit_of_pairs(folder, comparison), "labels": labels}
    files = _export_match(source, calibration.match, comparison.sides, stores, decode, own, **columns)
    if by_logit.exists():  # the stores hold logit weights, of token types that are enough for halves
        other = Calibration.load(by_logit)
        # r on the half that did not choose the partner: that on all types would flatter the pairs of this match
        columns = {"calibration": scored_frame(other), "logit_r": other.held_out, "labels": labels}
        files += _export_match(by_logit, other.match, comparison.sides, stores, decode, own, **columns)
    else:
        _delete_exports(by_logit)
    files += _export_by_effect(config, folder, comparison, pairs, stores, decode, own, labels)
    by_decoder = folder.decoder_match(comparison.name)
    if config.models.one_basis and comparison.of == "models":
        matched = Match.load(by_decoder)
        columns = {"calibration": ceilings(matched, pairs), "labels": labels}
        files += _export_match(by_decoder, matched, comparison.sides, stores, decode, own, **columns)
    else:
        _delete_exports(by_decoder)
    return files


def _export_by_effect(
    config: Config,
    folder: RunFolder,
    comparison: Comparison,
    by_activation: "pd.DataFrame",
    stores: Sequence[Described],
    decode: Any,
    own: Sequence[dict[str, NDArray[np.float64]]],
    labels: "list[Labels | None]",
) -> list[Path]:
    """Export the match by first-order effects, with a mark on pairs that are partners by activation too.

    Their effects where both fire are known, so that these pairs have the columns ``effect_…``, too.
    """
    path, calibration = folder.effect_calibration(comparison.name), read_effect_match(config, folder, comparison)
    if calibration is None:
        _delete_exports(path)
        return []
    known = by_activation[["row", "col", *(name for name in by_activation if name.startswith(PREFIXES))]]
    pairs = scored_frame(calibration).merge(known.assign(same_by_activation=1.0), on=["row", "col"], how="left")
    pairs["same_by_activation"] = pairs["same_by_activation"].fillna(0.0)
    columns = {"calibration": pairs, "labels": labels, "note": OVER_ALL_TOKENS}
    return _export_match(path, calibration.match, comparison.sides, stores, decode, own, **columns)


def _delete_exports(source: Path) -> None:
    """Delete what an earlier configuration left of a match that this one does not make."""
    for path in source.parent.glob(f"{escape(source.stem)}.*"):
        path.unlink()


def ceilings(match: "Match", pairs: "pd.DataFrame") -> "pd.DataFrame":
    """Return the features' own ceilings for the pairs of another match, NaN where they are not known.

    A ceiling belongs to a feature and not to a pair, so it is the same whoever the partner is.
    """
    frame = match.to_frame()[["row", "col"]]
    for name, side in (("ceiling_a", "row"), ("ceiling_b", "col")):
        of_feature = pairs.drop_duplicates(side).set_index(side).get(name)
        frame[name] = np.nan if of_feature is None else frame[side].map(of_feature)
    return frame


def own_ceilings(config: Config, folder: RunFolder, store: Path) -> dict[str, NDArray[np.float64]]:
    """Read what a second SAE seed makes of each feature of a store, whether or not it has a partner in another model.

    Returns
    -------
    dict
        ``ceiling``: held-out r [n_features] with the partner in the second SAE, NaN without one; ``effect_ceiling``:
        agreement of their effects, where it was measured. Empty where the store has no second SAE that differs in its
        seed only.
    """
    from universality.statistics import Calibration

    for second in comparisons(config, folder):
        path = folder.calibration(second.name)
        if second.of != "ceiling" or store not in (second.a, second.b) or not path.exists():
            continue
        if not likeness(config, folder, second).is_ceiling:
            continue
        calibration, side = Calibration.load(path), (second.a, second.b).index(store)
        agreement = read_agreement(config, folder, second)
        columns = {"ceiling": calibration.to_frame()[["row", "col", "held_out"]].to_numpy()}
        if agreement is not None:
            columns["effect_ceiling"] = agreement.to_frame()[["row", "col", "r_per_norm"]].to_numpy()
        return {name: _by_feature(table, side, calibration.match.shape[side]) for name, table in columns.items()}
    return {}


def _by_feature(table: NDArray[np.float64], side: int, n_features: int) -> NDArray[np.float64]:
    """Return the last column of a table of pairs by the feature in column ``side``; NaN for the others."""
    values = np.full(n_features, np.nan)
    values[table[:, side].astype(np.int64)] = table[:, 2]
    return values


def _export_match(
    source: Path,
    match: Any,
    sides: tuple[str, str],
    stores: Sequence[Described],
    decode: Any,
    own: Sequence[dict[str, NDArray[np.float64]]],
    note: str | None = None,
    **columns: Any,
) -> list[Path]:
    from universality.export import match_graph, match_table, write_graph

    table = match_table(match, *stores, decode=decode, k=TOP_TOKENS, **columns)
    labels = columns["labels"]
    graph = match_graph(
        match, *stores, pairs=table, names=sides, decode=decode, k=TOP_TOKENS, labels=labels, columns=own
    )
    if note is not None:
        graph.graph["note"] = note
    return [*_write_table(table, source), *write_graph(graph, source.with_suffix(""))]


def pair_table(
    config: Config, folder: RunFolder, comparison: Comparison, stores: Sequence[Described], decode: Decode | None
) -> "pd.DataFrame":
    """Tabulate the calibrated pairs of a comparison, as the table in ``matches/`` does."""
    from universality.export import match_table
    from universality.statistics import Calibration

    calibration = Calibration.load(folder.calibration(comparison.name))
    pairs, logit_r = pair_frame(config, folder, comparison, calibration), logit_of_pairs(folder, comparison)
    return match_table(
        calibration.match,
        *stores,
        decode=decode,
        k=TOP_TOKENS,
        calibration=pairs,
        logit_r=logit_r,
        labels=labels_of(folder, stores),
    )


def labels_of(folder: RunFolder, stores: Sequence[Described]) -> "list[Labels | None]":
    """Read the labels of stores' features; None for a store without."""
    return [stored_labels(folder, one.store) for one in stores]


def pair_frame(config: Config, folder: RunFolder, comparison: Comparison, calibration: "Calibration") -> "pd.DataFrame":
    """Return the frame of `scored_frame`, with the effects of pairs matched by activation if they were measured."""
    return with_effects(scored_frame(calibration), read_agreement(config, folder, comparison))


def scored_frame(calibration: "Calibration") -> "pd.DataFrame":
    """Return ``Calibration.to_frame()`` with the held-out score of nearest partners."""
    matched = calibration.match
    return calibration.to_frame().assign(
        row_nearest_held_out=calibration.best_col_held_out[matched.rows],
        col_nearest_held_out=calibration.best_row_held_out[matched.cols],
    )


def with_effects(frame: "pd.DataFrame", agreement: "EffectAgreement | None") -> "pd.DataFrame":
    """Add the columns ``effect_…`` and ``fingerprint_…`` to a table of pairs; NaN for pairs that were not compared."""
    from universality.export import effect_columns

    return frame if agreement is None else frame.merge(effect_columns(agreement), on=["row", "col"], how="left")


def logit_of_pairs(folder: RunFolder, comparison: Comparison) -> NDArray[np.float32] | None:
    """Read the logit-weight r [n_pairs] of pairs matched by activation; None without logit weights."""
    with np.load(folder.similarity(comparison.name), allow_pickle=False) as file:
        return file["logit"] if "logit" in file.files else None


def _export_families(
    config: Config, folder: RunFolder, model: str, stores: Sequence[Described], decode: Any
) -> list[Path]:
    from universality.export import annotate, write_graph
    from universality.family import Families

    source, labels = folder.families(model), labels_of(folder, stores)
    families = Families.load(source)
    own = [own_ceilings(config, folder, one.store.path) for one in stores]
    names = [model] * len(stores)
    graph = annotate(families.graph, stores, names=names, decode=decode, k=TOP_TOKENS, labels=labels, columns=own)
    edges, table = source.with_suffix(".edges.csv"), families.to_frame()
    if (effects := read_family_effects(config, folder, model)) is not None:
        table = with_edge_effects(graph, table, effects, families)
    return [
        *_write_table(with_family_labels(table, families, labels), edges),
        *_write_table(families.families_frame(), source.with_suffix(".families.csv")),
        *write_graph(graph, source.with_suffix(""), ".graph.json"),
    ]


def with_edge_effects(
    graph: Any, edges: "pd.DataFrame", effects: "pd.DataFrame", families: "Families"
) -> "pd.DataFrame":
    """Add the effects of parents and children to the edges of a graph, and to a table of them, which is returned.

    Parameters
    ----------
    graph
        Graph of the families, whose edges are changed; numbers that are NaN are left out.
    edges
        ``Families.to_frame()``.
    effects
        See `universality.pipeline.stages.family_effects.read_family_effects`.
    families
        The families.
    """
    names = [name for name in effects if name.startswith(PREFIXES)]
    for level, parent, child, *values in effects[["level", "parent", "child", *names]].itertuples(index=False):
        known = {name: float(value) for name, value in zip(names, values, strict=True) if not np.isnan(value)}
        graph.edges[(level, parent), (level + 1, child)].update(known)
    width = np.array([level.width for level in families.levels])
    keyed = effects.assign(parent_width=width[effects["level"]], child_width=width[effects["level"] + 1])
    keys = ["parent_width", "parent", "child_width", "child"]
    return edges.merge(keyed[[*keys, *names]], on=keys, how="left")


def with_family_labels(
    edges: "pd.DataFrame", families: "Families", labels: "Sequence[Labels | None]"
) -> "pd.DataFrame":
    """Add the labels of parents and children to a table of edges, where any width has labels.

    The columns are those of `universality.labels.shown.label_columns`, each with ``parent_`` or ``child_`` before it.
    """
    import pandas as pd

    from universality.labels.shown import label_columns

    of_width = {
        level.width: label_columns(of_level, range(level.width))
        for level, of_level in zip(families.levels, labels, strict=True)
        if of_level is not None
    }
    if not of_width:
        return edges
    known = pd.concat(of_width)  # by width and feature
    for end in ("parent", "child"):
        columns = known.reindex(pd.MultiIndex.from_frame(edges[[f"{end}_width", end]])).set_index(edges.index)
        edges = edges.join(columns.assign(label=columns["label"].fillna("")).add_prefix(f"{end}_"))
    return edges


def _export_partite(config: Config, folder: RunFolder, opened: Any, decode: Any) -> list[Path]:
    """Export three or more models at the headline's width as one graph."""
    from universality.export import annotate, partite_graph, write_graph
    from universality.statistics import Calibration

    width, names = headline_width(config), config.models.names
    widest = {name: headline_width(config, name) for name in names}
    matches, pairs = {}, {}
    for c in comparisons(config, folder):
        if c.of == "models" and c.level == 0:
            calibration = Calibration.load(folder.calibration(c.name))
            matches[c.models] = calibration.match
            of_pairs = calibration.to_frame().assign(logit_r=_or_nan(logit_of_pairs(folder, c)))
            pairs[c.models] = with_effects(of_pairs, read_agreement(config, folder, c))
    stores = opened(*(folder.store(name, widest[name], config.saes.seeds[0]) for name in names))
    graph = partite_graph(matches, pairs)
    labels = labels_of(folder, stores)
    own = [own_ceilings(config, folder, one.store.path) for one in stores]
    graph = annotate(graph, stores, names=names, decode=decode, k=TOP_TOKENS, labels=labels, columns=own)
    return write_graph(graph, folder.root / "matches" / f"{'-'.join(names)}.w{width}.activation")


def _or_nan(values: NDArray[np.float32] | None) -> NDArray[np.float32] | float:
    return np.nan if values is None else values


def _write_table(table: Any, path: Path) -> list[Path]:
    """Write a table as CSV, and as Parquet where pyarrow is installed."""
    from universality.export import write_csv, write_parquet

    files = [write_csv(table, path.with_suffix(".csv"))]
    return files + ([write_parquet(table, path.with_suffix(".parquet"))] if find_spec("pyarrow") else [])
