"""Typed configuration: the YAML file, the command line's ``--set`` and the Python arguments are one thing.

A section is either declared here or, where Python functions take the same settings, it is the frozen dataclass that
they take: `ModelArchitecture`, `ModelTraining`, `NullSettings`, `FamilySettings`; ``saes`` describes a grid and takes
most of its keys from `SAESpec`. Each key is documented once, beneath itself. A configuration validates and does
nothing else; unknown keys are refused with the nearest known one.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping
from dataclasses import MISSING, fields
from itertools import combinations, pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_type_hints

import yaml
from annotated_types import Ge, Lt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

from universality.checked_settings import EXACT, Count, Natural, Share, ShareBelowOne, texts_of
from universality.config_errors import explain
from universality.corpus.layout import Cut, TextLayout
from universality.devices import AUTO, checked_device
from universality.errors import ConfigError, UniversalityError
from universality.family.edge_rule import FamilySettings
from universality.files import as_path, expand_home
from universality.hooks import in_residual_stream, place_of
from universality.hub import expand
from universality.models.model_settings import ModelArchitecture, ModelSeeds, ModelTraining
from universality.sae.training.spec import NormalisationName, SAESpec
from universality.shipped_configs import find_config
from universality.statistics.null_settings import NullSettings
from universality.unique_yaml import load_yaml

SEEDS_OF_A_MODEL = 1000
_Exact = Annotated[int, EXACT]
_SAESeed = Annotated[int, Ge(0), Lt(SEEDS_OF_A_MODEL)]


class _Section(BaseModel):
    # The dataclasses among the sections are validated by these rules too: pydantic hands them down.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


def keys_of(section: type) -> dict[str, FieldInfo]:
    """List the keys of a section, a model or a dataclass, with type, limits, default and text."""
    if issubclass(section, BaseModel):
        return section.model_fields
    hints, texts = get_type_hints(section, include_extras=True), texts_of(section)
    keys = {}
    for field in fields(section):  # type: ignore[arg-type]
        key = keys[field.name] = FieldInfo.from_annotation(hints[field.name])
        key.description = texts.get(field.name)
        if field.default is not MISSING:
            key.default = field.default
        if field.default_factory is not MISSING:
            key.default_factory = field.default_factory
    return keys


_SPEC = keys_of(SAESpec)


def _of_spec(name: str) -> Any:
    """Take default, limits and text of a key of ``saes`` from the field of this name of `SAESpec`."""
    field = _SPEC[name]
    limits = {key: getattr(limit, key) for limit in field.metadata for key in ("ge", "gt") if hasattr(limit, key)}
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return Field(default, description=field.description, **limits)


_LAYOUT = texts_of(TextLayout)


class CorpusConfig(_Section):
    """Text that every model of the study reads, and how it is cut into blocks and splits."""

    source: str | list[str] = "starter"
    """``starter``, or text files, folders of them, JSON lines, CSV or Parquet (``text``, optional ``kind``, ``group``,
    ``id``), a data set of the Hugging Face hub (``owner/dataset@revision:configuration/split``, with ``max_tokens``),
    or one ``.npy`` of token ids [n_documents, n]."""
    tokenizer: str = "starter"
    """``starter``, ``train`` (a byte-level BPE on the training documents), a ``tokenizer.json`` or its folder, or a
    repository of the Hugging Face hub: ``EleutherAI/pythia-70m``."""
    d_vocab: Count = 4096
    """Vocabulary size of a trained tokenizer, or of a ``.npy`` source."""
    bos_id: Natural = 0
    """For a ``.npy`` source: the id that begins a block (BOS)."""
    document_separator: int | None = None
    """For a ``.npy`` source of one dimension: the id that ends each document."""
    special_ids: list[int] = []
    """For a ``.npy`` source: ids of other special tokens, such as end of text and padding."""
    n_ctx: int = Field(128, ge=2)
    """Positions of a block, BOS included."""
    held_out: ShareBelowOne = 0.2
    """Share of the documents that are held out from training; one half chooses partners, the other half scores them."""
    split_seed: Natural = 0
    """Seed for splitting the documents."""
    max_documents: int | None = Field(None, ge=1)
    """Read at most this many documents, for a quick trial."""
    max_tokens: int | None = Field(None, ge=1)
    """Read documents until they hold this many tokens; the last one is kept whole. Tokens are those of the study's
    tokenizer (of several, the one that gives most), or four bytes each if it is yet to be trained."""
    columns: dict[Literal["text", "kind", "group", "id"], str] = Field({}, description=_LAYOUT["columns"])
    cut: Cut = Field("auto", description=_LAYOUT["cut"])
    separator: str | None = Field(None, description=_LAYOUT["separator"])
    heading: str | None = Field(None, description=_LAYOUT["heading"])

    @property
    def layout(self) -> TextLayout:
        """Names of columns, and where a text file is cut."""
        columns = {str(field): column for field, column in self.columns.items()}
        return TextLayout(columns, self.cut, self.separator, self.heading)

    @property
    def sources(self) -> list[str]:
        """All sources, also where there is one."""
        return [self.source] if isinstance(self.source, str) else self.source

    @property
    def token_ids(self) -> str | None:
        """The ``.npy`` of token ids, if that is the source."""
        return self.source if isinstance(self.source, str) and self.source.endswith(".npy") else None

    @model_validator(mode="after")
    def _laid_out(self) -> Self:
        layout = self.layout  # raises where its settings contradict each other
        settings = {**vars(layout), "max_tokens": self.max_tokens}
        given = [name for name, value in settings.items() if value != type(self).model_fields[name].default]
        if self.token_ids and given:
            raise ValueError(f"{', '.join(given)}: for text only, but source is a .npy of token ids; leave it out")
        return self

    @field_validator("source", "tokenizer")
    @classmethod
    def _expand_home(cls, value: str | list[str]) -> str | list[str]:
        return expand_home(value) if isinstance(value, str) else [expand_home(part) for part in value]


class ModelsConfig(_Section):
    """Language models by name, loaded or trained in this run."""

    load: dict[str, str] = Field(default_factory=dict)
    """Name → ``starter/seed0`` … (shipped), a folder saved by this package, a local Hugging Face folder, or a
    repository of the hub with its revision: ``EleutherAI/pythia-70m@step143000``. Braces expand to several models, as
    in a shell: ``seed{1..3}: EleutherAI/pythia-70m-seed{1..3}@step143000``, or ``{a,b}``."""
    train: dict[str, ModelSeeds] = Field(default_factory=dict)
    """Name → seeds of each model to train."""
    architecture: ModelArchitecture = ModelArchitecture()
    """Architecture of models trained in this run."""
    training: ModelTraining = ModelTraining()
    """How models are trained in this run."""
    dtype: Literal["float32", "float16"] = "float32"
    """Number format of the saved weights."""
    one_basis: bool = False
    """Set to true if all models share one basis: a model and its fine-tune, checkpoints of one training, or layers of
    one residual stream. Decoder rows are then compared too. Models that were trained apart do not share a basis."""
    tokenizers: Literal["own"] | dict[str, str] = Field(default_factory=dict)
    """For models with different tokenizers: name → a source as for ``corpus.tokenizer``, or ``own`` for the tokenizer
    in the model's folder or repository. A single ``own`` applies to all models; models that are not named use
    ``corpus.tokenizer``. Features are then compared on the stretches of text between token boundaries that all
    tokenizers share (``features.pool``)."""

    @field_validator("load", "tokenizers")
    @classmethod
    def _expand_home(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        return value if isinstance(value, str) else {name: expand_home(path) for name, path in value.items()}

    @property
    def names(self) -> list[str]:
        """Names of all models, loaded ones first."""
        return [*self.load, *self.train]

    @field_validator("load", mode="before")
    @classmethod
    def _expanded(cls, load: Any) -> Any:
        if not isinstance(load, dict):
            return load
        expanded: dict[str, Any] = {}
        for key, source in load.items():
            names, sources = expand(str(key)), expand(source) if isinstance(source, str) else [source]
            if len(names) != len(sources):
                raise ValueError(f"{key!r} stands for {len(names)} models, {source!r} for {len(sources)}")
            if both := expanded.keys() & set(names):
                raise ValueError(f"models named twice: {', '.join(sorted(both))}")
            expanded |= zip(names, sources, strict=True)
        return expanded

    def tokenizer_of(self, name: str, otherwise: str) -> str:
        """Source of a model's tokenizer; ``otherwise`` is the corpus's."""
        given = self.tokenizers if isinstance(self.tokenizers, str) else self.tokenizers.get(name, otherwise)
        if given != "own":
            return given
        return "starter" if self.load[name].startswith("starter/") else self.load[name]

    @model_validator(mode="after")
    def _shares_a_basis(self) -> Self:
        inits = {name: seeds.init for name, seeds in self.train.items()}
        if self.one_basis and len(set(inits.values())) > 1:
            listed = ", ".join(f"{name} {init}" for name, init in inits.items())
            raise ValueError(f"one_basis: models that begin from different weights share no basis, found init {listed}")
        return self

    @model_validator(mode="after")
    def _tokenizers_of_models(self) -> Self:
        given = dict.fromkeys(self.names, "own") if isinstance(self.tokenizers, str) else self.tokenizers
        if unknown := sorted(given.keys() - set(self.names)):
            raise ValueError(f"tokenizers names {', '.join(unknown)}, the models are {', '.join(self.names)}")
        if trained := [name for name, source in given.items() if source == "own" and name not in self.load]:
            raise ValueError(f"tokenizers: {', '.join(trained)} is trained here and has none of its own; name a source")
        if trained := [name for name, source in given.items() if source == "train"]:
            raise ValueError(
                f"tokenizers: {', '.join(trained)} cannot read with 'train'; train a tokenizer in a run of its own "
                "(corpus.tokenizer: train) and name its corpus/tokenizer.json"
            )
        return self

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if both := set(self.load) & set(self.train):
            raise ValueError(f"named both under load and under train: {', '.join(sorted(both))}")
        if not self.names:
            raise ValueError("expected at least one model under load or train")
        for name in self.names:
            if not name.replace("-", "").replace("_", "").isalnum():
                raise ValueError(f"a model's name becomes a file name: letters, digits, - and _ only, found {name!r}")
        if alike := _alike(self.names):
            raise ValueError(
                f"models {alike[0]} and {alike[1]}: their names differ in upper and lower case alone, and name one "
                "folder on macOS and Windows; rename one"
            )
        if alike := _alike([f"{a}-{b}" for a, b in combinations(self.names, 2)]):
            raise ValueError(
                f"two pairs of models would both be called {alike[0]}, and share their files; rename a model, without -"
            )
        return self


class ActivationsConfig(_Section):
    """Source of the activations: the models, or a cache on disk."""

    cache: str | None = None
    """Folder for the activations of all tokens at the hook, harvested once and read by later runs, also on machines
    without TransformerLens. No cache by default. ``universality cache`` fills it and reports whether it saves time."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Number format in the cache: 4 or 2 bytes per token and activation."""

    @field_validator("cache")
    @classmethod
    def _expand_home(cls, value: str | None) -> str | None:
        return None if value is None else expand_home(value)


