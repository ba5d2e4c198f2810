"""A crosscoder of the study's first two models, compared with the matching of their SAEs.

The crosscoder learns from the same token stream as the SAEs, with the same trainer (`universality.sae.crosscoder`).
Its features on the held-out documents are compared with those of the SAEs of the headline's width
(`universality.statistics.crosscoder_classes`).
"""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from universality.arrays import evenly_spaced
from universality.config import SEEDS_OF_A_MODEL, Config
from universality.errors import ConfigError
from universality.export import write_csv
from universality.files import write_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import cached_dtype
from universality.pipeline.study import Comparison, comparisons, headline_width
from universality.pipeline.task import Task, is_done
from universality.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from universality.activations import Site
    from universality.corpus import TokenBlocks
    from universality.report.figures.figure_table import Table
    from universality.sae import Crosscoder, SAESpec

STAGE, VERSION = "crosscoder", 2
UNPAIRED = "unpaired"
"""The control: a crosscoder trained on the same text, with the second model's tokens paired with other tokens."""
SAMPLE_BLOCKS = 64
"""Blocks of training text on which the scales of the models are measured."""
_WITHOUT_EFFECT = {"watch", "checkpoint_steps"}  # settings that change nothing in what is learnt


def tasks(config: Config, folder: RunFolder) -> list[Task]:
    """Return the tasks that train a crosscoder and compare it with a matching that is made.

    Raises
    ------
    ConfigError
        If the study has one model only, or k exceeds the width.
    """
    names, c = config.models.names[:2], config
    if len(names) < 2:
        raise ConfigError("a crosscoder needs two models; name a second one under models.load or models.train")
    width, k = _size(config)
    if k > width:
        raise ConfigError(f"crosscoder.k: {k} features cannot fire in a dictionary of {width}; lower it")
    learnt = [c.hook, names, c.saes.stage_settings(without=_WITHOUT_EFFECT), c.crosscoder.model_dump(), cached_dtype(c)]
    models = ("corpus", *(f"train-models/{name}" for name in names))
    matched = _matched(config, folder).name
    return [
        Task(f"{STAGE}/train", learnt, models, partial(_train, config, folder), VERSION),
        Task(f"{STAGE}/collect", learnt, (*models, f"{STAGE}/train"), partial(_collect, config, folder), VERSION),
        Task(
            f"{STAGE}/compare",
            c.statistics.as_dict(),
            (f"{STAGE}/collect", *(f"collect/{name}" for name in names), f"match/{matched}"),
            partial(_compare, config, folder),
            VERSION,
        ),
    ]


def made_crosscoder(config: Config, folder: RunFolder) -> "Table | None":
    """Return the table of the crosscoder's figure; None where no crosscoder is up to date."""
    if len(config.models.names) < 2:
        return None
    if not all(is_done(task, folder.root) for task in tasks(config, folder)):
        return None
    from universality.pipeline.reporting.crosscoder_tables import figure_table

    return figure_table(_home(folder), _matched(config, folder).models)


def _home(folder: RunFolder) -> Path:
    return folder.root / "crosscoder"


def _matched(config: Config, folder: RunFolder) -> Comparison:
    """Return the comparison beside the crosscoder: the first two models at the headline's width."""
    pair = tuple(config.models.names[:2])
    return next(c for c in comparisons(config, folder) if c.of == "models" and c.models == pair and c.level == 0)


def _size(config: Config) -> tuple[int, int]:
    """Return the width, and the number of features that fire on a token on average."""
    width = headline_width(config)
    return config.crosscoder.width or width, config.crosscoder.k or config.saes.k_of(width)


def crosscoder_spec(config: Config, device: Any) -> "SAESpec":
    """Return the specification: the headline's SAEs but for architecture, width, k and seed."""
    from universality.pipeline.stages.sae_training import specs_of

    seed, (width, k) = config.saes.seeds[0], _size(config)
    of_saes = specs_of(config, device)[config.models.names[0], f"w{headline_width(config)}-s{seed}"]
    return replace(
        of_saes,
        architecture="batchtopk",
        d_sae=width,
        k=k,
        nested=(),
        normalize_activations="none",  # a norm over both models would mix their scales
        seed=seed + SEEDS_OF_A_MODEL * len(config.models.names),  # unlike that of any SAE of the study
    )


def _train(config: Config, folder: RunFolder) -> list[Path]:
    from universality.activations import JointSite, balancing_scales
    from universality.corpus import TokenBlocks
    from universality.pipeline.stages.model_sites import make_sites
    from universality.pipeline.stages.sae_training import Stream, steps_of, summarised
    from universality.sae import Crosscoder, SAETrainer, clear_checkpoints, train_grid

    s, home = config.saes, _home(folder)
    blocks = TokenBlocks.load(folder.blocks)
    train = blocks.select("train")
    sites = make_sites(config, folder, config.models.names[:2])
    sample = train.take(evenly_spaced(len(train), SAMPLE_BLOCKS))
    joint = JointSite(sites, balancing_scales(sites, sample))
    spec = crosscoder_spec(config, joint.device)
    steps = steps_of(config)
    made_from = {
        "hook": "+".join(dict.fromkeys(config.hooks[name] for name in sites)),
        "blocks_hash": blocks.hash,
        "order_seed": s.order_seed,
        "batch_size": s.batch_size,
        "buffer_tokens": s.buffer_tokens,
        "models": [{"name": site.name, "hash": site.model_hash} for site in sites.values()],
    }
    options = {"batch_size": s.batch_size, "buffer_tokens": s.buffer_tokens, "seed": s.order_seed, "stop": steps}
    widths = tuple(site.d_in for site in sites.values())  # columns of each model in the joint activations
    folders = {joint.name: home, UNPAIRED: home / UNPAIRED}
    with closing(Stream({joint.name: joint}, train, **options)) as stream:
        summary = summarised(joint.name, stream.samples.pop(joint.name), spec)
        trainers = {(name, f"w{spec.d_sae}-s{spec.seed}"): SAETrainer(spec, summary, steps) for name in folders}
        train_grid(
            trainers,
            lambda start: _with_unpaired(stream.from_step(start), joint.name, widths[0]),
            home,
            checkpoint_steps=s.checkpoint_steps,
            made_from={name: {**made_from, "paired": name != UNPAIRED} for name in folders},
        )
    for (name, _), trainer in trainers.items():
        sae = trainer.finish({**made_from, "paired": name != UNPAIRED})
        Crosscoder(sae, tuple(sites), widths, tuple(joint.scales.values())).save(folders[name])
    clear_checkpoints(home)
    return [path / name for path in folders.values() for name in ("cfg.json", "sae_weights.safetensors")]


