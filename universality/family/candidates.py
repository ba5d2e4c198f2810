"""Candidate edges: pairs of features of two widths that pass the first three rules, in one walk over the tokens.

The walk visits the parents one after another. Over the tokens where a parent fires, the wider dictionary's sparse rows
are added into one vector of sums, from which coverage, masked cosine and, for pairs that pass these, decoder cosine
follow. Nothing is stored for pairs that do not pass, so memory grows with firings and edges, never with features ×
features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray, from_runs, to_runs
from universality.compiled import share_out
from universality.devices import Card
from universality.execution import SERIAL, Executor, Shared, run_units
from universality.family import family_kernels as kernels
from universality.family.dictionaries import Level, unit_decoder
from universality.family.edge_rule import EdgeRule
from universality.family.stored_firings import Firings, Held, Part, blocks, firings, parts, read_part

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


SUMS_BYTES = 4 << 20  # sums that a thread adds to: they should stay in its share of the last-level cache
FEWEST = 8  # parents that walk together even if their sums are larger than that
CHUNK_ENTRIES = 1 << 15  # entries of the wider store per turn of a parent: 256 KB, within a core's cache
SUMS_A_CHILD = 2  # additions that a turn should make per child, to be worth fetching the parent's sums
BYTES_A_PAIR = 36  # four float64 sums, and the uint32 index of a touched child


@dataclass(frozen=True)
class RuleCounts:
    """Number of pairs of a step that each rule lets through.

    Parameters
    ----------
    together
        Pairs of features that may have edges and fire together somewhere.
    covered, alike
        Those of them that pass rule 1, coverage; rule 2, masked cosine.
    covered_alike
        Those that pass both.
    linked
        Those that pass both and rule 3, decoder cosine.
    """

    together: int
    covered: int
    alike: int
    covered_alike: int
    linked: int


@dataclass(frozen=True, eq=False)
class Candidates:
    """Pairs that pass the first three rules, by parent and child; every array ``[n_pairs]``."""

    parent: IntArray
    child: IntArray
    masked_cosine: FloatArray
    decoder_cosine: FloatArray
    coverage: FloatArray
    share: FloatArray
    counts: RuleCounts


@dataclass(frozen=True, eq=False)
class _Children:
    """Features of a part of the wider store over the tokens that are met, as ``kernels.find_pairs`` takes them."""

    meets: IntArray
    part: Part
    firings: IntArray
    sum_sq: FloatArray
    eligible: BoolArray
    decoder: npt.NDArray[np.float32]

    def pairs(
        self, piece: Firings, eligible: BoolArray, x: npt.NDArray[np.float32], thresholds: tuple[float, float, float]
    ) -> "_Pairs":
        """Find the pairs with some parents, given which are eligible and their unit decoder rows ``x``."""
        moments = (self.firings, self.sum_sq)
        sides = (eligible, self.eligible, x, self.decoder)
        ends, values, counts = kernels.find_pairs(
            piece.arrays, self.meets, self.part.rows, *moments, *sides, thresholds, *self._turns(piece)
        )
        return _Pairs(ends + np.array([piece.low, self.part.low]), values, counts)

    def pairs_on_device(
        self,
        piece: Firings,
        eligible: BoolArray,
        x: npt.NDArray[np.float32],
        thresholds: tuple[float, float, float],
        device: Card,
        memory_budget: int,
    ) -> "_Pairs | None":
        """Find the same pairs on a device; None, with a warning, where it has no room."""
        from universality.family.device_pairs import find_pairs_on

        moments, sides = (self.firings, self.sum_sq), ((eligible, self.eligible), (x, self.decoder))
        found = find_pairs_on(
            device, memory_budget, piece.arrays, self.meets, self.part.rows, moments, *sides, thresholds
        )
        return None if found is None else _Pairs(found[0] + np.array([piece.low, self.part.low]), *found[1:])

    def _turns(self, piece: Firings) -> tuple[int, int]:
        """Choose the number of parents that walk together, and of tokens that each walks in turn.

        A turn reads about one cache of token rows, which the next parent then finds there. But it must also add enough
        to its sums to be worth fetching them. If that takes most of the tokens, each parent walks alone.
        """
        n_tokens, n_children = self.meets.size, self.eligible.size
        l0 = max(1.0, self.part.rows.data.size / n_tokens)
        density = max(1, piece.indptr[-1] - piece.indptr[0]) / (n_tokens * (piece.high - piece.low))
        # A turn of `chunk` tokens reads chunk * l0 entries and makes chunk * density * l0 additions.
        chunk = int(max(CHUNK_ENTRIES / l0, SUMS_A_CHILD * n_children / (l0 * density)))
        if 2 * chunk > n_tokens:
            return 1, n_tokens
        return max(FEWEST, SUMS_BYTES // (BYTES_A_PAIR * n_children)), max(1, chunk)


class _Pairs(NamedTuple):
    """Pairs of some parents with some children."""

    ends: IntArray  # [n, 2] parent, child
    values: FloatArray  # [n, 4] masked cosine, decoder cosine, coverage, share
    counts: IntArray  # [5] fields of ``RuleCounts``


def find_candidates(
    stores: tuple["FeatureStore", "FeatureStore"],
    levels: tuple[Level, Level],
    rule: EdgeRule,
    meetings: Sequence[tuple[IntArray, IntArray] | None],
    memory_budget: int,
    executor: Executor = SERIAL,
    device: Card | None = None,
) -> list[Candidates]:
    """Find the pairs of a narrower and a wider store that pass rules 1 to 3, for each way in which tokens meet.

    Parameters
    ----------
    stores, levels
        The narrower and the wider dictionary.
    rule
        Thresholds.
    meetings
        None: every token meets itself. (rows_a, rows_b): rows of the narrower store meet rows of the wider one, which
        is a null.
    memory_budget
        Bytes that the wider store's token rows may use at a time.
    executor
        Where units are computed: some features of one store with some of the other.
    device
        Card that units are computed on; None for the CPU's own loops.

    Returns
    -------
    list of Candidates
        One entry per meeting.
    """
    eligible_a, eligible_b = (level.eligible(rule.min_firings) for level in levels)
    walk = Shared(_Walk(stores, eligible_a, eligible_b, rule, tuple(meetings), memory_budget, device))
    # All meetings of a block are walked while it is in memory: the narrower store is read once a part.
    units = [(part, block) for part in parts(stores[1], memory_budget) for block in blocks(stores[0])]
    of_meeting: list[list[_Pairs]] = [[] for _ in meetings]
    for found in run_units(executor, _pairs_of_block, units, walk, desc="candidate edges", total=len(units)):
        for which, pairs in found:
            of_meeting[which].append(pairs)
    return [_joined(pairs) for pairs in of_meeting]


@dataclass(frozen=True, eq=False)
class _Walk:
    """Values that all units of a walk share, with those that a process keeps from one to the next."""

    stores: tuple["FeatureStore", "FeatureStore"]
    eligible_a: BoolArray
    eligible_b: BoolArray
    rule: EdgeRule
    meetings: tuple[tuple[IntArray, IntArray] | None, ...]
    memory_budget: int
    device: Card | None
    held: Held[list[_Children]] = field(default_factory=Held)

    def __getstate__(self) -> dict[str, Any]:
        meetings = [None if rows is None else [to_runs(side) for side in rows] for rows in self.meetings]
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"meetings": meetings}

    def __setstate__(self, state: dict[str, Any]) -> None:
        meetings = (None if runs is None else tuple(from_runs(*side) for side in runs) for runs in state["meetings"])
        self.__dict__.update(state | {"meetings": tuple(meetings)})

    @cached_property
    def decoders(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Unit decoder rows of both stores."""
        return unit_decoder(self.stores[0]), unit_decoder(self.stores[1])

    def children(self, low: int, high: int) -> list[_Children]:
        """Prepare a part of the wider store, for each way in which tokens meet."""
        columns, read = slice(low, high), read_part(self.stores[1], low, high)
        sides = self.eligible_b[columns], self.decoders[1][columns]
        return [_children(self.stores[1], read, meeting, *sides) for meeting in self.meetings]


