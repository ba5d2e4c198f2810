"""What a run collected comes back from every format: the same contents, the same matches, the same calibration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cached_activations import PAD, in_half_precision, sequences, write_delphi, write_parquet
from numpy.testing import assert_array_equal

from universality import FeatureStore, Similarity, calibrate, families, match
from universality.errors import MismatchError


@pytest.fixture(scope="module")
def collected(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, FeatureStore]]:
    """Stores of the smoke run, with the activations that delphi keeps."""
    folder = tmp_path_factory.mktemp("collected")
    stores = {}
    for name in ("A.w32-s0", "A.w64-s0", "B.w32-s0"):
        with FeatureStore.open(finished / "features" / f"{name}.h5") as store:
            stores[name] = in_half_precision(store, folder / f"{name}.h5")
    yield stores
    for store in stores.values():
        store.close()


def from_delphi(store: FeatureStore, folder: Path) -> FeatureStore:
    laid = write_delphi(store, folder / "cache")
    return FeatureStore.from_delphi(
        folder / "cache", folder / "a.h5", special_tokens=[PAD], document=laid.document, documents=store.documents,
        provenance=store.provenance, dictionary=store.dictionary, unembedding=store.unembedding(),
    )  # fmt: skip


def from_csr(store: FeatureStore, folder: Path) -> FeatureStore:
    table = store.tokens
    return FeatureStore.from_csr(
        store.csr(), folder / "a.h5", table.token, special_tokens=(), document=table.document, position=table.position,
        documents=store.documents, provenance=store.provenance, dictionary=store.dictionary,
        unembedding=store.unembedding(),
    )  # fmt: skip


def from_parquet(store: FeatureStore, folder: Path) -> FeatureStore:
    entries, tokens = write_parquet(store, folder)
    return FeatureStore.from_parquet(
        entries, folder / "a.h5", tokens=tokens, n_features=store.n_features, special_tokens=[PAD],
        columns={"feature": "latent"}, documents=store.documents, provenance=store.provenance,
        dictionary=store.dictionary, unembedding=store.unembedding(),
    )  # fmt: skip


@pytest.mark.parametrize("way", [from_delphi, from_csr, from_parquet])
def test_every_format_gives_the_store_and_its_numbers_back(
    collected: dict[str, FeatureStore], tmp_path: Path, way: type
) -> None:
    back = {}
    for name, store in collected.items():
        (tmp_path / name).mkdir()
        back[name] = way(store, tmp_path / name)
        assert back[name].content_hash() == store.content_hash()
        assert back[name].tokens_hash == store.tokens_hash
    before, after = (
        match(Similarity.activation(stores["A.w32-s0"], stores["B.w32-s0"])) for stores in (collected, back)
    )
    assert before.rows.size > 10
    assert_array_equal(before.cols, after.cols)
    assert_array_equal(before.scores, after.scores)
    once, again = (
        calibrate(stores["A.w32-s0"], stores["B.w32-s0"], replicates=1, bootstrap=0) for stores in (collected, back)
    )
    assert np.isfinite(once.held_out).any()
    assert_array_equal(once.held_out, again.held_out)
    tree = families([back["A.w32-s0"], back["A.w64-s0"]], n_replicates=0, bootstrap=0)
    assert len(tree.levels) == 2


def test_stores_of_sequences_alone_calibrate(collected: dict[str, FeatureStore], tmp_path: Path) -> None:
    """Without any table of documents half of the sequences choose and the other half report."""
    stores = []
    for name in ("A.w32-s0", "B.w32-s0"):
        write_delphi(collected[name], tmp_path / name)
        stores.append(FeatureStore.from_delphi(tmp_path / name, tmp_path / f"{name}.h5", special_tokens=[PAD]))
    calibration = calibrate(*stores, replicates=2, bootstrap=20)
    assert not [note for note in calibration.notes if "no document of split" in note]
    assert np.isfinite(calibration.held_out).any()
    shifted = sequences(collected["B.w32-s0"]).tokens + 1
    with FeatureStore.from_delphi(
        tmp_path / "B.w32-s0", tmp_path / "other.h5", special_tokens=[PAD + 1], tokens=shifted
    ) as other, pytest.raises(MismatchError, match="both stores must see the same tokens"):  # fmt: skip
        Similarity.activation(stores[0], other)
