"""The reconstruction tests: what the narrower SAE's reconstruction gains and lacks, summed over the tokens.

With x an activation, x̂ the narrower SAE's reconstruction and r = x − x̂ its residual, parent i adds a·d and child j
adds b·e on a token:

- *recovered* (of an edge, over the tokens where both fire): Q / |P|. P is how much the squared error grows when the
  parent is taken out, |r + a·d|² − |r|² = a²|d|² + 2a rᵀd; Q is how much it falls again when the child is inserted in
  its place, 2b (r + a·d)ᵀe − b²|e|². 1: the child does the parent's work; above: and more; below 0: it does harm.
- *missing* (of a child, over the tokens where it fires): Σ b rᵀe / Σ b²|e|², the share of what it writes that the
  narrower SAE lacks. Inserting it beside all others lowers the error iff this is above 1/2, which is Leask et al.'s
  test of a *novel* latent; one that only rewrites what is there already has 0.
- *presence* (of a child without a parent, towards feature i of the nearest decoder row): how far the activations on
  the child's tokens stand above average along d_i, as a share of how far they do where i fires.

Stores do not hold the SAE's bias; the mean of the residual over all tokens, the best constant, stands for it.

Without activations the wider SAE's reconstruction stands in for x, up to a constant. That is a *proxy*: what neither
SAE explains does not count, and the child is part of what it is measured against.

References: Leask et al. 2025 (stitching); Tree SAE 2026 (coverage and reconstruction).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import get_num_threads

from universality.arrays import FloatArray, IntArray
from universality.errors import MismatchError
from universality.family import family_kernels as kernels
from universality.family.stored_firings import share_out, token_rows
from universality.progress import progress
from universality.similarity.engine.store_rows import Rows

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

Activations: TypeAlias = Iterable[npt.ArrayLike]
BATCH = 1 << 14  # tokens at a time where no activations set the pace


@dataclass(frozen=True, eq=False)
class Trial:
    """What is to be tested between two widths.

    Parameters
    ----------
    stores
        The narrower and the wider one.
    parent, child
        [n_edges] candidate edges, by parent.
    nearest
        [n_b] feature of the narrower store that a feature without a parent is held against, -1 for all others.
    """

    stores: tuple["FeatureStore", "FeatureStore"]
    parent: IntArray
    child: IntArray
    nearest: IntArray


@dataclass(frozen=True, eq=False)
class Tested:
    """Results of a trial.

    Parameters
    ----------
    recovered
        float64 [n_edges].
    missing
        float64 [n_b]; NaN for a feature that never fires.
    covered
        float64 [n_b] share of a feature's firings on which its ``nearest`` fires; NaN where it has none.
    presence
        float64 [n_b]; NaN where it has no ``nearest``.
    """

    recovered: FloatArray
    missing: FloatArray
    covered: FloatArray
    presence: FloatArray


def reconstruct(trials: Sequence[Trial], activations: Activations | None = None) -> list[Tested]:
    """Pass once over the tokens for all trials.

    Parameters
    ----------
    trials
        All over the same tokens.
    activations
        Arrays [n, d_in] whose rows are the stores' tokens in order; None for the proxy.

    Raises
    ------
    MismatchError
        When the activations are of another width or another number of tokens.
    """
    if not trials:
        return []
    walks = [_Walk(trial) for trial in trials]
    stores = {id(store): store for trial in trials for store in trial.stores}
    decoders = {key: store.decoder_rows() for key, store in stores.items()}
    first = trials[0].stores[0]
    room = {key: np.empty((BATCH, decoder.shape[1]), np.float32) for key, decoder in decoders.items()}
    total = None if activations is None else np.zeros(decoders[id(first)].shape[1])
    for low, high, given in _batches(first, decoders[id(first)].shape[1], activations):
        if given is not None:
            total += given.sum(axis=0, dtype=np.float64)
        rows = {key: token_rows(store, store.rows(slice(low, high))) for key, store in stores.items()}
        if high - low > BATCH:
            room = {key: np.empty((high - low, out.shape[1]), np.float32) for key, out in room.items()}
        rebuilt = {key: _rebuilt(rows[key], decoders[key], room[key][: high - low]) for key in stores}
        for walk in walks:
            a, b = (id(store) for store in walk.trial.stores)
            walk.add(rebuilt[b] if given is None else given, rebuilt[a], rows[a], rows[b])
    return [walk.result(total) for walk in walks]


def _batches(
    store: "FeatureStore", d_in: int, activations: Activations | None
) -> Iterator[tuple[int, int, npt.NDArray[np.float32] | None]]:
    """First token, the one after the last, and their activations [n, d_in] where there are any."""
    bar = progress(total=store.n_tokens, desc="test edges", unit="token", unit_scale=True)
    with bar:
        if activations is None:
            for low in range(0, store.n_tokens, BATCH):
                high = min(low + BATCH, store.n_tokens)
                yield low, high, None
                bar.update(high - low)
            return
        low = 0
        for given in activations:
            target = np.ascontiguousarray(given, dtype=np.float32)
            if target.ndim != 2 or target.shape[1] != d_in or low + len(target) > store.n_tokens:
                raise MismatchError(
                    f"activations: expected arrays [n, {d_in}], {store.n_tokens} tokens in all as in {store.path}, "
                    f"found shape {target.shape} after {low} tokens"
                )
            if len(target):
                yield low, low + len(target), target
            low += len(target)
            bar.update(len(target))
        if low != store.n_tokens:
            raise MismatchError(f"activations: expected the {store.n_tokens} tokens of {store.path}, found {low}")


def _rebuilt(rows: Rows, decoder: npt.NDArray[np.float32], out: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What an SAE makes of tokens, without its bias, in ``out`` [n, d_in]: fresh memory would cost more than this."""
    share_out(lambda part: kernels.rebuild(_cut(rows, part), decoder, out[part]), _shares(len(out)))
    return out


