"""What a training step of a TopK SAE costs, and encoding, against dense autograd in the same run.

    python tests/bench/sae.py [--widths 512 1024 2048] [--threads 1]

All rows are the same work: the same batch, k, Adam with unit decoder rows. Processor time is measured, so that other
programs on the machine disturb little; ratios do not depend on it. The last column is the cost of the encoder's
product alone, which bounds every step from below.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from universality.sae import SAESpec, SAETrainer, fast_products
from universality.sae.initialise import initial_weights, summarise
from universality.sae.products import linear
from universality.sae.topk import TopK

D_IN, K, BATCH = 512, 32, 2048


def seconds(function: Callable[[], object], repeats: int = 7) -> float:
    """Least processor time of a call."""
    function()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def dense_trainer(spec: SAESpec, sample: Tensor) -> Callable[[Tensor], None]:
    """The formulation that one writes first: torch.topk, scatter, two dense products, autograd."""
    summary = summarise(sample)
    parameters = {
        name: tensor.requires_grad_() for name, tensor in initial_weights(spec.d_sae, summary, 0).tensors().items()
    }
    adam = torch.optim.Adam(parameters.values(), lr=spec.learning_rate, fused=True)
    w_enc, b_enc, w_dec, b_dec = parameters.values()

    def step(batch: Tensor) -> None:
        x = batch * summary.scale
        acts = TopK(spec.k).activate((x - b_dec) @ w_enc.T + b_enc)
        loss = (acts @ w_dec + b_dec - x).square().mean()
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            assert w_dec.grad is not None
            w_dec.grad.addcmul_((w_dec.grad * w_dec).sum(1, keepdim=True), w_dec, value=-1)
            adam.step()
            w_dec.div_(w_dec.norm(dim=1, keepdim=True))

    return step


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 1024, 2048])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    x = torch.randn(4 * BATCH, D_IN, generator=torch.Generator().manual_seed(0)).relu()
    batch = x[:BATCH]
    print(f"d_in {D_IN}, k {K}, batch {BATCH}, {options.threads} thread(s); microseconds of processor time per token")
    print(f"bfloat16 products are {'' if fast_products() == 'bfloat16' else 'not '}native here")
    print(f"{'width':>6} {'products':>9} {'dense':>7} {'ours':>7} {'ratio':>6} {'tokens/s':>9} {'encoder alone':>14}")
    for width in options.widths:
        step = dense_trainer(SAESpec(width, k=K), x)
        dense = seconds(lambda step=step: step(batch)) / BATCH  # type: ignore[misc]
        for products in ("float32", "bfloat16"):
            trainer = SAETrainer(SAESpec(width, k=K, products=products), x, 10_000)
            ours = seconds(lambda trainer=trainer: trainer.step(batch)) / BATCH  # type: ignore[misc]
            dtype = getattr(torch, products)
            rows, encoder = batch.to(dtype), trainer.weights.W_enc.to(dtype)
            alone = seconds(lambda rows=rows, encoder=encoder: linear(rows, encoder)) / BATCH  # type: ignore[misc]
            print(
                f"{width:>6} {products:>9} {dense * 1e6:>7.1f} {ours * 1e6:>7.1f} {dense / ours:>6.1f} "
                f"{1 / ours:>9,.0f} {alone * 1e6:>14.1f}"
            )
        sae = SAETrainer(SAESpec(width, k=K), x, 1).finish()
        encode = seconds(lambda sae=sae: sae.encode(x)) / len(x)  # type: ignore[misc]
        print(f"{width:>6} {'encode':>9} {'':>7} {encode * 1e6:>7.1f} {'':>6} {1 / encode:>9,.0f}")


if __name__ == "__main__":
    main()
