"""Assignment of documents to three splits: training, choosing partners and reporting.

Splits are made by document and stratified by kind. If a kind has at least ``MIN_GROUPS`` groups (works), whole groups
are assigned, so that no work is in two splits. With fewer groups, passages are assigned one by one and the kind is
*flagged*, because its halves may share a work. A kind with fewer than three units is used for training only.

A work may have passages of several kinds. If one of these has ``MIN_GROUPS`` groups, the work is assigned once, in its
*home* kind, and all its passages follow, including those in flagged kinds.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from universality.errors import CorpusError

TRAIN, CHOOSE, REPORT = "train", "choose", "report"
MIN_GROUPS = 8
"""Fewest groups of a kind for which whole groups are assigned and count as independent units."""


@dataclass(frozen=True)
class Splits:
    """Split of each document, kinds whose passages were assigned one by one, and kinds that only train."""

    split: tuple[str, ...]
    flagged_kinds: tuple[str, ...]
    train_only_kinds: tuple[str, ...]


def split_documents(
    kinds: Sequence[str], groups: Sequence[str], ids: Sequence[str], held_out: float = 0.2, seed: int = 0
) -> Splits:
    """Assign each document to ``train``, ``choose`` or ``report``.

    Units of a kind are ranked by a keyed hash of their names. A document's split therefore depends on the seed and on
    the units of its kind, never on the order of files. Documents held out at a smaller share are also held out at a
    larger one.

    Parameters
    ----------
    kinds, groups, ids
        One entry per document.
    held_out
        Share of each kind's units that is held out from training, 0 ≤ held_out < 1; one half chooses partners, the
        other reports. Each half is rounded to whole units and has at least one: of three units, one trains, one chooses
        and one reports.

    Raises
    ------
    CorpusError
        If ``held_out`` is out of range.

    Examples
    --------
    Ten works of two passages each: a work is never in two splits.

    >>> groups = [f"work {i // 2}" for i in range(20)]
    >>> splits = split_documents(["en"] * 20, groups, [str(i) for i in range(20)], held_out=0.4)
    >>> splits.split[::2] == splits.split[1::2]
    True
    >>> {name: splits.split.count(name) for name in ("train", "choose", "report")}
    {'train': 12, 'choose': 4, 'report': 4}
    """
    if not 0 <= held_out < 1:
        raise CorpusError(f"held_out: expected a share of documents in [0, 1), found {held_out}")
    home = home_kinds(kinds, groups)
    of_kind: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, group in enumerate(groups):
        of_kind[home.get(group, kinds[i])][group if group in home else ids[i]].append(i)
    split = [TRAIN] * len(kinds)
    for units in of_kind.values():
        if len(units) < 3 or held_out == 0:
            continue
        per_half = max(1, round(len(units) * held_out / 2))
        for rank, unit in enumerate(sorted(units, key=lambda name: _keyed(seed, name))):
            for i in units[unit]:  # CHOOSE and REPORT take the first ranks, so a larger share only adds units
                split[i] = CHOOSE if rank < per_half else REPORT if rank < 2 * per_half else TRAIN
    flagged = {kind for kind, group in zip(kinds, groups, strict=True) if group not in home}
    held_out_kinds = {kind for kind, part in zip(kinds, split, strict=True) if part != TRAIN}
    return Splits(tuple(split), tuple(sorted(flagged)), tuple(sorted(set(kinds) - held_out_kinds)))


def home_kinds(kinds: Sequence[str], groups: Sequence[str]) -> dict[str, str]:
    """Return the kind in which each work is assigned as a whole; works in flagged kinds only are missing.

    Parameters
    ----------
    kinds, groups
        One entry per document.

    Returns
    -------
    dict
        Group → kind. Among several kinds with at least ``MIN_GROUPS`` groups, the kind with the fewest groups is taken:
        a rare kind then gets its share, and in frequent kinds the share deviates little anyway.
    """
    pairs = set(zip(kinds, groups, strict=True))
    n_groups = Counter(kind for kind, _ in pairs)
    home: dict[str, str] = {}
    for kind, group in sorted(pairs, key=lambda pair: (n_groups[pair[0]], pair)):  # rarest kind first; ties by name
        if n_groups[kind] >= MIN_GROUPS:
            home.setdefault(group, kind)
    return home


def _keyed(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()
