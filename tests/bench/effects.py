"""Effects against a full forward pass of the same tokens: seconds of processor and wall, as ratios.

    python tests/bench/effects.py [--run runs/quickstart] [--model starter/seed0] [--name A] [--blocks 256]
        [--contexts 16]

The forward pass computes the loss of every token. Beside it: the gradient of the loss at the SAEs' hook, first-order
effects of one SAE and of all SAEs of seed 0 written as stores, and activations of one written alike. Measurements
alternate, so that other programs on the machine disturb all of them; the fastest of each counts. Then the exact effects
of a sample of firings, once, and how far first-order effects are from them; and ablation fingerprints of all features
over the whole vocabulary, once.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.effects import (
    FingerprintSettings,
    ModelFeatures,
    TokenSet,
    ablation_fingerprints,
    collect_effects,
    exact_effects,
    mean_probabilities,
)
from universality.effects.loss_gradients import loss_gradients
from universality.features import FeatureStore
from universality.features.collection import collect
from universality.models.forward import token_losses
from universality.models.language_model import load_model, move_model
from universality.sae import SAE

TARGET = 2.5  # times a full forward pass


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--model", default="starter/seed0", help="a folder, or a shipped model")
    parser.add_argument("--name", default="A", help="its name in the run, whose SAEs are taken")
    parser.add_argument("--hook", default="blocks.0.mlp.hook_post")
    parser.add_argument("--blocks", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--firings", type=int, default=500)
    parser.add_argument("--contexts", type=int, default=16, help="tokens at which a feature is ablated")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    site = ModelSite(move_model(load_model(options.model, options.name)), options.hook)
    held_out = TokenBlocks.load(options.run / "corpus" / "blocks.npz").select("choose", "report")
    blocks = held_out.take(torch.arange(min(options.blocks, len(held_out))).numpy())
    saes = {f.name: SAE.load(f).to(site.device) for f in sorted((options.run / "saes" / options.name).glob("w*-s0"))}
    widest = max(saes, key=lambda name: saes[name].d_sae)
    with tempfile.TemporaryDirectory() as folder:

        def stores(names: list[str]) -> dict[str | Path, SAE | None]:
            return {Path(folder, f"{name}.h5"): saes[name] for name in names}

        one, norms = stores([widest]), Path(folder, "norms.h5")
        works: dict[str, Callable[[], object]] = {
            "forward pass": lambda: token_losses(site.model.bridge, blocks),
            "gradients": lambda: loss_gradients(site, blocks, [site.hook]),
            f"effects of {widest}": lambda: collect_effects(site, one, blocks, overwrite=True),
            f"effects of {len(saes)} SAEs": lambda: collect_effects(
                site, stores(list(saes)), blocks, gradient_norms=norms, overwrite=True
            ),
            f"activations of {widest}": lambda: collect(site, one, blocks, overwrite=True),
        }
        for work in works.values():  # compiled loops are read, memory is claimed
            work()
        rounds = [{name: timed(work) for name, work in works.items()} for _ in range(options.repeats)]
        best = {name: [min(r[name][k] for r in rounds) for k in (0, 1)] for name in works}
        base = best["forward pass"]
        print(f"{site.device}, {options.threads} threads, {blocks.n_tokens:,} tokens, d_vocab {blocks.d_vocab}")
        print(f"{'':24}{'cpu s':>9}{'wall s':>9}{'cpu ratio':>11}{'wall ratio':>11}")
        for name, (cpu, wall) in best.items():
            print(f"{name:24}{cpu:9.2f}{wall:9.2f}{cpu / base[0]:11.2f}{wall / base[1]:11.2f}")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"target of effects: at most {TARGET}; largest memory of this process {memory:.2f} GiB")
        effects, activations = Path(folder, "effects.h5"), Path(folder, "activations.h5")
        collect_effects(site, {effects: saes[widest]}, blocks)
        collect(site, {activations: saes[widest]}, blocks)
        with FeatureStore.open(activations) as a, FeatureStore.open(effects) as e:
            kept = []
            features = ModelFeatures(site, saes[widest], a, blocks)
            cpu, wall = timed(lambda: kept.append(exact_effects(features, e, n=options.firings)))
            print(f"exact effects of {len(kept[0].exact)} firings: {cpu:.2f} cpu s, {wall:.2f} wall s")
            print(kept[0].summary().round(4).to_string(index=False))
            tokens = TokenSet.of(range(site.model.d_vocab), mean_probabilities(site, blocks))
            quiet, made = FingerprintSettings(silent=True), []
            cpu, wall = timed(
                lambda: made.append(
                    ablation_fingerprints(features, tokens, n_contexts=options.contexts, settings=quiet)
                )
            )
        n = int(made[0].n_contexts.sum())
        print(f"fingerprints of {saes[widest].d_sae:,} features, {n:,} ablations: {cpu:.2f} cpu s, {wall:.2f} wall s")


if __name__ == "__main__":
    main()
