"""Which documents train, which choose partners, which report.

Three splits by document, stratified by kind. Where a kind has at least ``MIN_GROUPS`` groups (works), whole
groups are assigned, so that no work stands on both sides; with fewer, its passages are assigned one by one
and the kind is *flagged*: its halves may share a work. A kind with fewer than three units trains only.
"""

import hashlib
from collections import defaultdict
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
    seed and on the units of its kind, never on the order of the files.

    Parameters
    ----------
    kinds, groups, ids
        One entry a document.
    held_out
        Share of each kind's units kept from training; half of it chooses, half reports. 0 ≤ held_out < 1.

    Raises
    ------
    CorpusError
        If ``held_out`` is out of range.
    """
    if not 0 <= held_out < 1:
        raise CorpusError(f"held_out: expected a share of documents in [0, 1), found {held_out}")
    of_kind: dict[str, list[int]] = defaultdict(list)
    for index, kind in enumerate(kinds):
        of_kind[kind].append(index)
    split = [TRAIN] * len(kinds)
    flagged, train_only = [], []
    for kind, members in sorted(of_kind.items()):
        by_group = len({groups[i] for i in members}) >= MIN_GROUPS
        units: dict[str, list[int]] = defaultdict(list)
        for i in members:
            units[groups[i] if by_group else ids[i]].append(i)
        if not by_group:
            flagged.append(kind)
        if len(units) < 3 or held_out == 0:
            train_only.append(kind)
            continue
        per_half = max(1, round(len(units) * held_out / 2))
        for rank, unit in enumerate(sorted(units, key=lambda name: _keyed(seed, name))):
            for i in units[unit]:
                split[i] = CHOOSE if rank < per_half else REPORT if rank < 2 * per_half else TRAIN
    return Splits(tuple(split), tuple(flagged), tuple(train_only))


def _keyed(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest()
