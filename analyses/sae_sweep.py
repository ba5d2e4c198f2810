"""Which learning rate and penalty suit an SAE, by width and number of tokens?

    python analyses/sae_sweep.py --out analyses/results/sae_sweep.jsonl
    python analyses/sae_sweep.py --architectures relu --penalties 0.001 0.003 --out …

All SAEs of the sweep learn from one stream of the shipped model's activations on the starter corpus; each has a
schedule of its own length. One line of JSON an SAE, appended: what was asked, and explained variance, L0 and share of
features that fired on held-out tokens. `sae_scaling.py` fits a law to the lines.
"""

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from universality.activations import ModelSite, harvest, shuffled_batches
from universality.corpus import build_corpus
from universality.models.language_model import load_model
from universality.sae import Quality, SAESpec, SAETrainer, fast_products, summarise

HOOK, BATCH, HELD_BLOCKS = "blocks.0.mlp.hook_post", 2048, 250


def specs(options: argparse.Namespace) -> list[tuple[SAESpec, int]]:
    """Every SAE of the sweep, and its number of steps."""
    found = []
    for kind, width, rate, tokens in itertools.product(
        options.architectures, options.widths, options.rates, options.tokens
    ):
        spec = SAESpec(width, kind, k=options.k, learning_rate=rate, products=fast_products())
        for penalty in options.penalties if kind in ("relu", "jumprelu") else [0.0]:
            varied = replace(spec, l1=penalty) if kind == "relu" else replace(spec, l0=penalty)
            found.append((varied, max(1, tokens // BATCH)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--architectures", nargs="+", default=["topk"])
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--rates", type=float, nargs="+", default=[2e-3, 4e-3, 8e-3])
    parser.add_argument("--tokens", type=int, nargs="+", default=[100_000, 200_000, 400_000])
    parser.add_argument("--penalties", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--model", default="starter/seed0")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    site, blocks = ModelSite(load_model(options.model, "model"), HOOK), build_corpus().blocks
    stream = shuffled_batches({"model": site}, blocks.select("train"), batch_size=BATCH, seed=0)
    batch = next(stream)["model"]
    summary = summarise(batch)
    wanted = specs(options)
    trainers = [SAETrainer(spec, summary, steps) for spec, steps in wanted]
    for step in range(max(steps for _, steps in wanted)):
        for trainer in trainers:
            if step < trainer.total_steps:
                trainer.step(batch)
        batch = next(stream)["model"]

    held = blocks.select("report")
    held = held.take(np.random.default_rng(0).permutation(len(held))[:HELD_BLOCKS])
    rows = [acts["model"] for _, acts in harvest({"model": site}, held)]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.open("a", encoding="utf-8") as out:
        for trainer in trainers:
            quality = Quality(trainer.finish())
            for part in rows:
                quality.update(part)
            found = quality.compute()
            spec = trainer.spec
            line = {
                "architecture": spec.architecture, "width": spec.d_sae, "k": spec.k,
                "l1": spec.l1, "l0_weight": spec.l0,
                "learning_rate": spec.learning_rate, "steps": trainer.step_count, "batch": BATCH,
                "explained_variance": round(found.explained_variance, 5), "l0": round(found.l0, 2),
                "alive_share": round(found.alive_share, 4),
            }  # fmt: skip
            out.write(json.dumps(line) + "\n")
            print(line)


if __name__ == "__main__":
    main()
