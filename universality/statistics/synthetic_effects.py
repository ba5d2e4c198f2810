"""Synthetic effects on top of a synthetic world: features that fire alike and act alike, oppositely or independently.

An effect is activation × norm of the gradient × slope (`universality.statistics.effect_firings`). Norms are
heavy-tailed and shared by the two models, and slopes of one document resemble each other. Both make unrelated effects
look related.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
from scipy import sparse

from universality.arrays import FloatArray
from universality.errors import ConfigError
from universality.features.storage.store import FeatureStore
from universality.statistics.synthetic import Planted, World, plant, write_view

Relation = Literal["equal", "opposite", "independent"]
"""Slopes of B's feature: those of A's, the same with the other sign, or drawn on their own."""


@dataclass(frozen=True)
class EffectWorld:
    """Parameters of the effects of a `World`."""

    relation: Relation = "equal"
    """Slopes of a concept in B, compared with A."""
    noise: float = 0.3
    """Standard deviation of each side's own error in a slope, whose spread is 1."""
    mean: float = 0.5
    """Mean slope: most features lower the loss more often than they raise it."""
    document_share: float = 0.5
    """Share of a slope's variance that is common to all tokens of a document."""
    norm_spread: float = 1.0
    """Standard deviation of the logarithm of the gradient's norm, which the models share but for a tenth of it."""

    def __post_init__(self) -> None:
        if self.relation not in get_args(Relation):
            raise ConfigError(f"relation: expected one of {', '.join(get_args(Relation))}, found {self.relation!r}")
        if not 0 <= self.document_share <= 1:
            raise ConfigError(f"document_share: expected a share, found {self.document_share}")


class PlantedEffects(NamedTuple):
    """Stores of activations and effects, and the norms of the gradient: the inputs of `compare_effects` in order."""

    a: FeatureStore
    b: FeatureStore
    effects_a: FeatureStore
    effects_b: FeatureStore
    norm_a: FloatArray
    norm_b: FloatArray


def plant_effects(world: World, effects: EffectWorld, folder: Path, seed: int = 0) -> tuple[Planted, PlantedEffects]:
    """Draw a world with effects and write its four stores: ``a.h5 b.h5 effects_a.h5 effects_b.h5``.

    The last token of each block has a gradient of 0, as no token follows it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> world = World(n_documents=8, blocks=1, n_shared=5, n_alone=0)
    >>> with TemporaryDirectory() as folder:
    ...     planted, inputs = plant_effects(world, EffectWorld(), Path(folder))
    >>> inputs.effects_a.n_features, int((inputs.norm_a == 0).sum())
    (5, 8)
    """
    planted = plant(world, folder, seed)
    rng = np.random.default_rng([seed, 20])
    per_document = world.blocks * world.block_length
    shared = effects.norm_spread * rng.normal(size=world.n_tokens)
    ends = np.arange(world.n_tokens) % world.block_length == world.block_length - 1
    norms = [
        np.where(ends, 0, np.exp(shared + 0.1 * effects.norm_spread * rng.normal(size=world.n_tokens)))
        for _ in range(2)
    ]

    def slopes() -> FloatArray:
        of_document = rng.normal(size=(world.n_documents, world.n_concepts)).repeat(per_document, axis=0)
        of_token = rng.normal(size=(world.n_tokens, world.n_concepts))
        share = effects.document_share
        return effects.mean + np.sqrt(share) * of_document + np.sqrt(1 - share) * of_token

    of_a = slopes()
    of_b = slopes() if effects.relation == "independent" else of_a if effects.relation == "equal" else -of_a
    sides = ((planted.a, planted.concept_a, of_a), (planted.b, planted.concept_b, of_b))
    stores = [
        _write(folder / f"effects_{name}.h5", store, norm, slope[:, concept], effects.noise, world, rng)
        for name, norm, (store, concept, slope) in zip("ab", norms, sides, strict=True)
    ]
    return planted, PlantedEffects(planted.a, planted.b, stores[0], stores[1], norms[0], norms[1])


def _write(
    path: Path, store: FeatureStore, norm: FloatArray, slope: FloatArray, noise: float, world: World,
    rng: np.random.Generator,
) -> FeatureStore:  # fmt: skip
    fired = store.csr().tocoo()
    jittered = slope[fired.row, fired.col] + noise * rng.normal(size=fired.nnz)
    effect = fired.data * norm[fired.row] * jittered
    values = sparse.csr_matrix((effect.astype(np.float32), (fired.row, fired.col)), shape=fired.shape)
    values.eliminate_zeros()
    return write_view(path, values, world)
