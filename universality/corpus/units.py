"""Independent units of documents, which null distributions re-pair and bootstraps draw.

Splits keep the same units together (`universality.corpus.splits`). A group (a work, an author) is the unit if one of
its kinds has at least ``MIN_GROUPS`` groups. Otherwise each of its documents is a unit of its own. If this separates
documents of one group, the kind is *flagged*, because the documents may be parts of one work.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from universality.arrays import IntArray
from universality.corpus.splits import home_kinds

if TYPE_CHECKING:
    from universality.corpus.documents import DocumentTable


@dataclass(frozen=True, eq=False)
class Units:
    """Independent units of a document table.

    Parameters
    ----------
    code
        int64 [n_documents], unit of each document.
    names
        [n_units] name of the group, or of the document in a flagged kind.
    flagged_kinds
        Kinds in which single documents of a group count as units, sorted.
    """

    code: IntArray
    names: tuple[str, ...]
    flagged_kinds: tuple[str, ...]


def independent_units(documents: DocumentTable) -> Units:
    """Return the units of a document table; groups are counted over all of its splits."""
    whole, n_documents = home_kinds(documents.kind, documents.group), Counter(documents.group)
    flagged = {
        kind
        for kind, group in zip(documents.kind, documents.group, strict=True)
        if group not in whole and n_documents[group] > 1
    }
    rows = zip(documents.kind, documents.group, documents.id, strict=True)
    # A key carries its type, since a document may have the name of a group.
    keys = [
        ("document", name) if kind in flagged and group not in whole else ("group", group) for kind, group, name in rows
    ]
    order = {key: code for code, key in enumerate(sorted(set(keys)))}
    code = np.array([order[key] for key in keys], dtype=np.int64)
    return Units(code, tuple(name for _, name in order), tuple(sorted(flagged)))
