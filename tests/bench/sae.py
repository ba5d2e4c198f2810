"""What a training step of an SAE costs, and encoding; where sparse and dense steps meet; memory at a large width.

    python tests/bench/sae.py [--widths 512 2048] [--threads 1] [--device cuda] [--large 131072]

All rows of a table are the same work on the same batch. On a CPU processor time is measured, so that other programs on
the machine disturb little; ratios do not depend on it. "encoder alone" is the encoder's product, which bounds every
step from below. Against other tools: `sae_tools.py`.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from universality.sae import SAESpec, SAETrainer, fast_products
from universality.sae.activation_summary import summarise
from universality.sae.architectures.relu import ReLU
from universality.sae.compute.batch_gradients import Batch
from universality.sae.compute.dense_gradients import dense_step
from universality.sae.compute.dispatch import SPARSE_BELOW
from universality.sae.compute.products import linear
from universality.sae.compute.sparse_gradients import sparse_step
from universality.sae.compute.torch_gradients import torch_step
from universality.sae.training.initialisation import initial_weights

D_IN, K, BATCH = 512, 32, 4096
ARCHITECTURES = ("topk", "batchtopk", "matryoshka", "relu", "jumprelu")


def seconds(function: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Least time of a call: of the processor, or on a GPU of the wall until it has finished."""

    def now() -> float:
        if device == "cpu":
            return time.process_time()
        torch.cuda.synchronize()
        return time.perf_counter()

    function()
    best = float("inf")
    for _ in range(repeats):
        start = now()
        function()
        best = min(best, now() - start)
    return best


def dense_autograd(width: int, x: Tensor, k: int = K) -> Callable[[Tensor], None]:
    """The formulation of TopK that one writes first: torch.topk, scatter, two dense products, autograd."""
    summary = summarise(x)
    parameters = {name: t.requires_grad_() for name, t in initial_weights(width, summary, 0).tensors().items()}
    adam = torch.optim.Adam(parameters.values(), lr=1e-3, fused=True)
    w_enc, b_enc, w_dec, b_dec = parameters.values()

    def step(batch: Tensor) -> None:
        scaled = batch * summary.scale
        values, indices = ((scaled - b_dec) @ w_enc.T + b_enc).topk(k, dim=1)
        acts = torch.zeros(len(batch), width, device=batch.device).scatter(1, indices, values.relu())
        loss = (acts @ w_dec + b_dec - scaled).square().mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert w_dec.grad is not None
            w_dec.grad.addcmul_((w_dec.grad * w_dec).sum(1, keepdim=True), w_dec, value=-1)
            adam.step()
            w_dec.div_(w_dec.norm(dim=1, keepdim=True))

    return step


