"""Substitution: a feature of another dictionary stands in for a feature of this one, in this one's forward pass.

The code f of A's feature is replaced by f' and the SAE's error is kept: x' = x + (f' − f) d. In its place stands

- *partner's code*: f' = s g, the code g of B's feature, scaled, on A's decoder row;
- *partner's direction*: f on B's decoder row e, mapped to A's space, x' = x + f (s M e − d);
- *second-best partner's code*: that of the feature of B with the highest r besides the partner;
- *best neuron*: f' = s n + c, the coordinate n of B's activations with the highest r with f;
- *random feature*: the code of a feature of B that fires about as often, scaled; several are drawn;
- *nothing*: f' = 0, the feature is ablated.

The scales s and c are least-squares fits of f (of d, for directions), and M is a linear map between the activations of
both models on the same tokens (`universality.statistics.activation_maps`), all fitted on the choosing half. A stand-in
that has nothing to do with the feature gets a scale near 0 and does what ablation does. Losses are of the reporting
half:

    kept = 1 − (L(stand-in) − L) / (L(nothing) − L),

1 for a perfect stand-in and 0 for one that costs what ablation costs. Stand-ins also fire where A's feature does not;
blocks in which only they fire are sampled too, and weighted by their number.

Codes are those of the stores, which keep the leading bits of their fractions (a relative error of 2⁻¹² by default).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.arrays import BoolArray, FloatArray, IntArray, evenly_spaced
from universality.errors import UniversalityError
from universality.progress import progress
from universality.statistics.activation_maps import MapKind
from universality.statistics.carried_loss import partner_scores
from universality.statistics.ratio_intervals import ratio_intervals
from universality.statistics.reporting_blocks import StoredBlocks, stored_blocks
from universality.statistics.stand_ins import (
    DIRECTION,
    NEURON,
    NOTHING,
    STAND_INS,
    StandIns,
    TokenValues,
    fit_stand_ins,
)

if TYPE_CHECKING:
    from universality.activations import ModelSite
    from universality.effects import ModelFeatures
    from universality.features.storage.store import FeatureStore
    from universality.matching import Match

ALL_SHARED = "all shared"
"""Name of the row of all shared features at once."""


@dataclass(frozen=True)
class PairSubstitution:
    """Cost of one stand-in for one feature."""

    row: int
    """Feature of A."""
    col: int
    """Its partner in B."""
    score: float
    """r on the choosing half."""
    sample: str
    """best or spread: how the pair was chosen."""
    stand_in: str
    """Name of the stand-in; see the module."""
    source: int
    """Feature or neuron that stands in; -1 for nothing."""
    n_firings: int
    """Firings of A's feature in the blocks that were run."""
    n_tokens: int
    """Tokens of the blocks in which A's feature fires that were run."""
    cost: float
    """Rise of the loss for each firing of A's feature, in nats, summed over all tokens."""
    cost_low: float
    cost_high: float
    """95% interval over groups of documents."""
    elsewhere: float
    """Part of the cost from blocks in which A's feature does not fire."""
    kept: float
    """1 − cost / cost of nothing; NaN where ablation does not raise the loss."""


@dataclass(frozen=True)
class PooledSubstitution:
    """Cost of one stand-in for several features."""

    features: str
    """Sample of pairs, each feature by itself ("best", "spread"), or "all shared" for all of them at once."""
    stand_in: str
    """Name of the stand-in; see the module."""
    n_pairs: int
    """Number of pairs."""
    cost: float
    """Mean over pairs of the cost of a firing, in nats; for all shared features at once, rise of a token's loss."""
    cost_low: float
    cost_high: float
    """95% interval over groups of documents."""
    kept: float
    kept_low: float
    kept_high: float
    """1 − cost / cost of nothing, with its interval over groups of documents, paired."""


@dataclass(frozen=True)
class Substitution:
    """Result of `substitute`."""

    model: str
    """Name of the model whose features were replaced."""
    other: str
    """Name of the model whose features stood in."""
    threshold: float
    """Least r of the features that were replaced all at once."""
    n_shared: int
    """Number of these features; no row is of "all shared" where there are none."""
    map_kind: MapKind
    """Kind of the map between activations."""
    map_explained: float
    """Share of the variance of A's activations that B's, mapped, explain on the reporting half."""
    n_tokens: int
    """Tokens of the reporting half on which all shared features were replaced."""
    n_groups: int
    """Independent groups of documents among the blocks that were run."""
    pairs: tuple[PairSubstitution, ...]
    """One for each pair and stand-in."""
    pooled: tuple[PooledSubstitution, ...]
    """One for each sample and stand-in, and for all shared features at once."""

    def to_frame(self) -> pd.DataFrame:
        """Tabulate single pairs."""
        return pd.DataFrame([asdict(row) for row in self.pairs])

    def pooled_frame(self) -> pd.DataFrame:
        """Tabulate the samples and all shared features."""
        return pd.DataFrame([asdict(row) for row in self.pooled])

    def as_dict(self) -> dict[str, Any]:
        """Values for JSON, with None for NaN."""
        found = asdict(self)
        for table in ("pairs", "pooled"):
            found[table] = [{name: _json(value) for name, value in row.items()} for row in found[table]]
        return {name: _json(value) for name, value in found.items()}

    def of(self, features: str, stand_in: str) -> PooledSubstitution:
        """Return one pooled row.

        Raises
        ------
        UniversalityError
            If there is none.
        """
        for row in self.pooled:
            if (row.features, row.stand_in) == (features, stand_in):
                return row
        known = ", ".join(sorted({row.features for row in self.pooled}))
        raise UniversalityError(f"no stand-in {stand_in!r} of features {features!r}; measured were {known}")


