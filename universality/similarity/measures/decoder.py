"""Decoder similarity: the cosine of two features' decoder rows, within one model.

Models trained from different seeds hold their activations in bases that differ by about a random rotation, so the
cosine of rows from two models says nothing; it is refused unless forced, or computed after an alignment
(`universality.similarity.measures.alignment`), whose explained variance the provenance then records. Models that
share a basis (a model and its fine-tune, the checkpoints of a run) or two layers' residual streams are compared where
both stores name the same ``basis`` in their provenance.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.arrays import BoolArray, FloatArray
from universality.errors import MismatchError
from universality.similarity.engine.block_source import describe_store
from universality.similarity.engine.factors import AbsoluteFactors, FactorSource
from universality.similarity.engine.token_selection import check_stores

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore
    from universality.similarity.measures.alignment import Alignment


def decoder_source(
    a: FeatureStore,
    b: FeatureStore,
    force: bool = False,
    alignment: Alignment | None = None,
    absolute: bool = False,
) -> FactorSource:
    """Cosines of decoder rows, as two factors with unit rows; see `Similarity.decoder`.

    Raises
    ------
    UniversalityError
        When a store holds no dictionary.
    MismatchError
        When the stores come from two models or sites, or do not record which, and neither ``force`` nor an
        alignment is given; or when the rows differ in width.
    """
    check_stores(a, b)
    rows_a, rows_b = (store.decoder_rows().astype(np.float64) for store in (a, b))
    if alignment is not None:
        if alignment.rotation.shape != (rows_a.shape[1], rows_b.shape[1]):
            raise MismatchError(
                f"alignment of spaces {alignment.rotation.shape}, but the decoder rows of {a.path} and {b.path} are "
                f"{rows_a.shape[1]} and {rows_b.shape[1]} wide; use align() on these two stores, in this order"
            )
        rows_a = rows_a @ alignment.rotation
    if rows_a.shape[1] != rows_b.shape[1]:
        raise MismatchError(
            f"{b.path}: decoder rows of width {rows_b.shape[1]}, but {a.path} has {rows_a.shape[1]}; "
            "a cosine needs one space"
        )
    if not force and alignment is None:
        check_same_space(a, b)
    provenance = {"a": describe_store(a), "b": describe_store(b), "force": force}
    if alignment is not None:
        provenance["alignment"] = alignment.describe()
    return replace(cosine_source(rows_a, rows_b, ~a.alive, ~b.alive, provenance, absolute), stores=(a, b))


def cosine_source(
    rows_a: FloatArray,
    rows_b: FloatArray,
    silent_a: BoolArray,
    silent_b: BoolArray,
    provenance: dict[str, Any],
    absolute: bool = False,
) -> FactorSource:
    """Cosines of rows [n_a, d] and [n_b, d]; rows of zeros and silent ones are dead."""
    x, dead_a = _unit(rows_a, silent_a)
    y, dead_b = _unit(rows_b, silent_b)
    recorded = {"measure": "decoder", **provenance, **({"absolute": True} if absolute else {})}
    source = AbsoluteFactors if absolute else FactorSource
    return source(x, y, dead_a, dead_b, "decoder", recorded, limit=1.0)


def check_same_space(a: FeatureStore, b: FeatureStore) -> None:
    """Refuse stores of two models or sites, or of unknown models: their decoder rows share no basis."""
    bases = [store.provenance.get("basis") for store in (a, b)]
    if a is b or (None not in bases and bases[0] == bases[1]):
        return
    models, sites = [_model(store) for store in (a, b)], [store.site_written for store in (a, b)]
    for what, recorded in (("model", models), ("site", sites)):
        if what == "model" and None in recorded:
            unknown = [str(store.path) for store, value in zip((a, b), recorded, strict=True) if value is None]
            raise MismatchError(
                f"{' and '.join(unknown)}: provenance names no model hash, so whether both decoders share a basis is "
                "unknown; record it, or pass force=True if they do"
            )
        if None not in recorded and recorded[0] != recorded[1]:
            here, there = (_place(store) if what == "site" else str(_model(store))[:12] for store in (b, a))
            raise MismatchError(
                f"{b.path}: {what} {here}, but {a.path} has {there}; decoder rows of two {what}s lie in unrelated "
                "bases and their cosine says nothing: use activation or logit similarity, or alignment=align(a, b); "
                "if they share a basis, declare it when they are collected (models.one_basis)"
            )


def _place(store: FeatureStore) -> str:
    """Name the hook where a store's features write, and where a transcoder reads."""
    read = store.provenance.get("site")
    return str(store.site_written) + (f" (codes read at {read})" if read != store.site_written else "")


def _model(store: FeatureStore) -> str | None:
    model = store.provenance.get("model")
    return model.get("hash") if isinstance(model, dict) else None


def _unit(rows: FloatArray, silent: BoolArray) -> tuple[FloatArray, BoolArray]:
    norm = np.linalg.norm(rows, axis=1)
    dead = (norm == 0) | silent
    return np.where(dead[:, None], 0.0, rows / np.where(dead, 1.0, norm)[:, None]), dead
