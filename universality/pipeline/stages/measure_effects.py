"""The stage ``effects``: what features do to the model's predictions, and whether matched features do the same.

A model has one task, its families another, and each comparison one. They leave out what cannot be measured, and say why
on stderr and in ``effects/NAME.unmeasured.json``. Several processes take the tasks in turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from universality.arrays import evenly_spaced
from universality.config import Config
from universality.errors import FormatError, MismatchError, ModelError, UniversalityError
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.compare_partner_effects import make_agreement
from universality.pipeline.stages.family_effects import make_family_effects
from universality.pipeline.stages.measure_pair_effects import measured_pairs
from universality.pipeline.stages.model_sites import at_hook, blocks_of, can_run_models, live_site
from universality.pipeline.stages.unmeasured_effects import note_unmeasured
from universality.pipeline.study import (
    Comparison,
    ceilings_of,
    effect_comparisons,
    effect_dictionaries,
    families_have_effects,
    family_dictionaries,
    headline_comparison,
    hook_settings,
    sae_grid,
)
from universality.pipeline.task import Task

if TYPE_CHECKING:
    from universality.activations import ModelSite
    from universality.arrays import IntArray
    from universality.corpus import TokenBlocks
    from universality.effects import ModelFeatures
    from universality.features import FeatureStore
    from universality.matching import Match
    from universality.sae import SAE
    from universality.sae.training.distributed import Ranks

STAGE, VERSION = "effects", 4
_NO_MODEL = "transformer_lens, which runs the models, is not installed"


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return a task for each model, for its families, and for each comparison at the largest widths, ceilings first."""
    compared = effect_comparisons(config, folder)
    settings = [
        config.effects.model_dump(exclude={"measure", "match", "families", "pair_contexts"}),
        config.statistics.seed,
        *([] if can_run_models() else [_NO_MODEL]),  # once it is installed, the tasks are to be done
    ]
    makers = (_of_models, _of_families, _of_pairs)
    return [task for make in makers for task in make(config, folder, compared, settings)]


def _of_models(config: Config, folder: RunFolder, compared: list[Comparison], settings: list[Any]) -> list[Task]:
    names = config.models.names if compared else []
    read = [task for name in names for task in (f"train-models/{name}", f"collect/{name}")]  # the tokens they share
    return [
        Task(
            f"{STAGE}/{name}",
            [
                *settings,
                *hook_settings(config, name),
                *effect_dictionaries(config, folder, name),
                *family_dictionaries(config, folder, name),
            ],
            ["corpus", "train-saes", *read, *(f"match/{c.name}" for c in compared if name in c.models and c.width)],
            partial(make_effects, config, folder, name),
            VERSION,
        )
        for name in names
    ]


def _of_families(config: Config, folder: RunFolder, compared: list[Comparison], settings: list[Any]) -> list[Task]:
    return [
        Task(
            f"{STAGE}/{name}.families",
            [*settings, *config.saes.widths_for(name)],
            [f"{STAGE}/{name}", f"families/{name}"],
            partial(make_family_effects, config, folder, name),
            VERSION,
        )
        for name in config.models.names
        if families_have_effects(config, folder, name)
    ]


def _of_pairs(config: Config, folder: RunFolder, compared: list[Comparison], settings: list[Any]) -> list[Task]:
    return [
        Task(
            f"{STAGE}/{comparison.name}",
            [
                *settings,
                config.statistics.bootstrap,
                *_of_headline(config, folder, comparison),
                *([config.statistics.as_dict()] if config.effects.match else []),
            ],
            [
                "corpus",
                "train-saes",
                *sorted({f"{stage}/{name}" for name in comparison.models for stage in ("train-models", "collect")}),
                f"match/{comparison.name}",
                *sorted({f"{STAGE}/{name}" for name in comparison.models}),
                *(f"{STAGE}/{c.name}" for c in ceilings_of(config, folder, comparison) if c is not None),
            ],
            partial(make_agreement, config, folder, comparison),
            VERSION,
        )
        for comparison in compared
    ]