def substitute(
    a: ModelFeatures,
    b: ModelFeatures,
    match: Match,
    *,
    threshold: float = 0.7,
    n_pairs: int = 30,
    n_blocks: int = 128,
    blocks_a_pair: int = 16,
    draws: int = 2,
    map_kind: MapKind = "affine",
    seed: int = 0,
) -> Substitution:
    """Let features of B stand in for their partners in A's forward pass, and measure the loss.

    Parameters
    ----------
    a, b
        Features of both models on the same held-out text, with the splits "choose" and "report". A's are of an SAE.
        For two SAE seeds of one model, the sites are the same.
    match
        Pairs of both stores (either may be on the left), made on the choosing half.
    threshold
        Least r of the pairs whose features are all replaced at once.
    n_pairs
        Pairs that are replaced one at a time: half of them the best, half spread evenly over the scores of the others.
    n_blocks
        Largest number of blocks of each half for the fits and for all shared features at once, evenly spaced.
    blocks_a_pair
        Largest number of blocks for each pair in which A's feature fires, and again for each stand-in in which only the
        stand-in fires.
    draws
        Random features for each pair.
    map_kind
        Kind of map between the activations of B and A.
    seed
        Seed for random features, sampled blocks and resampled groups.

    Returns
    -------
    Substitution

    Raises
    ------
    MismatchError
        If the match does not hold both stores or was not made on the choosing half, or a half has no documents.
    UniversalityError
        If the SAE is a transcoder, or an argument is out of range.
    """
    _check(a, n_pairs, n_blocks, blocks_a_pair, draws, threshold)
    rows, cols, scores = _pairs(match, a.store, b.store)
    halves = {split: stored_blocks(a, split) for split in ("choose", "report")}
    some = {split: part.take(evenly_spaced(len(part), n_blocks)) for split, part in halves.items()}
    samples = _samples(scores, n_pairs)
    shared = np.flatnonzero(scores >= threshold)
    used = np.unique(np.concatenate([*samples.values(), shared]))
    read = _Reader(b.site, a.store, b.store)
    stand_ins = fit_stand_ins(
        a.require_sae(), (a.store, b.store), rows[used], cols[used], read(some["choose"]),
        _activations(a.site, some["choose"]), map_kind=map_kind, draws=draws, seed=seed,
    )  # fmt: skip
    run = _Run(a.site, stand_ins, read, halves["report"], blocks_a_pair, seed)
    place = {int(pair): p for p, pair in enumerate(used)}
    costs = {name: run.one_by_one([place[int(pair)] for pair in pairs]) for name, pairs in samples.items()}
    pooled = [row for name, found in costs.items() for row in _pooled(name, found, seed)]
    if shared.size:
        together = run.together(np.array([place[int(pair)] for pair in shared]), some["report"])
        pooled += _pooled(ALL_SHARED, [together], seed, shared.size)
    return Substitution(
        model=a.site.name,
        other=b.site.name,
        threshold=threshold,
        n_shared=int(shared.size),
        map_kind=map_kind,
        map_explained=stand_ins.activation_map.explained_variance(
            read(some["report"]).neurons, _activations(a.site, some["report"])
        ),
        n_tokens=some["report"].blocks.n_tokens,
        n_groups=halves["report"].n_groups,
        pairs=tuple(
            row
            for name, found in costs.items()
            for pair, cost in zip(samples[name], found, strict=True)
            for row in _rows(name, cost, (int(rows[pair]), int(cols[pair]), float(scores[pair])), seed)
        ),
        pooled=tuple(pooled),
    )


