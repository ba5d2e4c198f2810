"""Which learning rate and penalty suit an SAE, by width and number of tokens?

    python analyses/sae_sweep.py --out runs/sae_sweep.jsonl
    python analyses/sae_sweep.py --architectures relu jumprelu --penalties 0.001 0.003 --out …

All SAEs of the sweep learn from one stream of the shipped model's activations on the starter corpus; each has a
schedule of its own length. When a schedule ends, one line of JSON is appended: the settings, and explained variance,
L0, the share of features that fired on held-out tokens, and the processor seconds of its steps (beside
those of a harvest that runs ahead). A second call trains only the SAEs that the file lacks.
`sae_scaling.py` fits a law to the lines.
"""

import argparse
import itertools
import json
import time
from collections import Counter
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
    """Return every SAE of the sweep with its number of steps."""
    grid = []
    for architecture, width, rate, tokens, dead_after in itertools.product(
        options.architectures, options.widths, options.rates, options.tokens, options.dead_after
    ):
        spec = SAESpec(
            width, architecture, k=options.k, learning_rate=rate, products=fast_products(), dead_after_tokens=dead_after
        )
        for penalty in options.penalties if architecture in PENALTY else [None]:
            varied = spec if penalty is None else replace(spec, **{PENALTY[architecture]: penalty})
            grid.append((varied, max(1, tokens // BATCH)))
    return grid


def identity(spec: SAESpec, steps: int) -> dict[str, Any]:
    """Return the settings that identify an SAE in the file."""
    return {
        "architecture": spec.architecture, "width": spec.d_sae, "k": spec.k,
        "penalty": spec.as_dict()[PENALTY[spec.architecture]] if spec.architecture in PENALTY else 0.0,
        "learning_rate": spec.peak_rate, "steps": steps, "batch": BATCH, "dead_after": spec.dead_after_tokens,
    }  # fmt: skip


def recorded(path: Path) -> list[dict[str, Any]]:
    """Return the settings of the SAEs in the file; an empty list without a file."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    # lines of an earlier version lack what was the same for all
    return [{name: line.get(name, 20_000) for name in identity(SAESpec(1, k=1), 1)} for line in lines]


def write(path: Path, trainer: SAETrainer, rows: list[Tensor], seconds: float) -> None:
    """Append the line of an SAE that has learnt, with its quality on held-out activations [n_tokens, d_in]."""
    quality = Quality(trainer.finish())
    for part in rows:
        quality.update(part)
    result = quality.compute()
    line = identity(trainer.spec, trainer.step_count) | {
        "explained_variance": round(result.explained_variance, 5), "l0": round(result.l0, 2),
        "alive_share": round(result.alive_share, 4), "processor_seconds": round(seconds, 1),
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as out:
        out.write(json.dumps(line) + "\n")
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--architectures", nargs="+", default=["topk"], help="such as topk, relu, jumprelu")
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 2048, 8192], help="dictionary sizes")
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[None], help="learning rates; default: tuned to the width"
    )
    parser.add_argument(
        "--tokens", type=int, nargs="+", default=[100_000, 200_000, 400_000], help="lengths of training"
    )
    parser.add_argument("--penalties", type=float, nargs="+", default=[None], help="L1 or L0 penalties; default: tuned")
    parser.add_argument(
        "--dead-after", type=int, nargs="+", default=[20_000], help="tokens of silence after which a feature is dead"
    )
    parser.add_argument("--held-blocks", type=int, default=HELD_BLOCKS, help="held-out blocks to measure on")
    parser.add_argument("--k", type=int, default=32, help="active features of TopK")
    parser.add_argument("--model", default="starter/seed0", help="model to read activations from")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines to append to")
    options = parser.parse_args()

    done = recorded(options.out)
    wanted = sorted((w for w in specs(options) if identity(*w) not in done), key=lambda w: w[1])
    print(f"{len(wanted)} SAEs to train, {len(done)} in {options.out}", flush=True)
    if not wanted:
        return
    site, blocks = ModelSite(load_model(options.model, "model"), HOOK), build_corpus().blocks
    held = blocks.select("report")
    held = held.take(np.random.default_rng(0).permutation(len(held))[: options.held_blocks])
    rows = [acts["model"] for _, acts in harvest({"model": site}, held)]
    stream = shuffled_batches({"model": site}, blocks.select("train"), batch_size=BATCH, seed=0, stop=wanted[-1][1])
    trainers: list[SAETrainer] = []
    seconds: Counter[SAETrainer] = Counter()
    for batch in stream:
        x = batch["model"]
        if not trainers:
            summary = summarise(x)
            trainers = [SAETrainer(spec, summary, steps) for spec, steps in wanted]
        for trainer in trainers:
            before = time.process_time()
            trainer.step(x)
            seconds[trainer] += time.process_time() - before
        for trainer in [t for t in trainers if t.step_count == t.total_steps]:
            write(options.out, trainer, rows, seconds[trainer])
            trainers.remove(trainer)


if __name__ == "__main__":
    main()
