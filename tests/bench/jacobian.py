"""What a mean Jacobian costs, in forward passes of the same tokens.

    python tests/bench/jacobian.py [--threads 1] [--blocks 16] [--device cuda]

Models are random; their time depends on their shape alone. On a CPU processor time is measured, so that other programs
on the machine disturb little.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from sae import seconds
from torch import Tensor

from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.corpus.documents import DocumentTable
from universality.effects import mean_jacobian
from universality.effects.jacobian_estimation import _from_site_to_end
from universality.models.forward import to_device
from universality.models.language_model import new_model
from universality.models.model_settings import ModelArchitecture

N_CTX, D_VOCAB = 128, 4096


def random_text(n_blocks: int) -> TokenBlocks:
    """Full blocks of random tokens."""
    tokens = np.random.default_rng(0).integers(1, D_VOCAB, (n_blocks, N_CTX), np.int32)
    table = DocumentTable(("a",), ("text",), ("a",), ("report",))
    return TokenBlocks(tokens, np.full(n_blocks, N_CTX, np.int32), np.zeros(n_blocks, np.int32), table, D_VOCAB, "")


def backward(site: ModelSite, tokens: Tensor, n: int, batched: bool) -> Callable[[], object]:
    """Gradients of n components, one by one or by vmap."""
    x, end = _from_site_to_end(site, tokens)
    if not batched:
        return lambda: [torch.autograd.grad(end[..., c].sum(), x, retain_graph=True) for c in range(n)]
    weight = torch.zeros((n, *end.shape), device=end.device)
    for c in range(n):
        weight[c, ..., c] = 1
    return lambda: torch.autograd.grad(end, x, weight, is_grads_batched=True, retain_graph=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--blocks", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    text = random_text(options.blocks)
    print(f"{text.n_tokens:,} tokens, from the first layer's end; milliseconds of one thread unless said otherwise")
    print(f"{'layers':>6} {'d_model':>7} {'forward':>8} {'a component':>12} {'by vmap':>8} {'J̄':>9} {'of forward':>11}")
    for n_layers, d_model in product((2, 4), (64, 128)):
        shape = ModelArchitecture(n_layers=n_layers, d_model=d_model, n_heads=4, d_mlp=4 * d_model)
        model = new_model(shape, d_vocab=D_VOCAB, n_ctx=N_CTX, init_seed=0, name="m")
        if options.device != "cpu":
            model.bridge.to(options.device)
        site = ModelSite(model, "blocks.0.hook_resid_post")
        tokens, _ = to_device(text, site.device)

        def forward(bridge: torch.nn.Module = model.bridge, tokens: Tensor = tokens) -> None:
            with torch.no_grad():
                bridge(tokens)

        plain = seconds(forward, options.device)
        single, batched = (seconds(backward(site, tokens, 8, way), options.device) / 8 for way in (False, True))
        whole = seconds(lambda site=site: mean_jacobian(site, text, silent=True), options.device, 1)  # type: ignore[misc]
        print(
            f"{n_layers:>6} {d_model:>7} {1e3 * plain:>8.1f} {1e3 * single:>12.1f} {1e3 * batched:>8.1f} "
            f"{1e3 * whole:>9.0f} {whole / plain / d_model:>6.2f} d_model",
            flush=True,
        )


if __name__ == "__main__":
    main()