@dataclass(frozen=True, eq=False)
class _Cost:
    """Rise of the loss with each stand-in (the draws of random features averaged), summed over groups of documents."""

    firing: FloatArray
    """[n_stand_ins, n_groups] in blocks in which A's feature fires."""
    elsewhere: FloatArray
    """[n_stand_ins, n_groups] in the other blocks."""
    per: FloatArray
    """[n_groups] firings of A's feature, or tokens, that costs are stated for."""
    source: IntArray
    """[n_stand_ins] feature or neuron that stands in."""
    n_firings: int = 0
    n_tokens: int = 0

    @cached_property
    def total(self) -> FloatArray:
        return self.firing + self.elsewhere


@dataclass(frozen=True)
class _Reader:
    """Reads what stand-ins are computed from."""

    other: ModelSite
    store: FeatureStore
    other_store: FeatureStore

    def __call__(self, part: StoredBlocks) -> TokenValues:
        return TokenValues(part.codes(self.store), part.codes(self.other_store), _activations(self.other, part))


@dataclass(frozen=True, eq=False)
class _Run:
    """Runs A with stand-ins on the reporting half."""

    site: ModelSite
    stand_ins: StandIns
    read: _Reader
    report: StoredBlocks
    blocks_a_pair: int
    seed: int

    def one_by_one(self, pairs: Sequence[int]) -> list[_Cost]:
        """Replace the feature of each pair alone."""
        return [self._one(pair) for pair in progress(pairs, desc="substitution, one by one", total=len(pairs))]

    def together(self, pairs: IntArray, part: StoredBlocks) -> _Cost:
        """Replace the features of all pairs at once."""
        bar = progress(total=len(part), desc="substitution, all shared", unit="block")
        with bar:
            rise = self._rise(pairs, part, range(len(self.stand_ins.each)), bar.update)
        summed = self._collapsed(rise @ part.by_group(self.report.units))
        tokens = (part.blocks.length - 1).astype(np.float64) @ part.by_group(self.report.units)
        return _Cost(summed, np.zeros_like(summed), tokens, np.full(len(STAND_INS), -1), 0, part.blocks.n_tokens)

    def _one(self, pair: int) -> _Cost:
        rng = np.random.default_rng([self.seed, pair])
        fires = self._fires(self.read.store, int(self.stand_ins.rows[pair]))
        drawn, weight = self._drawn(fires > 0, self.blocks_a_pair, rng)
        inside, each = self.report.take(drawn), self.stand_ins.each
        in_group = weight * inside.by_group(self.report.units)
        firing = self._rise(np.array([pair]), inside, range(len(each))) @ in_group
        elsewhere = np.stack([self._elsewhere(pair, at, fires == 0, rng) for at in range(len(each))])
        source = self._collapsed(np.array([stand_in.source[pair] for stand_in in each]), first=True)
        return _Cost(
            self._collapsed(firing),
            self._collapsed(elsewhere),
            fires[drawn] @ in_group,
            source,
            int(fires[drawn].sum()),
            inside.blocks.n_tokens,
        )

    def _elsewhere(self, pair: int, at: int, silent: BoolArray, rng: np.random.Generator) -> FloatArray:
        """Return the rise of the loss [n_groups] in blocks in which only the stand-in fires."""
        stand_in = self.stand_ins.each[at]
        if stand_in.name in (NOTHING, DIRECTION):  # these act where A's feature fires
            return np.zeros(self.report.n_groups)
        if stand_in.name != NEURON:
            silent = silent & (self._fires(self.read.other_store, int(stand_in.source[pair])) > 0)
        drawn, weight = self._drawn(silent, -(-self.blocks_a_pair // 2), rng)
        outside = self.report.take(drawn)
        rise: FloatArray = self._rise(np.array([pair]), outside, [at])[0] @ outside.by_group(self.report.units)
        return weight * rise

    def _rise(
        self, pairs: IntArray, part: StoredBlocks, which: Sequence[int], done: Callable[[int], Any] = lambda n: None
    ) -> FloatArray:
        """Return the rise of each block's summed loss with some stand-ins: [n_stand_ins, n_blocks]."""
        from universality.effects.repeated_passes import repeated_passes

        rise = np.zeros((len(which), len(part)))
        if not len(part):
            return rise
        for index, batch in repeated_passes(self.site, part.blocks):
            values, plain = self.read(part.take(index)), batch.block_losses()
            like = None if self.stand_ins.sae.normalize_activations == "none" else batch.read
            for i, at in enumerate(which):
                shift = self.stand_ins.shift(self.stand_ins.each[at], pairs, values, like)
                rise[i, index] = batch.block_losses(shift.to(self.site.device)) - plain
            done(len(index))
        return rise

    def _fires(self, store: FeatureStore, feature: int) -> IntArray:
        """Count the firings of a feature in each block of the reporting half, [n_blocks]."""
        rows, _ = store.feature(feature)
        block = np.searchsorted(self.report.first_row, rows, side="right") - 1
        inside = (block >= 0) & (rows < (self.report.first_row + self.report.blocks.length - 1)[block])
        return np.bincount(block[inside], minlength=len(self.report)).astype(np.int64)

    def _drawn(self, candidates: BoolArray, most: int, rng: np.random.Generator) -> tuple[IntArray, float]:
        """Draw blocks, and say how many each of them stands for."""
        found = np.flatnonzero(candidates)
        drawn = np.sort(rng.choice(found, min(most, found.size), replace=False))
        return drawn, found.size / max(drawn.size, 1)

    def _collapsed(self, values: npt.NDArray[Any], first: bool = False) -> npt.NDArray[Any]:
        """Average over the draws of random features: rows of ``STAND_INS``."""
        names = [stand_in.name for stand_in in self.stand_ins.each]
        parts = [values[[i for i, name in enumerate(names) if name == wanted]] for wanted in STAND_INS]
        return np.stack([part[0] if first else part.mean(axis=0) for part in parts])


def _rows(sample: str, cost: _Cost, pair: tuple[int, int, float], seed: int) -> Iterator[PairSubstitution]:
    total, low, high = ratio_intervals(cost.total, cost.per, seed=seed)
    elsewhere = cost.elsewhere.sum(axis=1) / cost.per.sum() if cost.per.sum() else np.full(len(total), np.nan)
    for i, name in enumerate(STAND_INS):
        yield PairSubstitution(
            *pair,
            sample,
            name,
            int(cost.source[i]),
            cost.n_firings,
            cost.n_tokens,
            float(total[i]),
            float(low[i]),
            float(high[i]),
            float(elsewhere[i]),
            float(1 - total[i] / total[0]) if total[0] > 0 else math.nan,
        )


def _pooled(features: str, costs: Sequence[_Cost], seed: int, n_pairs: int | None = None) -> list[PooledSubstitution]:
    """Average costs over pairs, each feature by its firings; features that do not fire are left out."""
    costs = [cost for cost in costs if cost.per.sum() > 0]
    if not costs:
        return []
    rise = np.mean([cost.total / cost.per.sum() for cost in costs], axis=0)
    per = np.mean([cost.per / cost.per.sum() for cost in costs], axis=0)
    cost, low, high = ratio_intervals(rise, per, seed=seed)
    kept, less, more = ratio_intervals(rise[0] - rise, rise[0], seed=seed)
    if not cost[0] > 0:  # ablation does not raise the loss: there is nothing to keep
        kept, less, more = (np.full_like(kept, np.nan) for _ in range(3))
    n = len(costs) if n_pairs is None else n_pairs
    columns = zip(STAND_INS, cost, low, high, kept, less, more, strict=True)
    return [PooledSubstitution(features, name, n, *map(float, numbers)) for name, *numbers in columns]


def _pairs(match: Match, store: FeatureStore, other: FeatureStore) -> tuple[IntArray, IntArray, FloatArray]:
    """Return features of the store, partners in the other and scores, whichever side of the match the store is."""
    partner_scores(match, store)
    partner_scores(match, other)
    first = match.provenance["a"]["content_hash"] == store.content_hash()
    rows, cols = (match.rows, match.cols) if first else (match.cols, match.rows)
    if not rows.size:
        raise UniversalityError("the match holds no pairs, so nothing can stand in")
    return rows, cols, match.scores


def _samples(scores: FloatArray, n_pairs: int) -> dict[str, IntArray]:
    """Choose half of the pairs as the best, and half spread evenly over the ranks of the others."""
    order = np.argsort(-scores, kind="stable")
    best, others = np.split(order, [min((n_pairs + 1) // 2, order.size)])
    spread = others[evenly_spaced(others.size, n_pairs // 2)] if others.size else others
    return {"best": best, "spread": spread}


def _activations(site: ModelSite, part: StoredBlocks) -> npt.NDArray[np.float32]:
    """Read a model's activations, float32 [n_tokens, d_in]."""
    batches = [part.blocks.take(np.arange(low, min(low + 64, len(part)))) for low in range(0, len(part), 64)]
    return np.concatenate([site.read(batch).cpu().numpy() for batch in batches])


def _check(a: ModelFeatures, n_pairs: int, n_blocks: int, blocks_a_pair: int, draws: int, threshold: float) -> None:
    if a.require_sae().transcoder:
        raise UniversalityError("substitution replaces features of an SAE; a transcoder reads and writes elsewhere")
    if min(n_pairs, n_blocks, blocks_a_pair, draws) < 1 or not math.isfinite(threshold):
        raise UniversalityError(
            "expected n_pairs, n_blocks, blocks_a_pair and draws of at least 1 and a finite threshold, found "
            f"{n_pairs}, {n_blocks}, {blocks_a_pair}, {draws} and {threshold}"
        )


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
