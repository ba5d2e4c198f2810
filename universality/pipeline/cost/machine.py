"""Work that a machine does in a second: measured on this one, or a share of a GPU's data sheet.

Peaks are those of dense products, without sparsity, in FLOP/s: NVIDIA's data sheets "H100 Tensor Core GPU" (SXM),
"A100 Tensor Core GPU" (80 GB SXM), "L4 Tensor Core GPU", and the whitepaper "Ada GPU Architecture" (RTX 4090).
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from universality.config import Config
from universality.corpus.blocks import TokenBlocks
from universality.corpus.common_text import count_segments
from universality.corpus.documents import DocumentTable
from universality.corpus.hub_texts import hub_text
from universality.corpus.passages import read_source
from universality.corpus.splits import TRAIN, split_documents
from universality.corpus.tokenizer import Tokenizer, load_tokenizer
from universality.devices import card_of, choose_device, describe_device
from universality.errors import ConfigError, UniversalityError
from universality.hub import TOKENIZER_FILES, cached_folder, repository
from universality.pipeline.cost.estimate import (
    UNSURE,
    StageCost,
    Text,
    estimate,
    forward_flop,
    sae_step_flop,
    shape_of,
    width_at,
)
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.hook_check import check_hooks
from universality.pipeline.stages.loaded_saes import with_loaded_saes
from universality.pipeline.stages.text_sources import counting_tokenizers
from universality.pipeline.stages.training_overlap import unrecorded
from universality.pipeline.study import comparisons, matching_device

GPUS = {
    "h100": (67e12, 989e12),
    "h200": (67e12, 989e12),
    "a100": (19.5e12, 312e12),
    "rtx4090": (82.6e12, 165e12),
    "l4": (30.3e12, 121e12),
}
"""Name → peak in float32 (not TF32, which PyTorch leaves off) and in bfloat16."""
MODEL_SHARE, SAE_SHARE = 0.4, 0.1
"""Shares of the float32 and of the bfloat16 peak that language models and SAEs are assumed to reach."""
_CARD_MATCHES_TOO = (
    ", by its CPU, so that match and families are priced too high: the card computes them too, at a rate that is not "
    "known (an H200 found best partners 3.0 to 3.3 times as fast as 16 cores, before its sums had a fixed order)"
)
ASSIGNED = 4000
"""Features that one core pairs one to one in a second: 8,000 of 16,384, and 1,000 of 262,144
(analyses/results/benchmarks/match_curve.txt)."""
_MOST = 2**30  # bytes that the measured SAE may take
_PASS_FLOP = 2e11  # of the forward pass that is timed: seconds on a core, however large the model
_SAMPLE = 300  # documents that are tokenised; the tokens of the others follow from their length


@dataclass(frozen=True)
class Rates:
    """Work a second of a machine, and notes on how each rate was found."""

    name: str
    model_flop: float
    sae_flop: float
    entries: float
    pairs: float
    product_flop: float
    notes: tuple[str, ...] = ()
    matched_on_cpu: bool = True
    """True if ``pairs`` is the rate of the CPU."""

    def hours(self, stage: StageCost) -> float:
        """Return the hours that a stage takes, its parts one after another."""
        compute = stage.model_flop / self.model_flop + stage.sae_flop / self.sae_flop
        matching = stage.pairs / self.pairs + stage.product_flop / self.product_flop + stage.assigned / ASSIGNED
        return (compute + stage.entries / self.entries + matching) / 3600


def on_gpu(here: Rates, gpu: str) -> Rates:
    """Return this machine's rates with a GPU: products at a share of its peak, the rest as measured here.

    Raises
    ------
    ConfigError
        If the GPU is not in the table.
    """
    if gpu not in GPUS:
        raise ConfigError(f"--gpu {gpu}: not in the table of peaks; known: {', '.join(GPUS)}")
    single, half = GPUS[gpu]
    note = (
        f"{gpu}: {single / 1e12:g} TFLOP/s in float32 and {half / 1e12:g} in bfloat16 (data sheet), of which "
        f"{MODEL_SHARE:.0%} and {SAE_SHARE:.0%} are assumed for models and SAEs; stores and matching as on this machine"
    )
    note += _CARD_MATCHES_TOO if here.matched_on_cpu else ", whose card also matches"
    return replace(here, name=gpu, model_flop=single * MODEL_SHARE, sae_flop=half * SAE_SHARE, notes=(note,))


def count_text(config: Config) -> Text:
    """Count the tokens of a corpus from its true splits and a tokenised sample of its documents."""
    c = config.corpus
    if c.token_ids:
        n = int(np.load(c.token_ids, mmap_mode="r", allow_pickle=False).size)
        return Text(round(n * (1 - c.held_out)), round(n * c.held_out), c.d_vocab, "tokens counted")
    tokenizer, note = _tokenizer_at_hand(c.tokenizer)
    # A data set of the hub is fetched with the tokenizers that the run counts with, so the run finds it in the cache.
    counting = counting_tokenizers(config) if any(map(hub_text, c.sources)) else [tokenizer]
    reading = read_source(c.source, c.max_documents, c.layout, max_tokens=c.max_tokens, tokenizers=counting)
    passages = reading.passages
    splits = split_documents(
        [p.kind for p in passages], [p.group for p in passages], [p.id for p in passages], c.held_out, c.split_seed
    ).split
    sample = [passages[i].text for i in np.linspace(0, len(passages) - 1, min(_SAMPLE, len(passages))).astype(int)]
    tokens: float
    if config.models.tokenizers:
        tokens, d_vocab, note, own = _count_own(config, sample)
    else:
        tokens, d_vocab = _count_shared(config, tokenizer, sample)
        own = {}
    tokens_a_character = tokens / sum(map(len, sample))
    sizes: dict[bool, float] = {True: 0, False: 0}
    for passage, split in zip(passages, splits, strict=True):
        sizes[split == TRAIN] += len(passage.text) * tokens_a_character
    return Text(round(sizes[True]), round(sizes[False]), d_vocab, note, own)


def _count_shared(config: Config, tokenizer: Tokenizer, sample: list[str]) -> tuple[float, int]:
    """Return the tokens of a sample and the size of the vocabulary."""
    c = config.corpus
    tokens = sum(map(len, tokenizer.encode(sample)))
    if c.tokenizer == "train":  # a type carries about log2(d_vocab) bits of text
        return tokens * np.log2(tokenizer.d_vocab) / np.log2(c.d_vocab), c.d_vocab
    return tokens, tokenizer.d_vocab


def _count_own(config: Config, sample: list[str]) -> tuple[float, int, str, dict[str, float]]:
    """Count the stretches of a sample between shared token boundaries, and the tokens of each model in one of them."""
    models = config.models
    at_hand = {name: _tokenizer_at_hand(models.tokenizer_of(name, config.corpus.tokenizer)) for name in models.names}
    segments, tokens = count_segments(sample, {name: tokenizer for name, (tokenizer, _) in at_hand.items()})
    own = {name: n / segments for name, n in tokens.items()}
    ratios = ", ".join(f"{ratio:.2f} of {name}" for name, ratio in own.items())
    notes = "; ".join(dict.fromkeys(note for _, note in at_hand.values()))
    note = (
        f"{notes}; a token is here a stretch of text between boundaries that all tokenizers share, and holds {ratios}"
    )
    return segments, max(tokenizer.d_vocab for tokenizer, _ in at_hand.values()), note, own


def _tokenizer_at_hand(source: str) -> tuple[Any, str]:
    repo = repository(source)
    if source == "train":
        return load_tokenizer("starter"), "tokens guessed from the shipped tokenizer and log2 of the number of types"
    if repo is None:
        return load_tokenizer(source), f"tokens of {_SAMPLE} documents counted"
    folder = cached_folder(repo, TOKENIZER_FILES)
    if folder is not None and (folder / "tokenizer.json").is_file():
        return load_tokenizer(folder), f"tokens of {_SAMPLE} documents counted"
    return load_tokenizer("starter"), f"{repo} is not in the cache: tokens counted with the shipped tokenizer instead"


def measure(config: Config, text: Text, weights: bool = True) -> Rates:
    """Measure this machine's rates on some seconds of the study's own work.

    Parameters
    ----------
    weights
        Whether a model's weights may be read to time it; otherwise its rate follows from that of matrix products.
    """
    import torch

    product, note = _product_rate(torch, config), "products of 1,024 × 1,024 in float32"
    first = config.models.names[0]
    try:
        timed = _forward_rate(config, text, first) if weights else None
    except UniversalityError:
        timed = None
    if timed is None:
        why = "is not at hand" if weights else "was not read"
        model, note = 0.5 * product, f"half of {product / 1e9:,.0f} GFLOP/s, {note}: {first} {why}"
    else:
        model, note = timed, f"a forward pass of {first}"
    width = width_at(shape_of(config, first, text.d_vocab), config.hooks[first])
    sae, d_sae = _sae_rate(config, width)
    entries, pairs = _store_rates(matching := matching_device(config))
    card = card_of(matching)
    by = "a small store of 32 a token" if card is None else f"a small store of 32 a token, on {describe_device(card)}"
    notes = (
        f"models {model / 1e9:,.0f} GFLOP/s ({note}); SAEs {sae / 1e9:,.0f} GFLOP/s (steps at width {d_sae:,})",
        f"stores {entries / 1e6:,.1f} M entries/s, matching {pairs / 1e6:,.0f} M pairs/s ({by})",
    )
    return Rates("this machine", model, sae, entries, pairs, product, (*notes, *_busy()), matched_on_cpu=card is None)


def _busy() -> list[str]:
    """Return a note where this machine is busy, since the measured rates are then too low."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return [f"busy: a load of {load:.1f} on {cores} cores; left alone it is faster"] if load > cores else []


