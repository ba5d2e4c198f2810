"""Strongest examples of a feature, with the text around them.

A feature's activations are one short read of the store (its feature-major copy), and the text around a token comes from
the store's own token table, so neither corpus nor model is needed. Rows of one block are consecutive, and a window
never leaves its block: where the block ends, or a row is missing in it, the window holds ``NO_TOKEN``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from universality.features.storage.store import FeatureStore

NO_TOKEN = -1
_WINDOWS_AT_ONCE = 1024  # candidates whose windows are cut together; most features need one batch
Decode = Callable[[Sequence[int]], Sequence[str]]
"""Token ids to their strings, one each."""


@dataclass(frozen=True)
class Examples:
    """The strongest examples of one feature, strongest first.

    Parameters
    ----------
    feature
        The feature's index.
    row
        Rows of the store: int64 ``[n]``.
    activation
        Activations there: float32 ``[n]``.
    window
        Token ids around each row: int32 ``[n, before + 1 + after]``, ``NO_TOKEN`` beyond the block.
    window_activation
        The feature's activation on each of them, NaN where there is no token: float32, of the same shape.
    document, position, kind
        Index of the document, column in the block and code of the kind of each row: ``[n]``.
    before
        Column of ``window`` that holds the row itself.
    duplicates
        Number of rows skipped because a stronger example has the same window.
    """

    feature: int
    row: npt.NDArray[np.int64]
    activation: npt.NDArray[np.float32]
    window: npt.NDArray[np.int32]
    window_activation: npt.NDArray[np.float32]
    document: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    kind: npt.NDArray[np.int16]
    before: int
    duplicates: int

    def __len__(self) -> int:
        return len(self.row)

    @property
    def token(self) -> npt.NDArray[np.int32]:
        """The token of each row: ``[n]``."""
        return self.window[:, self.before]

    def strings(self, decode: Decode) -> list[tuple[list[str], str, list[str]]]:
        """Decode every example into the strings before its token, its own, and those after it.

        Parameters
        ----------
        decode
            Takes a sequence of token ids and gives one string for each.
        """
        shown = []
        for ids in self.window:
            parts = [decoded(part[part != NO_TOKEN], decode) for part in np.split(ids, [self.before, self.before + 1])]
            shown.append((parts[0], parts[1][0], parts[2]))
        return shown


def examples(
    store: FeatureStore,
    features: Iterable[int],
    k: int = 10,
    *,
    before: int = 10,
    after: int = 5,
    per_block: int | None = None,
) -> list[Examples]:
    """Find the ``k`` rows on which each feature is most active, no two with the same window.

    Parameters
    ----------
    store
        An open store.
    features
        Indices of features. A dead one gives an empty ``Examples``.
    k
        Examples a feature at most.
    before, after
        Tokens to show before and after each row.
    per_block
        At most this many examples from one block (1: no two from the same passage). None: no limit.

    Returns
    -------
    list of Examples
        In the order of ``features``; only rows with a positive activation. Among equal activations the earlier row
        comes first.
    """
    if k < 1 or before < 0 or after < 0 or (per_block is not None and per_block < 1):
        raise ValueError(
            f"expected k >= 1, before >= 0, after >= 0 and per_block >= 1 or None, found k={k}, "
            f"before={before}, after={after}, per_block={per_block}"
        )
    block = store.tokens.block
    offsets = np.arange(-before, after + 1)
    return [_examples(store, int(j), k, offsets, per_block=per_block, block=block) for j in features]


def _examples(
    store: FeatureStore,
    feature: int,
    k: int,
    offsets: npt.NDArray[np.int64],
    *,
    per_block: int | None,
    block: npt.NDArray[np.int64],
) -> Examples:
    tokens = store.tokens
    rows, values = store.feature(feature)
    order = strongest_first(values)
    token = np.asarray(tokens.token)
    picked, duplicates = _pick(rows[order], k, lambda some: _window(token, block, some, offsets), per_block, block)
    chosen = order[picked]
    row = np.asarray(rows[chosen], dtype=np.int64)
    around = rows_around(block, row, offsets)
    return Examples(
        feature=feature,
        row=row,
        activation=np.asarray(values[chosen], dtype=np.float32),
        window=_window(token, block, row, offsets),
        window_activation=_lookup(rows, values, around),
        document=np.asarray(tokens.document)[row],
        position=np.asarray(tokens.position)[row],
        kind=np.asarray(tokens.kind)[row],
        before=int(-offsets[0]),
        duplicates=duplicates,
    )


def strongest_first(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Indices of the positive values, largest first; the sort is stable, so rows break ties."""
    order = np.argsort(-values, kind="stable")
    return np.asarray(order[values[order] > 0], dtype=np.int64)