def _of_headline(config: Config, folder: RunFolder, comparison: Comparison) -> list[Any]:
    return [config.effects.pair_contexts] if comparison == headline_comparison(config, folder) else []


def make_effects(config: Config, folder: RunFolder, name: str) -> list[Path]:
    """Measure the effects of one model's features.

    Writes first-order effects of every firing with the gradient's norms, exact effects of a sample, ablation
    fingerprints of matched features, and the loss that shared features carry.
    """
    (folder.root / "effects").mkdir(exist_ok=True)
    unmeasured: dict[str, str] = {}
    files: list[Path] = []
    if not can_run_models():
        unmeasured["effects"] = _NO_MODEL
    else:
        with ExitStack() as stack:
            model = Measured(config, folder, name, stack.enter_context(OpenStores()), unmeasured)
            if model.has_effects():
                parts = (model.first_order, model.neurons, model.exact, model.fingerprints, model.shared_loss)
                files = [file for part in parts for file in part()]
    _delete_stale(config, folder, name, files)
    return [*files, note_unmeasured(folder, name, unmeasured)]


@dataclass(frozen=True)
class Measured:
    """One model of a run, its stores, and what could not be measured of it."""

    config: Config
    folder: RunFolder
    name: str
    stores: OpenStores
    unmeasured: dict[str, str] = field(default_factory=dict)

    @cached_property
    def site(self) -> ModelSite:
        """The model at the hook where its SAEs read."""
        site: ModelSite = live_site(self.config, self.folder, self.name)
        return site

    @cached_property
    def site_out(self) -> ModelSite | None:
        """The model at the hook where its transcoders write; None for SAEs."""
        hook = self.config.hooks_out.get(self.name)
        return None if hook is None else at_hook(self.site, hook)

    @cached_property
    def held_out(self) -> TokenBlocks:
        """Held-out blocks in the model's own tokens, in the order of the stores."""
        return blocks_of(self.config, self.folder, self.name).select("choose", "report")

    @cached_property
    def dictionaries(self) -> list[tuple[int, int]]:
        """(width, seed) of the SAEs that are measured; the headline's comes first."""
        first = self.config.saes.seeds[0]
        return sorted(effect_dictionaries(self.config, self.folder, self.name), key=lambda one: (one[1] != first, one))

    def sae(self, width: int, seed: int) -> SAE:
        """Load an SAE."""
        from universality.sae import SAE

        return SAE.load(self.folder.sae(self.name, width, seed))

    def has_effects(self) -> bool:
        """Tell whether anything that the model predicts depends on the hook; note it if not."""
        from universality.effects import check_effect

        try:
            check_effect(self.site_out or self.site)
        except ModelError as error:
            self.unmeasured["effects"] = str(error)
            return False
        return True

    @cached_property
    def common(self) -> TokenBlocks | None:
        """The same blocks in segments, where models have different tokenizers."""
        from universality.corpus import TokenBlocks

        if not self.config.models.tokenizers:
            return None
        return TokenBlocks.load(self.folder.blocks).select("choose", "report")

    def first_order(self) -> list[Path]:
        """Write stores of activations, effects and gradient norms of all SAEs, on blocks of the reporting half.

        Those of narrower widths are for the edges of families.
        """
        from universality.features import cut

        rows = self.held_out if self.common is None else self.common
        chosen = effect_blocks(self.config, rows)
        kept = np.isin(np.nonzero(rows.valid)[0], chosen)
        saes: dict[str | Path, SAE | None] = {}
        activations: dict[str | Path, Path] = {}
        for width, seed in [*self.dictionaries, *family_dictionaries(self.config, self.folder, self.name)]:
            path = self.folder.effects(self.name, width, seed)
            saes[path] = self.sae(width, seed)
            activations[path] = self.folder.effect_activations(self.name, width, seed)
            store = self.stores[self.folder.store(self.name, width, seed)]
            cut(store, activations[path], tokens=kept, overwrite=True, unembedding=False).close()
        return self._collect(saes, activations, self.folder.gradient_norms(self.name), chosen)

    def neurons(self) -> list[Path]:
        """Write the same stores of the activations at the hook themselves, on a share of the blocks."""
        from universality.features.collection import collect

        share = self.config.features.neuron_documents
        if not any(c.of == "neurons" and self.name in c.models for c in effect_comparisons(self.config, self.folder)):
            return []
        chosen = effect_blocks(self.config, self.held_out)
        chosen = chosen[evenly_spaced(len(chosen), max(2, round(share * len(chosen))))]
        path, activations = self.folder.neuron_effects(self.name), self.folder.neuron_effect_activations(self.name)
        collect(
            self.site,
            {activations: None},
            self.held_out.take(chosen),
            common=None if self.common is None else self.common.take(chosen),
            pool=self.config.features.pool,
            overwrite=True,
            resume=True,
        )
        return self._collect({path: None}, {path: activations}, self.folder.neuron_gradient_norms(self.name), chosen)

    def _collect(
        self,
        saes: Mapping[str | Path, SAE | None],
        activations: Mapping[str | Path, Path],
        norms: Path,
        chosen: IntArray,
    ) -> list[Path]:
        """Write stores of effects in one pass, with the codes of their stores of activations."""
        from universality.effects import collect_effects

        codes: dict[str | Path, FeatureStore] = (
            {} if self.common is not None else {path: self.stores[known] for path, known in activations.items()}
        )
        collect_effects(
            self.site,
            saes,
            self.held_out.take(chosen),
            gradient_norms=norms,
            activations=codes,
            common=None if self.common is None else self.common.take(chosen),
            site_out=self.site_out if any(saes.values()) else None,
            overwrite=True,
            resume=True,
        )
        return [*activations.values(), *map(Path, saes), norms]

    def exact(self) -> list[Path]:
        """Write exact effects of a sample of the headline SAE's firings."""
        from universality.effects import exact_effects

        if not self.config.effects.exact or not self.dictionaries:
            return []
        if self.config.models.tokenizers:
            self.unmeasured["exact effects"] = "the models have different tokenizers, and stores hold stretches of text"
            return []
        made = exact_effects(
            self._features(*self.dictionaries[0]),
            self.stores[self.folder.effects(self.name, *self.dictionaries[0])],
            n=self.config.effects.exact,
            seed=self.config.statistics.seed,
        )
        return [made.save(self.folder.exact_effects(self.name))]

    def fingerprints(self) -> list[Path]:
        """Write ablation fingerprints of matched features, at firings on the text of their first-order effects."""
        from universality.effects import FingerprintSettings, ablation_fingerprints
        from universality.pipeline.stages.effect_tokens import UnsharedTokensError, effect_tokens

        if not self.config.effects.contexts or not self.dictionaries:
            return []
        try:
            tokens = effect_tokens(self.config, self.folder, self.stores)[self.name]
        except UnsharedTokensError as error:
            self.unmeasured["fingerprints"] = str(error)
            return []
        files, settings = [], FingerprintSettings(seed=self.config.statistics.seed)
        # Fingerprints are compared only if they are projected alike, so all SAEs of the run take one decision.
        n_components = settings.components(most_fingerprints(self.config, self.folder), len(tokens))
        for width, seed in self.dictionaries:
            made = ablation_fingerprints(
                self._features(width, seed),
                tokens,
                n_contexts=self.config.effects.contexts,
                chosen=matched_features(self.config, self.folder, self.name, width, seed),
                settings=replace(settings, n_components=n_components),
            )
            files.append(made.save(self.folder.fingerprints(self.name, width, seed)))
        return files

    def _features(self, width: int, seed: int) -> ModelFeatures:
        """Return an SAE's features on the text of its first-order effects."""
        from universality.effects import ModelFeatures

        store = self.stores[self.folder.effect_activations(self.name, width, seed)]
        blocks = self.held_out.take(effect_blocks(self.config, self.held_out))
        return ModelFeatures(self.site, self.sae(width, seed), store, blocks, self.site_out)

    def shared_loss(self) -> list[Path]:
        """Write the loss that the headline SAE's shared features carry."""
        from universality.effects import ModelFeatures
        from universality.statistics import shared_loss

        if not self.config.effects.loss_blocks or not self.dictionaries:
            return []
        if self.config.models.tokenizers:
            self.unmeasured["shared loss"] = "the models have different tokenizers, and stores hold stretches of text"
            return []
        width, seed = self.dictionaries[0]
        partners = shared_with(self.config, self.folder, self.name, width, seed)
        if not partners:
            self.unmeasured["shared loss"] = "there is no other dictionary with partners of the features"
            return []
        store = self.stores[self.folder.store(self.name, width, seed)]
        features = ModelFeatures(self.site, self.sae(width, seed), store, self.held_out, self.site_out)
        settings, random_seed = self.config.effects, self.config.statistics.seed
        try:
            made = shared_loss(
                features, partners, draws=settings.loss_draws, n_blocks=settings.loss_blocks, seed=random_seed
            )
        except (FormatError, MismatchError):
            raise
        except UniversalityError as error:  # the SAE recovers nothing
            self.unmeasured["shared loss"] = str(error)
            return []
        return [made.save(self.folder.shared_loss(self.name))]


