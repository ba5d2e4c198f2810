"""Shards joined are the store that was never cut."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.errors import MismatchError
from universality.features import FeatureStore
from universality.features.join import join_stores
from universality.features.tables import Dictionary

N, WIDTH = 900, 30
DOCUMENTS = DocumentTable(("d0", "d1", "d2"), ("x", "y", "x"), ("g", "g", "h"), ("choose", "report", "report"))


def write(path: Path, rows: slice, provenance: str = "p") -> Path:
    features = sparse.random(N, WIDTH, 0.2, "csr", dtype=np.float32, random_state=0)[rows]
    document = (np.arange(N) // 300)[rows]
    writer = FeatureStore.create(path, WIDTH, {"made": provenance}, DOCUMENTS)
    kind = np.array(DOCUMENTS.kind)[document]
    writer.append(features, token=np.arange(N)[rows], document=document, position=np.ones(N, int)[rows], kind=kind)
    writer.finish(Dictionary(np.eye(WIDTH, dtype=np.float32))).close()
    return path


@pytest.mark.parametrize("cuts", [(0, 900), (0, 300, 900), (0, 17, 18, 640, 900)])
def test_joined_shards_have_the_contents_of_the_whole(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    whole = write(tmp_path / "whole.h5", slice(None))
    parts = [slice(a, b) for a, b in pairwise(cuts)]
    shards = [write(tmp_path / f"{i}.h5", part) for i, part in enumerate(parts)]
    join_stores(shards, tmp_path / "joined.h5")
    with FeatureStore.open(whole) as expected, FeatureStore.open(tmp_path / "joined.h5") as found:
        found.verify()
        assert found.content_hash() == expected.content_hash()
        assert found.provenance == expected.provenance


def test_shards_of_different_stores_are_refused(tmp_path: Path) -> None:
    shards = [write(tmp_path / "0.h5", slice(0, 300)), write(tmp_path / "1.h5", slice(300, 900), "q")]
    with pytest.raises(MismatchError, match=r"1.h5: made from something else than"):
        join_stores(shards, tmp_path / "joined.h5")
    assert not list(tmp_path.glob("joined*"))
