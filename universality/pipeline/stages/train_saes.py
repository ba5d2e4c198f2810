"""The stage ``train-saes``: the grid of SAEs on one token stream, then the quality of each."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.arrays import evenly_spaced
from universality.config import Config
from universality.files import read_json_lines, write_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.loaded_saes import loaded_inputs, make_loaded_saes
from universality.pipeline.stages.model_sites import blocks_of, cached_dtype, shared_sites
from universality.pipeline.study import sae_grid
from universality.pipeline.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from universality.activations import Site
    from universality.corpus import TokenBlocks
    from universality.pipeline.stages.sae_training import Key, Stream
    from universality.sae import SAESpec, SAETrainer
    from universality.sae.training.distributed import Ranks
    from universality.sae.training.watchers import Watcher

STAGE, VERSION = "train-saes", 2
HELD_OUT_BLOCKS = 128
"""Blocks of held-out text on which SAEs in training are measured."""
# Settings that change nothing in trained SAEs.
_WITHOUT_EFFECT = {"watch", "checkpoint_steps", "held_out_steps", "load", "widths_of"}


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return the one task of this stage, which all processes of a run share; loaded SAEs take its place."""
    grid, dtype = [list(item) for item in sae_grid(config)], cached_dtype(config)
    settings: list[Any]
    if config.saes.load:
        make = make_loaded_saes
        inputs = loaded_inputs(config, folder.input_hashes)
        hooks = [config.hook] if config.hook_out is None else [config.hook, config.hook_out]
        settings = [*hooks, config.saes.quality_blocks, grid, dtype, inputs]
    else:
        make = make_saes
        settings = [config.hook, config.saes.stage_settings(without=_WITHOUT_EFFECT), grid, dtype]
    after = ("corpus", *(f"train-models/{name}" for name in config.models.names))
    return [Task(STAGE, settings, after, partial(make, config, folder, ranks), VERSION, together=True)]


def make_saes(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Path]:
    """Train the grid of SAEs on one token stream, then measure each on held-out tokens; return the files.

    Each of several ranks trains some of the SAEs, or with ``saes.data_parallel`` all of them learn from all ranks.
    """
    from universality.pipeline.stages.sae_quality import measure_quality
    from universality.sae import clear_checkpoints, merge_logs, watcher
    from universality.sae.training.distributed import Ranks, check_batch_size

    s, target, ranks = config.saes, folder.root / "saes", ranks or Ranks()
    if s.data_parallel:
        check_batch_size(s.batch_size, ranks)
    # Only one process may open a run of an experiment tracker.
    watching = watcher(s.watch if ranks.first else "none", target, config.name)
    sites = shared_sites(config, folder, ranks)
    assigned = _assigned(config, sites, ranks)
    used = {name: site for name, site in sites.items() if any(name == model for model, _ in assigned)}
    for models in _streams(config, list(used)):
        specs = {key: spec for key, spec in assigned.items() if key[0] in models}
        blocks = blocks_of(config, folder, models[0])
        _train(config, target, specs, {name: used[name] for name in models}, blocks, ranks, watching)
    ranks.wait()
    if ranks.first:
        _record_initial_distances(config, sites, target)
        if config.models.tokenizers:
            (target / "train.jsonl").unlink(missing_ok=True)  # of an earlier grid: every model has its own log here
        merge_logs(target)
        _draw(target)
    # Data-parallel ranks all hold every SAE, so the SAEs are dealt out anew to be measured.
    measured = assigned if not s.data_parallel else list(assigned)[ranks.rank :: ranks.size]
    measure_quality(config, folder, used, measured)
    ranks.wait()
    if ranks.first:
        clear_checkpoints(target)
    names = ("cfg.json", "sae_weights.safetensors", "quality.json")
    return [target / "beginnings.json", *(folder.sae(*item) / name for item in sae_grid(config) for name in names)]


def _train(
    config: Config,
    target: Path,
    specs: Mapping[Key, SAESpec],
    sites: Mapping[str, Site],
    blocks: TokenBlocks,
    ranks: Ranks,
    watching: Watcher,
) -> None:
    """Train SAEs that read one stream, and save them."""
    from universality.pipeline.stages.sae_training import Stream, steps_of
    from universality.sae import train_grid
    from universality.sae.training.distributed import Ranks, share_of_batches

    s = config.saes
    writes = ranks.first or not s.data_parallel
    made_from = {name: _made_from(config, blocks, site, config.hooks[name]) for name, site in sites.items()}
    stream = Stream(
        sites,
        blocks.select("train"),
        batch_size=s.batch_size,
        seed=s.order_seed,
        buffer_tokens=s.buffer_tokens,
        stop=steps_of(config),
    )
    try:
        trainers = _trainers(config, specs, stream, ranks)
        train_grid(
            trainers,
            lambda start: share_of_batches(stream.from_step(start), ranks if s.data_parallel else Ranks()),
            target,
            checkpoint_steps=s.checkpoint_steps,
            made_from=made_from,
            watcher=watching,
            log_name=_log_name(config, sites, ranks),
            write=writes,
            held_out=_held_out(sites, blocks) if s.held_out_steps and writes else None,
            held_out_steps=s.held_out_steps,
        )
    finally:
        stream.close()
    _report_left_out_tokens(trainers)
    for key, trainer in trainers.items() if writes else ():
        trainer.finish(made_from[key[0]]).save(target / key[0] / key[1])