def _seconds(work: Callable[[], object], least: float = 0.3) -> float:
    """Time one call: the best of several, after one that is not timed."""
    work()  # compiles, allocates and warms caches
    timed: list[float] = []
    while sum(timed) < least or len(timed) < 2:
        begin = time.perf_counter()
        work()
        timed.append(time.perf_counter() - begin)
    return min(timed)


def _product_rate(torch: Any, config: Config) -> float:
    device = choose_device(config.device)
    x = torch.randn(1024, 1024, device=device)
    return 2 * 1024**3 / _seconds(lambda: float((x @ x)[0, 0]))


def _forward_rate(config: Config, text: Text, name: str) -> float:
    from universality.activations import ModelSite
    from universality.activations.site import BATCH_BLOCKS
    from universality.models.language_model import load_model, move_model, new_model

    n_ctx, source = config.corpus.n_ctx, config.models.load.get(name)
    repo = repository(source) if source else None
    if repo is not None and cached_folder(repo) is None:
        raise UniversalityError(f"{repo} is not in the cache, and a plan downloads nothing")
    if source is None:
        architecture = config.models.architecture
        model = new_model(architecture, d_vocab=text.d_vocab, n_ctx=n_ctx, init_seed=0, name=name)
    else:
        model = load_model(source, name)
    hook = config.hooks[name]
    site = ModelSite(move_model(model, config.device), hook)
    flop = forward_flop(shape_of(config, name, text.d_vocab), n_ctx, hook)  # of one token
    blocks = blank_blocks(max(1, min(BATCH_BLOCKS, int(_PASS_FLOP / (n_ctx * flop)))), n_ctx, text.d_vocab)
    return blocks.tokens.size * flop / _seconds(lambda: site.read(blocks).sum().item())


