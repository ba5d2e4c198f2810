"""Logit-weight similarity against the direct formula with its features x vocabulary arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Array, text, write_store

from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary, FeatureStore
from universality.models.unembedding import Unembedding
from universality.similarity import Similarity

SEEN = text(3)
N_FEATURES, D_VOCAB = 9, 6000  # more than one chunk of the vocabulary


def made(
    path: Path, seed: int, d_model: int = 16, d_vocab: int = D_VOCAB, center: bool = True, **changes: Any
) -> FeatureStore:
    rng = np.random.default_rng(seed)
    mask = rng.random(d_vocab) > 0.2
    W_U = rng.standard_normal((d_model, d_vocab)) + 3.0
    W_U[:, ~mask] *= 1000
    unembedding = Unembedding(W_U.astype(np.float32), rng.uniform(0.5, 2, d_model).astype(np.float32), mask, center)
    residual = rng.standard_normal((N_FEATURES, d_model)) + 5.0
    residual[2] = 0
    residual[3] = 1.5  # the mean over d_model is all of it
    dictionary = Dictionary(decoder=residual, residual=residual)
    x = np.ones((SEEN.n_tokens, N_FEATURES))
    x[:, 5] = 0
    given = {"dictionary": dictionary, "unembedding": unembedding} | changes
    return write_store(path, x, SEEN, **given)


def logits(store: FeatureStore, mask: Array) -> Array:
    """The definition: features x vocabulary."""
    unembedding = store.unembedding()
    assert unembedding is not None
    assert store.dictionary is not None
    assert store.dictionary.residual is not None
    direction = store.dictionary.residual.astype(np.float64)
    if unembedding.center_d_model:
        direction -= direction.mean(axis=1, keepdims=True)
    return (direction * unembedding.gain) @ unembedding.W_U[:, mask].astype(np.float64)


def masks(*stores: FeatureStore) -> list[Array]:
    return [store.unembedding().mask for store in stores]  # type: ignore[union-attr]


@pytest.mark.parametrize("center", [True, False])
def test_equals_the_direct_formula(tmp_path: Path, center: bool) -> None:
    a, b = made(tmp_path / "a.h5", 0, 16, center=center), made(tmp_path / "b.h5", 1, 24, center=center)
    mask = np.logical_and(*masks(a, b))
    left, right = logits(a, mask), logits(b, mask)
    sim = Similarity.logit(a, b)
    alive = np.array([i for i in range(N_FEATURES) if i not in (2, 5) and not (center and i == 3)])
    expected = np.corrcoef(left[alive], right[alive])[: alive.size, alive.size :]
    assert_allclose(sim.dense()[np.ix_(alive, alive)], expected, atol=1e-12)
    assert_allclose(sim.pairs(alive, alive), np.diag(expected), atol=1e-12)
    assert sim.provenance["n_vocab"] == mask.sum()
    # a control: each model's own mask instead of the joint one is something else
    own = np.corrcoef(logits(a, mask)[alive], logits(b, np.roll(mask, 1))[alive])[: alive.size, alive.size :]
    assert abs(own - expected).max() > 0.01


def test_directions_without_logits_and_silent_features_are_dead(tmp_path: Path) -> None:
    sim = Similarity.logit(made(tmp_path / "a.h5", 0), made(tmp_path / "b.h5", 1, center=False))
    assert_array_equal(np.flatnonzero(sim.dead_rows), [2, 3, 5])
    assert_array_equal(np.flatnonzero(sim.dead_cols), [2, 5])
    assert_array_equal(sim.dense()[2], 0)


def test_a_store_against_itself_is_1(tmp_path: Path) -> None:
    a = made(tmp_path / "a.h5", 0)
    alive = [0, 1, 4, 6, 7, 8]
    assert_allclose(Similarity.logit(a, a).pairs(alive, alive), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dictionary": None}, r"b\.h5: holds no dictionary; logit similarity needs"),
        ({"dictionary": Dictionary(np.ones((N_FEATURES, 4)))}, r"b\.h5: holds a dictionary without residual"),
        ({"unembedding": None}, r"b\.h5: holds no unembedding"),
    ],
)
def test_stores_without_the_weights_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UniversalityError, match=message):
        Similarity.logit(made(tmp_path / "a.h5", 0), made(tmp_path / "b.h5", 1, **changes))


def test_other_vocabularies_are_refused(tmp_path: Path) -> None:
    a = made(tmp_path / "a.h5", 0, provenance={"tokenizer_hash": "one"})
    with pytest.raises(MismatchError, match=r"b\.h5: a vocabulary of 500, but .*a\.h5 one of 6000"):
        Similarity.logit(a, made(tmp_path / "b.h5", 1, d_vocab=500))
    with pytest.raises(MismatchError, match=r"c\.h5: tokenizer two, but .*a\.h5 has one"):
        Similarity.logit(a, made(tmp_path / "c.h5", 1, provenance={"tokenizer_hash": "two"}))


def test_masks_that_leave_nothing_are_refused(tmp_path: Path) -> None:
    halves = [np.arange(8) < 4, np.arange(8) >= 3]
    stores = [
        made(tmp_path / f"{k}.h5", 0, 4, 8, unembedding=Unembedding(np.ones((4, 8)), np.ones(4), mask, True),
             dictionary=Dictionary(np.ones((N_FEATURES, 4)), residual=np.ones((N_FEATURES, 4))))
        for k, mask in enumerate(halves)
    ]  # fmt: skip
    with pytest.raises(MismatchError, match="1 vocabulary entries count in both; r needs at least 2"):
        Similarity.logit(*stores)


def test_no_tokens_to_restrict_re_pair_or_group(tmp_path: Path) -> None:
    a = made(tmp_path / "a.h5", 0)
    sim = Similarity.logit(a, a)
    for call in (lambda: sim.restrict([0]), lambda: sim.repaired([0], [0]), lambda: sim.pairs([0], [0], by="group")):
        with pytest.raises(UniversalityError, match="logit similarity does not come from tokens"):
            call()
    assert sim.counts is None