def _shares(n: int) -> list[slice]:
    """n tokens in a portion for each thread."""
    cuts = np.linspace(0, n, get_num_threads() + 1).astype(int)
    return [slice(low, high) for low, high in pairwise(cuts.tolist())]


def _cut(rows: Rows, part: slice) -> Rows:
    return Rows(rows.start[part], rows.stop[part], rows.indices, rows.data)


class _Walk:
    """Sums of one trial; every thread has its own."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.d_a, self.d_b = (store.decoder_rows() for store in trial.stores)
        n_a, n_b = len(self.d_a), len(self.d_b)
        self.order = np.argsort(trial.parent, kind="stable")
        self.first = np.searchsorted(trial.parent[self.order], np.arange(n_a + 1)).astype(np.int64)
        self.partner = trial.child[self.order]
        stem = np.full(n_a, np.nan)
        stem[trial.nearest[trial.nearest >= 0]] = 0
        self.sums = [self._empty(n_b, stem) for _ in range(get_num_threads())]

    def _empty(self, n_b: int, stem: FloatArray) -> tuple[FloatArray, ...]:
        return (
            np.zeros((self.partner.size, kernels.EDGE_SUMS)),
            np.zeros((n_b, kernels.CHILD_SUMS)),
            np.zeros((n_b, kernels.ORPHAN_SUMS)),
            stem.copy(),
        )

    def add(
        self, target: npt.NDArray[np.float32], rebuilt: npt.NDArray[np.float32], rows_a: Rows, rows_b: Rows
    ) -> None:
        """Add a batch of tokens, a share of it on every thread."""
        decoders, edges = (self.d_a, self.d_b), (self.first, self.partner, self.trial.nearest)

        def task(item: tuple[slice, tuple[FloatArray, ...]]) -> None:
            part, sums = item
            rows = _cut(rows_a, part), _cut(rows_b, part)
            kernels.add_reconstruction(target[part], rebuilt[part], *rows, *decoders, *edges, sums)

        share_out(task, zip(_shares(len(target)), self.sums, strict=True))

    def result(self, total: FloatArray | None) -> Tested:
        """The tests, from the sums over all tokens; ``total`` is that of the activations [d_in], None for the proxy."""
        edge, child, orphan, stem = (sum(some) for some in zip(*self.sums, strict=True))
        low, high = (store.moments() for store in self.trial.stores)
        mean = (high.sum @ self.d_b if total is None else total) / low.n_tokens
        centre = mean - low.sum @ self.d_a / low.n_tokens
        recovered = np.empty(self.partner.size)
        recovered[self.order] = self._recovered(edge, self.d_a @ centre, self.d_b @ centre)
        along = child[:, 0] - child[:, 2] * (self.d_b @ centre)
        missing = _ratio(along, child[:, 1] * _squares(self.d_b))
        return Tested(recovered, missing, *self._presence(orphan, stem, self.d_a @ mean, low.count, high.count))

    def _recovered(self, edge: FloatArray, centre_a: FloatArray, centre_b: FloatArray) -> FloatArray:
        parent, child = self.trial.parent[self.order], self.partner
        a_along, b_along, ab, a, b, aa, bb = edge.T
        taken_out = aa * _squares(self.d_a)[parent] + 2 * (a_along - a * centre_a[parent])
        cross = _dots(self.d_a, self.d_b, parent, child)
        put_in = 2 * (b_along - b * centre_b[child]) + 2 * ab * cross - bb * _squares(self.d_b)[child]
        return _ratio(put_in, np.abs(taken_out), 0.0)

    def _presence(
        self, orphan: FloatArray, stem: FloatArray, mean: FloatArray, count_a: IntArray, count_b: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        nearest = self.trial.nearest
        has = nearest >= 0
        i = np.where(has, nearest, 0)
        where_i, where_j = _ratio(stem[i], count_a[i]) - mean[i], _ratio(orphan[:, 0], count_b) - mean[i]
        covered = _ratio(orphan[:, 1], count_b)
        return np.where(has, covered, np.nan), np.where(has, _ratio(where_j, where_i), np.nan)


def _ratio(part: npt.NDArray, whole: npt.NDArray, otherwise: float = np.nan) -> FloatArray:
    """part / whole where the whole is positive."""
    positive = whole > 0
    return np.where(positive, part / np.where(positive, whole, 1), otherwise)


def _squares(rows: npt.NDArray[np.float32]) -> FloatArray:
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)


def _dots(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], i: IntArray, j: IntArray) -> FloatArray:
    """x[i]ᵀy[j] of pairs, a bounded number at a time."""
    step = max(1, (1 << 25) // (8 * x.shape[1]))
    parts = [np.einsum("pd,pd->p", x[i[p : p + step]], y[j[p : p + step]], dtype=np.float64)
             for p in range(0, i.size, step)]  # fmt: skip
    return np.concatenate([np.zeros(0), *parts])
