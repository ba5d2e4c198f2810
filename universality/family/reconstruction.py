"""Reconstruction tests: effects of removing and inserting features on the narrower SAE's reconstruction error.

Let x be an activation, x̂ the narrower SAE's reconstruction and r = x − x̂ its residual. On a token, parent i adds a·d
and child j adds b·e. Summed over tokens:

- *recovered* (of an edge, over tokens where both fire) is Q / |P|. P is the growth of the squared error when the parent
  is removed, |r + a·d|² − |r|² = a²|d|² + 2a rᵀd. Q is its decrease when the child is inserted in the parent's place,
  2b (r + a·d)ᵀe − b²|e|². At 1 the child replaces the parent fully, above 1 it improves on it, below 0 it does harm.
- *missing* (of a child, over tokens where it fires) is Σ b rᵀe / Σ b²|e|², the share of what it writes that the
  narrower SAE lacks. Inserting the child beside all others lowers the error iff this is above 1/2, which is the test of
  Leask et al. for a *novel* latent. A child that only repeats what is already reconstructed has 0.
- *presence* (of a child without a parent, towards the feature i with the nearest decoder row) is the mean of d_iᵀx on
  the child's tokens above the mean on all tokens, divided by the same on the tokens where i fires.

Stores do not hold the SAE's bias; the mean of the residual over all tokens, the best constant, replaces it.

Without activations the wider SAE's reconstruction takes the place of x, up to a constant. This is a *proxy*: variance
that neither SAE explains does not count, and the child is part of the target.

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
from universality.compiled import share_out
from universality.errors import MismatchError
from universality.family import family_kernels as kernels
from universality.family.stored_firings import token_rows
from universality.progress import progress
from universality.similarity.engine.store_rows import Rows

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

Activations: TypeAlias = Iterable[npt.ArrayLike]
BATCH = 1 << 14  # tokens at a time if the activations do not come in batches


@dataclass(frozen=True, eq=False)
class Trial:
    """Edges and orphans to test between two widths.

    Parameters
    ----------
    stores
        The narrower and the wider store.
    parent, child
        [n_edges] candidate edges, by parent.
    nearest
        [n_b] feature of the narrower store with which an orphan is compared, -1 for all other features.
    """

    stores: tuple["FeatureStore", "FeatureStore"]
    parent: IntArray
    child: IntArray
    nearest: IntArray


@dataclass(frozen=True, eq=False)
class TrialResults:
    """Results of a trial.

    Parameters
    ----------
    recovered
        float64 [n_edges], see the module's docstring.
    missing
        float64 [n_b]; NaN for a feature that never fires.
    covered
        float64 [n_b] share of an orphan's firings on which its ``nearest`` fires; NaN for other features.
    presence
        float64 [n_b]; NaN for features that are no orphans.
    """

    recovered: FloatArray
    missing: FloatArray
    covered: FloatArray
    presence: FloatArray


def reconstruct(trials: Sequence[Trial], activations: Activations | None = None) -> list[TrialResults]:
    """Run all trials in one pass over the tokens.

    Parameters
    ----------
    trials
        Trials on stores of the same tokens.
    activations
        Arrays [n, d_in] of the stores' tokens in order; None for the proxy.

    Raises
    ------
    MismatchError
        When the activations are of another width or another number of tokens.
    """
    if not trials:
        return []
    sums = [_TrialSums(trial) for trial in trials]
    # A store takes part in several trials; it is read and rebuilt once per batch.
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
        for of_trial in sums:
            a, b = (id(store) for store in of_trial.trial.stores)
            of_trial.add(rebuilt[b] if given is None else given, rebuilt[a], rows[a], rows[b])
    return [of_trial.result(total) for of_trial in sums]


def _batches(
    store: "FeatureStore", d_in: int, activations: Activations | None
) -> Iterator[tuple[int, int, npt.NDArray[np.float32] | None]]:
    """Yield batches: first token, end, and activations [n, d_in] if there are any."""
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
    """Reconstruct tokens without the bias into ``out`` [n, d_in]; allocating it anew would cost more than the loop."""
    share_out(lambda part: kernels.rebuild(_cut(rows, part), decoder, out[part]), _shares(len(out)))
    return out


def _shares(n: int) -> list[slice]:
    """Cut n tokens into one slice per thread."""
    cuts = np.linspace(0, n, get_num_threads() + 1).astype(int)
    return [slice(low, high) for low, high in pairwise(cuts.tolist())]


def _cut(rows: Rows, part: slice) -> Rows:
    return Rows(rows.start[part], rows.stop[part], rows.indices, rows.data)


class _TrialSums:
    """Sums of one trial over the tokens.

    Every thread adds to arrays of its own, always in the same order, so that no lock is needed and the result depends
    on the number of threads only.
    """

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.d_a, self.d_b = (store.decoder_rows() for store in trial.stores)
        n_a, n_b = len(self.d_a), len(self.d_b)
        self.order = np.argsort(trial.parent, kind="stable")
        self.first = np.searchsorted(trial.parent[self.order], np.arange(n_a + 1)).astype(np.int64)
        self.partner = trial.child[self.order]
        stem = np.full(n_a, np.nan)  # NaN marks features that are no orphan's nearest: the loop skips them
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
        """Add a batch of tokens, one slice per thread."""
        decoders, edges = (self.d_a, self.d_b), (self.first, self.partner, self.trial.nearest)

        def task(item: tuple[slice, tuple[FloatArray, ...]]) -> None:
            part, sums = item
            rows = _cut(rows_a, part), _cut(rows_b, part)
            kernels.add_reconstruction(target[part], rebuilt[part], *rows, *decoders, *edges, sums)

        share_out(task, zip(_shares(len(target)), self.sums, strict=True))

    def result(self, total: FloatArray | None) -> TrialResults:
        """Compute the results; ``total`` is the sum of the activations over all tokens [d_in], None for the proxy."""
        edge, child, orphan, stem = (sum(of_threads) for of_threads in zip(*self.sums, strict=True))
        low, high = (store.moments() for store in self.trial.stores)
        mean = (high.sum @ self.d_b if total is None else total) / low.n_tokens
        centre = mean - low.sum @ self.d_a / low.n_tokens  # mean residual: takes the place of the bias
        # Sums were taken with the uncentred residual r; subtracting centreᵀd corrects them without a second pass.
        recovered = np.empty(self.partner.size)
        recovered[self.order] = self._recovered(edge, self.d_a @ centre, self.d_b @ centre)
        along = child[:, 0] - child[:, 2] * (self.d_b @ centre)
        missing = _ratio(along, child[:, 1] * _squares(self.d_b))
        return TrialResults(recovered, missing, *self._presence(orphan, stem, self.d_a @ mean, low.count, high.count))

    def _recovered(self, edge: FloatArray, centre_a: FloatArray, centre_b: FloatArray) -> FloatArray:
        parent, child = self.trial.parent[self.order], self.partner
        a_along, b_along, ab, a, b, aa, bb = edge.T
        taken_out = aa * _squares(self.d_a)[parent] + 2 * (a_along - a * centre_a[parent])
        cross = _dots(self.d_a, self.d_b, parent, child)
        put_in = 2 * (b_along - b * centre_b[child]) + 2 * ab * cross - bb * _squares(self.d_b)[child]
        # |P|: removing a harmful parent lowers the error, and the sign must stay that of what the child does.
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
    """Compute part / whole where the whole is positive."""
    positive = whole > 0
    return np.where(positive, part / np.where(positive, whole, 1), otherwise)


def _squares(rows: npt.NDArray[np.float32]) -> FloatArray:
    return np.einsum("nd,nd->n", rows, rows, dtype=np.float64)


def _dots(x: npt.NDArray[np.float32], y: npt.NDArray[np.float32], i: IntArray, j: IntArray) -> FloatArray:
    """Compute x[i]ᵀy[j] for pairs, a bounded number at a time."""
    step = max(1, (1 << 25) // (8 * x.shape[1]))
    parts = [np.einsum("pd,pd->p", x[i[p : p + step]], y[j[p : p + step]], dtype=np.float64)
             for p in range(0, i.size, step)]  # fmt: skip
    return np.concatenate([np.zeros(0), *parts])