def effect_blocks(config: Config, held_out: TokenBlocks) -> IntArray:
    """Choose blocks of the reporting half, evenly spaced: indices among the held-out blocks."""
    of_half = np.flatnonzero(np.array(held_out.documents.split)[held_out.document] == "report")
    return of_half[evenly_spaced(len(of_half), min(config.effects.blocks, len(of_half)))]


def matched_features(config: Config, folder: RunFolder, name: str, width: int, seed: int) -> IntArray:
    """List the features of an SAE that get fingerprints: those of some pairs of each of its matchings."""
    chosen: list[IntArray] = []
    for comparison in effect_comparisons(config, folder):
        for side, one in enumerate(zip(comparison.models, comparison.widths, comparison.seeds, strict=True)):
            if one == (name, width, seed):
                match = _match(folder, comparison)
                pairs = measured_pairs(config, match)
                chosen.append((match.cols if side else match.rows)[pairs])
    return np.unique(np.concatenate(chosen))


def most_fingerprints(config: Config, folder: RunFolder) -> int:
    """Return the largest number of features that an SAE of the run can have fingerprints of."""
    compared = [comparison for comparison in effect_comparisons(config, folder) if comparison.width]
    widest = max(width for comparison in compared for width in comparison.widths)
    return min(widest, config.effects.fingerprints * len(compared))


