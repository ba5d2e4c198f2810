"""Re-pair text with other text, so that only chance can make two features agree.

A null preserves everything about both stores except which tokens meet:

- *Whole blocks* of tokens are re-paired, each token keeping its position. Re-pairing single tokens would destroy the
  autocorrelation of text and make the null too narrow.
- A block meets a block of *another group* of documents (another document, in kinds of few groups). Documents of the
  same group share what the null must remove.
- Blocks of one document stay together in *runs* where there are enough runs to pair. A document's topic is in all of
  its blocks, and features that share nothing but a few topics would beat a null that scatters them.
- "global" re-pairs across the whole corpus, "kind" among documents of one kind of text: any two features of one script
  beat the global null through the script alone.
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
"""Documents among which blocks are re-paired: the whole corpus, or one kind of text."""
ATTEMPTS = 32
"""Random elements tried for a swap before searching all of them."""
MIN_RUNS = 4
"""Smallest number of runs of one length in a stratum. Fewer runs have too few pairings, so they are halved, which
scatters a document's topics. At 16, documents were halved in kinds with few of them, and P(p <= 0.05) was 0.09 to 0.13
in a world of 20 kinds where nothing is shared; at 4 it is 0.05. At 2, a kind has one other pairing, drawn every time,
and P(p <= 0.01) is 0.02."""


@dataclass(frozen=True, eq=False)
class Repairing:
    """Blocks that can be re-paired, and the blocks that each of them may meet.

    Parameters
    ----------
    start
        [n_blocks] first token row of each full block.
    length
        Tokens per block.
    first, size
        [n_runs] first block and number of blocks of each run, consecutive blocks of one document.
    group
        [n_runs] code of the independent unit of a run's document (`independent_units`); a run never meets a run of the
        same unit.
    stratum
        [n_runs] runs meet only within a stratum: runs of equally many blocks and, within kinds, of the same kind.
    share
        Share of the considered tokens that takes part.
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
        """Draw one re-pairing (rows_a, rows_b): always the same rows of A, other rows of B for every seed."""
        rng = np.random.default_rng(seed)
        partner = np.arange(self.first.size)
        for stratum in np.unique(self.stratum):
            inside = np.flatnonzero(self.stratum == stratum)
            partner[inside] = inside[_permute_across(self.group[inside], rng)]
        return self._rows(self.first), self._rows(self.first[partner])

    def _rows(self, first: IntArray) -> IntArray:
        """Return the token rows of runs that begin at these blocks."""
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
        Either store of the pair; both hold the same tokens.
    null
        "global" or "kind".
    documents
        Indices of the documents whose blocks are considered; None for all.
    block_length
        Tokens per block; longer blocks are cut, shorter ones left out. None: the longest that occurs, so that only
        full blocks take part.

    Raises
    ------
    UniversalityError
        When ``null`` is unknown, no token is considered, or no stratum holds blocks of two units.
    """
    rows = _considered(store, documents)
    if not rows.size:
        raise UniversalityError(f"{store.path}: no token to re-pair")
    tokens, table = store.tokens, store.documents
    return _planned(rows, tokens.position, tokens.document, table, null, block_length, str(store.path))


def plan_token_repairing(
    position: npt.NDArray[np.integer],
    document: npt.NDArray[np.integer],
    documents: DocumentTable,
    null: Null = "global",
    block_length: int | None = None,
) -> Repairing:
    """Find the blocks that a null can re-pair among tokens that are in no store.

    Parameters
    ----------
    position, document
        int [n_tokens] column of each token in its block, and its row in ``documents``.
    null, block_length
        As for `plan_repairing`.

    Raises
    ------
    UniversalityError
        As `plan_repairing`.
    """
    rows = np.arange(len(position))
    if not rows.size:
        raise UniversalityError("no token to re-pair")
    return _planned(rows, position, document, documents, null, block_length, "tokens")


def _planned(
    rows: IntArray,
    position: npt.NDArray[np.integer],
    document: npt.NDArray[np.integer],
    table: DocumentTable,
    null: Null,
    block_length: int | None,
    where: str,
) -> Repairing:
    """Find the blocks among some rows of a token table."""
    if null not in get_args(Null):
        raise UniversalityError(f"unknown null {null!r}; choose one of {', '.join(get_args(Null))}")
    start, length, block_document = _full_blocks(rows, position[rows], document[rows], block_length)
    units = independent_units(table)
    kinds, kind = np.unique(np.asarray(table.kind, dtype=np.str_), return_inverse=True)
    kind = kind if null == "kind" else np.zeros_like(kind)
    names = [f"kind {name!s}" for name in kinds] if null == "kind" else ["the corpus"]
    first, size = _runs(block_document, kind, units.code)
    group, kind = units.code[block_document[first]], kind[block_document[first]]
    feasible, notes = _feasible(group, kind, size, names)
    if not feasible.any():
        raise UniversalityError(
            f"{where}: the {null} null needs full blocks of {length} tokens from at least two groups of documents"
            f"{' of one kind' if null == 'kind' else ''}; found {np.unique(group).size} groups, {start.size} blocks"
        )
    first, size, group, kind = first[feasible], size[feasible], group[feasible], kind[feasible]
    share = float(size.sum() * length / max(1, rows.size))
    stratum = np.unique(np.stack([kind, size]), axis=1, return_inverse=True)[1].ravel()
    flagged = _flagged(units, block_document, table)
    return Repairing(start, length, first, size, group, stratum, share, notes + flagged)


def repaired_rows(
    store: FeatureStore,
    null: Null = "global",
    seed: int = 0,
    documents: npt.ArrayLike | None = None,
    block_length: int | None = None,
) -> tuple[IntArray, IntArray]:
    """Draw one re-pairing (rows_a, rows_b) for ``Similarity.activation(a, b, rows=...)``; see `plan_repairing`."""
    return plan_repairing(store, null, documents, block_length).draw(seed)


def _considered(store: FeatureStore, documents: npt.ArrayLike | None) -> IntArray:
    """Return the token rows of the given documents."""
    if documents is None:
        return np.arange(store.n_tokens)
    wanted = np.zeros(len(store.documents.id), bool)
    wanted[np.asarray(documents, dtype=np.int64)] = True
    return np.flatnonzero(wanted[store.tokens.document])


def _full_blocks(
    rows: IntArray,
    position: npt.NDArray[np.integer],
    document: npt.NDArray[np.integer],
    block_length: int | None,
) -> tuple[IntArray, int, IntArray]:
    """Return first row, common length and document of the blocks that are long enough.

    A block ends where the document changes or the position does not rise by one.
    """
    position, document = position.astype(np.int64), document.astype(np.int64)
    breaks = (np.diff(position) != 1) | (np.diff(document) != 0) | (np.diff(rows) != 1)
    first = np.concatenate([[0], np.flatnonzero(breaks) + 1])
    size = np.diff(np.concatenate([first, [rows.size]]))
    length = int(size.max()) if block_length is None else int(block_length)
    if length < 1:
        raise UniversalityError(f"block_length: expected at least 1, found {length}")
    first = first[size >= length]
    if first.size:
        origins, count = np.unique(position[first], return_counts=True)
        # Tokens keep their position in the block (attention sinks and BOS effects depend on it), so all blocks must
        # start at the same one: the most frequent.
        first = first[position[first] == origins[count.argmax()]]
    return rows[first], length, document[first]


def _runs(document: IntArray, kind: IntArray, unit: IntArray) -> tuple[IntArray, IntArray]:
    """Cut the blocks of each document into runs, and halve runs that cannot be paired.

    Lengths are powers of two: runs are only paired with runs of equal length, so few lengths leave many partners.

    Parameters
    ----------
    document
        [n_blocks] document of each block; blocks of one document follow each other.
    kind, unit
        [n_documents] codes.

    Returns
    -------
    first, size : int64 [n_runs]
        First block and number of blocks of each run, in order of the blocks.
    """
    begin = np.flatnonzero(np.diff(document, prepend=-1) != 0)
    count = np.diff(np.append(begin, document.size))
    first, size = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    waiting = np.zeros(0, np.int64)  # first blocks of runs of this length that came from halving longer ones
    longest = 1 << int(count.max()).bit_length() >> 1 if count.size else 0
    while longest:
        whole = begin[count >= longest]  # at most one per document: what is left of it is shorter than twice this
        begin, count = np.where(count >= longest, begin + longest, begin), count % longest
        runs = np.sort(np.concatenate([waiting, whole]))
        # Single blocks cannot be halved; `_feasible` drops the surplus among them.
        pairable = _pairable(unit[document[runs]], kind[document[runs]]) | (longest == 1)
        first.append(runs[pairable])
        size.append(np.full(int(pairable.sum()), longest))
        halved = runs[~pairable]
        longest //= 2
        waiting = np.concatenate([halved, halved + longest])
    order = np.argsort(np.concatenate(first), kind="stable")
    return np.concatenate(first)[order], np.concatenate(size)[order]


def _pairable(group: IntArray, stratum: IntArray) -> BoolArray:
    """Flag the runs [n_runs] whose stratum has enough runs and no group with more than half of them."""
    pairable = np.zeros(group.size, bool)
    for s in np.unique(stratum):
        inside = stratum == s
        largest = int(np.unique(group[inside], return_counts=True)[1].max())
        pairable[inside] = inside.sum() >= MIN_RUNS and 2 * largest <= inside.sum()
    return pairable


def _feasible(group: IntArray, kind: IntArray, size: IntArray, names: list[str]) -> tuple[BoolArray, tuple[str, ...]]:
    """Flag the runs [n_runs] that can all meet another group at once, and name what was left out.

    That is possible iff no group holds more than half of its stratum. Longer runs satisfy it (`_pairable`). Of single
    blocks the largest group's surplus is left out, evenly spaced and the same for every seed.
    """
    feasible, notes = np.ones(group.size, bool), []
    for k in np.unique(kind):
        inside = np.flatnonzero((kind == k) & (size == 1))
        if not inside.size:
            continue
        codes, count = np.unique(group[inside], return_counts=True)
        largest, others = int(count.max()), int(count.sum() - count.max())
        if largest <= others:
            continue
        blocks = inside[group[inside] == codes[count.argmax()]]
        feasible[blocks] = False
        feasible[blocks[np.linspace(0, largest - 1, others).round().astype(np.int64)]] = True
        notes.append(
            f"{names[int(k)]}: one group holds {largest} of {inside.size} single blocks; "
            + (f"{largest - others} of them take no part in the null" if others else "none can meet another group")
        )
    return feasible, tuple(notes)


def _flagged(units: Units, document: IntArray, table: DocumentTable) -> tuple[str, ...]:
    """Name the kinds among these documents that have too few groups."""
    present = sorted({table.kind[d] for d in np.unique(document)} & set(units.flagged_kinds))
    if not present:
        return ()
    return (f"kinds of few groups, whose documents count as unrelated: {', '.join(present)}",)


def _permute_across(group: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw a random permutation that gives every element a partner of another group.

    Starts from a uniform permutation and swaps partners of the same group away. As no group holds more than half of
    the elements, some element outside the group always has a partner outside it: swapping partners with that element
    resolves the conflict and creates none.
    """
    partner = rng.permutation(group.size)
    for x in rng.permutation(np.flatnonzero(group[partner] == group)):
        if group[partner[x]] != group[x]:
            continue  # an earlier swap resolved it
        for _ in range(ATTEMPTS):
            y = int(rng.integers(group.size))
            if group[partner[y]] != group[x] and group[y] != group[x]:
                break
        else:
            y = int(rng.choice(np.flatnonzero((group[partner] != group[x]) & (group != group[x]))))
        partner[x], partner[y] = partner[y], partner[x]
    return partner