def _with_unpaired(batches: Iterator[Mapping[str, "Tensor"]], name: str, d_first: int) -> Iterator[dict[str, "Tensor"]]:
    """Yield each batch, and beside it the same batch with the second model's tokens moved on by one row.

    A batch holds tokens of many documents in random order, so each token is paired with one of other text.
    """
    import torch

    for batch in batches:
        x = batch[name]
        yield {name: x, UNPAIRED: torch.cat([x[:, :d_first], x[:, d_first:].roll(1, dims=0)], dim=1)}


def _collect(config: Config, folder: RunFolder) -> list[Path]:
    """Store the crosscoder's features on held-out documents, its quality and the norms of its rows."""
    import numpy as np

    from universality.activations import JointSite
    from universality.corpus import TokenBlocks
    from universality.features.collection import collect
    from universality.pipeline.stages.model_sites import make_sites
    from universality.sae import Crosscoder

    home = _home(folder)
    crosscoder = Crosscoder.load(home)
    sites = make_sites(config, folder, list(crosscoder.models))
    joint = JointSite(sites, dict(zip(crosscoder.models, crosscoder.scales, strict=True)))
    held_out = TokenBlocks.load(folder.blocks).select("choose", "report")
    store = _store(config, folder)
    collect(joint, {store: crosscoder.sae}, held_out, overwrite=True, resume=True)
    # The same blocks as for the SAEs, so that the numbers can be compared.
    part = held_out.take(evenly_spaced(len(held_out), config.saes.quality_blocks))
    write_json(home / "quality.json", _quality(crosscoder, sites, part))
    norms = _norms(crosscoder, sites, held_out, store).assign(
        unpaired=np.sort(Crosscoder.load(home / UNPAIRED).relative_norms[1])
    )
    write_csv(norms, home / "norms.csv")
    return [store, home / "quality.json", home / "norms.csv"]


def _quality(crosscoder: "Crosscoder", sites: Mapping[str, "Site"], blocks: "TokenBlocks") -> dict[str, Any]:
    """Measure the reconstruction of either model; the features are the same in both."""
    from universality.activations import harvest
    from universality.sae import Quality

    measured = {name: Quality(crosscoder.of(name)) for name in crosscoder.models}
    for _, activations in harvest(sites, blocks):
        features = crosscoder.encode(activations)
        for name, quality in measured.items():
            quality.update(activations[name], features)
    numbers = {name: quality.compute().as_dict() for name, quality in measured.items()}
    first = numbers[crosscoder.models[0]]
    shared = {name: first[name] for name in ("n_tokens", "l0", "alive_share", "log10_density")}
    of_models = {name: {key: values[key] for key in ("explained_variance", "mse")} for name, values in numbers.items()}
    return {**shared, "models": of_models}


def _norms(crosscoder: "Crosscoder", sites: Mapping[str, "Site"], held_out: "TokenBlocks", path: Path) -> pd.DataFrame:
    """Tabulate each feature's relative norm, learnt and refitted, and the cosine of its two rows."""
    import numpy as np

    from universality.activations import harvest
    from universality.features import FeatureStore
    from universality.sae import LatentScaling

    scaling, at = LatentScaling(crosscoder), 0
    split = np.asarray(held_out.documents.split)
    bar = progress(total=held_out.n_tokens, desc="fit rows anew", unit="token", unit_scale=True)
    with FeatureStore.open(path) as store, bar:
        for rows, activations in harvest(sites, held_out):
            features = store.rows(slice(at, at + len(rows)))
            scaling.update(activations, features, split[rows.document] == "report")
            at += len(rows)
            bar.update(len(rows))
    a, b = crosscoder.models
    same = crosscoder.widths[0] == crosscoder.widths[1]
    return pd.DataFrame(
        {
            "feature": np.arange(crosscoder.sae.d_sae),
            "relative_norm": crosscoder.relative_norms[1],
            "refitted": scaling.compute()[1],
            "cosine": crosscoder.cosines(a, b) if same else np.nan,
        }
    )


def _compare(config: Config, folder: RunFolder) -> list[Path]:
    from universality.pipeline.reporting.crosscoder_tables import compare

    matched = _matched(config, folder)
    calibration = folder.calibration(matched.name)
    return compare(_home(folder), _store(config, folder), matched, calibration, config.statistics)


def _store(config: Config, folder: RunFolder) -> Path:
    return _home(folder) / f"{'+'.join(config.models.names[:2])}.h5"