def _pairs_of_block(walk: _Walk, part: tuple[int, int], block: tuple[int, int]) -> list[tuple[int, _Pairs]]:
    """Find the pairs of some features of the narrower store with a part of the wider one, by number of the meeting."""
    sides = walk.held.get(part, lambda: walk.children(*part))
    rule = walk.rule
    thresholds = (rule.min_coverage, rule.min_masked_cosine, rule.min_decoder_cosine)
    read = firings(walk.stores[0], *block)
    if walk.device is not None:
        parents = slice(*block)
        given = read, walk.eligible_a[parents], walk.decoders[0][parents], thresholds, walk.device, walk.memory_budget
        found = [pairs for side in sides if (pairs := side.pairs_on_device(*given)) is not None]
        if len(found) == len(sides):
            return list(enumerate(found))
    tasks = [(which, piece) for piece in read.pieces() for which in range(len(sides))]

    def task(item: tuple[int, Firings]) -> tuple[int, _Pairs]:
        which, piece = item
        parents = slice(piece.low, piece.high)
        return which, sides[which].pairs(piece, walk.eligible_a[parents], walk.decoders[0][parents], thresholds)

    return share_out(task, tasks)


def _children(
    store: "FeatureStore",
    part: Part,
    meeting: tuple[IntArray, IntArray] | None,
    eligible: BoolArray,
    decoder: npt.NDArray[np.float32],
) -> _Children:
    """Prepare a part of the wider store for one way in which tokens meet."""
    if meeting is None:
        moments, columns = store.moments(), slice(part.low, part.high)
        return _Children(
            np.arange(store.n_tokens), part, moments.count[columns], moments.sum_sq[columns], eligible, decoder
        )
    rows_a, rows_b = meeting
    meets = np.full(store.n_tokens, -1, np.int64)
    meets[rows_a] = rows_b
    # Stored moments are over all tokens; a null meets only some.
    count, sum_sq = np.zeros(eligible.size, np.int64), np.zeros(eligible.size)
    kernels.add_moments(part.rows, rows_b, count, sum_sq)
    return _Children(meets, part, count, sum_sq, eligible, decoder)


def _joined(pairs: Sequence[_Pairs]) -> Candidates:
    """Join the pairs of all parts and pieces, by parent, then child."""
    ends = np.concatenate([np.zeros((0, 2), np.int64), *(each.ends for each in pairs)])
    values = np.concatenate([np.zeros((0, 4)), *(each.values for each in pairs)])
    counts = sum((each.counts for each in pairs), np.zeros(5, np.int64))
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    (parent, child), (masked, cosine, coverage, share) = ends[order].T.copy(), values[order].T.copy()
    return Candidates(parent, child, masked, cosine, coverage, share, RuleCounts(*counts.tolist()))