def steps_table(x: Tensor, widths: list[int], device: str) -> None:
    """Training steps and encoding by width and architecture."""
    batch = x[:BATCH]
    print(
        f"\nmicroseconds a token; bfloat16 products are {'' if fast_products(device) == 'bfloat16' else 'not '}native"
    )
    print(f"{'width':>7} {'':>22} {'step':>8} {'tokens/s':>10} {'of dense':>9} {'encoder alone':>14}")

    def row(width: int, name: str, spent: float, dense: float = 0.0, alone: float = 0.0) -> None:
        ratio, encoder = f"{dense / spent:.1f} ×" if dense else "", f"{alone * 1e6:.2f}" if alone else ""
        print(f"{width:>7} {name:>22} {spent * 1e6:>8.2f} {1 / spent:>10,.0f} {ratio:>9} {encoder:>14}", flush=True)

    for width in widths:
        autograd = dense_autograd(width, x)
        dense = seconds(lambda step=autograd: step(batch), device) / BATCH  # type: ignore[misc]
        row(width, "topk by dense autograd", dense)
        for architecture in ARCHITECTURES:
            nested = (width // 4, width // 2) if architecture == "matryoshka" else ()
            for products in ("float32", "bfloat16") if architecture == "topk" else ("float32",):
                spec = SAESpec(width, architecture, k=K, nested=nested, products=products)  # type: ignore[arg-type]
                trainer = SAETrainer(spec, x, 10_000)
                trainer.weights.b_enc.sub_(
                    2.0 if architecture in ("relu", "jumprelu") else 0.0
                )  # as if trained: sparse
                spent = seconds(lambda trainer=trainer: trainer.step(batch), device) / BATCH  # type: ignore[misc]
                dtype = getattr(torch, products)
                rows, encoder = batch.to(dtype), trainer.weights.W_enc.to(dtype)
                alone = seconds(lambda rows=rows, encoder=encoder: linear(rows, encoder), device) / BATCH  # type: ignore[misc]
                row(width, f"{architecture}, {products}", spent, dense, alone)
        sae = SAETrainer(SAESpec(width, k=K), x, 1).finish().to(device)
        row(width, "encode, topk", seconds(lambda sae=sae: sae.encode(x), device) / len(x))  # type: ignore[misc]


def density_table(x: Tensor, width: int, device: str) -> None:
    """A ReLU step by either way, over the share of features that fire."""
    print(f"\nReLU, width {width:,}: sparse and dense steps, microseconds a token; the switch is at {SPARSE_BELOW:.4f}")
    print(f"{'share that fires':>17} {'sparse':>8} {'dense':>8}")
    summary = summarise(x)
    weights = initial_weights(width, summary, 0)
    batch = Batch.of(x[:1024] * summary.scale, weights.b_dec, True)
    pre = batch.inputs @ weights.W_enc.T
    none = torch.tensor([], dtype=torch.int64, device=x.device)
    way = sparse_step if device == "cpu" else torch_step
    for share in (1 / 256, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2):
        weights.b_enc[:] = -pre[:64].flatten().sort(descending=True).values[int(share * 64 * width)]
        kind = ReLU(1e-3)
        times = [
            seconds(lambda kind=kind: way(kind, weights, batch, none).gradients(weights), device, 3) / 1024,  # type: ignore[misc]
            seconds(lambda kind=kind: dense_step(kind, weights, batch, none).gradients(weights), device, 3) / 1024,  # type: ignore[misc]
        ]
        print(f"{share:>17.4f} {times[0] * 1e6:>8.1f} {times[1] * 1e6:>8.1f}", flush=True)


def large(width: int, architecture: str) -> None:
    """Two steps in a process of its own; prints its peak memory."""
    x = torch.randn(BATCH, D_IN, generator=torch.Generator().manual_seed(0)).relu()
    trainer = SAETrainer(SAESpec(width, architecture, k=K, dead_after_tokens=BATCH), x, 1000)
    for _ in range(2):  # in the second most features are dead
        trainer.step(x)
    peak, weights = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2 * 4 * width * D_IN / 1e9
    print(f"{architecture:>17} {weights:>11.2f} {peak:>9.2f} {4 * weights + 1.5:>18.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--large", type=int, default=131_072, help="width of the memory table; 0 leaves it out")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        large(options.large, options.one)
        return
    torch.set_num_threads(options.threads)
    x = torch.randn(2 * BATCH, D_IN, generator=torch.Generator().manual_seed(0)).relu().to(options.device)
    name = torch.cuda.get_device_name(options.device) if options.device != "cpu" else f"{options.threads} thread(s)"
    print(f"d_in {D_IN}, k {K}, batch {BATCH}, {name}")
    steps_table(x, options.widths, options.device)
    density_table(x, max(options.widths), options.device)
    if options.large and options.device == "cpu":
        print(f"\npeak memory in GB of a training at width {options.large:,}, d_in {D_IN}, batch {BATCH}")
        print(f"{'':>17} {'the weights':>11} {'peak':>9} {'4 × weights + 1.5':>18}", flush=True)
        for architecture in ("topk", "batchtopk"):
            subprocess.run([sys.executable, __file__, "--one", architecture, "--large", str(options.large)], check=True)


if __name__ == "__main__":
    main()
