"""What a grid of SAEs on one token stream costs, beside its parts: every SAE's own updates, and one harvest.

    python tests/bench/grid.py [--steps 64] [--rounds 3] [--cache FOLDER]

Six TopK SAEs (two shipped models × three widths, as in the quickstart). Counted is processor time of all threads, so
that other programs on the machine disturb little, the least of some rounds in turn; and updates that are spread over
the cores count as if they came one after the other: a grid may cost 1.1 × (the sum of its SAEs' updates, each alone on
one core, + one harvest of the tokens it sees, on one core). Its log and its last checkpoint are its own business. Wall
time is printed beside the same sum divided by the cores, and says how well they are used on a quiet machine. With
``--cache`` the same once more from a cache of activations, which is made in that folder first and says how fast this
disk reads beside harvesting.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from universality.activations import ModelSite, Site, harvest, shuffled_batches, write_cache
from universality.corpus import TokenBlocks, build_corpus
from universality.models.language_model import load_model
from universality.sae import SAESpec, SAETrainer, fast_products, summarise, train_grid

WIDTHS, K, BATCH, BUFFER = (512, 1024, 2048), 32, 2048, 32_768
HOOK, TARGET = "blocks.0.mlp.hook_post", 1.1


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds of a call."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    return time.process_time() - cpu, time.perf_counter() - wall


def alone(function: Callable[[], object]) -> tuple[float, float]:
    """The same on one core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return timed(function)
    finally:
        torch.set_num_threads(before)


def new_trainers(samples: Mapping[str, Tensor], steps: int) -> dict[tuple[str, str], SAETrainer]:
    """The grid at step 0."""
    summaries = {model: summarise(sample) for model, sample in samples.items()}
    products = fast_products(torch.device("cpu"))
    return {
        (model, f"w{width}"): SAETrainer(SAESpec(width, k=K, products=products), summaries[model], steps)
        for model in samples
        for width in WIDTHS
    }


def measure(title: str, sites: Mapping[str, Site], blocks: TokenBlocks, steps: int, rounds: int) -> None:
    """Print the parts, their sum, and the grid."""
    tokens = steps * BATCH
    stream = partial(shuffled_batches, sites, blocks, batch_size=BATCH, seed=0, buffer_tokens=BUFFER, stop=steps)
    batches = list(stream())
    train_grid(new_trainers(batches[0], 2), lambda start: iter(batches[start:]), tempfile.mkdtemp())  # compiles

    print(f"\n{title}: {steps} steps of {BATCH:,} tokens; microseconds of processor time per token")
    enough = blocks.take(np.arange(int(np.searchsorted(np.cumsum(blocks.length - 1), tokens)) + 1))
    parts: dict[str, float] = {}
    least = (float("inf"), float("inf"))
    for _ in range(rounds):
        for (model, name), trainer in new_trainers(batches[0], steps).items():
            cpu, _ = alone(lambda t=trainer, m=model: [t.step(batch[m]) for batch in batches])  # type: ignore[misc]
            parts[f"{model}/{name}"] = min(cpu, parts.get(f"{model}/{name}", cpu))
        cpu, _ = alone(lambda: [None for _ in harvest(sites, enough)])
        parts["one harvest"] = min(cpu, parts.get("one harvest", cpu))
        trainers = new_trainers(batches[0], steps)
        found = timed(lambda t=trainers: train_grid(t, lambda start: stream(start=start), tempfile.mkdtemp()))  # type: ignore[misc]
        least = min(least[0], found[0]), min(least[1], found[1])
    for name, cpu in parts.items():
        print(f"  {name:<24} {1e6 * cpu / tokens:8.2f}")
    (cpu, wall), whole, cores = least, sum(parts.values()), torch.get_num_threads()
    print(f"  {'sum':<24} {1e6 * whole / tokens:8.2f}")
    print(f"  {'the grid':<24} {1e6 * cpu / tokens:8.2f}   {cpu / whole:.2f} × the sum (target ≤ {TARGET})")
    print(f"  {'wall':<24} {1e6 * wall / tokens:8.2f}   {wall / (whole / cores):.2f} × the sum / {cores} cores")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    blocks = build_corpus(max_documents=1500).blocks
    live = {name: ModelSite(load_model(f"starter/{seed}"), HOOK) for name, seed in (("A", "seed0"), ("B", "seed1"))}
    measure("six SAEs and two models", live, blocks, options.steps, options.rounds)
    if options.cache:
        cached = {name: write_cache(options.cache, site, blocks) for name, site in live.items()}
        measure("the same from a cache", cached, blocks, options.steps, options.rounds)


if __name__ == "__main__":
    main()
