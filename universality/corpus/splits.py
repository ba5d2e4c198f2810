"""Which documents train, which choose partners, which report.

Three splits by document, stratified by kind. Where a kind has at least ``MIN_GROUPS`` groups (works), whole
groups are assigned, so that no work stands on both sides; with fewer, its passages are assigned one by one
and the kind is *flagged*: its halves may share a work. A kind with fewer than three units trains only.

A work may have passages of several kinds. If one of these has ``MIN_GROUPS`` groups, the work is assigned once, in its
*home* kind, and all its passages follow, also those in flagged kinds.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from universality.errors import CorpusError

TRAIN, CHOOSE, REPORT = "train", "choose", "report"
MIN_GROUPS = 8


@dataclass(frozen=True)
class Splits:
    """The outcome: ``split[i]`` of each document, and the kinds whose passages had to be the unit."""

    split: tuple[str, ...]
    flagged_kinds: tuple[str, ...]
    train_only_kinds: tuple[str, ...]


def split_documents(
    kinds: Sequence[str], groups: Sequence[str], ids: Sequence[str], held_out: float = 0.2, seed: int = 0
) -> Splits:
    """Assign every document to ``train``, ``choose`` or ``report``.

    The order within a kind is that of a keyed hash of the unit's name, so a document's split depends on the
    seed and on the units of its kind, never on the order of the files. Documents held out with a smaller share are a
    subset of those held out with a larger one.

    Parameters
    ----------
    kinds, groups, ids
        One entry a document.
    held_out
        Share of each kind's units kept from training; half of it chooses, half reports. 0 ≤ held_out < 1. Each half is
        rounded to whole units and has at least one: of three units one trains, one chooses and one reports.

    Raises
    ------
    CorpusError
        If ``held_out`` is out of range.
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
            for i in units[unit]:
                split[i] = CHOOSE if rank < per_half else REPORT if rank < 2 * per_half else TRAIN
    flagged = {kind for kind, group in zip(kinds, groups, strict=True) if group not in home}
    kept_out = {kind for kind, part in zip(kinds, split, strict=True) if part != TRAIN}
    return Splits(tuple(split), tuple(sorted(flagged)), tuple(sorted(set(kinds) - kept_out)))


def home_kinds(kinds: Sequence[str], groups: Sequence[str]) -> dict[str, str]:
    """The kind in which each work is assigned as a whole; works that are missing have passages in flagged kinds only.

    Parameters
    ----------
    kinds, groups
        One entry a document.

    Returns
    -------
    dict
        Group → kind. Of several kinds with ``MIN_GROUPS`` groups it is the one with the fewest, so that a rare kind
        gets its share and frequent ones, where chance evens out, take the rest.
    """
    pairs = set(zip(kinds, groups, strict=True))
    n_groups = Counter(kind for kind, _ in pairs)
    home: dict[str, str] = {}
    for kind, group in sorted(pairs, key=lambda pair: (n_groups[pair[0]], pair)):
        if n_groups[kind] >= MIN_GROUPS:
            home.setdefault(group, kind)
    return home


def _keyed(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()
