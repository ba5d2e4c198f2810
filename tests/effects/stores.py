"""Stores of activations and first-order effects of toys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.effects.planted import Planted, Toy, planted
from universality.effects import ModelFeatures, collect_effects
from universality.features import FeatureStore
from universality.features.collection import collect


@dataclass(frozen=True)
class Collected:
    """A pair of toys with the stores of each, by the toy's name."""

    pair: Planted
    activations: dict[str, FeatureStore]
    effects: dict[str, FeatureStore]
    norms: dict[str, FeatureStore]

    def features(self, name: str) -> ModelFeatures:
        """Features of one toy."""
        toy = {toy.site.name: toy for toy in (self.pair.a, self.pair.b)}[name]
        return ModelFeatures(toy.site, toy.sae, self.activations[name], self.pair.blocks)


def collected(folder: Path, pair: Planted | None = None) -> Collected:
    """Collect activations, effects and gradient norms of both toys of a pair."""
    pair = planted() if pair is None else pair
    stores: dict[str, dict[str, FeatureStore]] = {"activations": {}, "effects": {}, "norms": {}}
    for toy in (pair.a, pair.b):
        paths = {kind: folder / f"{toy.site.name}.{kind}.h5" for kind in stores}
        collect(toy.site, {paths["activations"]: toy.sae}, pair.blocks)
        collect_effects(toy.site, {paths["effects"]: toy.sae}, pair.blocks, gradient_norms=paths["norms"])
        for kind, path in paths.items():
            stores[kind][toy.site.name] = FeatureStore.open(path)
    return Collected(pair, **stores)


def neurons(folder: Path, toy: Toy, pair: Planted) -> tuple[FeatureStore, FeatureStore]:
    """Collect activations and effects of the site's neurons."""
    collect(toy.site, {folder / "neurons.h5": None}, pair.blocks)
    collect_effects(toy.site, {folder / "neuron_effects.h5": None}, pair.blocks)
    return FeatureStore.open(folder / "neurons.h5"), FeatureStore.open(folder / "neuron_effects.h5")
