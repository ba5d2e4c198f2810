"""Some features of a store are a store: the same numbers as from the whole, and nothing else is read."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from feature_rows import activations, write
from numpy.testing import assert_allclose, assert_array_equal

from universality import Similarity
from universality.errors import UniversalityError
from universality.features import Dictionary, FeatureStore, select_features
from universality.features.storage import store as store_module

CHOSEN = [7, 2, 2, 11]
DRAW = np.random.default_rng(0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    decoder = DRAW.normal(size=(12, 5)).astype(np.float32)
    dictionary = Dictionary(decoder, bias=np.arange(12, dtype=np.float32))
    return write(tmp_path_factory.mktemp("store") / "a.h5", activations(500), dictionary=dictionary)


def test_rows_columns_and_moments_are_those_of_the_whole(store: FeatureStore) -> None:
    some, dense = select_features(store, CHOSEN), store.csr().toarray()[:, CHOSEN]
    assert (some.n_tokens, some.n_features, some.n_stored) == (500, 4, np.count_nonzero(dense))
    assert_array_equal(some.csr().toarray(), dense)
    assert_array_equal(some.rows(slice(17, 40)).toarray(), dense[17:40])
    assert_array_equal(some.columns(1, 3).toarray(), dense[:, 1:3])
    assert_array_equal(some.feature(3)[0], np.flatnonzero(dense[:, 3]))
    assert_array_equal(some.moments().count, store.moments().count[CHOSEN])
    assert_array_equal(np.concatenate([part.toarray() for _, part in some.batches(2000)]), dense)
    assert some.csr().has_sorted_indices
    assert some.dictionary is not None
    assert store.dictionary is not None
    assert_array_equal(some.dictionary.decoder, store.dictionary.decoder[CHOSEN])
    assert_array_equal(some.dictionary.bias, np.asarray(CHOSEN))
    assert some.dictionary.encoder is None


def test_measures_agree_with_blocks_of_the_whole(store: FeatureStore) -> None:
    a, b = select_features(store, CHOSEN), select_features(store, [0, 7])
    whole = Similarity.activation(store, store)
    assert_allclose(Similarity.activation(a, b).dense(), whole.block(CHOSEN)[:, [0, 7]], atol=1e-12)
    assert Similarity.activation(a, b).dense()[0, 1] == pytest.approx(1), "feature 7 with itself"
    decoder = Similarity.decoder(store, store)
    assert_allclose(Similarity.decoder(a, b, force=True).dense(), decoder.block(CHOSEN)[:, [0, 7]], atol=1e-6)


def test_two_selections_of_one_file_are_two_stores(store: FeatureStore) -> None:
    a, b, again = (select_features(store, chosen) for chosen in ([1], [2], [1]))
    assert a.content_hash() == again.content_hash() != b.content_hash()
    assert a.content_hash() != store.content_hash()
    assert a.dictionary_hash != b.dictionary_hash
    assert a.tokens_hash == store.tokens_hash


def test_only_the_features_asked_for_are_read(store: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    spans, real = [], store_module.read_span

    def watched(path, group, start, stop, n_minor):  # type: ignore[no-untyped-def]
        spans.append((group.name, start, stop))
        return real(path, group, start, stop, n_minor)

    monkeypatch.setattr(store_module, "read_span", watched)
    Similarity.activation(select_features(store, [11]), select_features(store, [0])).dense()
    assert sorted(spans) == [("/by_feature", 0, 1), ("/by_feature", 11, 12)]
    spans.clear()
    Similarity.activation(store, store).dense()
    assert ("/by_token", 0, 500) in spans, "the control reads everything"


def test_it_travels_to_other_processes_and_leaves_the_store_open(store: FeatureStore) -> None:
    with select_features(store, CHOSEN) as some:
        copied = pickle.loads(pickle.dumps(some))
    assert_array_equal(copied.csr().toarray(), some.csr().toarray())
    assert copied.content_hash() == some.content_hash()
    assert store.rows(slice(0, 1)).shape == (1, 12)
    some.verify()


@pytest.mark.parametrize("wanted", [[], [0.5], [[1]]])
def test_what_are_no_indices_is_refused(store: FeatureStore, wanted: list[float]) -> None:
    with pytest.raises(UniversalityError, match=r"a\.h5: expected a non-empty array of features \[n\], found"):
        select_features(store, wanted)


def test_a_feature_that_does_not_exist_is_refused(store: FeatureStore) -> None:
    with pytest.raises(UniversalityError, match=r"a\.h5: features from 0 to 11 exist, found 3 to 12"):
        select_features(store, [3, 12])


def test_a_closed_store_is_said(tmp_path: Path) -> None:
    closed = write(tmp_path / "a.h5", activations(20))
    some = select_features(closed, [1])
    closed.close()
    with pytest.raises(ValueError, match="this store is closed"):
        some.csr()