def blank_blocks(n: int, n_ctx: int, d_vocab: int) -> TokenBlocks:
    """Return full blocks of one token; the cost of a forward pass does not depend on the text."""
    tokens, length = np.zeros((n, n_ctx), np.int32), np.full(n, n_ctx, np.int32)
    document = DocumentTable(("calibration",), ("text",), ("calibration",), ("train",))
    return TokenBlocks(tokens, length, np.zeros(n, np.int32), document, d_vocab, "")


def _sae_rate(config: Config, d_in: int) -> tuple[float, int]:
    """Return the FLOP/s of training steps, and the width measured: the study's largest below ``_MOST`` bytes."""
    import torch

    from universality.pipeline.stages.sae_training import specs_of
    from universality.sae import SAETrainer

    device = choose_device(config.device)
    s, widths = config.saes, config.saes.widths_for(config.models.names[0])
    width = max((w for w in widths if 24 * d_in * w < _MOST), default=widths[0])
    d_sae = max(1, min(width, _MOST // (24 * d_in)))  # an estimate allocates no more, however wide the study's SAEs
    k = min(s.k_of(width), d_sae)
    spec = specs_of(config, device)[config.models.names[0], f"w{width}-s{s.seeds[0]}"]
    spec = replace(spec, d_sae=d_sae, k=k, nested=tuple(w for w in spec.nested if w < d_sae))
    batch = torch.randn(s.batch_size, d_in, generator=torch.Generator().manual_seed(0)).to(device)
    trainer = SAETrainer(spec, batch, 1000)
    seconds = _seconds(lambda: trainer.step(batch, report=True))
    return s.batch_size * sae_step_flop(s.architecture, d_in, d_sae, k) / seconds, d_sae


def _store_rates(device: str, n: int = 40_000, k: int = 32, width: int = 512) -> tuple[float, float]:
    """Return the entries written and the co-firing pairs summed on a device in a second, with random features."""
    from scipy.sparse import csr_matrix

    from universality.features import FeatureStore
    from universality.similarity import Similarity

    rng = np.random.default_rng(0)
    values = rng.exponential(size=n * k).astype(np.float32)
    features = (rng.random((n, k)) * (width // k)).astype(np.int32) + np.arange(k, dtype=np.int32) * (width // k)
    csr = csr_matrix((values, features.ravel(), np.arange(n + 1) * k), shape=(n, width))
    zeros, position = np.zeros(n, np.int32), np.arange(n) % 100 + 1
    documents = DocumentTable(("calibration",), ("text",), ("calibration",), ("choose",))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "calibration.h5"

        def write() -> None:
            writer = FeatureStore.create(path, n_features=width, provenance={}, documents=documents, overwrite=True)
            writer.append(csr, token=zeros, document=zeros, position=position, kind=["text"] * n)
            writer.finish().close()

        entries = n * k / _seconds(write)
        with FeatureStore.open(path) as store:
            # A new similarity for every call: one that was asked before remembers its answer.
            pairs = n * k**2 / _seconds(lambda: Similarity.activation(store, store).on(device).block(np.arange(width)))
    return entries, pairs


def total_cost(config: Config) -> tuple[Text, StageCost, float]:
    """Estimate the cost of all stages together, without reading a model's weights.

    Returns
    -------
    text : Text
        Tokens of the text.
    cost : StageCost
        Sums over the stages; the memory is that of the stage that needs most.
    hours : float
        Hours on this machine.

    Raises
    ------
    UniversalityError
        As `describe_plan`.
    """
    config = with_loaded_saes(config)
    text = count_text(config)
    stages, rates = estimate(config, text), measure(config, text, weights=False)
    tokens, disk, memory = sum(s.tokens for s in stages), sum(s.disk for s in stages), max(s.memory for s in stages)
    return text, StageCost("all", tokens, memory=memory, disk=disk), sum(map(rates.hours, stages))


def describe_plan(config: Config, gpu: str | None = None) -> list[str]:
    """Return the lines that ``universality plan`` prints.

    Parameters
    ----------
    gpu
        Name in ``GPUS``; its hours stand beside those of this machine.

    Raises
    ------
    UniversalityError
        If the corpus cannot be read, a model's sizes are unknown, or the GPU is.
    """
    config = with_loaded_saes(config)
    check_hooks(config)
    text = count_text(config)
    stages = estimate(config, text)
    here = measure(config, text)
    rates = [here, *([] if gpu is None else [on_gpu(here, gpu)])]
    head = f"{'stage':<16}{'M tokens':>10}{'TFLOP':>11}{'GB memory':>11}{'GB disk':>9}"
    lines = [head + "".join(f"{'h, ' + rate.name:>18}" for rate in rates)]
    for stage in stages:
        hours = [rate.hours(stage) for rate in rates]
        lines += [_line(stage.name, stage.tokens, _flop(stage), stage.memory, stage.disk, hours)]
    total = [sum(rate.hours(stage) for stage in stages) for rate in rates]
    tokens, flop = sum(s.tokens for s in stages), sum(map(_flop, stages))
    lines.append(_line("all", tokens, flop, max(s.memory for s in stages), sum(s.disk for s in stages), total))
    counted = f"text: {text.train:,} tokens to train on, {text.held_out:,} held out ({text.note})"
    measured = [f"{rate.name}: {note}" if rate is here else note for rate in rates for note in rate.notes]
    return [*lines, "", counted, *_pairing(config), *_unrecorded(config), *measured, f"estimates: {UNSURE}"]


def _pairing(config: Config) -> list[str]:
    """Return a line that says which dictionaries are compared where models have SAEs of different widths, if so."""
    if not config.saes.widths_of:
        return []
    compared = (c for c in comparisons(config, RunFolder(Path())) if c.of == "models")
    said = (f"{c.models[0]} {c.widths[0]:,} with {c.models[1]} {c.widths[1]:,}" for c in compared)
    return [f"SAEs compared, by rank from the largest: {'; '.join(said)}"]


def _unrecorded(config: Config) -> list[str]:
    """Return a line that names loaded models whose training documents are not recorded, if any."""
    if not (names := unrecorded(config.models.load)):
        return []
    return [f"no record of training documents: {', '.join(names)}; these models may have seen the held-out text"]


def _flop(stage: StageCost) -> float:
    return stage.model_flop + stage.sae_flop + stage.product_flop


def _line(name: str, tokens: int, flop: float, memory: int, disk: int, hours: list[float]) -> str:
    cost = f"{tokens / 1e6:>10,.1f}{flop / 1e12:>11,.1f}{memory / 1e9:>11,.1f}{disk / 1e9:>9,.2f}"
    return f"{name:<16}{cost}" + "".join(f"{h:>18,.3f}" for h in hours)
