"""Gradients where few features fire: one dense product, everything behind it by (indices, values). On a CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture
from universality.sae.compute.auxiliary_loss import Auxiliary, AuxK, dense_auxiliary, leftover_of
from universality.sae.compute.batch_gradients import Batch, Step, decoder_bias
from universality.sae.compute.codes import Codes
from universality.sae.compute.products import linear
from universality.sae.compute.selection import Rule, floor_of_batch, largest, largest_of_batch, select
from universality.sae.compute.sparse_decoder import FeatureOrder, SparseRows, decode
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges, share_out

TOKENS_A_TASK = 512
LEAST_TOKENS_A_TASK = 128  # with fewer the product slows down
PRE_ACTIVATIONS_A_TASK = 2**22  # 16 MB; of more the system hands out fresh pages each time
SAMPLE_TOKENS = 32

Kept = Tensor | Codes | None
"""What AuxK needs: pre-activations of the dead [n_tokens, n_dead], or codes of the chosen among them."""


def tokens_a_task(d_sae: int) -> int:
    """Tokens whose pre-activations one thread holds at a time."""
    return min(TOKENS_A_TASK, max(LEAST_TOKENS_A_TASK, PRE_ACTIVATIONS_A_TASK // d_sae))


def sparse_step(
    kind: Architecture, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype = torch.float32
) -> Step:
    """Gradients of an architecture's loss on a batch.

    Parameters
    ----------
    dead : int64 [n_dead]
        The dead features, rising.
    products
        Number format of the encoder's product.
    """
    n_tokens = len(batch.inputs)
    threshold = None if weights.log_threshold is None else weights.log_threshold.exp()
    rule = kind.training(threshold, n_tokens)
    aux = kind.aux if len(dead) else None
    if rule.total is None:
        codes, kept = _encode(rule, weights, batch, products, aux, dead)
    else:
        codes, kept = _encode_batch(rule, rule.total, weights, batch, products, aux, dead)
    step = _step(kind, weights, batch, codes, threshold)
    if rule.total is not None and len(codes.values):
        step = replace(step, lowest=float(codes.values.min()))
    if aux is None or kept is None:
        return step
    extra = _auxiliary(aux, weights, batch, dead, kept, step.output_grad)
    b_enc = step.b_enc.index_add(0, dead, extra.b_enc)
    b_dec = step.b_dec - extra.b_enc @ weights.W_enc[dead] if batch.pre_bias else step.b_dec
    return replace(step, rows=(*step.rows, extra.rows), b_enc=b_enc, b_dec=b_dec, auxiliary=extra.loss)


def _encode(
    rule: Rule, weights: Weights, batch: Batch, products: torch.dtype, aux: AuxK | None, dead: Tensor
) -> tuple[Codes, Kept]:
    """What counts of the pre-activations, and what AuxK needs of them."""
    encoder, bias = weights.W_enc.to(products), weights.b_enc.to(products)
    d_sae, dtype = len(bias), batch.inputs.dtype

    def encode(part: slice) -> tuple[Codes, Kept]:
        pre = linear(batch.inputs[part].to(products), encoder, bias)
        codes = select(pre, rule)
        if aux is None:
            return codes, None
        of_dead = pre[:, dead].to(dtype)
        return codes, of_dead if aux.is_dense(len(dead)) else _largest_of(of_dead, aux.k, dead, d_sae)

    parts = share_out(encode, ranges(len(batch.inputs), tokens_a_task(d_sae)))
    kept = [kept for _, kept in parts]
    return Codes.concatenate([codes for codes, _ in parts]), _joined(kept)


def _encode_batch(
    rule: Rule, total: int, weights: Weights, batch: Batch, products: torch.dtype, aux: AuxK | None, dead: Tensor
) -> tuple[Codes, Kept]:
    """The same where the ``total`` largest of the batch count.

    A floor from a few tokens leaves about twice as many candidates as will fire. Exact: while it leaves too few, it
    is lowered.
    """
    rows = batch.inputs[:: max(1, len(batch.inputs) // SAMPLE_TOKENS)].to(products)
    sample = linear(rows, weights.W_enc.to(products), weights.b_enc.to(products))
    share = 2 * total / (len(batch.inputs) * sample.shape[1])
    while True:
        floor = floor_of_batch(sample, share)
        codes, kept = _encode(replace(rule, floor=floor), weights, batch, products, aux, dead)
        if codes.nnz >= total or floor == 0:
            return largest_of_batch(codes, total), kept
        share *= 4


def _largest_of(pre: Tensor, k: int, columns: Tensor, d_sae: int) -> Codes:
    """Codes of some columns, named as in the whole."""
    codes = largest(pre, k)
    names = columns.numpy().astype(np.int32)
    packed = Codes.of(codes.csr())
    return replace(packed, indices=names[packed.indices], d_sae=d_sae)


def _joined(parts: list[Kept]) -> Kept:
    tensors = [part for part in parts if isinstance(part, Tensor)]
    codes = [part for part in parts if isinstance(part, Codes)]
    return torch.cat(tensors) if tensors else Codes.concatenate(codes) if codes else None


def _step(kind: Architecture, weights: Weights, batch: Batch, codes: Codes, threshold: Tensor | None) -> Step:
    """Gradients without the auxiliary loss."""
    n_tokens = len(batch.inputs)
    pre = torch.from_numpy(codes.values)
    at = None if threshold is None else threshold[torch.from_numpy(codes.indices)]
    acts = kind.activate(pre, at)
    decoded = decode(codes, acts.numpy(), weights, batch.targets, kind.prefixes(codes.d_sae), batch.error_factor)
    grad, threshold_grad = kind.backward(pre, torch.from_numpy(decoded.value_grad), at, n_tokens)
    order = FeatureOrder.of(codes)
    b_enc = order.sums(grad)
    rows = SparseRows(order, acts.numpy(), grad.numpy(), decoded.output_grad, batch.inputs, decoded.prefixes)
    return Step(
        rows=(rows,),
        b_enc=b_enc,
        b_dec=decoder_bias(batch, decoded.output_grad[0], b_enc, weights.W_enc),
        log_threshold=None if threshold_grad is None else order.sums(threshold_grad),
        squared_error=float(decoded.squared_errors[-1]),
        loss=float(decoded.squared_errors.sum()) / batch.inputs.numel() + float(kind.penalty(acts, n_tokens)),
        firings=order.sums((acts > 0).to(torch.int64)),
        output_grad=decoded.output_grad[-1],
    )


def _auxiliary(
    aux: AuxK, weights: Weights, batch: Batch, dead: Tensor, kept: Tensor | Codes, output_grad: Tensor
) -> Auxiliary:
    leftover, energy = leftover_of(batch, output_grad)
    if isinstance(kept, Tensor):
        return dense_auxiliary(aux, weights, batch, dead, kept, leftover, energy)
    decoded = decode(kept, kept.values, weights, leftover, (kept.d_sae,), 2 * aux.weight / energy)
    order = FeatureOrder.of(kept)
    rows = SparseRows(order, kept.values, decoded.value_grad, decoded.output_grad, batch.inputs, decoded.prefixes)
    loss = float(decoded.squared_errors[0]) / float(energy)
    return Auxiliary(loss, order.sums(torch.from_numpy(decoded.value_grad))[dead], rows)
