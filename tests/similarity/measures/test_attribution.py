"""Attribution similarity against its definition, with its array of tokens x features."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Text, concepts, dense, pearson, text, write_store

from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary, FeatureStore
from universality.models.unembedding import Unembedding
from universality.similarity import Similarity
from universality.similarity.engine import comoments

SEEN = text(20)
D_VOCAB = 50  # token ids are position + 7


def made(path: Path, seed: int, n: int, d_model: int, d_vocab: int = D_VOCAB, center: bool = True) -> FeatureStore:
    rng = np.random.default_rng(seed)
    mask = np.ones(d_vocab, bool)
    mask[10 + seed] = False
    W_U = (rng.standard_normal((d_model, d_vocab)) + 2).astype(np.float32)
    unembedding = Unembedding(W_U, rng.uniform(0.5, 2, d_model).astype(np.float32), mask, center)
    residual = rng.standard_normal((n, d_model))
    x = concepts(SEEN.n_tokens, np.full(n, 0.1), np.random.default_rng(9))
    return write_store(path, x, SEEN, {}, Dictionary(residual, residual=residual), unembedding)


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureStore, FeatureStore]:
    folder = tmp_path_factory.mktemp("attribution")
    return made(folder / "a.h5", 0, 12, 8), made(folder / "b.h5", 1, 12, 10, center=False)


def attributions(store: FeatureStore, other: FeatureStore) -> tuple[np.ndarray, np.ndarray]:
    """Dense attributions [n, n_features] of the positions that have one, and those positions."""
    u, v = store.unembedding(), other.unembedding()
    assert u is not None
    assert v is not None
    assert store.dictionary is not None
    mask = u.mask & v.mask
    direction = store.dictionary.residual.astype(float)  # type: ignore[union-attr]
    if u.center_d_model:
        direction -= direction.mean(axis=1, keepdims=True)
    weights = (direction * u.gain) @ u.W_U
    weights -= weights[:, mask].mean(axis=1, keepdims=True)
    last = np.append(SEEN.position[1:] != SEEN.position[:-1] + 1, True)
    following = np.roll(SEEN.position + 7, -1)
    kept = np.flatnonzero(~last & mask[following])
    return dense(store)[kept] * weights[:, following[kept]].T, kept


@pytest.mark.parametrize("way", ["blocks", "streamed", "listed"])
def test_equals_the_definition(
    stores: tuple[FeatureStore, FeatureStore], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way == "listed":
        monkeypatch.setattr(comoments, "LISTED_ABOVE", 0)
    a, b = stores
    (x, kept), (y, _) = attributions(a, b), attributions(b, a)
    expected = pearson(x, y)
    sim = Similarity.attribution(a, b, memory_budget=1000 if way == "streamed" else 1 << 30)
    assert_allclose(sim.dense(1 << 30), expected, atol=1e-6)
    assert sim.provenance["tokens"]["n_tokens"] == kept.size < SEEN.n_tokens - 3 * 20
    assert_allclose(sim.pairs([0, 3], [0, 5]), expected[[0, 3], [0, 5]], atol=1e-6)
    assert np.abs(expected - Similarity.activation(a, b).dense()).max() > 0.1  # the control: it is another measure
    documents = [1, 2, 7]
    part = np.isin(SEEN.document[kept], documents)
    assert_allclose(sim.restrict(documents).dense(1 << 30), pearson(x[part], y[part]), atol=1e-6)


def test_conventions_are_recorded(stores: tuple[FeatureStore, FeatureStore]) -> None:
    a, b = stores
    for sim in (Similarity.attribution(a, b), Similarity.logit(a, b)):
        found = sim.provenance["convention"]
        assert found["a"] == {
            "unembedding": a.unembedding().hash,  # type: ignore[union-attr]
            "mean_over_d_model_removed": True,
            "gain": "final norm",
        }
        assert not found["b"]["mean_over_d_model_removed"]
        assert found["n_vocab"] == D_VOCAB - 2
        assert {"bias of the final norm", "soft-cap of the logits"} < set(found["left_out"])


def test_a_pair_turned_round_is_the_transpose(stores: tuple[FeatureStore, FeatureStore]) -> None:
    a, b = stores
    assert_allclose(Similarity.attribution(b, a).dense(), Similarity.attribution(a, b).dense().T, atol=1e-9)
    assert_array_equal(Similarity.attribution(a, b).topk(2, axis=0)[0], Similarity.attribution(b, a).topk(2)[0])


def test_what_has_no_attribution_is_refused(stores: tuple[FeatureStore, FeatureStore], tmp_path: Path) -> None:
    a, _ = stores
    bare = write_store(tmp_path / "bare.h5", np.ones((SEEN.n_tokens, 2)), SEEN)
    with pytest.raises(UniversalityError, match=r"bare\.h5: holds no unembedding"):
        Similarity.attribution(bare, a)
    small = made(tmp_path / "small.h5", 0, 3, 4, d_vocab=20)
    with pytest.raises(MismatchError, match=r"small\.h5: token 39, but its unembedding has a vocabulary of 20"):
        Similarity.attribution(small, small)
    ends = np.append(SEEN.position[1:] != SEEN.position[:-1] + 1, True)
    alone = Text(SEEN.documents, SEEN.document[ends], SEEN.position[ends])
    u = a.unembedding()
    lonely = write_store(tmp_path / "l.h5", np.ones((alone.n_tokens, 12)), alone, {}, a.dictionary, u)
    with pytest.raises(UniversalityError, match=r"l\.h5: none of the 60 tokens compared is followed by one that"):
        Similarity.attribution(lonely, lonely)


@pytest.mark.parametrize("memory_budget", [1 << 30, 1000])
def test_another_process_computes_the_same(stores: tuple[FeatureStore, FeatureStore], memory_budget: int) -> None:
    """What is sent are the stores' paths; the attributions are computed from them again."""
    sim = Similarity.attribution(*stores, memory_budget)
    sent = pickle.dumps(sim)
    assert len(sent) < 12_000  # the stores hold more
    assert_array_equal(pickle.loads(sent).dense(1 << 30), sim.dense(1 << 30))
