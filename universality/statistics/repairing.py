"""What chance gives: the same text paired with other text.

A null keeps everything about both stores but which tokens meet. Whole blocks of tokens are re-paired, position
kept, with blocks of documents of *another group* (another document, in kinds of few groups): single tokens would
break the autocorrelation of text, and the same group would keep what the null must lose. Blocks of one document stay
together in *runs* where there are runs enough to pair: a document's topic is in all of its blocks, and features that
share nothing but few topics would beat a null that scatters them. "global" re-pairs over the
whole corpus; "kind" among documents of one kind, since any two features of one script beat the global null through
the script alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, IntArray
from universality.corpus.units import Units, independent_units
from universality.errors import UniversalityError

if TYPE_CHECKING:
    from universality.corpus.documents import DocumentTable
    from universality.features.storage.store import FeatureStore

Null = Literal["global", "kind"]
"""What blocks are re-paired among: the whole corpus, or documents of one kind."""
ATTEMPTS = 32
MIN_RUNS = 4
"""Least runs of one length; fewer have too few ways to be paired, and are halved. Halving scatters a document's topics:
with 16, which halved the documents of kinds that have few, P(p <= 0.05) was 0.09 to 0.13 where 20 kinds shared nothing;
with 4 it is 0.05. With 2, the only other pairing of a kind is drawn every time, and P(p <= 0.01) is 0.02."""


@dataclass(frozen=True, eq=False)
class Repairing:
    """Blocks that can be re-paired, and with which.

    Parameters
    ----------
    start
        [n_blocks] first token row of each full block.
    length
        Tokens in each.
    first, size
        [n_runs] first block of each run, and its blocks, which follow each other in one document.
    group
        [n_runs] code of its document's unit (`independent_units`); a run never meets one of its own unit.
    stratum
        [n_runs] runs meet only within a stratum: as many blocks, of any kind or of the same.
    share
        Of the considered tokens, the share that takes part.
    notes
        What was left out, in words.
    """

    start: IntArray
    length: int
    first: IntArray
    size: IntArray
    group: IntArray
    stratum: IntArray
    share: float
    notes: tuple[str, ...]

    def draw(self, *seed: int) -> tuple[IntArray, IntArray]:
        """(rows_a, rows_b) of one re-pairing: the same rows of A every time, other rows of B for every seed."""
        rng = np.random.default_rng(seed)
        partner = np.arange(self.first.size)
        for stratum in np.unique(self.stratum):
            inside = np.flatnonzero(self.stratum == stratum)
            partner[inside] = inside[_permute_across(self.group[inside], rng)]
        return self._rows(self.first), self._rows(self.first[partner])

    def _rows(self, first: IntArray) -> IntArray:
        """Token rows of runs that begin at these blocks."""
        within = np.arange(self.size.sum()) - np.repeat(np.cumsum(self.size) - self.size, self.size)
        blocks = np.repeat(first, self.size) + within
        return (self.start[blocks][:, None] + np.arange(self.length)).ravel()


def plan_repairing(
    store: FeatureStore,
    null: Null = "global",
    documents: npt.ArrayLike | None = None,
    block_length: int | None = None,
) -> Repairing:
    """Find the blocks of a store that a null can re-pair.

    Parameters
    ----------
    store
        Either of the two; they hold the same tokens.
    null
        "global" or "kind".
    documents
        Only blocks of these documents.
    block_length
        Tokens a block must have; longer ones are cut, shorter ones left out. None: the longest that occurs, so
        that only full blocks take part.

    Raises
    ------
    UniversalityError
        When ``null`` is unknown, no token is considered, or no stratum holds blocks of two units.
    """
    if null not in get_args(Null):
        raise UniversalityError(f"unknown null {null!r}; choose one of {', '.join(get_args(Null))}")
    rows = _considered(store, documents)
    start, length, document = _full_blocks(store, rows, block_length)
    table = store.documents
    units = independent_units(table)
    kinds, kind = np.unique(np.asarray(table.kind, dtype=np.str_), return_inverse=True)
    kind = kind if null == "kind" else np.zeros_like(kind)
    names = [f"kind {name!s}" for name in kinds] if null == "kind" else ["the corpus"]
    first, size = _runs(document, kind, units.code)
    group, kind = units.code[document[first]], kind[document[first]]
    kept, notes = _feasible(group, kind, size, names)
    if not kept.any():
        raise UniversalityError(
            f"{store.path}: the {null} null needs full blocks of {length} tokens from at least two groups of documents"
            f"{' of one kind' if null == 'kind' else ''}; found {np.unique(group).size} groups, {start.size} blocks"
        )
    first, size, group, kind = first[kept], size[kept], group[kept], kind[kept]
    share = float(size.sum() * length / max(1, rows.size))
    stratum = np.unique(np.stack([kind, size]), axis=1, return_inverse=True)[1].ravel()
    return Repairing(start, length, first, size, group, stratum, share, notes + _flagged(units, document, table))


def repaired_rows(
    store: FeatureStore,
    null: Null = "global",
    seed: int = 0,
    documents: npt.ArrayLike | None = None,
    block_length: int | None = None,
) -> tuple[IntArray, IntArray]:
    """(rows_a, rows_b) of one re-pairing, for ``Similarity.activation(a, b, rows=...)``; see `plan_repairing`."""
    return plan_repairing(store, null, documents, block_length).draw(seed)


def _considered(store: FeatureStore, documents: npt.ArrayLike | None) -> IntArray:
    if documents is None:
        return np.arange(store.n_tokens)
    wanted = np.zeros(len(store.documents.id), bool)
    wanted[np.asarray(documents, dtype=np.int64)] = True
    return np.flatnonzero(wanted[store.tokens.document])


def _full_blocks(store: FeatureStore, rows: IntArray, block_length: int | None) -> tuple[IntArray, int, IntArray]:
    """First row, common length and document of the blocks that are long enough.

    A block ends where the document changes or the position does not rise by one.
    """
    if not rows.size:
        raise UniversalityError(f"{store.path}: no token to re-pair")
    position, document = store.tokens.position[rows].astype(np.int64), store.tokens.document[rows].astype(np.int64)
    breaks = (np.diff(position) != 1) | (np.diff(document) != 0) | (np.diff(rows) != 1)
    first = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    size = np.diff(np.concatenate([first, [rows.size]]))
    length = int(size.max()) if block_length is None else int(block_length)
    if length < 1:
        raise UniversalityError(f"block_length: expected at least 1, found {length}")
    first = first[size >= length]
    if first.size:
        origins, count = np.unique(position[first], return_counts=True)
        first = first[position[first] == origins[count.argmax()]]  # position kept: blocks start in one column
    return rows[first], length, document[first]


def _runs(document: IntArray, kind: IntArray, unit: IntArray) -> tuple[IntArray, IntArray]:
    """First block and length of runs of a document's blocks: powers of two, halved where they cannot be paired.

    Parameters
    ----------
    document
        [n_blocks] of each block; blocks of one document follow each other.
    kind, unit
        [n_documents] codes.
    """
    begin = np.flatnonzero(np.diff(document, prepend=-1) != 0)
    count = np.diff(np.append(begin, document.size))
    first, size = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    waiting = np.zeros(0, np.int64)  # first blocks of runs of this length that halving made
    longest = 1 << int(count.max()).bit_length() >> 1 if count.size else 0
    while longest:
        whole = begin[count >= longest]  # the rest of a document is shorter than twice this
        begin, count = np.where(count >= longest, begin + longest, begin), count % longest
        found = np.sort(np.concatenate([waiting, whole]))
        good = _pairable(unit[document[found]], kind[document[found]]) | (longest == 1)
        first.append(found[good])
        size.append(np.full(int(good.sum()), longest))
        halved = found[~good]
        longest //= 2
        waiting = np.concatenate([halved, halved + longest])
    order = np.argsort(np.concatenate(first), kind="stable")
    return np.concatenate(first)[order], np.concatenate(size)[order]


def _pairable(group: IntArray, stratum: IntArray) -> BoolArray:
    """[n_runs] whether its stratum has runs enough, none of its groups with more than half of them."""
    good = np.zeros(group.size, bool)
    for s in np.unique(stratum):
        inside = stratum == s
        largest = int(np.unique(group[inside], return_counts=True)[1].max())
        good[inside] = inside.sum() >= MIN_RUNS and 2 * largest <= inside.sum()
    return good


def _feasible(group: IntArray, kind: IntArray, size: IntArray, names: list[str]) -> tuple[BoolArray, tuple[str, ...]]:
    """Which runs can all meet another group at once: no group may hold more than half of its stratum.

    Longer runs can (`_pairable`); surplus single blocks are left out evenly, the same for every seed.
    """
    kept, notes = np.ones(group.size, bool), []
    for k in np.unique(kind):
        inside = np.flatnonzero((kind == k) & (size == 1))
        if not inside.size:
            continue
        codes, count = np.unique(group[inside], return_counts=True)
        largest, others = int(count.max()), int(count.sum() - count.max())
        if largest <= others:
            continue
        blocks = inside[group[inside] == codes[count.argmax()]]
        kept[blocks] = False
        kept[blocks[np.linspace(0, largest - 1, others).round().astype(np.int64)]] = True
        notes.append(
            f"{names[int(k)]}: one group holds {largest} of {inside.size} single blocks; "
            + (f"{largest - others} of them take no part in the null" if others else "none can meet another group")
        )
    return kept, tuple(notes)


def _flagged(units: Units, document: IntArray, table: DocumentTable) -> tuple[str, ...]:
    present = sorted({table.kind[d] for d in np.unique(document)} & set(units.flagged_kinds))
    if not present:
        return ()
    return (f"kinds of few groups, whose documents count as unrelated: {', '.join(present)}",)


def _permute_across(group: IntArray, rng: np.random.Generator) -> IntArray:
    """A random permutation that gives every element a partner of another group.

    Conflicts of a uniform permutation are swapped away. While no group holds more than half of the elements, an
    element and its partner of the same group always find a pair to swap with, and no swap makes a new conflict.
    """
    partner = rng.permutation(group.size)
    for x in rng.permutation(np.flatnonzero(group[partner] == group)):
        if group[partner[x]] != group[x]:
            continue
        for _ in range(ATTEMPTS):
            y = int(rng.integers(group.size))
            if group[partner[y]] != group[x] and group[y] != group[x]:
                break
        else:
            y = int(rng.choice(np.flatnonzero((group[partner] != group[x]) & (group != group[x]))))
        partner[x], partner[y] = partner[y], partner[x]
    return partner
