"""Models, SAEs and feature stores of the findings, trained and collected on demand.

All SAEs of one schedule learn from one token stream, in one grid. Existing artifacts are reused, so more seeds can be
added later. An interrupted training resumes from its last checkpoint.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from universality import SAE, FeatureStore
from universality.activations import ModelSite, harvest
from universality.arrays import evenly_spaced
from universality.corpus import TokenBlocks, build_corpus
from universality.features.collection import collect
from universality.files import write_json
from universality.models.language_model import load_model, move_model, save_model
from universality.models.model_settings import ModelArchitecture, ModelSeeds, ModelTraining
from universality.models.train_model import train_model
from universality.pipeline.stages.collect_features import sample_documents
from universality.pipeline.stages.sae_training import Stream
from universality.sae import Quality, SAESpec, SAETrainer, clear_checkpoints, fast_products, summarise, train_grid

HOOK, BATCH = "blocks.0.mlp.hook_post", 2048
CHECKPOINT_STEPS, QUALITY_BLOCKS = 120, 512
ARCHITECTURE = ModelArchitecture()


@dataclass(frozen=True)
class Trained:
    """A language model to train: seeds of its weights and data order, passes over the text, format of its products."""

    init: int
    order: int
    epochs: float = 1.0
    products: Literal["float32", "bfloat16"] = "float32"

    @property
    def name(self) -> str:
        """Name of its folder."""
        products = "" if self.products == "float32" else f"-{self.products}"
        return f"i{self.init}-o{self.order}-e{self.epochs:g}{products}"


Model = str | Trained


@dataclass(frozen=True)
class Wanted:
    """One SAE: its model (shipped, or trained here), its settings, the number of tokens and their order."""

    spec: SAESpec
    model: Model = "starter/seed0"
    tokens: int = 1_000_000
    order: int = 0

    @property
    def model_name(self) -> str:
        """The model's name as a file name."""
        return self.model.name if isinstance(self.model, Trained) else self.model.replace("/", "-")

    @property
    def name(self) -> str:
        """A name that contains every setting that differs between SAEs."""
        s = self.spec
        sparsity = f"l1-{s.l1:g}" if s.architecture == "relu" else f"k{s.k}"
        decay = f"-wd{s.weight_decay:g}" if s.weight_decay else ""
        nested = f"-n{'.'.join(map(str, s.nested))}" if s.nested else ""
        settings = f"{s.architecture}-w{s.d_sae}-{sparsity}{decay}{nested}-t{self.tokens}"
        return f"{self.model_name}.{settings}-o{self.order}-s{s.seed}"

    def seeded(self, seed: int) -> "Wanted":
        """Return the same with another SAE seed."""
        return replace(self, spec=replace(self.spec, seed=seed))

    @property
    def steps(self) -> int:
        """Steps of its training."""
        return -(-self.tokens // BATCH)


def topk(k: int = 16, width: int = 1024, seed: int = 0, **settings: Any) -> SAESpec:
    """Return the settings of a TopK SAE, or of another that is given as ``architecture`` and has a k."""
    return SAESpec(width, k=k, seed=seed, products=fast_products(), **settings)


def relu(l1: float, width: int = 1024, seed: int = 0) -> SAESpec:
    """Return the settings of a ReLU SAE with an L1 penalty."""
    return SAESpec(width, "relu", l1=l1, seed=seed, products=fast_products())


@dataclass(frozen=True)
class Laboratory:
    """A folder with everything that was trained and collected.

    Attributes
    ----------
    root
        The folder; created when something is written there.
    source
        The text, as in the configuration's ``corpus.source``.
    share
        Share of the held-out documents on which features are stored.
    training
        Training settings of models trained here; ``epochs`` comes from each model.
    """

    root: Path
    source: str | list[str] = "starter"
    share: float = 0.25
    architecture: ModelArchitecture = ARCHITECTURE
    training: ModelTraining = field(default_factory=ModelTraining)

    @cached_property
    def blocks(self) -> TokenBlocks:
        """The token blocks that all models read, built on first use."""
        path = self.root / "blocks.npz"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            build_corpus(self.source).blocks.save(path)
        return TokenBlocks.load(path)

    def make(self, wanted: Iterable[Wanted]) -> None:
        """Train and collect the SAEs that are missing."""
        every = list(dict.fromkeys(wanted))
        missing = [sae for sae in every if not (self._quality(sae).exists() and self._store(sae).exists())]
        untrained = self.untrained(missing)
        for tokens, order in sorted({(sae.tokens, sae.order) for sae in untrained}):
            self._train([sae for sae in untrained if (sae.tokens, sae.order) == (tokens, order)], tokens, order)
        for model in dict.fromkeys(sae.model for sae in missing):
            self._collect(model, [sae for sae in missing if sae.model == model])

    def untrained(self, wanted: Iterable[Wanted]) -> list[Wanted]:
        """Return the SAEs that are not trained yet."""
        return [sae for sae in dict.fromkeys(wanted) if not (self._sae(sae) / "cfg.json").exists()]

    def has_model(self, model: Trained) -> bool:
        """Tell whether a model is trained already."""
        return (self.root / "models" / model.name / "model.safetensors").exists()

    def store(self, wanted: Wanted) -> FeatureStore:
        """Open the features of an SAE that `make` has collected."""
        return FeatureStore.open(self._store(wanted))

    def quality(self, wanted: Wanted) -> dict[str, float]:
        """Return explained variance, L0 and the share of living features on held-out tokens."""
        return json.loads(self._quality(wanted).read_text(encoding="utf-8"))

    def loss(self, model: Trained) -> float:
        """Return the loss of a model on held-out tokens, in nats."""
        return float(load_model(self._model_folder(model)).metadata["held_out_loss"])

    def _sae(self, wanted: Wanted) -> Path:
        return self.root / "saes" / wanted.name

    def _quality(self, wanted: Wanted) -> Path:
        return self._sae(wanted) / "quality.json"

    def _store(self, wanted: Wanted) -> Path:
        return self.root / "features" / f"{wanted.name}.h5"

    def _model_folder(self, model: Trained) -> Path:
        folder = self.root / "models" / model.name
        if not self.has_model(model):
            training = replace(self.training, epochs=model.epochs, products=model.products)
            seeds = ModelSeeds(init=model.init, order=model.order)
            trained = train_model(
                self.blocks, folder, seeds=seeds, architecture=self.architecture, training=training, name=model.name
            )
            save_model(trained, folder)
        return folder

    def _site(self, model: Model) -> ModelSite:
        source: str | Path = self._model_folder(model) if isinstance(model, Trained) else model
        name = model.name if isinstance(model, Trained) else model.replace("/", "-")
        return ModelSite(move_model(load_model(source, name)), HOOK)

    def _train(self, wanted: Sequence[Wanted], tokens: int, order: int) -> None:
        steps = wanted[0].steps
        sites = {sae.model_name: self._site(sae.model) for sae in {sae.model_name: sae for sae in wanted}.values()}
        options = {"batch_size": BATCH, "seed": order, "stop": steps}
        folder = self.root / "training" / f"t{tokens}-o{order}"
        with closing(Stream(sites, self.blocks.select("train"), **options)) as stream:
            summaries = {name: summarise(sample) for name, sample in stream.samples.items()}
            trainers = {
                (sae.model_name, sae.name): SAETrainer(sae.spec, summaries[sae.model_name], steps) for sae in wanted
            }
            made_from = {name: {"model": site.model_hash, "order": order} for name, site in sites.items()}
            train_grid(
                trainers,
                stream.from_step,
                folder,
                checkpoint_steps=CHECKPOINT_STEPS,
                log_steps=100,
                made_from=made_from,
            )
        for (_, name), trainer in trainers.items():
            trainer.finish({"order_seed": order}).save(self.root / "saes" / name)
        clear_checkpoints(folder)

    def _collect(self, model: Model, wanted: Sequence[Wanted], at_once: int = 8) -> None:
        """Collect a few SAEs at a time, because their files are held open."""
        site = self._site(model)
        held_out = self.blocks.select("choose", "report")
        part = held_out.take(np.flatnonzero(np.isin(held_out.document, sample_documents(held_out, self.share))))
        (self.root / "features").mkdir(exist_ok=True)
        for start in range(0, len(wanted), at_once):
            files = {self._store(sae): SAE.load(self._sae(sae)) for sae in wanted[start : start + at_once]}
            files = {path: sae for path, sae in files.items() if not path.exists()}
            collect(site, files, part, resume=True)
        measured = {sae: Quality(SAE.load(self._sae(sae))) for sae in wanted}
        for _, activations in harvest({site.name: site}, part.take(evenly_spaced(len(part), QUALITY_BLOCKS))):
            for quality in measured.values():
                quality.update(activations[site.name])
        for sae, quality in measured.items():
            write_json(self._quality(sae), quality.compute().as_dict())
