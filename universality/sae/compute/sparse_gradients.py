"""Gradients where few features fire: one dense product, everything after it by (indices, values). On a CPU."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture, AuxK, FiringRule
from universality.sae.compute.auxiliary_loss import Auxiliary, dense_auxiliary, is_dense, leftover_of
from universality.sae.compute.batch_gradients import Batch, Step, decoder_bias
from universality.sae.compute.codes import Codes
from universality.sae.compute.products import linear
from universality.sae.compute.selection import floor_of_batch, largest, largest_of_batch, select
from universality.sae.compute.sparse_decoder import FeatureOrder, SparseRows, decode
from universality.sae.compute.tiles import FEATURES_A_TILE, by_tiles, joined, named, rule_of
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges, share_out

SAMPLE_TOKENS = 32

OfDead = Tensor | Codes | None
"""What AuxK needs: pre-activations of the dead features [n_tokens, n_dead], or codes of those among them that fire."""


def sparse_step(
    architecture: Architecture, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype = torch.float32
) -> Step:
    """Compute the gradients of an architecture's loss on a batch by (indices, values).

    Parameters
    ----------
    dead : int64 [n_dead]
        The dead features, rising.
    products
        Number format of the encoder's product.
    """
    n_tokens = len(batch.inputs)
    threshold = None if weights.log_threshold is None else weights.log_threshold.exp()
    rule = architecture.training(threshold, n_tokens)
    aux = architecture.aux if len(dead) else None
    if rule.total is None:
        codes, of_dead = _encode(rule, weights, batch, products, aux, dead)
    else:
        codes, of_dead = _encode_batch(rule, rule.total, weights, batch, products, aux, dead)
    step = _step(architecture, weights, batch, codes, threshold)
    if rule.total is not None and len(codes.values):
        step = replace(step, lowest=float(codes.values.min()))
    if aux is None or of_dead is None:
        return step
    extra = _auxiliary(aux, weights, batch, dead, of_dead, step.output_grad)
    return extra.added_to(step, weights, batch, dead)


def _encode(
    rule: FiringRule, weights: Weights, batch: Batch, products: torch.dtype, aux: AuxK | None, dead: Tensor
) -> tuple[Codes, OfDead]:
    """Encode a batch; also return what AuxK needs, so that pre-activations are computed once."""
    encoder, bias, inputs = weights.W_enc, weights.b_enc.to(products), batch.inputs.to(products)
    if encoder.dtype != products:
        encoder = torch.empty_like(encoder, dtype=products)
        share_out(lambda part: encoder[part].copy_(weights.W_enc[part]), ranges(len(bias), FEATURES_A_TILE))
    d_sae, dtype = len(bias), batch.inputs.dtype
    dense = aux is not None and is_dense(aux, len(dead))
    names = dead.numpy().astype(np.int32)

    def encode(tokens: slice, features: slice) -> tuple[Codes, OfDead]:
        pre = linear(inputs[tokens], encoder[features], bias[features])
        codes = named(select(pre, rule_of(rule, features)), features, d_sae)
        if aux is None:
            return codes, None
        first, last = np.searchsorted(names, (features.start, features.stop))
        of_dead = pre[:, dead[first:last] - features.start].to(dtype)
        return codes, of_dead if dense else named(largest(of_dead, aux.k), names[first:last], d_sae)

    rows = by_tiles(encode, len(inputs), d_sae)
    codes = joined([[codes for codes, _ in row] for row in rows], rule.k)
    return codes, None if aux is None else _joined([[of_dead for _, of_dead in row] for row in rows], aux.k)


def _encode_batch(
    rule: FiringRule, total: int, weights: Weights, batch: Batch, products: torch.dtype, aux: AuxK | None, dead: Tensor
) -> tuple[Codes, OfDead]:
    """Encode a batch of which the ``total`` largest pre-activations count.

    A floor judged by a few tokens leaves about twice as many candidates as will fire. The result is exact: while the
    floor leaves too few, it is lowered.
    """
    rows = batch.inputs[:: max(1, len(batch.inputs) // SAMPLE_TOKENS)].to(products)
    sample = linear(rows, weights.W_enc.to(products), weights.b_enc.to(products))
    share = 2 * total / (len(batch.inputs) * sample.shape[1])
    while True:
        floor = floor_of_batch(sample, share)
        codes, of_dead = _encode(replace(rule, floor=floor), weights, batch, products, aux, dead)
        # `total` or more entries above a floor contain the `total` largest; at floor 0 all positive ones are there.
        if codes.nnz >= total or floor == 0:
            return largest_of_batch(codes, total), of_dead
        share *= 4


def _joined(rows: list[list[OfDead]], k: int) -> OfDead:
    """Join what all tiles hold of the dead features; of each token the k largest where they are codes."""
    tensors = [[tile for tile in row if isinstance(tile, Tensor)] for row in rows]
    if any(tensors):
        return torch.cat([torch.cat(row, dim=1) for row in tensors])
    return joined([[tile for tile in row if isinstance(tile, Codes)] for row in rows], k)


def _step(architecture: Architecture, weights: Weights, batch: Batch, codes: Codes, threshold: Tensor | None) -> Step:
    """Compute gradients without the auxiliary loss."""
    n_tokens = len(batch.inputs)
    pre = torch.from_numpy(codes.values)
    thresholds = None if threshold is None else threshold[torch.from_numpy(codes.indices)]
    acts = architecture.activate(pre, thresholds)
    prefixes = architecture.prefixes(codes.d_sae)
    decoded = decode(codes, acts.numpy(), weights, batch.targets, prefixes, batch.error_factor)
    grad, threshold_grad = architecture.backward(pre, torch.from_numpy(decoded.value_grad), thresholds, n_tokens)
    order = FeatureOrder.of(codes)
    b_enc = order.sums(grad)
    rows = SparseRows(order, acts.numpy(), grad.numpy(), decoded.output_grad, batch.inputs, decoded.prefixes)
    return Step(
        rows=(rows,),
        b_enc=b_enc,
        b_dec=decoder_bias(batch, decoded.output_grad[0], b_enc, weights.W_enc),
        log_threshold=None if threshold_grad is None else order.sums(threshold_grad),
        squared_error=float(decoded.squared_errors[-1]),
        loss=float(decoded.squared_errors.sum()) / batch.inputs.numel() + float(architecture.penalty(acts, n_tokens)),
        firings=order.sums((acts > 0).to(torch.int64)),
        output_grad=decoded.output_grad[-1],
    )


def _auxiliary(
    aux: AuxK, weights: Weights, batch: Batch, dead: Tensor, of_dead: Tensor | Codes, output_grad: Tensor
) -> Auxiliary:
    leftover, energy = leftover_of(batch, output_grad)
    if isinstance(of_dead, Tensor):
        return dense_auxiliary(aux, weights, batch, dead, of_dead, leftover, energy)
    values = of_dead.values
    decoded = decode(of_dead, values, weights, leftover, (of_dead.d_sae,), 2 * aux.weight / energy)
    order = FeatureOrder.of(of_dead)
    rows = SparseRows(order, values, decoded.value_grad, decoded.output_grad, batch.inputs, decoded.prefixes)
    loss = float(decoded.squared_errors[0]) / float(energy)
    return Auxiliary(loss, order.sums(torch.from_numpy(decoded.value_grad))[dead], rows)
