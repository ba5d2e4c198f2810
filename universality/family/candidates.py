"""Pairs of features of two widths that pass the first three rules, from one walk over the tokens.

The walk goes by parent: over the tokens where it fires the wider dictionary's sparse rows are added into one vector
of sums, from which coverage, masked cosine and, for those that pass, decoder cosine follow. Nothing is held for
pairs that do not pass, so memory grows with firings and edges, never with features × features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from universality.arrays import FloatArray, IntArray
from universality.family import family_kernels as kernels
from universality.family.dictionaries import Level, unit_decoder
from universality.family.edge_rule import EdgeRule
from universality.family.stored_firings import Firings, Part, blocks, parts, share_out

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore


SUMS_BYTES = 4 << 20  # of sums that a thread adds to, so that they stay in its share of the last cache
FEWEST = 8  # parents that walk together where even their sums are larger
CHUNK_ENTRIES = 1 << 15  # of the wider store between two parents' turns: 256 KB, within a core's cache
SUMS_A_CHILD = 2  # additions that a turn should make for every child


@dataclass(frozen=True)
class Met:
    """How many pairs of a step each rule lets through.

    Parameters
    ----------
    together
        Pairs of features that may have edges and fire together somewhere.
    covered, alike
        Of those, pairs that pass rule 1, coverage; rule 2, masked cosine.
    covered_alike
        Pairs that pass both.
    linked
        Pairs that pass these and rule 3, decoder cosine.
    """

    together: int
    covered: int
    alike: int
    covered_alike: int
    linked: int


@dataclass(frozen=True, eq=False)
class Found:
    """Pairs that pass the first three rules, by parent and child; every array ``[n_pairs]``."""

    parent: IntArray
    child: IntArray
    masked_cosine: FloatArray
    decoder_cosine: FloatArray
    coverage: FloatArray
    share: FloatArray
    met: Met


@dataclass(frozen=True, eq=False)
class _Children:
    """The children of a part of the wider store, over the tokens that are met: as ``kernels.find_pairs`` has them."""

    meets: IntArray
    part: Part
    firings: IntArray
    sum_sq: FloatArray
    may: npt.NDArray[np.bool_]
    decoder: npt.NDArray[np.float32]

    def pairs(
        self, piece: Firings, may: npt.NDArray[np.bool_], x: npt.NDArray[np.float32], least: tuple[float, float, float]
    ) -> "_Pairs":
        """Ends, values and counts of the pairs with some parents that ``may`` have edges and have unit rows ``x``."""
        theirs = (self.firings, self.sum_sq)
        group, chunk = self._turns(piece)
        ends, values, met = kernels.find_pairs(
            piece.arrays, self.meets, self.part.rows, *theirs, may, self.may, x, self.decoder, least, group, chunk
        )
        return _Pairs(ends + np.array([piece.low, self.part.low]), values, met)

    def _turns(self, piece: Firings) -> tuple[int, int]:
        """How many parents walk together, and for how many tokens each in turn.

        A turn reads about a cache of token rows, which the next parent finds there; but it has to add enough to its
        sums to be worth fetching them. Where that takes most of the tokens, each parent walks alone.
        """
        n_tokens, n_children = self.meets.size, self.may.size
        a_token = max(1.0, self.part.rows.data.size / n_tokens)
        fires = max(1, piece.indptr[-1] - piece.indptr[0]) / (n_tokens * (piece.high - piece.low))
        chunk = int(max(CHUNK_ENTRIES / a_token, SUMS_A_CHILD * n_children / (a_token * fires)))
        if 2 * chunk > n_tokens:
            return 1, n_tokens
        return max(FEWEST, SUMS_BYTES // (36 * n_children)), max(1, chunk)


class _Pairs(NamedTuple):
    """(parent, child) [n, 2]; (masked cosine, decoder cosine, coverage, share) [n, 4]; the fields of ``Met`` [5]."""

    ends: IntArray
    values: FloatArray
    met: IntArray


def find_pairs(
    stores: tuple["FeatureStore", "FeatureStore"],
    levels: tuple[Level, Level],
    rule: EdgeRule,
    meetings: Sequence[tuple[IntArray, IntArray] | None],
    memory_budget: int,
) -> list[Found]:
    """Pairs of a narrower and a wider store that pass, once for every way in which tokens meet.

    Parameters
    ----------
    stores, levels
        The narrower and the wider one.
    rule
        Thresholds.
    meetings
        None: every token meets itself. (rows_a, rows_b): those rows of the one meet those of the other; a null.
    memory_budget
        Bytes that the wider store's token rows may take at a time.
    """
    low, high = stores
    may_a, may_b = (level.eligible(rule.min_firings) for level in levels)
    x, y = unit_decoder(low), unit_decoder(high)
    least = (rule.min_coverage, rule.min_masked_cosine, rule.min_decoder_cosine)
    found: list[list[_Pairs]] = [[] for _ in meetings]
    for part in parts(high, memory_budget):
        some = slice(part.low, part.high)
        sides = [_children(high, part, meeting, may_b[some], y[some]) for meeting in meetings]
        for block in blocks(low):
            tasks = [(which, piece) for piece in block.pieces() for which in range(len(sides))]

            def task(item: tuple[int, Firings], sides: list[_Children] = sides) -> _Pairs:
                which, piece = item
                own = slice(piece.low, piece.high)
                return sides[which].pairs(piece, may_a[own], x[own], least)

            for (which, _), pairs in zip(tasks, share_out(task, tasks), strict=True):
                found[which].append(pairs)
    return [_joined(pairs) for pairs in found]


def _children(
    store: "FeatureStore",
    part: Part,
    meeting: tuple[IntArray, IntArray] | None,
    may: npt.NDArray[np.bool_],
    decoder: npt.NDArray[np.float32],
) -> _Children:
    if meeting is None:
        moments, some = store.moments(), slice(part.low, part.high)
        return _Children(np.arange(store.n_tokens), part, moments.count[some], moments.sum_sq[some], may, decoder)
    rows_a, rows_b = meeting
    meets = np.full(store.n_tokens, -1, np.int64)
    meets[rows_a] = rows_b
    count, sum_sq = np.zeros(may.size, np.int64), np.zeros(may.size)
    kernels.add_moments(part.rows, rows_b, count, sum_sq)
    return _Children(meets, part, count, sum_sq, may, decoder)


def _joined(pairs: Sequence[_Pairs]) -> Found:
    ends = np.concatenate([np.zeros((0, 2), np.int64), *(some.ends for some in pairs)])
    values = np.concatenate([np.zeros((0, 4)), *(some.values for some in pairs)])
    met = sum((some.met for some in pairs), np.zeros(5, np.int64))
    order = np.lexsort((ends[:, 1], ends[:, 0]))
    (parent, child), (masked, cosine, coverage, share) = ends[order].T.copy(), values[order].T.copy()
    return Found(parent, child, masked, cosine, coverage, share, Met(*met.tolist()))
