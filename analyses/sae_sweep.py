"""Which learning rate and penalty suit an SAE, by width and number of tokens?

    python analyses/sae_sweep.py --out runs/sae_sweep.jsonl
    python analyses/sae_sweep.py --architectures relu jumprelu --penalties 0.001 0.003 --out …

All SAEs of the sweep learn from one stream of the shipped model's activations on the starter corpus; each has a
schedule of its own length. One line of JSON an SAE, appended when its schedule ends: what was asked, and explained
variance, L0 and share of features that fired on held-out tokens. A second call trains only what the file lacks.
`sae_scaling.py` fits a law to the lines.
"""

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from universality.activations import ModelSite, harvest, shuffled_batches
from universality.corpus import build_corpus
from universality.models.language_model import load_model
from universality.sae import Quality, SAESpec, SAETrainer, fast_products, summarise

HOOK, BATCH, HELD_BLOCKS = "blocks.0.mlp.hook_post", 2048, 250
PENALTY = {"relu": "l1", "jumprelu": "l0"}


def specs(options: argparse.Namespace) -> list[tuple[SAESpec, int]]:
    """Every SAE of the sweep, and its number of steps."""
    found = []
    for kind, width, rate, tokens in itertools.product(
        options.architectures, options.widths, options.rates, options.tokens
    ):
        spec = SAESpec(width, kind, k=options.k, learning_rate=rate, products=fast_products())
        for penalty in options.penalties if kind in PENALTY else [None]:
            varied = spec if penalty is None else replace(spec, **{PENALTY[kind]: penalty})
            found.append((varied, max(1, tokens // BATCH)))
    return found


def identity(spec: SAESpec, steps: int) -> dict[str, Any]:
    """What a line says was asked."""
    return {
        "architecture": spec.architecture, "width": spec.d_sae, "k": spec.k,
        "penalty": spec.as_dict()[PENALTY[spec.architecture]] if spec.architecture in PENALTY else 0.0,
        "learning_rate": spec.peak_rate, "steps": steps, "batch": BATCH,
    }  # fmt: skip


def recorded(path: Path) -> list[dict[str, Any]]:
    """What the SAEs in the file were asked; none where there is no file."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: line[name] for name in identity(SAESpec(1, k=1), 1)} for line in lines]


def write(path: Path, trainer: SAETrainer, rows: list[Tensor]) -> None:
    """Append the line of an SAE that has learnt, with its quality on held-out activations [n_tokens, d_in]."""
    quality = Quality(trainer.finish())
    for part in rows:
        quality.update(part)
    found = quality.compute()
    line = identity(trainer.spec, trainer.step_count) | {
        "explained_variance": round(found.explained_variance, 5), "l0": round(found.l0, 2),
        "alive_share": round(found.alive_share, 4),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--architectures", nargs="+", default=["topk"])
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 2048, 8192])
    parser.add_argument("--rates", type=float, nargs="+", default=[None], help="by default the one tuned for a width")
    parser.add_argument("--tokens", type=int, nargs="+", default=[100_000, 200_000, 400_000])
    parser.add_argument("--penalties", type=float, nargs="+", default=[None], help="by default the tuned")
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--model", default="starter/seed0")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()

    done = recorded(options.out)
    wanted = sorted((w for w in specs(options) if identity(*w) not in done), key=lambda w: w[1])
    print(f"{len(wanted)} SAEs to train, {len(done)} in {options.out}", flush=True)
    if not wanted:
        return
    site, blocks = ModelSite(load_model(options.model, "model"), HOOK), build_corpus().blocks
    held = blocks.select("report")
    held = held.take(np.random.default_rng(0).permutation(len(held))[:HELD_BLOCKS])
    rows = [acts["model"] for _, acts in harvest({"model": site}, held)]
    stream = shuffled_batches({"model": site}, blocks.select("train"), batch_size=BATCH, seed=0, stop=wanted[-1][1])
    trainers: list[SAETrainer] = []
    for batch in stream:
        x = batch["model"]
        if not trainers:
            summary = summarise(x)
            trainers = [SAETrainer(spec, summary, steps) for spec, steps in wanted]
        for trainer in trainers:
            trainer.step(x)
        for trainer in [t for t in trainers if t.step_count == t.total_steps]:
            write(options.out, trainer, rows)
            trainers.remove(trainer)


if __name__ == "__main__":
    main()
