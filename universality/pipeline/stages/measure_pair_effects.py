"""Tokens that the two features of each pair raise and lower where both fire, for the explorer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import IntArray, evenly_spaced
from universality.config import Config
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.effect_tokens import effect_tokens
from universality.pipeline.stages.model_sites import at_hook, blocks_of, live_sites
from universality.pipeline.study import Comparison

if TYPE_CHECKING:
    from universality.effects import ModelFeatures
    from universality.matching import Match

_MEMORY = 1 << 29  # bytes of mean changes that are held at a time


def make_pair_effects(config: Config, folder: RunFolder, comparison: Comparison) -> list[Path]:
    """Ablate and clamp the features of some pairs where both fire in the reporting half, and write what changes.

    Raises
    ------
    UnsharedTokensError
        If the models have too few tokens in common.
    ModelError
        If nothing that a model predicts depends on its hook.
    """
    from universality.effects import FingerprintSettings, measure_pair_effects
    from universality.statistics import Calibration, evaluation_halves

    match = Calibration.load(folder.calibration(comparison.name)).match
    pairs = measured_pairs(config, match)
    if not pairs.size:
        folder.pair_effects(comparison.name).unlink(missing_ok=True)
        return []
    with OpenStores() as stores:
        tokens = effect_tokens(config, folder, stores)
        a, b = _sides(config, folder, comparison, stores)
        made = measure_pair_effects(
            a,
            b,
            (tokens[a.site.name], tokens[b.site.name]),
            match.rows[pairs],
            match.cols[pairs],
            n_contexts=config.effects.pair_contexts,
            documents=evaluation_halves(a.store).report,
            settings=FingerprintSettings(seed=config.statistics.seed, memory_budget=_MEMORY),
        )
    return [made.save(folder.pair_effects(comparison.name))]


def measured_pairs(config: Config, match: Match) -> IntArray:
    """Choose pairs of a matching, evenly spaced by score: rising indices."""
    by_score = np.argsort(-match.scores, kind="stable")
    return np.sort(by_score[evenly_spaced(len(by_score), min(config.effects.fingerprints, len(by_score)))])


def _sides(config: Config, folder: RunFolder, comparison: Comparison, stores: OpenStores) -> list[ModelFeatures]:
    from universality.effects import ModelFeatures
    from universality.sae import SAE

    sites = live_sites(config, folder, list(dict.fromkeys(comparison.models)))
    sides = []
    for name, width, seed in zip(comparison.models, comparison.widths, comparison.seeds, strict=True):
        out = at_hook(sites[name], config.hooks_out[name]) if name in config.hooks_out else None
        sae = SAE.load(folder.sae(name, width, seed)).to(sites[name].device)
        blocks = blocks_of(config, folder, name).select("choose", "report")
        sides.append(ModelFeatures(sites[name], sae, stores[folder.store(name, width, seed)], blocks, out))
    return sides
