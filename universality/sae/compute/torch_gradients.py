"""Gradients by (indices, values) with PyTorch's own operators: on a GPU, and on a CPU to test them.

Entries of the codes are (token, feature, pre-activation), by token. The decoder is an `embedding_bag` of its rows, a
bag a token; its gradient another one of the tokens' rows, a bag a feature; ∂loss/∂activation is a product of gathered
rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor, nn

from universality.sae.architectures.base import Architecture
from universality.sae.compute.auxiliary_loss import Auxiliary, AuxK, dense_auxiliary, leftover_of
from universality.sae.compute.batch_gradients import Batch, Step, decoder_bias
from universality.sae.compute.products import linear
from universality.sae.compute.selection import Rule, floor_of_batch
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges

ENTRIES_A_TASK = 2**28  # tokens × d_sae of one product, 1 GB in float32
GATHERED_ENTRIES = 2**16  # times d_in: rows of two matrices side by side, 128 MB each at d_in 512
SAMPLE_TOKENS = 32


@dataclass(frozen=True)
class Entries:
    """Pre-activations that count, by token and within a token by feature."""

    token: Tensor
    """int64 [n]."""
    feature: Tensor
    """int64 [n]."""
    values: Tensor
    """[n]."""
    shape: tuple[int, int]
    """(n_tokens, d_sae)."""

    @staticmethod
    def stacked(parts: list[Entries], tasks: list[slice], n_tokens: int) -> Entries:
        """Those of stretches of tokens, each counted from its first."""
        return Entries(
            torch.cat([part.token + task.start for part, task in zip(parts, tasks, strict=True)]),
            torch.cat([part.feature for part in parts]),
            torch.cat([part.values for part in parts]),
            (n_tokens, parts[0].shape[1]),
        )

    def where(self, keep: Tensor) -> Entries:
        """Those that a mask or an index names."""
        return replace(self, token=self.token[keep], feature=self.feature[keep], values=self.values[keep])

    def times(self, values: Tensor, rows: Tensor) -> Tensor:
        """Sparse [n_tokens, d_sae] with these values · rows [d_sae, d_in]."""
        return _product(self.token, self.feature, values, self.shape[0], rows)

    def transposed_times(self, values: Tensor, rows: Tensor) -> Tensor:
        """Its transpose · rows [n_tokens, d_in]."""
        order = self._by_feature
        return _product(self.feature[order], self.token[order], values[order], self.shape[1], rows)

    def sums(self, values: Tensor) -> Tensor:
        """Per feature the sum of these values [d_sae], added in the order of the tokens.

        On a GPU `index_add_` adds floating-point numbers in whichever order its threads finish, and two trainings that
        start alike would end in different bytes.
        """
        order = self._by_feature
        one = values.new_ones(1, 1)
        return _product(self.feature[order], torch.zeros_like(order), values[order], self.shape[1], one).squeeze(1)

    def counts(self, mask: Tensor) -> Tensor:
        """int64 [d_sae] per feature how many of its entries a mask names; whole numbers may be added in any order."""
        return torch.zeros(self.shape[1], dtype=torch.int64, device=mask.device).index_add_(
            0, self.feature, mask.long()
        )

    @cached_property
    def _by_feature(self) -> Tensor:
        """int64 [n] the entries by feature, and within a feature by token."""
        return torch.argsort(self.feature, stable=True)

    def products(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Row of the token · row of the feature, per entry [n]."""
        parts = ranges(len(self.values), GATHERED_ENTRIES)
        return torch.cat(
            [self.values.new_zeros(0)]
            + [torch.linalg.vecdot(rows[self.token[part]], columns[self.feature[part]]) for part in parts]
        )


def _product(row: Tensor, column: Tensor, values: Tensor, n_rows: int, dense: Tensor) -> Tensor:
    """Sparse [n_rows, …] · dense, from entries by row."""
    starts = torch.searchsorted(row, torch.arange(n_rows + 1, device=row.device))
    return nn.functional.embedding_bag(
        column, dense, starts, mode="sum", per_sample_weights=values, include_last_offset=True
    )


def select(pre: Tensor, rule: Rule) -> Entries:
    """The features that count by ``floor`` or ``k``; as `universality.sae.compute.selection.select`, on any device."""
    if rule.k is None:
        floor = 0 if rule.floor is None else rule.floor
        token, feature = (pre > floor).nonzero(as_tuple=True)
    else:
        values, columns = pre.topk(min(rule.k, pre.shape[1]), dim=1, sorted=False)
        columns = _first_of_equal(pre, values, columns).sort(dim=1).values
        kept = pre.gather(1, columns) > 0
        token, feature = kept.nonzero(as_tuple=True)[0], columns[kept]
    return Entries(token, feature, pre[token, feature], (pre.shape[0], pre.shape[1]))