class SAEConfig(_Section):
    """Grid of sparse autoencoders: every model × every width × every seed, trained on one token stream."""

    architecture: Literal["topk", "batchtopk", "matryoshka", "relu", "jumprelu"] = _of_spec("architecture")
    widths: list[Count] = Field([512, 1024, 2048], min_length=1)
    """Dictionary sizes (d_sae)."""
    seeds: list[_SAESeed] = Field([0], min_length=1)
    """Seeds for the initial weights, below 1,000; SAEs of the first seed are matched across models. The second model
    adds 1,000 to each seed, the third 2,000, since equal initial weights alone make SAEs agree. In a
    study of one model, each pair of seeds is matched at each width."""
    ceiling_seed: Literal["auto"] | _SAESeed | None = "auto"
    """Seed of one more SAE of *each* model, at the largest width. The agreement of two SAEs that differ only in their
    seed is the ceiling of every comparison of models. ``auto`` is the smallest seed that is not among ``seeds``, and
    trains no further SAE if ``seeds`` holds two already; ``null`` trains none."""
    k: _Exact | list[_Exact] = SAESpec.k
    """Features that fire on a token (topk), or do on average (batchtopk, matryoshka): one number, or one per width."""
    nested: list[int] | None = None
    """Widths at which the SAEs can be cut (matryoshka); an SAE takes those below its own. By default ``widths``."""
    l1: float | None = _of_spec("l1")
    l0: float = _of_spec("l0")
    bandwidth: float = _of_spec("bandwidth")
    weight_decay: float = _of_spec("weight_decay")
    dead_after_tokens: Count = _of_spec("dead_after_tokens")
    resample_at: list[float] = _of_spec("resample_at")
    resample_seed: int = _of_spec("resample_seed")
    apply_b_dec_to_input: bool = _of_spec("apply_b_dec_to_input")
    tokens: Count = 2_500_000
    """Tokens on which each SAE is trained."""
    batch_size: Count = 2048
    """Tokens per step."""
    learning_rate: float | None = _of_spec("learning_rate")
    order_seed: Natural = 0
    """Seed for the order of the token stream."""
    products: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format of the encoder's product in training; ``auto`` is bfloat16 where the processor multiplies it."""
    buffer_tokens: Count = 131_072
    """Tokens whose activations are held in memory and shuffled: 4 · d_in bytes each, for every model."""
    checkpoint_steps: Count = 100
    """Steps between checkpoints; an interrupted training resumes from the last one."""
    held_out_steps: Natural = 0
    """Steps between measurements of the explained variance on held-out text, for the training curves; 0 for none. They
    show whether an SAE memorises its training text, and change nothing in the SAE."""
    quality_blocks: Count = 512
    """Held-out token blocks on which a model's loss is measured, with and without reconstructions spliced in."""
    max_norm_ratio: float | None = _of_spec("max_norm_ratio")
    normalize_activations: NormalisationName = _of_spec("normalize_activations")
    data_parallel: bool = False
    """How several processes (torchrun) divide the work: true splits every batch among them, false the SAEs."""
    watch: Literal["none", "tensorboard", "wandb"] = "none"
    """Where training curves are sent besides ``saes/train.jsonl``; the package must be installed."""
    load: dict[str, list[str]] = Field(default_factory=dict)
    """Model → existing SAEs, folders, files or names on the hub as ``SAE.load`` reads them: one, or one for each width
    (and several per width for several seeds); braces expand as for models. No SAE is trained then: widths and seeds
    follow from the files, and ``quality_blocks`` is the only other key of this section that is used."""

    widths_of: dict[str, list[Count]] = Field(default_factory=dict)
    """Model → dictionary sizes of its SAEs, where those under ``load`` differ between models. It follows from the
    files, and a run records it; ``widths`` then holds the sizes of all models."""

    @field_validator("load", mode="before")
    @classmethod
    def _listed(cls, load: Any) -> Any:
        if not isinstance(load, dict):
            return load
        listed = {name: [paths] if isinstance(paths, str) else paths for name, paths in load.items()}
        return {
            name: [part for path in paths for part in (expand(path) if isinstance(path, str) else [path])]
            if isinstance(paths, list)
            else paths
            for name, paths in listed.items()
        }

    @field_validator("load")
    @classmethod
    def _expand_home(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        return {name: [expand_home(path) for path in paths] for name, paths in value.items()}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.widths_of and not self.load:
            raise ValueError("widths_of follows from SAEs under load; give the widths of SAEs to train as widths")
        if empty := [name for name, paths in self.load.items() if not paths]:
            raise ValueError(f"load names no SAE of {', '.join(empty)}; leave the model out, or give paths")
        every = [*self.seeds, *([self.ceiling_seed] if isinstance(self.ceiling_seed, int) else [])]
        if len(set(every)) < len(every):
            raise ValueError(f"seeds and ceiling_seed must differ from each other, found {every}")
        if any(a >= b for a, b in pairwise(self.widths)):
            raise ValueError(f"widths must rise, found {self.widths}")
        if self.load:  # widths and sparsity follow from the files
            return self
        if isinstance(self.k, list) and len(self.k) != len(self.widths):
            raise ValueError(f"expected one k for all widths or one for each of {self.widths}, found {self.k}")
        for width in self.widths if self.architecture not in ("relu", "jumprelu") else []:
            if not 1 <= self.k_of(width) <= width:
                raise ValueError(f"k must lie between 1 and the width ({width}), found {self.k_of(width)}")
        nested = self.nested or []
        if any(not 0 < a < b for a, b in pairwise([*nested, self.widths[-1]])):
            raise ValueError(f"nested widths must rise from at least 1 to below {self.widths[-1]}, found {nested}")
        if any(not 0 < share < 1 for share in self.resample_at):
            raise ValueError(f"resample_at holds shares of the steps, above 0 and below 1, found {self.resample_at}")
        return self

    @property
    def extra_seed(self) -> int | None:
        """Seed of the SAEs that are trained for the ceiling besides those of ``seeds``; None if there are none."""
        if self.ceiling_seed != "auto":
            return self.ceiling_seed
        return None if len(self.seeds) > 1 or self.load else int(self.seeds[0] == 0)

    def widths_for(self, model: str) -> list[int]:
        """Dictionary sizes of a model's SAEs, rising."""
        return self.widths_of.get(model, self.widths)

    def k_of(self, width: int) -> int:
        """Features that fire on a token in the SAEs of this width."""
        return self.k[self.widths.index(width)] if isinstance(self.k, list) else self.k

    def nested_below(self, width: int) -> tuple[int, ...]:
        """Widths at which an SAE of this width can be cut."""
        if self.architecture != "matryoshka":
            return ()
        return tuple(w for w in (self.widths if self.nested is None else self.nested) if w < width)

    def stage_settings(self, without: Collection[str]) -> dict[str, Any]:
        """Settings on which a stage's key depends, except those that ``without`` names.

        A setting that was added later is left out at its default, so that a run made before it stays finished.
        """
        added = {"weight_decay": 0.0, "held_out_steps": 0, "dead_after_tokens": SAESpec.dead_after_tokens}
        return {
            name: value
            for name, value in self.model_dump(exclude=set(without)).items()
            if name not in added or value != added[name]
        }

    def for_spec(self, width: int) -> dict[str, Any]:
        """Keyword arguments of `SAESpec` for the SAEs of a width, without those of one SAE: seed and products."""
        shared = _SPEC.keys() & type(self).model_fields.keys() - {"products"}
        return {name: getattr(self, name) for name in shared} | {
            "d_sae": width,
            "k": self.k_of(width),
            "nested": self.nested_below(width),
        }


class CrosscoderConfig(_Section):
    """Crosscoder of the first two models (``universality crosscoder``); other settings are those of ``saes``."""

    width: int | None = Field(None, ge=1)
    """Number of features; by default the largest of ``saes.widths``."""
    k: int | None = Field(None, ge=1)
    """Features that fire on a token on average; by default as many as in the SAEs of the largest width."""


class FeaturesConfig(_Section):
    """Features that are stored, on the held-out documents."""

    min_token_count: Natural = 10
    """Least count in the training split of a vocabulary entry that takes part in logit weights."""
    neuron_documents: Share = 0.15
    """Share of the held-out documents on which the neurons, a dense baseline, are stored; 0 leaves them out."""
    pool: Literal["max", "mean", "sum"] = "max"
    """How a feature's activations on a stretch of several tokens are pooled, if models have different tokenizers:
    the largest (which does not depend on the number of tokens in the stretch), the mean, or the sum."""


class EffectsConfig(_Section):
    """Effects of matched features on the model's predictions (stage ``effects``), on the half that reports.

    SAEs of the largest width are measured, those of the ceiling among them, and neurons. Seeds are
    ``statistics.seed``.
    """

    measure: bool = True
    """Set to false to leave the stage out. It runs whole models, forward and backward: ``universality plan`` states
    what that costs."""
    blocks: Count = 768
    """Held-out token blocks on which the effect of every firing is measured to first order, evenly spaced."""
    exact: Natural = 2000
    """Firings whose effect is also measured exactly; 0 for none."""
    contexts: Natural = 8
    """Firings at which a feature is ablated for its fingerprint; 0 for no fingerprints."""
    fingerprints: Count = 2048
    """Pairs of a matching whose features get fingerprints, evenly spaced by score; all where there are fewer."""
    match: bool = True
    """Also match features by their first-order effects over all tokens. All effects are of the half that reports: one
    part of its documents chooses these partners, the other scores them."""
    families: bool = True
    """Also compare the effects of parents and children in families; it measures first-order effects at all widths."""
    pair_contexts: Natural = 8
    """Tokens where both features of a pair fire, at which both are ablated and clamped for the explorer, for as many
    pairs of the headline as have fingerprints; 0 leaves it out."""
    loss_blocks: Natural = 24
    """Held-out token blocks of each half on which the loss that shared features carry is measured; 0 leaves it out."""
    loss_draws: Count = 2
    """Random subsets of each kind, such as of equal mass, that shared features are compared with at each threshold.
    Each costs about as much as the shared features themselves."""


class MapConfig(_Section):
    """Maps of the features, for the report's explorer (stage ``map``), at the largest width.

    Seed, thresholds and classes of firing counts are those of ``statistics``.
    """

    draw: bool = True
    """Set to false to leave the stage out. Its time grows with the number of features: about a second a thousand."""
    neighbours: Count = 15
    """Neighbours of a feature within its model, itself among them, and the most partners in the other model."""
    min_dist: Share = 0.05
    """Distance of points that count as together."""


class Config(_Section):
    """One experiment: text, models, SAEs, and how they are compared."""

    name: str = "study"
    """Title of the report."""
    corpus: CorpusConfig = CorpusConfig()
    models: ModelsConfig
    hook: str | dict[str, str] = "blocks.0.mlp.hook_post"
    """Hook at which activations are taken, as TransformerLens names it; by default the MLP's neurons. One hook for all
    models, or model → hook to compare layers: ``{early: blocks.1.hook_resid_post, late: blocks.4.hook_resid_post}``."""
    hook_out: str | dict[str, str] | None = None
    """Hook at which transcoders under ``saes.load`` write; ``hook`` is where they read. One for all transcoders, or
    model → hook. By default what their files say."""
    activations: ActivationsConfig = ActivationsConfig()
    saes: SAEConfig = SAEConfig()
    crosscoder: CrosscoderConfig = CrosscoderConfig()
    features: FeaturesConfig = FeaturesConfig()
    statistics: NullSettings = NullSettings()
    families: FamilySettings = FamilySettings()
    effects: EffectsConfig = EffectsConfig()
    map: MapConfig = MapConfig()
    device: str = AUTO
    """Device that runs and trains models and SAEs, and computes matches and families: ``auto`` (a CUDA card where there
    is one), ``cpu``, ``cuda`` or the number of a card, ``cuda:1``. Where a card is missing the CPU computes. Results
    differ in the last digits. Where a scheduler is named, its workers compute matches and families on their CPUs."""

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, value: str) -> str:
        try:
            return checked_device(value)
        except UniversalityError as error:
            raise ValueError(str(error)) from None

    scheduler: str | None = None
    """Address of a Dask scheduler, ``tcp://10.0.0.1:8786``, whose workers compute matches, families and controls; they
    must see the run's folder under its absolute path. None: this process computes them."""

    @field_validator("scheduler")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None and "://" not in value:
            raise ValueError(f"scheduler: expected an address such as tcp://10.0.0.1:8786, found {value!r}")
        return value

    @property
    def hooks(self) -> dict[str, str]:
        """Model → hook."""
        return {name: self.hook if isinstance(self.hook, str) else self.hook[name] for name in self.models.names}

    @property
    def hooks_written(self) -> dict[str, str]:
        """Model → hook at which its SAEs write: where they read, except for transcoders."""
        return self.hooks | self.hooks_out

    @property
    def hooks_out(self) -> dict[str, str]:
        """Model → hook at which its transcoders write, for the models that have transcoders."""
        if self.hook_out is None:
            return {}
        return dict.fromkeys(self.models.names, self.hook_out) if isinstance(self.hook_out, str) else self.hook_out

    @field_validator("statistics")
    @classmethod
    def _has_a_null(cls, value: NullSettings) -> NullSettings:
        if value.replicates < 1:
            raise ValueError("replicates: expected at least 1, since the report compares with chance; found 0")
        return value

    @model_validator(mode="after")
    def _every_model_has_its_hook(self) -> Self:
        if isinstance(self.hook, str):
            return self
        names = self.models.names
        if unknown := sorted(self.hook.keys() - set(names)):
            raise ValueError(f"hook names {', '.join(unknown)}, the models are {', '.join(names)}")
        if without := [name for name in names if name not in self.hook]:
            raise ValueError(f"hook names none of {', '.join(without)}: one for every model, or a single one for all")
        places = {hook: place for hook in self.hook.values() if (place := place_of(hook))}
        # What a block adds to the residual stream shares its basis.
        one_stream = self.models.one_basis and all(map(in_residual_stream, places))
        if len(set(places.values())) > 1 and not one_stream:
            listed = "; ".join(f"{hook} reads {place}" for hook, place in places.items())
            raise ValueError(
                f"hook: expected the same part of a block for every model, found {listed}; features of different parts "
                "are compared in Python, with collect(...) and match(...)"
            )
        return self

    @model_validator(mode="after")
    def _hooks_share_the_basis(self) -> Self:
        for hooks in (self.hooks, self.hooks_written) if self.models.one_basis else ():
            apart = sorted(hook for hook in hooks.values() if not in_residual_stream(hook))
            if not apart or len(set(hooks.values())) == 1:
                continue
            raise ValueError(
                f"models.one_basis: hooks that differ share a basis in the residual stream only, found {apart[0]}; set "
                "hooks like blocks.0.hook_resid_post or blocks.0.hook_mlp_out, or leave one_basis out"
            )
        return self

    @model_validator(mode="after")
    def _only_loaded_transcoders_write_elsewhere(self) -> Self:
        if self.hook_out is not None and not self.saes.load:
            raise ValueError(
                "hook_out is where transcoders under saes.load write; leave it out, since SAEs that are trained here "
                "write where they read"
            )
        if unknown := sorted(self.hooks_out.keys() - set(self.models.names)):
            raise ValueError(f"hook_out names {', '.join(unknown)}, the models are {', '.join(self.models.names)}")
        if same := [name for name, hook in self.hooks_out.items() if hook == self.hooks[name]]:
            raise ValueError(f"hook_out of {same[0]} is its hook, {self.hooks[same[0]]}: transcoders write at another")
        return self

    @model_validator(mode="after")
    def _every_tokenizer_has_text(self) -> Self:
        if not self.models.tokenizers:
            return self
        if self.corpus.token_ids:
            raise ValueError("models.tokenizers need text, but corpus.source is a .npy of token ids")
        if any(self.models.tokenizer_of(name, self.corpus.tokenizer) == "train" for name in self.models.names):
            raise ValueError(
                "corpus.tokenizer is 'train' and models.tokenizers does not name one for every model: name the others"
            )
        return self

    @model_validator(mode="after")
    def _every_model_has_its_saes(self) -> Self:
        names, given = self.models.names, self.saes.load
        if unknown := sorted(given.keys() - set(names)):
            raise ValueError(f"saes.load names {', '.join(unknown)}, the models are {', '.join(names)}")
        if given and (without := [name for name in names if name not in given]):
            raise ValueError(
                f"saes.load names SAEs of {', '.join(given)} and none of {', '.join(without)}: name them too, since an "
                "SAE trained here would differ in more than its model; or leave saes.load out, and all are trained"
            )
        return self


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML configuration.

    Parameters
    ----------
    path
        The YAML file, or the name of a shipped configuration, such as ``quickstart``.
    overrides
        ``KEY=VALUE`` with dots between sections and YAML values: ``saes.k=16``, ``saes.widths=[64,128]``.

    Raises
    ------
    ConfigError
        If the file is missing and the name is none of the shipped ones, it is not YAML, a key is unknown (the message
        names the nearest known one), or a value is out of range.
    """
    path = find_config(as_path(path))
    if path.is_dir():
        inside = path / "config.yaml"
        example = f", such as {inside}" if inside.is_file() else ""
        raise ConfigError(f"{path}: a folder; expected a YAML file{example}")
    try:
        values = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        what = "an empty file" if values is None else type(values).__name__
        raise ConfigError(f"{path}: expected a mapping of sections, found {what}")
    for override in overrides:
        set_key(values, override)
    return parse_config(values, where=str(path))


def _alike(names: list[str]) -> tuple[str, str] | None:
    """First two names that a file system may take for one; None if there are none."""
    seen: dict[str, str] = {}
    for name in names:
        # APFS (macOS) ignores case and Unicode normalisation in file names, NTFS (Windows) ignores case.
        key = unicodedata.normalize("NFC", name.casefold())
        if key in seen:
            return seen[key], name
        seen[key] = name
    return None


def parse_config(values: dict[str, Any], where: str = "configuration") -> Config:
    """Validate the values of a configuration.

    Parameters
    ----------
    values
        Sections and keys, as a YAML file has them.
    where
        Name of their source, for messages.

    Raises
    ------
    ConfigError
        If a key is unknown or a value is out of range.

    Examples
    --------
    >>> config = parse_config({"models": {"load": {"A": "starter/seed0"}}, "saes": {"widths": [64, 128]}})
    >>> config.saes.widths, config.saes.k
    ([64, 128], 32)
    >>> parse_config({"models": {"load": {"A": "starter/seed0"}}, "sae": {"k": 4}})
    Traceback (most recent call last):
    universality.errors.ConfigError: configuration: unknown key sae; did you mean saes?
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(where, error, Config)) from None


def merged(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a configuration with sections and keys of another one laid over them.

    Examples
    --------
    >>> merged({"hook": "a", "saes": {"k": 8, "l0": 0.1}}, {"saes": {"k": 4}})
    {'hook': 'a', 'saes': {'k': 4, 'l0': 0.1}}
    """
    laid_over = dict(values)
    for key, value in overrides.items():
        below = values.get(key)
        laid_over[key] = merged(below, value) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return laid_over


def set_key(values: dict[str, Any], override: str) -> None:
    """Set one key of a configuration's values, as ``--set KEY=VALUE`` does; raise ConfigError if it cannot be read."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {override}: expected KEY=VALUE, as in saes.k=16")
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"--set {override}: {section} is a value, not a section")
    try:
        values[last] = load_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: {text!r} is not a YAML value: {error}") from None
