"""Training SAEs: against SAELens and dictionary_learning, on the same activations, in the same run.

    python tests/bench/sae_tools.py [--widths 4096 16384] [--tokens 400000] [--rounds 2]

Each of the other tools gets an environment of its own under `runs/bench/`, made from the package index on the first
run (versions in `peers/environments.py`); where there is no network the script says so and prints our rows alone. All
are handed the same batches of activations of the shipped model `starter/seed0`, scaled to a mean squared norm of d_in,
so that every tool runs at the scale that its defaults are made for.

Speed: the best step of each tool over the rounds, the tools in turn, so that a busy machine is busy for all; the least
processor time of a step stands beside. What ours costs with ReLU depends on L0, so it is timed where the penalty has
brought L0 near 50; the others multiply zeros too, and cost the same at any L0. The limit is the encoder's product
alone, 2 · d_in · d_sae operations a token, in processor time measured in the same run. Quality: explained variance of
held-out tokens after equal tokens, at each tool's default learning rate and at the same three; compare the best of
each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peers.environments import FOLDER, environment

from universality.activations import ModelSite, harvest
from universality.corpus import build_corpus
from universality.models.language_model import load_model
from universality.sae import fast_products
from universality.sae.compute.products import linear

TOOLS = ("universality", "dictionary_learning", "sae_lens")
WORKER = Path(__file__).parent / "peers" / "worker.py"
D_IN, BATCH, K = 512, 4096, 32


def activations(n_train: int, n_held: int) -> tuple[Path, Path]:
    """Files of scaled activations of the shipped model: training and held-out tokens."""
    site, blocks = ModelSite(load_model("starter/seed0", "seed0"), HOOK), build_corpus().blocks
    paths, scale = [], 1.0
    for split, n in (("train", n_train), ("report", n_held)):
        part = blocks.select(split)
        part = part.take(np.random.default_rng(0).permutation(len(part))[: n // 60])
        rows = np.concatenate([acts["seed0"].numpy() for _, acts in harvest({"seed0": site}, part)])[:n]
        scale = scale if paths else float(np.sqrt(D_IN / np.square(rows).sum(axis=1).mean()))
        paths.append(FOLDER / f"{split}.npy")
        np.save(paths[-1], rows * np.float32(scale))
    return paths[0], paths[1]


HOOK = "blocks.0.mlp.hook_post"


def measure(python: Path, tool: str, data: tuple[Path, Path], **options: Any) -> dict[str, float]:
    """What the worker prints."""
    command = [str(python), str(WORKER), "--tool", tool, "--data", str(data[0]), "--held", str(data[1])]
    for name, value in options.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{tool} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def product_seconds(width: int, dtype: torch.dtype) -> float:
    """Processor time of the encoder's product for a batch."""
    x, weight = torch.randn(BATCH, D_IN).to(dtype), torch.randn(width, D_IN).to(dtype)
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for part in x.split(256):
            linear(part, weight)
        best = min(best, time.process_time() - start)
    return best


def rows_of(pythons: dict[str, Path]) -> list[tuple[str, str]]:
    """Tool and number format; ours in bfloat16 too where the processor multiplies it."""
    rows = [(tool, "float32") for tool in pythons]
    return [*rows, ("universality", "bfloat16")] if fast_products() == "bfloat16" else rows


def speed(pythons: dict[str, Path], data: tuple[Path, Path], width: int, rounds: int, **options: Any) -> None:
    """A table of one width."""
    runs: dict[tuple[str, str], list[dict[str, float]]] = {row: [] for row in rows_of(pythons)}
    alone: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for _ in range(rounds):
        for (tool, products), results in runs.items():
            own = options if tool == "universality" else {**options, "steps": 4}  # the others' cost is always the same
            found = measure(pythons[tool], tool, data, width=width, k=K, batch=BATCH, products=products, **own)
            results.append(found)
            if tool == "universality":
                alone[products].append(product_seconds(width, getattr(torch, products)))
    peers = [max(r["tokens_per_second"] for r in found) for (tool, _), found in runs.items() if tool != "universality"]
    print(f"\n{options['architecture']}, width {width:,}, d_in {D_IN}, batch {BATCH}, k {K}; target: "
          f"{5 if width > 8192 else 3.5 if options['architecture'] == 'topk' else 2} × the faster of the others, "
          "60% of the limit")  # fmt: skip
    print(
        f"{'tool':>20} {'products':>9} {'tokens/s':>9} {'ratio':>6} {'CPU s/step':>10} {'encoder alone':>14} "
        f"{'GFLOP/s':>8} {'of limit':>8} {'L0':>7}"
    )
    for (tool, products), found in runs.items():
        best, cpu = max(r["tokens_per_second"] for r in found), min(r["cpu_seconds_per_step"] for r in found)
        ratio = f"{best / max(peers):.1f}" if peers else ""
        encoder = rate = share = ""
        if tool == "universality":
            least = min(alone[products])
            encoder, rate, share = f"{least:.3f}", f"{2e-9 * BATCH * D_IN * width / least:,.0f}", f"{least / cpu:.0%}"
        print(
            f"{tool:>20} {products:>9} {best:>9,.0f} {ratio:>6} {cpu:>10.3f} {encoder:>14} {rate:>8} {share:>8} "
            f"{found[-1]['l0']:>7.1f}",
            flush=True,
        )


def quality(pythons: dict[str, Path], data: tuple[Path, Path], width: int, tokens: int) -> None:
    """A table of explained variance after equal tokens."""
    print(f"\ntopk, width {width:,}, k {K}, {tokens:,} tokens in batches of 1,024, held-out explained variance")
    columns = f"{'learning rate':>14} {'explained variance':>19} {'L0':>6} {'features that fire':>19}"
    print(f"{'tool':>20} {'products':>9} {columns}")
    for tool, products in rows_of(pythons):
        for rate in (0.0, 4e-3, 8e-3, 1.6e-2):
            found = measure(
                pythons[tool], tool, data, width=width, k=K, batch=1024, steps=tokens // 1024, rate=rate,
                products=products, dead_after=20_000,
            )  # fmt: skip
            named = f"{rate:g}" if rate else "its default"
            print(
                f"{tool:>20} {products:>9} {named:>14} {found['explained_variance']:>19.4f} {found['l0']:>6.1f} "
                f"{found['alive_share']:>19.1%}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--widths", type=int, nargs="*", default=[4096, 16_384])
    parser.add_argument("--relu-width", type=int, default=4096)
    parser.add_argument("--quality-widths", type=int, nargs="*", default=[1024, 4096])
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    pythons = {tool: python for tool in TOOLS if (python := environment(tool)) is not None}
    data = activations(max(options.tokens, 100_000), 8192)
    for width in options.widths:
        speed(pythons, data, width, options.rounds, architecture="topk", steps=6)
    if options.relu_width:
        speed(pythons, data, options.relu_width, options.rounds, architecture="relu", steps=60, penalty=7.5e-3)
    for width in options.quality_widths:
        quality(pythons, data, width, options.tokens)


if __name__ == "__main__":
    main()
