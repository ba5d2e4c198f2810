"""Shards that are opened as one store hold what the store that joins them holds."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from feature_rows import activations, token_columns, write
from numpy.testing import assert_allclose, assert_array_equal

from universality import Similarity
from universality.errors import MismatchError
from universality.features import Dictionary, FeatureStore, concatenate, cut, open_shards, select_features

N, STOPS = 500, (180, 201, 500)
MATRIX, COLUMNS = activations(N), token_columns(N)
WEIGHTS = Dictionary(np.arange(60).reshape(12, 5))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three shards, whose processes saw some of the documents and of the kinds each."""
    folder = tmp_path_factory.mktemp("shards")
    made = []
    for start, stop in zip((0, *STOPS), STOPS, strict=False):
        made.append(folder / f"{start}.h5")
        writer = FeatureStore.create(made[-1], 12, {"seed": 1, "rank": len(made)})
        writer.append(MATRIX[start:stop], **{name: column[start:stop] for name, column in COLUMNS.items()})
        writer.finish(dictionary=WEIGHTS).close()
    return made


def test_everything_read_is_that_of_the_store_that_joins_them(paths: list[Path], tmp_path: Path) -> None:
    with open_shards(paths) as shards, concatenate(paths, tmp_path / "joined.h5") as joined:
        assert repr(shards).startswith(f"FeatureStore({str(paths[0])!r}, n_tokens=500, n_features=12")
        assert shards.tokens_hash == joined.tokens_hash
        assert shards.dictionary_hash == joined.dictionary_hash
        assert shards.provenance == joined.provenance == {"seed": 1, "parts": [{"rank": i} for i in (1, 2, 3)]}
        assert shards.documents == joined.documents
        assert shards.tokens.kinds == joined.tokens.kinds
        for name in ("token", "document", "position", "kind"):
            assert_array_equal(getattr(shards.tokens, name), getattr(joined.tokens, name))
        for name in ("count", "max"):
            assert_array_equal(getattr(shards.moments(), name), getattr(joined.moments(), name))
        for name in ("sum", "sum_sq"):
            assert_allclose(getattr(shards.moments(), name), getattr(joined.moments(), name), rtol=1e-12)
        for rows in (slice(None), slice(170, 205), slice(185, 190), slice(201, 201), slice(499, None)):
            assert (shards.rows(rows) != joined.rows(rows)).nnz == 0
        assert (shards.columns(3, 9) != joined.columns(3, 9)).nnz == 0
        for mine, theirs in zip(shards.feature(5), joined.feature(5), strict=True):
            assert_array_equal(mine, theirs)
        assert sum(batch.nnz for _, batch in shards.batches(2000)) == joined.n_stored == shards.n_stored
        assert_array_equal(shards.decoder_rows(), joined.decoder_rows())
        shards.verify()
        cut(shards, tmp_path / "again.h5", features=slice(None)).close()
        with FeatureStore.open(tmp_path / "again.h5") as again:
            assert (again.csr() != joined.csr()).nnz == 0


@pytest.mark.parametrize("memory_budget", [1 << 30, 3000])
def test_similarities_are_those_of_the_joined_store(paths: list[Path], tmp_path: Path, memory_budget: int) -> None:
    """In this process, and after the shards were sent to another."""
    with open_shards(paths) as shards, concatenate(paths, tmp_path / "joined.h5") as joined:
        expected = Similarity.activation(joined, joined, memory_budget).dense()
        with pickle.loads(pickle.dumps(shards)) as sent:
            for store in (shards, sent):
                found = Similarity.activation(store, joined, memory_budget).dense()
                assert_allclose(found, expected, rtol=0, atol=1e-12)
            assert sent.content_hash() == shards.content_hash() != joined.content_hash()
        chosen = select_features(shards, [7, 2])
        assert (chosen.csr() != joined.csr()[:, [7, 2]]).nnz == 0


def test_shards_that_do_not_belong_together_are_refused(paths: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="open_shards: expected at least one store, found none"):
        open_shards([])
    with pytest.raises(MismatchError, match=r"has the same tokens as .*; name each shard once"):
        open_shards([paths[0], paths[0]])
    write(tmp_path / "other.h5", MATRIX).close()
    with pytest.raises(MismatchError, match="its dictionary or unembedding is not that of"):
        open_shards([paths[0], tmp_path / "other.h5"])
