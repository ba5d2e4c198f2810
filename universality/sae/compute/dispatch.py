"""Which way to compute the gradients of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture
from universality.sae.compute.batch_gradients import Batch, Step
from universality.sae.compute.dense_gradients import dense_step
from universality.sae.compute.products import linear
from universality.sae.compute.sparse_gradients import sparse_step
from universality.sae.compute.torch_gradients import stock_step
from universality.sae.compute.weights import Weights

PROBE_TOKENS = 64
SPARSE_BELOW = 1 / 8
"""Share of features that fire. On a CPU both ways cost the same at about 1/4 (`tests/bench/sae.py` measures it); below
1/8 the (indices, values) of a batch take less memory than the gradients of the dense way, too."""


def is_sparse(kind: Architecture, weights: Weights, batch: Batch) -> bool:
    """Whether so few features fire that (indices, values) are faster, judged by a few tokens of the batch."""
    if not kind.adaptive:
        return True
    rows = batch.inputs[:: max(1, len(batch.inputs) // PROBE_TOKENS)]
    pre = linear(rows, weights.W_enc, weights.b_enc)
    floor = kind.training(None if weights.log_threshold is None else weights.log_threshold.exp(), len(rows)).floor
    return int((pre > (0 if floor is None else floor)).sum()) < SPARSE_BELOW * pre.numel()


def gradients(
    kind: Architecture, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype = torch.float32
) -> Step:
    """Gradients of an architecture's loss on a batch, by the way that is faster here.

    Parameters
    ----------
    dead : int64 [n_dead]
        The dead features, rising.
    products
        Number format of the encoder's product; of all, where they are dense.
    """
    if not is_sparse(kind, weights, batch):
        return dense_step(kind, weights, batch, products)
    way = sparse_step if batch.inputs.device.type == "cpu" else stock_step
    return way(kind, weights, batch, dead, products)
