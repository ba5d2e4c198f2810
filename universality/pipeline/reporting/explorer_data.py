"""Data files of the report's explorer, made from a comparison of a run and its families."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from universality.family import Families
from universality.family.edges import best_parents
from universality.features import FeatureStore
from universality.features.descriptions import Described
from universality.features.page_views import STRONGEST, Views, feature_views, seen_by, windows
from universality.labels.label_file import Labels
from universality.pipeline.reporting.effect_views import EffectViews
from universality.pipeline.reporting.effect_views import views as effect_views
from universality.pipeline.reporting.label_rows import (
    explored_families,
    explored_label,
    label_column,
    labels_of_sides,
    labels_of_widths,
    score_of_tables,
)
from universality.pipeline.reporting.report_rows import logit_rows
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.pipeline.reporting.text_excerpts import logit_extremes
from universality.pipeline.reporting.transfer_rows import explored_transfer, transfer_of
from universality.report.explorer import Words, packed, write_data
from universality.report.logit_narrative import logit_chance

CHUNK = 256
"""Pairs in one file of views: a page loads one file for each pair that is opened."""
SHOWN = 5
"""Tokens of each feature in the table of pairs."""
SHOWN_EFFECTS = ("effect_r", "effect_q", "effect_sign_agreement", "effect_control_rank", "effect_n")
"""Columns of `universality.export.effect_columns` in the table of pairs, beside fingerprints."""
WEIGHTS = 8
"""Tokens that a feature raises most, and as many that it lowers most."""
Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Side:
    """One model's features as the explorer shows them.

    Parameters
    ----------
    store, descriptions, views
        The feature store, and what is shown of its features.
    features
        [n_pairs] the model's feature of each pair.
    nearest, nearest_r
        [n_features, n_shown] most similar features of the other model, and their r; -1 for none.
    """

    store: FeatureStore
    descriptions: Described
    views: Views
    features: NDArray[np.int64]
    nearest: NDArray[np.int32]
    nearest_r: NDArray[np.float32]


def write_explorer(
    results: RunResults, compared: ComparisonResult, folder: Path, families: Mapping[str, Families]
) -> list[Path]:
    """Write the data files ``folder/data/*.js`` of one page, and remove those of an earlier configuration.

    Parameters
    ----------
    results
        Results of the run.
    compared
        The comparison that the page is about.
    folder
        Folder of the page.
    families
        Families of the models that have them.
    """
    words = Words(results.decode)
    models = compared.comparison.sides
    sides = results.described(compared.comparison.a), results.described(compared.comparison.b)
    # two SAE seeds of one model share its families, so that the second side has none of its own
    owners = [name if name in families else None for name in dict.fromkeys(compared.comparison.models)]
    labels = labels_of_sides(results, compared)
    files = [write_data(folder, name, value) for name, value in _views(compared, sides, labels, words)]
    effects = EffectViews.open(results, compared)
    files += [write_data(folder, name, value) for name, value in effect_views(effects, CHUNK, words)]
    files.append(write_data(folder, "pairs", _pairs(compared, sides, words)))
    files.append(write_data(folder, "heatmap", _heatmap(compared)))
    files += [write_data(folder, f"map-{k}", _map(side.store)) for k, side in enumerate(sides)]
    grown = {k: name for k, name in enumerate(owners) if name is not None}
    for k, name in grown.items():
        files.append(write_data(folder, f"families-{k}", _families(results, name, families[name], words)))
    of_labels = _label_files(compared, labels) | _family_label_files(results, grown, families, score_of_tables(labels))
    transfer = transfer_of(results, compared)
    if transfer is not None and transfer.names:
        of_labels["label-transfer"] = explored_transfer(transfer, compared)
    files += [write_data(folder, name, value) for name, value in of_labels.items()]
    files.append(write_data(folder, "words", words.texts))
    index = {
        "title": results.config.name,
        "models": models,
        "width": compared.comparison.width,
        **({} if compared.comparison.width_b is None else {"width_b": compared.comparison.width_b}),
        "n_pairs": len(compared.frame),
        "chunk": CHUNK,
        "tokens_shown": SHOWN,
        "kinds": list(sides[0].store.tokens.kinds),
        **({} if compared.effects is None else {"effects": _effect_names(compared)}),
        "ceilings": [bool(compared.frame[f"ceiling_{side}"].notna().any()) for side in "ab"],
        "nulls": [chance.null for chance in compared.calibration.chances],
        "logit_chance": logit_chance(logit_rows(results, compared)),
        "families": [k < len(owners) and owners[k] is not None for k in range(2)],
        **effects.index(),
        **({} if not of_labels else {"labels": {"score": score_of_tables(labels), "files": sorted(of_labels)}}),
    }
    files.append(write_data(folder, "index", index))
    for old in set((folder / "data").glob("*.js")) - set(files):  # of a configuration that measured more
        old.unlink()
    return files


def _pairs(compared: ComparisonResult, sides: tuple[Described, Described], words: Words) -> Json:
    """Pack the columns of the table of pairs."""
    frame = compared.frame
    columns: Json = {name: packed(frame[name], "i4") for name in ("row", "col", "count_a", "count_b")}
    for name in ("score", "held_out", "ci_low", "ci_high", "q", "q_kind", "ceiling_a", "ceiling_b", "logit"):
        if name in frame:
            columns[name] = packed(frame[name], "f4")
    for name in _effect_names(compared):
        columns[name] = packed(frame[name], "f4")
    for side, name, descriptions in (("a", "row", sides[0]), ("b", "col", sides[1])):
        features = frame[name].to_numpy()
        columns[f"kind_{side}"] = packed(descriptions.specificity.kind[features], "i2")
        columns[f"tokens_{side}"] = packed(_word_places(descriptions.tokens[features, :SHOWN], words), "i4")
    return columns


def _effect_names(compared: ComparisonResult) -> list[str]:
    """List the columns on effects that the table of pairs shows; none where effects were not compared."""
    shown = [*SHOWN_EFFECTS, *(name for name in compared.frame if name.startswith("fingerprint_"))]
    return [] if compared.effects is None else [name for name in shown if name in compared.frame]


def _word_places(tokens: NDArray[np.int32], words: Words) -> NDArray[np.int32]:
    """Replace token ids by their places among the words; -1 stays."""
    ids, inverse = np.unique(tokens, return_inverse=True)
    places = np.asarray([-1 if token < 0 else words.token(token) for token in ids.tolist()], np.int32)
    return places[inverse].reshape(tokens.shape)


def _views(
    compared: ComparisonResult,
    descriptions: tuple[Described, Described],
    labels: tuple[Labels | None, Labels | None],
    words: Words,
) -> Iterator[tuple[str, Any]]:
    """Yield name and content of the files with the views of ``CHUNK`` pairs each."""
    sides = _side(compared, descriptions[0], "a"), _side(compared, descriptions[1], "b")
    partner_activations = [
        seen_by(other.store, other.features, windows(side.store.tokens.block, side.views.row[side.features]))
        for side, other in (sides, sides[::-1])
    ]
    n = len(compared.frame)
    for start in range(0, n, CHUNK):
        chunk = slice(start, min(start + CHUNK, n))
        views = [
            [
                feature | _explained(of_side, int(side.features[start + i]))
                for i, feature in enumerate(_features(side, partner[chunk], chunk, words))
            ]
            for side, partner, of_side in zip(sides, partner_activations, labels, strict=True)
        ]
        yield f"views-{start // CHUNK}", [{"a": a, "b": b} for a, b in zip(*views, strict=True)]


def _explained(labels: Labels | None, feature: int) -> Json:
    """Return what the view of a pair adds for a feature that has a label."""
    label = None if labels is None else labels.labels.get(feature)
    return {} if label is None else {"label": explored_label(label)}


def _label_files(compared: ComparisonResult, labels: tuple[Labels | None, Labels | None]) -> dict[str, Json]:
    """Pack the labels of the pairs' features, in the order of the pairs; nothing for a side without labels."""
    score = score_of_tables(labels)
    features = compared.frame["row"].tolist(), compared.frame["col"].tolist()
    return {
        f"labels-{k}": label_column(of_side, of_pairs, score)
        for k, (of_side, of_pairs) in enumerate(zip(labels, features, strict=True))
        if of_side is not None
    }


def _family_label_files(
    results: RunResults, owners: Mapping[int, str], families: Mapping[str, Families], score: str
) -> dict[str, Json]:
    """Pack the labels of all widths of the models that have families; nothing for a model without labels."""
    files = {}
    for k, name in owners.items():
        widths = [level.width for level in families[name].levels]
        levels = labels_of_widths(results, name, families[name])
        if any(levels):
            files[f"family-labels-{k}"] = explored_families(levels, _starts(widths), score)
    return files


def _starts(widths: list[int]) -> list[int]:
    """Number of the first feature of each width, where all widths are numbered together."""
    return [0, *np.cumsum(widths)[:-1].tolist()]


def _side(compared: ComparisonResult, descriptions: Described, letter: Literal["a", "b"]) -> Side:
    match = compared.calibration.match
    best = match.nearest
    if letter == "a":
        features, nearest, nearest_r = match.rows, best.best_col, best.best_col_score
    else:
        features, nearest, nearest_r = match.cols, best.best_row, best.best_row_score
    # files of earlier versions hold no list of nearest features: show the single best one
    return Side(
        descriptions.store,
        descriptions,
        feature_views(descriptions.store),
        features,
        compared.arrays.get(f"near_{letter}", nearest[:, None]),
        compared.arrays.get(f"near_{letter}_r", nearest_r[:, None]),
    )


def _features(side: Side, partner: NDArray[np.uint8], chunk: slice, words: Words) -> Iterator[Json]:
    """Yield what the view of a pair shows of one model's feature, for every pair of a chunk."""
    features = side.features[chunk]
    raised, lowered = logit_extremes(side.store, features, WEIGHTS, words.decode)
    density = side.store.moments().density
    around = windows(side.store.tokens.block, side.views.row[features])
    for i, feature in enumerate(features.tolist()):
        examples = [
            None if side.views.row[feature, k] < 0 else _example(side, feature, k, around[i, k], partner[i, k], words)
            for k in range(side.views.row.shape[1])
        ]
        strongest = float(side.views.strongest[feature])
        nearest = zip(side.nearest[feature].tolist(), side.nearest_r[feature].tolist(), strict=True)
        yield {
            "density": round(float(density[feature]), 6),
            "purity": round(float(side.descriptions.specificity.purity[feature]), 3),
            "strongest": round(strongest, 4) if strongest > 0 else None,
            "histogram": side.views.histogram[feature].tolist(),
            "top": [e for e in examples[:STRONGEST] if e],
            "range": [e for e in examples[STRONGEST:] if e],
            "up": [[words.text(t), round(w, 2)] for t, w in (raised[i] if raised else ())],
            "down": [[words.text(t), round(w, 2)] for t, w in (lowered[i] if lowered else ())],
            "near": [[other, round(r, 3)] for other, r in nearest if other >= 0],
        }


def _example(
    side: Side, feature: int, k: int, around: NDArray[np.int64], partner: NDArray[np.uint8], words: Words
) -> list[Any]:
    """List words, the activations of the feature and of its partner on each, the place in focus, and the kind."""
    inside = around >= 0
    row = side.views.row[feature, k]
    ids = side.store.tokens.token[around[inside]].tolist()
    activation, partner_activation = side.views.own[feature, k][inside].tolist(), partner[inside].tolist()
    focus = int((around[inside] < row).sum())
    places, at, columns = words.context(ids, focus, activation, partner_activation)
    return [places, *columns, at, int(side.store.tokens.kind[row])]


def _heatmap(compared: ComparisonResult) -> Json:
    """Pack submatrices of the matched similarity matrix in hundredths, NaN as -128."""

    def packed_matrix(name: str) -> Json:
        matrix = compared.arrays[f"{name}_matrix"]
        hundredths = np.where(np.isnan(matrix), -128, np.rint(np.clip(np.nan_to_num(matrix), -1, 1) * 100))
        return {"pair": packed(compared.arrays[name], "i4"), "matrix": packed(hundredths, "i1")}

    return {name: packed_matrix(name) for name in ("sample", "best")}


def _map(store: FeatureStore) -> Json:
    """Place living features by the first two principal axes of their unit decoder rows, each axis over ±32767."""
    xy = np.full((store.n_features, 2), -32768, np.int16)
    alive = np.flatnonzero(store.alive)
    dictionary = store.dictionary
    if dictionary is None or len(alive) < 2:
        return {"xy": packed(xy, "i2"), "explained": 0.0}
    rows = dictionary.decoder[alive]
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    rows -= rows.mean(axis=0)
    # d_model x d_model rather than features x d_model: the Gram matrix is the smaller problem
    variance, axes = np.linalg.eigh((rows.T @ rows).astype(np.float64))
    points = rows @ axes[:, :-3:-1]
    # the sign of an axis is free: the farthest point counts as positive, so that a map is the same on every machine
    points *= np.where(points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])] < 0, -1, 1)
    points /= np.maximum(np.abs(points).max(axis=0), 1e-12)
    xy[alive, : points.shape[1]] = np.rint(points * 32767)
    total = float(variance.sum())
    return {"xy": packed(xy, "i2"), "explained": round(float(variance[-2:].sum()) / total, 3) if total > 0 else 0.0}


def _families(results: RunResults, name: str, families: Families, words: Words) -> Json:
    """Number the features of all widths, narrowest first, and pack each one's heaviest parent and the other edges."""
    widths = [level.width for level in families.levels]
    starts = np.concatenate([[0], np.cumsum(widths)])
    edges = families.edges
    up, down = starts[edges.level] + edges.parent, starts[edges.level + 1] + edges.child
    parent, weight = np.full(starts[-1], -1, np.int64), np.zeros(starts[-1])
    best = best_parents(edges)
    parent[down[best]], weight[down[best]] = up[best], edges.weight[best]
    others = np.setdiff1d(np.arange(len(edges)), best)
    seed = results.config.saes.seeds[0]
    descriptions = [results.described(results.folder.store(name, width, seed)) for width in widths]
    return {
        "widths": widths,
        "starts": starts[:-1].tolist(),
        "shown": 3,
        "parent": packed(parent, "i4"),
        "weight": packed(weight, "f4"),
        "more_parent": packed(up[others], "i4"),
        "more_child": packed(down[others], "i4"),
        "count": packed(np.concatenate([level.count for level in families.levels]), "i4"),
        "kind": packed(np.concatenate([features.specificity.kind for features in descriptions]), "i2"),
        "tokens": packed(
            _word_places(np.concatenate([features.tokens[:, :3] for features in descriptions]), words), "i4"
        ),
    }
