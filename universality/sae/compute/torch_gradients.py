"""Gradients by (indices, values) on a GPU, by PyTorch's own operators or Triton's kernels; on a CPU to test them.

Entries of the codes are (token, feature, pre-activation), ordered by token. The reconstruction sums decoder rows by
token; its gradient sums the tokens' rows by feature (`SparseSum`); ∂loss/∂activation is a product of gathered rows.
Kernels (`universality.sae.compute.triton_kernels`, `triton_encoders`) replace these sums and the encoder where Triton
runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from universality.sae.architectures.base import Architecture, AuxK, FiringRule
from universality.sae.compute.auxiliary_loss import Auxiliary, dense_auxiliary, is_dense, leftover_of
from universality.sae.compute.batch_gradients import Batch, Step, decoder_bias
from universality.sae.compute.products import linear
from universality.sae.compute.selection import floor_of_batch
from universality.sae.compute.sparse_sums import EntryRows, SparseSum, entry_products, starts_of, sum_values
from universality.sae.compute.triton_choice import uses_kernels
from universality.sae.compute.weights import Weights
from universality.sae.compute.workers import ranges

ENTRIES_A_TASK = 2**28  # tokens × d_sae of one product, 1 GB in float32
GATHERED_ENTRIES = 2**16  # entries whose rows of two matrices are gathered at once, 128 MB each at d_in 512
SAMPLE_TOKENS = 32


@dataclass(frozen=True)
class Entries:
    """Pre-activations that count, ordered by token and within a token by feature."""

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
        """Concatenate the entries of stretches of tokens, each counted from its first token."""
        return Entries(
            torch.cat([part.token + task.start for part, task in zip(parts, tasks, strict=True)]),
            torch.cat([part.feature for part in parts]),
            torch.cat([part.values for part in parts]),
            (n_tokens, parts[0].shape[1]),
        )

    def where(self, selected: Tensor) -> Entries:
        """Entries selected by a mask or by indices."""
        return replace(self, token=self.token[selected], feature=self.feature[selected], values=self.values[selected])

    def times(self, values: Tensor, rows: Tensor) -> Tensor:
        """Sparse [n_tokens, d_sae] with these values · rows [d_sae, d_in]."""
        return SparseSum(self._token_starts, None, self.feature, values, rows).matrix

    def by_feature(self, values: Tensor, rows: Tensor, row_of_entry: Tensor | None = None) -> SparseSum:
        """The transpose of that matrix · rows [n_tokens, d_in], or other rows if one is named for each entry."""
        row_of_entry = self.token if row_of_entry is None else row_of_entry
        return SparseSum(self._feature_starts, self._by_feature, row_of_entry, values, rows)

    def sums(self, values: Tensor) -> Tensor:
        """Sum values by feature [d_sae], in the order of the tokens."""
        return sum_values(self._feature_starts, self._by_feature, values)

    def counts(self, mask: Tensor) -> Tensor:
        """Number of each feature's entries that a mask selects, int64 [d_sae]."""
        # whole numbers give the same sum in any order
        return torch.zeros(self.shape[1], dtype=torch.int64, device=mask.device).index_add_(
            0, self.feature, mask.long()
        )

    @cached_property
    def _by_feature(self) -> Tensor:
        """Order of the entries by feature, and within a feature by token; int64 [n]."""
        return torch.argsort(self.feature, stable=True)

    @cached_property
    def _token_starts(self) -> Tensor:
        return starts_of(self.token, self.shape[0])

    @cached_property
    def _feature_starts(self) -> Tensor:
        return starts_of(self.feature[self._by_feature], self.shape[1])

    def products(self, row_of_entry: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Dot product of a row, named for each entry, and the row of its feature [n]."""
        stretches = ranges(len(self.values), GATHERED_ENTRIES)
        return entry_products(row_of_entry, rows, self.feature, columns, stretches)


def select(pre: Tensor, rule: FiringRule) -> Entries:
    """Select as `universality.sae.compute.selection.select` does, on any device."""
    if rule.k is None:
        floor = 0 if rule.floor is None else rule.floor
        token, feature = (pre > floor).nonzero(as_tuple=True)
    else:
        values, columns = pre.topk(min(rule.k, pre.shape[1]), dim=1, sorted=False)
        columns = _first_of_equal(pre, values, columns).sort(dim=1).values
        positive = pre.gather(1, columns) > 0
        token, feature = positive.nonzero(as_tuple=True)[0], columns[positive]
    return Entries(token, feature, pre[token, feature], (pre.shape[0], pre.shape[1]))


def _first_of_equal(pre: Tensor, values: Tensor, columns: Tensor) -> Tensor:
    """Columns [n_tokens, k] of the k largest, where `topk` may have chosen any of those that are equal."""
    least = values.amin(dim=1, keepdim=True)
    # Ties at or below 0 do not matter, since nothing there fires; in float32 rows with a tie above 0 are rare.
    tied = ((pre >= least).sum(dim=1) > values.shape[1]) & (least[:, 0] > 0)
    if not bool(tied.any()):
        return columns
    above, equal = pre[tied] > least[tied], pre[tied] == least[tied]
    first = above | (equal & (equal.cumsum(dim=1) <= values.shape[1] - above.sum(dim=1, keepdim=True)))
    columns[tied] = first.nonzero()[:, 1].reshape(-1, values.shape[1])
    return columns


def largest_of_batch(entries: Entries, total: int) -> Entries:
    """Select the ``total`` largest entries of all tokens together; ties in favour of the earlier."""
    if len(entries.values) <= total:
        return entries
    order = torch.argsort(entries.values, descending=True, stable=True)[:total]
    return entries.where(order.sort().values)


def torch_step(
    architecture: Architecture, weights: Weights, batch: Batch, dead: Tensor, products: torch.dtype = torch.float32
) -> Step:
    """Compute the same as `universality.sae.compute.sparse_gradients.sparse_step`, on any device."""
    n_tokens = len(batch.inputs)
    threshold = None if weights.log_threshold is None else weights.log_threshold.exp()
    rule = architecture.training(threshold, n_tokens)
    entries = _encode(rule, weights, batch, products)
    thresholds = None if threshold is None else threshold[entries.feature]
    acts = architecture.activate(entries.values, thresholds)
    step = _step(architecture, weights, batch, entries, acts, thresholds)
    if rule.total is not None and len(acts):
        step = replace(step, lowest=acts.min())
    if architecture.aux is None or not len(dead):
        return step
    extra = _auxiliary(architecture.aux, weights, batch, dead, step.output_grad)
    return extra.added_to(step, weights, batch, dead)


def _encode(rule: FiringRule, weights: Weights, batch: Batch, products: torch.dtype) -> Entries:
    kernels = products != torch.float64 and uses_kernels(batch.inputs)
    inputs, encoder = (tensor.to(products).contiguous() for tensor in (batch.inputs, weights.W_enc))
    if kernels and rule.k is not None:
        from universality.sae.compute import triton_encoders

        if rule.k <= triton_encoders.LARGEST_K:
            return _largest_by_kernel(rule.k, inputs, encoder, weights.b_enc)
    n_tokens, d_sae = len(inputs), len(encoder)
    bias = weights.b_enc.to(products)
    tasks = ranges(n_tokens, max(1, ENTRIES_A_TASK // d_sae))

    def encode(rule: FiringRule) -> Entries:
        above = _above_by_kernel(rule, inputs, encoder, weights.b_enc) if kernels else None
        if above is not None:
            return above
        pre = (linear(inputs[part], encoder, bias).to(batch.inputs.dtype) for part in tasks)
        return Entries.stacked([select(tile, rule) for tile in pre], tasks, n_tokens)

    if rule.total is None:
        return encode(rule)
    sample = linear(inputs[:: max(1, n_tokens // SAMPLE_TOKENS)], encoder, bias).to(batch.inputs.dtype)
    share = 2 * rule.total / (n_tokens * d_sae)
    while True:
        floor = floor_of_batch(sample, share)  # exact nevertheless, see sparse_gradients._encode_batch
        entries = encode(replace(rule, floor=floor))
        if len(entries.values) >= rule.total or floor == 0:
            return largest_of_batch(entries, rule.total)
        share *= 4


def _largest_by_kernel(k: int, inputs: Tensor, encoder: Tensor, bias: Tensor) -> Entries:
    """The k largest of each token, those that are not positive included: no array's size depends on the values."""
    from universality.sae.compute.triton_encoders import encode_topk

    n_tokens, d_sae = len(inputs), len(encoder)
    k = min(k, d_sae)
    values, features = encode_topk(inputs, encoder, bias.float(), k)
    token = torch.arange(n_tokens, device=values.device)[:, None].expand(-1, k)
    return Entries(token.reshape(-1), features.view(-1), values.view(-1).to(bias.dtype), (n_tokens, d_sae))


def _above_by_kernel(rule: FiringRule, inputs: Tensor, encoder: Tensor, bias: Tensor) -> Entries | None:
    """Entries above a floor; None where a rule or so many entries need the pre-activations."""
    from universality.sae.compute.triton_encoders import encode_above

    if rule.k is not None:
        return None
    floor = torch.zeros_like(bias) if rule.floor is None else rule.floor
    above = encode_above(inputs, encoder, bias.float(), floor.float().expand(len(bias)).contiguous())
    if above is None:
        return None
    return Entries(above.token, above.feature, above.values.to(bias.dtype), (len(inputs), len(bias)))


def _step(
    architecture: Architecture,
    weights: Weights,
    batch: Batch,
    entries: Entries,
    acts: Tensor,
    thresholds: Tensor | None,
) -> Step:
    """Compute gradients without the auxiliary loss."""
    n_tokens, d_sae = entries.shape
    inner_bounds = architecture.prefixes(d_sae)[:-1]
    error, errors, output_row = -batch.targets, [], entries.token
    if not inner_bounds:
        errors = [error + entries.times(acts, weights.W_dec)]
    else:
        # Entries outside a segment get the value 0 instead of being left out, for which the CPU would wait for a GPU;
        # so it would to send the bounds there, which are compared one by one.
        segment = torch.zeros_like(entries.feature)
        for bound in inner_bounds:
            segment += entries.feature >= bound
        output_row = segment * n_tokens + entries.token
        for number in range(len(inner_bounds) + 1):
            error = error + entries.times(torch.where(segment == number, acts, 0), weights.W_dec)
            errors.append(error)
    # A feature gets the gradients of all prefixes that contain it: from the widest prefix down.
    of_prefixes = [error * batch.error_factor for error in errors]
    outputs = of_prefixes[-1:]
    for of_prefix in reversed(of_prefixes[:-1]):
        outputs.insert(0, outputs[0] + of_prefix)
    stacked = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    value_grad = entries.products(output_row, stacked, weights.W_dec)
    grad, threshold_grad = architecture.backward(entries.values, value_grad, thresholds, n_tokens)
    b_enc = entries.sums(grad)
    squared = torch.stack([error.square().sum(dtype=torch.float64) for error in errors])
    rows = EntryRows(entries.by_feature(grad, batch.inputs), entries.by_feature(acts, stacked, output_row))
    return Step(
        rows=(rows,),
        b_enc=b_enc,
        b_dec=decoder_bias(batch, outputs[0], b_enc, weights.W_enc),
        log_threshold=None if threshold_grad is None else entries.sums(threshold_grad),
        squared_error=squared[-1],
        loss=squared.sum() / batch.inputs.numel() + architecture.penalty(acts, n_tokens),
        firings=entries.counts(acts > 0),
        output_grad=of_prefixes[-1],
    )


def _auxiliary(aux: AuxK, weights: Weights, batch: Batch, dead: Tensor, output_grad: Tensor) -> Auxiliary:
    leftover, energy = leftover_of(batch, output_grad)
    encoder, bias = weights.W_enc[dead], weights.b_enc[dead]
    if is_dense(aux, len(dead)):
        pre = linear(batch.inputs, encoder, bias)
        return dense_auxiliary(aux, weights, batch, dead, pre, leftover, energy)
    tasks = ranges(len(batch.inputs), max(1, ENTRIES_A_TASK // len(dead)))
    parts = [select(linear(batch.inputs[part], encoder, bias), FiringRule(k=aux.k)) for part in tasks]
    among_dead = Entries.stacked(parts, tasks, len(batch.inputs))
    entries = replace(among_dead, feature=dead[among_dead.feature], shape=(len(batch.inputs), len(weights.b_enc)))
    values = entries.values
    error = entries.times(values, weights.W_dec) - leftover
    grad = error * (2 * aux.weight / energy)
    value_grad = entries.products(entries.token, grad, weights.W_dec)
    rows = EntryRows(entries.by_feature(value_grad, batch.inputs), entries.by_feature(values, grad))
    return Auxiliary(error.square().sum() / energy, entries.sums(value_grad)[dead], rows)
