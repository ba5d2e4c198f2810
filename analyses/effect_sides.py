"""Effects on one half of a finished run's held-out text, for the scripts that compare them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from universality import Calibration, Match
from universality.activations import ModelSite
from universality.arrays import evenly_spaced
from universality.config import load_config
from universality.corpus import TokenBlocks
from universality.effects import ModelFeatures, collect_effects, read_gradient_norms
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.pipeline import RunFolder
from universality.pipeline.stages.model_sites import blocks_of, live_site
from universality.sae import SAE


@dataclass(frozen=True)
class Side:
    """Features of one SAE, or the neurons of its hook.

    Parameters
    ----------
    held_out
        The run's store on all held-out text; partners are chosen on its choosing half.
    features
        The same features on blocks of one half.
    effects
        Their first-order effects there.
    norms
        [n_tokens] norm of the gradient at each token.
    """

    held_out: FeatureStore
    features: ModelFeatures
    effects: FeatureStore
    norms: NDArray[np.float32]

    @property
    def store(self) -> FeatureStore:
        """Activations on these blocks."""
        return self.features.store


class EffectSides:
    """Measures the effects of a run's SAEs on evenly spaced blocks of one half of its held-out text.

    Parameters
    ----------
    run
        The run's folder. Nothing is written there.
    scratch
        Folder for the stores; what it holds already is read.
    n_blocks
        Largest number of blocks.
    split
        "report", or "choose" for the half that chooses partners.
    """

    def __init__(self, run: Path, scratch: Path, n_blocks: int, split: str = "report") -> None:
        self.config, self.folder = load_config(run / "config.yaml"), RunFolder(run)
        self.scratch, self.n_blocks, self.split = scratch, n_blocks, split
        self.width = max(self.config.saes.widths)
        self.names = self.config.models.names
        self._sites: dict[str, ModelSite] = {}
        scratch.mkdir(parents=True, exist_ok=True)

    def saes(self, model: str) -> list[str]:
        """List the model's SAEs of the largest width, such as ``w2048-s0``."""
        found = (path.name for path in (self.folder.root / "saes" / model).glob(f"w{self.width}-s*"))
        return sorted(found, key=lambda name: int(name.rpartition("s")[2]))

    def partners(self, name: str) -> Match:
        """Load the run's matching by activation of a comparison."""
        return Calibration.load(self.folder.root / "matches" / f"{name}.activation.npz").match

    def seeds(self, model: str) -> str:
        """Name the comparison of the model's first two SAEs."""
        one, two = (sae.rpartition("-")[2] for sae in self.saes(model)[:2])
        return f"{model}-{model}.w{self.width}.{one}-{two}"

    def site(self, model: str) -> ModelSite:
        """Return the loaded model at its hook."""
        if model not in self._sites:
            self._sites[model] = live_site(self.config, self.folder, model)
        return self._sites[model]

    def text(self, model: str, most: int | None = None) -> TokenBlocks:
        """Select evenly spaced blocks of the half, in the model's tokens."""
        part = blocks_of(self.config, self.folder, model).select(self.split)
        return replace(part.take(evenly_spaced(len(part), min(most or self.n_blocks, self.n_blocks))), segment=None)

    def measure(self, model: str, names: Sequence[str]) -> list[Side]:
        """Collect activations and effects of some SAEs of a model, or of ``neurons``, in one pass each."""
        site, blocks = self.site(model), self.text(model)
        saes = {
            name: None if name == "neurons" else SAE.load(self.folder.root / "saes" / model / name).to(site.device)
            for name in names
        }
        paths = {
            kind: {self.scratch / f"{model}.{name}.{kind}.h5": sae for name, sae in saes.items()}
            for kind in ("activations", "effects")
        }
        norms = self.scratch / f"{model}.{'-'.join(names)}.norms.h5"
        if not all(path.exists() for path in paths["activations"]):
            collect(site, paths["activations"], blocks, overwrite=True)
        if not norms.exists():
            collect_effects(site, paths["effects"], blocks, gradient_norms=norms, overwrite=True)
        size = read_gradient_norms(FeatureStore.open(norms))
        held_out = [FeatureStore.open(self.folder.root / "features" / f"{model}.{name}.h5") for name in names]
        opened = ([FeatureStore.open(path) for path in paths[kind]] for kind in ("activations", "effects"))
        return [
            Side(whole, ModelFeatures(site, sae, store, blocks), effects, size)
            for whole, sae, store, effects in zip(held_out, saes.values(), *opened, strict=True)
        ]
