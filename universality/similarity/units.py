"""Which documents count as one piece of evidence: what nulls keep apart and bootstraps draw.

A group (a work, an author) is the unit where its kind has enough of them. In a kind with fewer than
``universality.corpus.splits.MIN_GROUPS`` groups every document is its own unit, as it is when splits are drawn; where
that takes documents of one group apart, the kind is *flagged*: they may be parts of one work.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.similarity.rows import IntArray

if TYPE_CHECKING:
    from universality.corpus.documents import DocumentTable


@dataclass(frozen=True, eq=False)
class Units:
    """Units of documents.

    Parameters
    ----------
    code
        int64 [n_documents] unit of each document.
    names
        [n_units] group, or document in a flagged kind.
    flagged_kinds
        Kinds in which documents of one group count as units, sorted.
    """

    code: IntArray
    names: tuple[str, ...]
    flagged_kinds: tuple[str, ...]


def independent_units(documents: DocumentTable) -> Units:
    """Units of a document table; groups are counted over all of its splits."""
    from universality.corpus.splits import MIN_GROUPS

    groups: dict[str, set[str]] = {}
    for kind, group in zip(documents.kind, documents.group, strict=True):
        groups.setdefault(kind, set()).add(group)
    n_documents = Counter(documents.kind)
    flagged = {kind for kind, names in groups.items() if len(names) < min(MIN_GROUPS, n_documents[kind])}
    rows = zip(documents.kind, documents.group, documents.id, strict=True)
    keys = [("document", name) if kind in flagged else ("group", group) for kind, group, name in rows]
    order = {key: code for code, key in enumerate(sorted(set(keys)))}
    code = np.array([order[key] for key in keys], dtype=np.int64)
    return Units(code, tuple(name for _, name in order), tuple(sorted(flagged)))
