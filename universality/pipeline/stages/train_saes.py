"""The stage ``train-saes``: the grid of SAEs on one token stream, then the quality of each."""

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from universality.activations import Site, harvest, shuffled_batches
from universality.arrays import evenly_spaced
from universality.config import SEEDS_OF_A_MODEL, Config
from universality.corpus import TokenBlocks
from universality.files import read_json_lines, write_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import blocks_of, can_run_models, live_site, make_sites
from universality.pipeline.study import sae_grid
from universality.sae import (
    SAE,
    ActivationSummary,
    LossRecovered,
    Quality,
    SAESpec,
    SAETrainer,
    beginnings,
    clear_checkpoints,
    fast_products,
    merge_logs,
    summarise,
    train_grid,
    watcher,
)
from universality.sae.training.distributed import (
    DataParallelTrainer,
    Ranks,
    check_batch_size,
    share_of_batches,
    spread,
)
from universality.sae.training.initial_distance import record
from universality.sae.training.watchers import Watcher

SAMPLE = 8192
Key = tuple[str, str]


class Stream:
    """Batches of a study from any step on; the first ones are kept, since SAEs are initialised from them."""

    def __init__(self, sites: Mapping[str, Site], train: TokenBlocks, **options: Any) -> None:
        self._from = partial(shuffled_batches, sites, train, **options)
        self._batches = self._from()
        sample = min(SAMPLE, max(1, train.n_tokens // 2))
        self._first = list(islice(self._batches, -(-sample // options["batch_size"])))
        self.samples = {name: torch.cat([batch[name] for batch in self._first])[:sample] for name in sites}

    def from_step(self, start: int) -> Iterator[Mapping[str, Tensor]]:
        """Batches from this step on; to be asked for once."""
        first, self._first = self._first, []
        if start == 0:
            return chain(first, self._batches)
        self.close()
        self._batches = self._from(start=start)
        return self._batches

    def close(self) -> None:
        """Stop harvesting."""
        self._batches.close()


def make_saes(config: Config, folder: RunFolder, ranks: Ranks) -> list[Path]:
    """Train the grid of SAEs on one token stream, then measure each on held-out tokens.

    Several ranks train an SAE each, or with ``saes.data_parallel`` all of them together.
    """
    s, target = config.saes, folder.root / "saes"
    if s.data_parallel:
        check_batch_size(s.batch_size, ranks)
    watching = watcher(s.watch if ranks.first else "none", target, config.name)
    sites = shared_sites(config, folder, ranks)
    mine = _mine(config, sites, ranks)
    used = {name: site for name, site in sites.items() if any(name == model for model, _ in mine)}
    for together in _streams(config, list(used)):
        specs = {key: spec for key, spec in mine.items() if key[0] in together}
        blocks = blocks_of(config, folder, together[0])
        _train(config, target, specs, {name: used[name] for name in together}, blocks, ranks, watching)
    ranks.wait()
    if ranks.first:
        _record_beginnings(config, sites, target)
        if config.models.tokenizers:
            (target / "train.jsonl").unlink(missing_ok=True)  # of a grid before: every model has a log of its own
        merge_logs(target)
        _draw(target)
    share = mine if not s.data_parallel else list(mine)[ranks.rank :: ranks.size]
    measure_quality(config, folder, used, share)
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
    """Train these SAEs and save them."""
    s = config.saes
    writes = ranks.first or not s.data_parallel
    made_from = {name: _made_from(config, blocks, site, config.hooks[name]) for name, site in sites.items()}
    stream = Stream(
        sites,
        blocks.select("train"),
        batch_size=s.batch_size,
        seed=s.order_seed,
        buffer_tokens=s.buffer_tokens,
        stop=_steps(config),
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
        )
    finally:
        stream.close()
    _say_what_was_left_out(trainers)
    for key, trainer in trainers.items() if writes else ():
        trainer.finish(made_from[key[0]]).save(target / key[0] / key[1])


def _say_what_was_left_out(trainers: Mapping[Key, SAETrainer]) -> None:
    """How many tokens of each model were too far from the centre; its SAEs leave out the same."""
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
    """Models whose SAEs learn side by side: all, or each alone where each reads tokens of its own."""
    return [[name] for name in names] if config.models.tokenizers else [names] if names else []


def _log_name(config: Config, sites: Mapping[str, Site], ranks: Ranks) -> str:
    """Of what is trained at once; `merge_logs` makes one of all."""
    model = f".{next(iter(sites))}" if config.models.tokenizers else ""
    rank = "" if ranks.size == 1 or config.saes.data_parallel else f".rank{ranks.rank}"
    return f"train{model}{rank}.jsonl"


def shared_sites(config: Config, folder: RunFolder, ranks: Ranks) -> dict[str, Site]:
    """`make_sites` on every rank; what a cache lacks is harvested by the first alone."""
    if config.activations.cache is not None:
        if ranks.first:
            make_sites(config, folder)
        ranks.wait()
    return make_sites(config, folder)


def _mine(config: Config, sites: Mapping[str, Site], ranks: Ranks) -> dict[Key, SAESpec]:
    """What this rank trains."""
    specs = specs_of(config, next(iter(sites.values())).device)
    if config.saes.data_parallel:
        return specs
    widths = {name: site.d_in for name, site in sites.items()}
    parts = spread(specs, widths, {name: site.cost for name, site in sites.items()}, ranks.size)
    return {key: specs[key] for key in parts[ranks.rank]}


def specs_of(config: Config, device: torch.device) -> dict[Key, SAESpec]:
    """(model, SAE) → what is trained, for the whole grid."""
    s = config.saes
    products = fast_products(device) if s.products == "auto" else s.products
    return {
        (model, f"w{width}-s{seed}"): SAESpec(
            seed=seed + SEEDS_OF_A_MODEL * config.models.names.index(model),
            products=products,
            **s.for_spec(width),
        )
        for model, width, seed in sae_grid(config)
    }


def _trainers(config: Config, specs: Mapping[Key, SAESpec], stream: Stream, ranks: Ranks) -> dict[Key, SAETrainer]:
    kind = DataParallelTrainer if config.saes.data_parallel and ranks.size > 1 else SAETrainer
    spec_of = {key[0]: spec for key, spec in specs.items()}
    summaries = {name: summarised(name, sample, spec_of[name]) for name, sample in stream.samples.items()}
    stream.samples.clear()
    if kind is DataParallelTrainer:  # one machine's last bits for all
        said = ranks.tell({name: found.to("cpu") for name, found in summaries.items()})
        summaries = {name: found.to(summaries[name].centre.device) for name, found in said.items()}
    return {key: kind(spec, summaries[key[0]], _steps(config)) for key, spec in specs.items()}


def summarised(name: str, sample: Tensor, spec: SAESpec) -> ActivationSummary:
    """`summarise` for what a spec asks for; a word on stderr where few tokens of a model dominate."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        summary = summarise(sample, spec.normalize_activations, spec.max_norm_ratio)
    if summary.caution:
        print(f"warning: {name}: {summary.caution}", file=sys.stderr, flush=True)
    return summary


def _steps(config: Config) -> int:
    return -(-config.saes.tokens // config.saes.batch_size)


def _made_from(config: Config, blocks: TokenBlocks, site: Site, hook: str) -> dict[str, Any]:
    """What the SAEs of a model are made from; a number format on the disk is part of it."""
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


def _record_beginnings(config: Config, sites: Mapping[str, Site], target: Path) -> None:
    specs = specs_of(config, next(iter(sites.values())).device)
    found = beginnings(specs, {name: site.d_in for name, site in sites.items()})
    write_json(target / "beginnings.json", record(specs, config.saes.order_seed, found))


def _draw(target: Path) -> None:
    """The picture of the curves, beside their log."""
    from universality.report import figures

    rows = read_json_lines(target / "train.jsonl")
    drawn, unit = figures.curves(rows)
    caption = figures.describe_training(drawn, unit)
    title = "How the SAEs learned"
    figures.save_picture(
        figures.picture("training", "training", title, figures.training_curves(drawn, unit), caption), target
    )


def measure_quality(config: Config, folder: RunFolder, sites: Mapping[str, Site], share: Iterable[Key]) -> None:
    """``quality.json`` beside each SAE: reconstruction, sparsity, and the model's loss with it spliced in."""
    share = list(share)
    for name, site in sites.items():
        folders = [folder.root / "saes" / model / sae for model, sae in share if model == name]
        if not folders:
            continue
        held_out = blocks_of(config, folder, name).select("choose", "report")
        part = held_out.take(evenly_spaced(len(held_out), config.saes.quality_blocks))
        measured = {target: Quality(SAE.load(target)) for target in folders}
        for _, activations in harvest({name: site}, part):
            for quality in measured.values():
                quality.update(activations[name])
        at_hand = live_site(config, folder, name) if config.activations.cache and can_run_models() else site
        loss = partial(at_hand.spliced_loss, part)
        mean = next(iter(measured.values())).mean  # of the activations: the same for all SAEs of a model
        clean, zero, average = (
            loss(lambda x: x),
            loss(torch.zeros_like),
            loss(partial(_constant, mean)),
        )
        for target, quality in measured.items():
            losses = LossRecovered(clean=clean, spliced=loss(quality.sae.reconstruct), zero=zero, mean=average)
            scale = {name: quality.sae.metadata[name] for name in ("activation_scale",) if name in quality.sae.metadata}
            write_json(target / "quality.json", {**quality.compute().as_dict(), **scale, "loss": losses.as_dict()})


def _constant(value: Tensor, x: Tensor) -> Tensor:
    return value.to(x.device).expand_as(x)