def _pick(
    rows: npt.NDArray[np.int64],
    k: int,
    windows: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.int32]],
    per_block: int | None,
    block: npt.NDArray[np.int64],
) -> tuple[list[int], int]:
    """Indices into ``rows`` of the first ``k`` with new windows and room in their block; number of repeated windows."""
    picked: list[int] = []
    seen: set[bytes] = set()
    from_block: dict[int, int] = {}
    duplicates = 0
    for start in range(0, len(rows), _WINDOWS_AT_ONCE):
        candidates = rows[start : start + _WINDOWS_AT_ONCE]
        for place, window in enumerate(windows(candidates), start):
            home = int(block[rows[place]])
            if per_block is not None and from_block.get(home, 0) >= per_block:
                continue
            content = window.tobytes()
            if content in seen:
                duplicates += 1
                continue
            seen.add(content)
            from_block[home] = from_block.get(home, 0) + 1
            picked.append(place)
            if len(picked) == k:
                return picked, duplicates
    return picked, duplicates


def rows_around(
    block: npt.NDArray[np.int64], rows: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Rows at some offsets from each row, within its block.

    Parameters
    ----------
    block
        [n_tokens] number of the block of each token row.
    rows
        [...] token rows; -1 for none.
    offsets
        [n_offsets] distances from the row.

    Returns
    -------
    int64 [..., n_offsets]
        Rows; -1 outside the row's block, and wherever the row is -1.
    """
    around = rows[..., None] + offsets
    safe = np.clip(around, 0, max(0, len(block) - 1))
    inside = (rows[..., None] >= 0) & (around == safe)
    inside &= block[safe] == block[np.maximum(rows, 0)][..., None]
    return np.where(inside, around, -1)


def _window(
    token: npt.NDArray[np.int32],
    block: npt.NDArray[np.int64],
    rows: npt.NDArray[np.int64],
    offsets: npt.NDArray[np.int64],
) -> npt.NDArray[np.int32]:
    around = rows_around(block, rows, offsets)
    return np.where(around >= 0, token[around], NO_TOKEN).astype(np.int32)


def _lookup(
    rows: npt.NDArray[np.int64], values: npt.NDArray[np.float32], around: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """Look up the feature's value at every row: 0 where it is silent, NaN where there is no row; ``rows`` rises."""
    if not len(rows):
        return np.where(around >= 0, 0.0, np.nan).astype(np.float32)
    place = np.minimum(np.searchsorted(rows, around), len(rows) - 1)
    value = np.where(rows[place] == around, values[place], np.float32(0))
    return np.where(around >= 0, value, np.float32(np.nan)).astype(np.float32)


def decoded(ids: npt.NDArray[np.integer], decode: Decode) -> list[str]:
    """Decode token ids, one string each; a ValueError when ``decode`` returns another number of strings."""
    if not len(ids):
        return []
    strings = list(decode([int(token) for token in ids]))
    if len(strings) != len(ids):
        raise ValueError(
            f"decode returned {len(strings)} strings for {len(ids)} token ids; expected one for each, "
            "for instance lambda ids: [tokenizer.decode([i]) for i in ids]"
        )
    return strings
