"""Choosing the fastest way to compute the gradients of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture, AutogradArchitecture
from universality.sae.compute.batch_gradients import Batch, Step
from universality.sae.compute.dense_gradients import dense_step
from universality.sae.compute.products import linear
from universality.sae.compute.sparse_gradients import sparse_step
from universality.sae.compute.torch_gradients import torch_step
from universality.sae.compute.weights import Weights

PROBE_TOKENS = 64
SPARSE_BELOW = 1 / 8
"""Largest share of features that fire for the sparse way. On a CPU both ways cost the same at about 1/4
(`tests/bench/sae.py` measures it); below 1/8 the (indices, values) of a batch also take less memory than the gradients
of the dense way."""


def is_sparse(architecture: Architecture, weights: Weights, batch: Batch) -> bool:
    """Whether so few features fire that (indices, values) are faster, judged by a few tokens of the batch."""
    if isinstance(architecture, AutogradArchitecture):
        return False
    if not architecture.adaptive:
        return True
    rows = batch.inputs[:: max(1, len(batch.inputs) // PROBE_TOKENS)]
    pre = linear(rows, weights.W_enc, weights.b_enc)
    threshold = None if weights.log_threshold is None else weights.log_threshold.exp()
    floor = architecture.training(threshold, len(rows)).floor
    return int((pre > (0 if floor is None else floor)).sum()) < SPARSE_BELOW * pre.numel()


def gradients(
    architecture: Architecture, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype = torch.float32
) -> Step:
    """Compute the gradients of an architecture's loss on a batch, in whichever way is faster here.

    Parameters
    ----------
    dead : int64 [n_dead]
        The dead features, rising.
    products
        Number format of the encoder's product; of all products, where they are dense.
    """
    if not is_sparse(architecture, weights, batch):
        return dense_step(architecture, weights, batch, dead, products)
    # The compiled loops of the sparse way run on CPUs alone; PyTorch's operators run anywhere.
    step = sparse_step if batch.inputs.device.type == "cpu" else torch_step
    return step(architecture, weights, batch, dead, products)