def _held_out(sites: Mapping[str, Site], blocks: TokenBlocks) -> dict[str, Tensor]:
    """Return each model's activations [n_tokens, d_in] on a sample of the half that chooses partners."""
    import torch

    from universality.activations import harvest

    choosing = blocks.select("choose")
    sample = choosing.take(evenly_spaced(len(choosing), HELD_OUT_BLOCKS))
    parts = [acts for _, acts in harvest(sites, sample)]
    return {name: torch.cat([part[name] for part in parts]) for name in sites}


def _report_left_out_tokens(trainers: Mapping[Key, SAETrainer]) -> None:
    """Print how many tokens of each model were too far from the centre to train on."""
    for name, trainer in {name: trainer for (name, _), trainer in trainers.items()}.items():
        if trainer.longest is not None:
            seen = trainer.tokens_seen + trainer.tokens_left_out
            print(
                f"{name}: {trainer.tokens_left_out:,} of {seen:,} tokens left out of training, farther than "
                f"{trainer.spec.max_norm_ratio:g} times the median distance from the centre of the activations",
                file=sys.stderr,
                flush=True,
            )


def _streams(config: Config, names: list[str]) -> list[list[str]]:
    """Group the models whose SAEs learn side by side: all, or each alone where tokenizers differ."""
    return [[name] for name in names] if config.models.tokenizers else [names] if names else []


def _log_name(config: Config, sites: Mapping[str, Site], ranks: Ranks) -> str:
    """Name the log of the SAEs that are trained at once; `merge_logs` joins the logs of a run."""
    model = f".{next(iter(sites))}" if config.models.tokenizers else ""
    rank = "" if ranks.size == 1 or config.saes.data_parallel else f".rank{ranks.rank}"
    return f"train{model}{rank}.jsonl"


def _assigned(config: Config, sites: Mapping[str, Site], ranks: Ranks) -> dict[Key, SAESpec]:
    """Return what this rank trains."""
    from universality.pipeline.stages.sae_training import specs_of
    from universality.sae.training.distributed import assign_to_ranks

    specs = specs_of(config, next(iter(sites.values())).device)
    if config.saes.data_parallel:
        return specs
    widths = {name: site.d_in for name, site in sites.items()}
    parts = assign_to_ranks(specs, widths, {name: site.cost for name, site in sites.items()}, ranks.size)
    return {key: specs[key] for key in parts[ranks.rank]}


def _trainers(config: Config, specs: Mapping[Key, SAESpec], stream: Stream, ranks: Ranks) -> dict[Key, SAETrainer]:
    from universality.pipeline.stages.sae_training import steps_of, summarised
    from universality.sae import SAETrainer
    from universality.sae.training.distributed import DataParallelTrainer

    trainer = DataParallelTrainer if config.saes.data_parallel and ranks.size > 1 else SAETrainer
    spec_of = {key[0]: spec for key, spec in specs.items()}
    summaries = {name: summarised(name, sample, spec_of[name]) for name, sample in stream.samples.items()}
    stream.samples.clear()
    if trainer is DataParallelTrainer:  # machines may differ in the last bits of a sum, and weights must start equal
        broadcast = ranks.broadcast({name: summary.to("cpu") for name, summary in summaries.items()})
        summaries = {name: summary.to(summaries[name].centre.device) for name, summary in broadcast.items()}
    return {key: trainer(spec, summaries[key[0]], steps_of(config)) for key, spec in specs.items()}


def _made_from(config: Config, blocks: TokenBlocks, site: Site, hook: str) -> dict[str, Any]:
    """Return the metadata of a model's SAEs; a cache's number format is part of it, since it rounds."""
    s = config.saes
    cached = {} if config.activations.cache is None else {"activations": config.activations.dtype}
    return {
        "hook": hook,
        "blocks_hash": blocks.hash,
        "order_seed": s.order_seed,
        "batch_size": s.batch_size,
        "buffer_tokens": s.buffer_tokens,
        "model": {"name": site.name, "hash": site.model_hash},
        **cached,
    }


def _record_initial_distances(config: Config, sites: Mapping[str, Site], target: Path) -> None:
    from universality.pipeline.stages.sae_training import specs_of
    from universality.sae import beginnings
    from universality.sae.training.initial_distance import record

    specs = specs_of(config, next(iter(sites.values())).device)
    distances = beginnings(specs, {name: site.d_in for name, site in sites.items()})
    write_json(target / "beginnings.json", record(specs, config.saes.order_seed, distances))


def _draw(target: Path) -> None:
    """Draw the training curves beside their log."""
    from universality.plot.training_log import curves_of
    from universality.report import figures

    rows = read_json_lines(target / "train.jsonl")
    drawn, unit = curves_of(rows)
    caption = figures.describe_training(drawn, unit)
    title = "How the SAEs learned"
    figures.save_picture(
        figures.picture("training", "training", title, figures.training_curves(drawn, unit), caption), target
    )