def _first_of_equal(pre: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """The columns [n_tokens, k] of the k largest, the first where some are equal: `topk` promises no order of those."""
    bar = values.amin(dim=1, keepdim=True)
    tied = ((pre >= bar).sum(dim=1) > values.shape[1]) & (bar[:, 0] > 0)
    if not bool(tied.any()):
        return columns
    rows, least = pre[tied], bar[tied]
    above, equal = rows > least, rows == least
    kept = above | (equal & (equal.cumsum(dim=1) <= values.shape[1] - above.sum(dim=1, keepdim=True)))
    columns[tied] = kept.nonzero()[:, 1].reshape(-1, values.shape[1])
    return columns


def largest_of_batch(entries: Entries, total: int) -> Entries:
    """The ``total`` largest of all tokens together; of equal ones the first."""
    if len(entries.values) <= total:
        return entries
    order = torch.argsort(entries.values, descending=True, stable=True)[:total]
    return entries.where(order.sort().values)


def stock_step(
    kind: Architecture, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype = torch.float32
) -> Step:
    """Gradients of an architecture's loss on a batch; as `universality.sae.compute.sparse_gradients.sparse_step`."""
    n_tokens = len(batch.inputs)
    threshold = None if weights.log_threshold is None else weights.log_threshold.exp()
    rule = kind.training(threshold, n_tokens)
    entries = _encode(rule, weights, batch, products)
    at = None if threshold is None else threshold[entries.feature]
    acts = kind.activate(entries.values, at)
    step = _step(kind, weights, batch, entries, acts, at)
    if rule.total is not None and len(acts):
        step = replace(step, lowest=acts.min())
    aux = kind.aux if len(dead) else None
    if aux is None:
        return step
    extra = _auxiliary(aux, weights, batch, dead, step.output_grad)
    b_enc = step.b_enc.index_add(0, dead, extra.b_enc)
    b_dec = step.b_dec - extra.b_enc @ weights.W_enc[dead] if batch.pre_bias else step.b_dec
    return replace(step, rows=(*step.rows, extra.rows), b_enc=b_enc, b_dec=b_dec, auxiliary=extra.loss)


def _encode(rule: Rule, weights: Weights, batch: Batch, products: torch.dtype) -> Entries:
    encoder, bias = weights.W_enc.to(products), weights.b_enc.to(products)
    n_tokens, d_sae = len(batch.inputs), len(bias)
    tasks = ranges(n_tokens, max(1, ENTRIES_A_TASK // d_sae))

    def encode(rule: Rule) -> Entries:
        pre = (linear(batch.inputs[part].to(products), encoder, bias).to(batch.inputs.dtype) for part in tasks)
        return Entries.stacked([select(tile, rule) for tile in pre], tasks, n_tokens)

    if rule.total is None:
        return encode(rule)
    rows = batch.inputs[:: max(1, n_tokens // SAMPLE_TOKENS)].to(products)
    sample = linear(rows, encoder, bias).to(batch.inputs.dtype)
    share = 2 * rule.total / (n_tokens * d_sae)
    while True:
        floor = floor_of_batch(sample, share)
        entries = encode(replace(rule, floor=floor))
        if len(entries.values) >= rule.total or floor == 0:
            return largest_of_batch(entries, rule.total)
        share *= 4


def _step(
    kind: Architecture, weights: Weights, batch: Batch, entries: Entries, acts: Tensor, at: Tensor | None
) -> Step:
    """Gradients without the auxiliary loss."""
    d_sae = entries.shape[1]
    prefixes = kind.prefixes(d_sae)
    bounds = [0, *prefixes]
    segments = [(entries.feature >= low) & (entries.feature < high) for low, high in pairwise(bounds)]
    errors, error = [], -batch.targets
    for inside in segments:
        error = error + entries.where(inside).times(acts[inside], weights.W_dec)
        errors.append(error)
    value_grad = torch.zeros_like(acts)
    decoder_grad = torch.zeros_like(weights.W_dec)
    output_grad = torch.zeros_like(batch.targets)
    for error, inside in zip(reversed(errors), reversed(segments), strict=True):
        output_grad = output_grad + error * batch.error_factor
        part = entries.where(inside)
        value_grad[inside] = part.products(output_grad, weights.W_dec)
        decoder_grad += part.transposed_times(acts[inside], output_grad)
    grad, threshold_grad = kind.backward(entries.values, value_grad, at, len(batch.inputs))
    b_enc = entries.sums(grad)
    squared = torch.stack([error.square().sum(dtype=torch.float64) for error in errors])
    return Step(
        rows=(_added(entries.transposed_times(grad, batch.inputs), decoder_grad),),
        b_enc=b_enc,
        b_dec=decoder_bias(batch, output_grad, b_enc, weights.W_enc),
        log_threshold=None if threshold_grad is None else entries.sums(threshold_grad),
        squared_error=squared[-1],
        loss=squared.sum() / batch.inputs.numel() + kind.penalty(acts, len(batch.inputs)),
        firings=entries.counts(acts > 0),
        output_grad=errors[-1] * batch.error_factor,
    )


def _added(encoder: Tensor, decoder: Tensor):  # type: ignore[no-untyped-def]
    def rows(part: slice, encoder_grad: Tensor, decoder_grad: Tensor) -> None:
        encoder_grad += encoder[part]
        decoder_grad += decoder[part]

    return rows


def _auxiliary(aux: AuxK, weights: Weights, batch: Batch, dead: Tensor, output_grad: Tensor) -> Auxiliary:
    leftover, energy = leftover_of(batch, output_grad)
    encoder, bias = weights.W_enc[dead], weights.b_enc[dead]
    if aux.is_dense(len(dead)):
        pre = linear(batch.inputs, encoder, bias)
        return dense_auxiliary(aux, weights, batch, dead, pre, leftover, energy)
    tasks = ranges(len(batch.inputs), max(1, ENTRIES_A_TASK // len(dead)))
    parts = [select(linear(batch.inputs[part], encoder, bias), Rule(k=aux.k)) for part in tasks]
    found = Entries.stacked(parts, tasks, len(batch.inputs))
    entries = replace(found, feature=dead[found.feature], shape=(len(batch.inputs), len(weights.b_enc)))
    values = entries.values
    error = entries.times(values, weights.W_dec) - leftover
    grad = error * (2 * aux.weight / energy)
    value_grad = entries.products(grad, weights.W_dec)
    rows = _added(entries.transposed_times(value_grad, batch.inputs), entries.transposed_times(values, grad))
    return Auxiliary(error.square().sum() / energy, entries.sums(value_grad)[dead], rows)