def shared_with(config: Config, folder: RunFolder, name: str, width: int, seed: int) -> dict[str, Match]:
    """Matches of an SAE: by the other model's name, or by the second seed of its own."""
    found = {}
    for comparison in effect_comparisons(config, folder):
        sides = list(zip(comparison.models, comparison.widths, comparison.seeds, strict=True))
        if (name, width, seed) in sides and comparison.width:
            other, _, other_seed = sides[1 - sides.index((name, width, seed))]
            match = _match(folder, comparison)
            if match.provenance["a"]["content_hash"] != match.provenance["b"]["content_hash"]:  # one SAE, named twice
                found[other if other != name else partner_seed(name, other_seed)] = match
    return found


def partner_seed(name: str, seed: int) -> str:
    """Name another SAE of a model among the partners of `shared_loss`."""
    return f"{name} seed {seed}"


def _match(folder: RunFolder, comparison: Comparison) -> Match:
    from universality.statistics import Calibration

    return Calibration.load(folder.calibration(comparison.name)).match


def _delete_stale(config: Config, folder: RunFolder, name: str, made: list[Path]) -> None:
    """Delete what earlier settings made and these do not: nobody is to take it for this run's."""
    possible = [
        folder.neuron_effects(name),
        folder.neuron_effect_activations(name),
        folder.neuron_gradient_norms(name),
        folder.gradient_norms(name),
        folder.exact_effects(name),
        folder.shared_loss(name),
        *(
            path(name, width, seed)
            for _, width, seed in (one for one in sae_grid(config) if one[0] == name)
            for path in (folder.effects, folder.effect_activations, folder.fingerprints)
        ),
    ]
    for path in set(possible) - set(made):
        path.unlink(missing_ok=True)
