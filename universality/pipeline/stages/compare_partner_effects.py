"""Comparisons of the stage ``effects``: whether matched features do the same."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.config import Config
from universality.errors import CommonStartWarning, FormatError
from universality.files import read_json
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.effect_tokens import UnsharedTokensError
from universality.pipeline.stages.match_by_effect import match_by_effect
from universality.pipeline.stages.measure_pair_effects import make_pair_effects
from universality.pipeline.stages.sae_likeness import likeness
from universality.pipeline.stages.unmeasured_effects import note_unmeasured
from universality.pipeline.study import Comparison, ceilings_of, effect_comparisons, headline_comparison

if TYPE_CHECKING:
    from universality.similarity import Similarity
    from universality.statistics import EffectAgreement

WEIGHTINGS = {"ablation": "equal", "ablation_weighted": "probability"}
"""Name of a fingerprint in `EffectAgreement` → the weights of its tokens."""


def make_agreement(config: Config, folder: RunFolder, comparison: Comparison) -> list[Path]:
    """Compare the effects of a comparison's matched features, beside chance, controls and ceilings.

    Also match all features by their effects, and write what the features of each of the headline's pairs raise and
    lower.
    """
    (folder.root / "effects").mkdir(exist_ok=True)
    missing = {name: read_json(folder.unmeasured_effects(name)) for name in dict.fromkeys(comparison.models)}
    unmeasured = {f"{what} of {name}": reason for name, found in missing.items() for what, reason in found.items()}
    files = []
    if any("effects" in found for found in missing.values()):
        for path_of in (folder.effect_agreement, folder.effect_calibration, folder.pair_effects):
            path_of(comparison.name).unlink(missing_ok=True)
    else:
        files.append(_agreement(config, folder, comparison).save(folder.effect_agreement(comparison.name)))
        files += _by_effect(config, folder, comparison, unmeasured)
        files += _pairs(config, folder, comparison, unmeasured)
    return [*files, note_unmeasured(folder, comparison.name, unmeasured)]


def _by_effect(config: Config, folder: RunFolder, comparison: Comparison, unmeasured: dict[str, str]) -> list[Path]:
    """Match by effect, where the documents on which effects are measured can be divided."""
    if config.effects.match:
        (_, effects_a, _), (_, effects_b, _) = _paths(folder, comparison)
        path = match_by_effect(config, folder, comparison, (effects_a, effects_b))
        if path is not None:
            return [path]
        unmeasured["matching by effect"] = (
            "the text whose effects are measured is a single document or work, and one part of it would have to choose "
            "partners and another to score them; raise effects.blocks or give more documents"
        )
    folder.effect_calibration(comparison.name).unlink(missing_ok=True)
    return []


def _pairs(config: Config, folder: RunFolder, comparison: Comparison, unmeasured: dict[str, str]) -> list[Path]:
    """Write what the headline's pairs raise and lower, where its models share tokens."""
    if config.effects.pair_contexts and comparison == headline_comparison(config, folder):
        try:
            return make_pair_effects(config, folder, comparison)
        except UnsharedTokensError as error:
            unmeasured["changes of tokens by pairs"] = str(error)
    folder.pair_effects(comparison.name).unlink(missing_ok=True)
    return []


def read_agreement(config: Config, folder: RunFolder, comparison: Comparison) -> EffectAgreement | None:
    """Load the agreement of a comparison's effects; None where this configuration does not measure it.

    A file may be left from a configuration that did, and then belongs to another matching.

    Raises
    ------
    FormatError
        If the file is damaged, with the command that makes it again.
    """
    from universality.statistics import EffectAgreement

    path = folder.effect_agreement(comparison.name)
    measured = comparison in effect_comparisons(config, folder) and path.exists()
    try:
        return EffectAgreement.load(path) if measured else None
    except FormatError as error:
        raise FormatError(
            f"{error}\nmake it again with universality effects {folder.root / 'config.yaml'} --out {folder.root}; "
            "where that finds nothing to do, delete the file first"
        ) from error


def _agreement(config: Config, folder: RunFolder, comparison: Comparison) -> EffectAgreement:
    from universality.effects import read_gradient_norms
    from universality.statistics import Calibration, EffectAgreement, compare_effects

    matched = Calibration.load(folder.calibration(comparison.name)).match
    with OpenStores() as stores, warnings.catch_warnings():
        warnings.simplefilter("ignore", CommonStartWarning)  # told by the matching
        (a, effects_a, norms_a), (b, effects_b, norms_b) = (
            [stores[path] for path in paths] for paths in _paths(folder, comparison)
        )
        agreement = compare_effects(
            matched,
            a,
            b,
            effects_a,
            effects_b,
            read_gradient_norms(norms_a),
            read_gradient_norms(norms_b),
            fingerprints=_fingerprints(folder, comparison),
            bootstrap=config.statistics.bootstrap,
            seed=config.statistics.seed,
        )
    ceilings = [
        EffectAgreement.load(folder.effect_agreement(pair.name))
        if pair and likeness(config, folder, pair).is_ceiling
        else None
        for pair in ceilings_of(config, folder, comparison)
    ]
    return agreement.with_ceilings(*ceilings)


def _paths(folder: RunFolder, comparison: Comparison) -> list[tuple[Path, Path, Path]]:
    """Stores of activations, effects and gradient norms of both sides."""
    if comparison.of == "neurons":
        return [
            (folder.neuron_effect_activations(name), folder.neuron_effects(name), folder.neuron_gradient_norms(name))
            for name in comparison.models
        ]
    return [
        (folder.effect_activations(name, width, seed), folder.effects(name, width, seed), folder.gradient_norms(name))
        for name, width, seed in zip(comparison.models, comparison.widths, comparison.seeds, strict=True)
    ]


def _fingerprints(folder: RunFolder, comparison: Comparison) -> dict[str, Similarity]:
    """Return similarities of both sides' fingerprints, for each weighting; none where a side has none."""
    from universality.effects import Fingerprints
    from universality.similarity import Similarity

    sides: list[Any] = [
        folder.fingerprints(name, width, seed)
        for name, width, seed in zip(comparison.models, comparison.widths, comparison.seeds, strict=True)
    ]
    if not all(path.exists() for path in sides):
        return {}
    a, b = map(Fingerprints.load, sides)
    return {name: Similarity.fingerprint(a, b, weighting) for name, weighting in WEIGHTINGS.items()}  # type: ignore[arg-type]
