"""Logit-weight similarity against the direct formula with its features x vocabulary arrays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Array, text, write_store

from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary, FeatureStore
from universality.models.unembedding import Unembedding
from universality.models.vocabulary import Vocabulary
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


def strings(d_vocab: int, first: int = 0) -> Vocabulary:
    return Vocabulary(tuple(b"s%d" % i for i in range(first, first + d_vocab)), np.arange(d_vocab))


def with_strings(store: FeatureStore, vocabulary: Vocabulary) -> Unembedding:
    stored = store.unembedding()
    assert stored is not None
    return replace(stored, vocabulary=vocabulary)


def test_other_vocabularies_without_strings_are_refused(tmp_path: Path) -> None:
    a = made(tmp_path / "a.h5", 0, provenance={"tokenizer_hash": "one"})
    expected = r"a\.h5 and .* have different vocabularies, .* the unembedding of a\.h5 holds none"
    with pytest.raises(MismatchError, match=expected):
        Similarity.logit(a, made(tmp_path / "b.h5", 1, d_vocab=500))
    with pytest.raises(MismatchError, match=expected):
        Similarity.logit(a, made(tmp_path / "c.h5", 1, provenance={"tokenizer_hash": "two"}))


@pytest.mark.parametrize("center", [True, False])
def test_over_shared_strings_equals_the_direct_formula(tmp_path: Path, center: bool) -> None:
    """B's vocabulary is another order of part of A's strings, with some of its own."""
    a, b = made(tmp_path / "a.h5", 0, center=center), made(tmp_path / "b.h5", 1, 24, 5000, center=center)
    order = np.random.default_rng(2).permutation(np.arange(2000, 7000))  # A's strings are 0 … 5,999
    named = Vocabulary(tuple(b"s%d" % i for i in order), np.arange(5000))
    a, b = (
        made(tmp_path / f"{name}.h5", seed, d_model, center=center, unembedding=with_strings(store, vocabulary))
        for name, seed, d_model, store, vocabulary in (("c", 0, 16, a, strings(D_VOCAB)), ("d", 1, 24, b, named))
    )
    place = {string: i for i, string in enumerate(order.tolist())}
    masks_ab = masks(a, b)
    shared = [i for i in range(2000, 6000) if masks_ab[0][i] and masks_ab[1][place[i]]]
    left, right = logits(a, np.array(shared)), logits(b, np.array([place[i] for i in shared]))
    sim = Similarity.logit(a, b)
    alive = np.array([0, 1, 4, 6, 7, 8])
    assert_allclose(sim.dense()[np.ix_(alive, alive)], np.corrcoef(left[alive], right[alive])[:6, 6:], atol=1e-12)
    described = sim.provenance["shared_strings"]
    assert (described["in_both"], described["counted"]) == (4000, len(shared))
    assert described["share_of_tokens"]["a"] == pytest.approx(sum(shared) / np.arange(D_VOCAB).sum())
    assert repr(sim) == f"Similarity(logit, 9 x 9, over {len(shared):,} shared token strings)"
    assert sim.provenance["convention"]["centred_over"] == "token strings that count in both"


def test_one_set_of_features_is_found_across_two_vocabularies(tmp_path: Path) -> None:
    """Planted: B is A in another basis, its vocabulary in another order. By id, its partners are chance."""
    rng = np.random.default_rng(3)
    order, basis = rng.permutation(D_VOCAB), np.linalg.qr(rng.standard_normal((16, 16)))[0]
    W_U, residual = rng.standard_normal((16, D_VOCAB)), rng.standard_normal((N_FEATURES, 16))

    def store(name: str, W_U: Array, residual: Array, vocabulary: Vocabulary | None, tokenizer: str) -> FeatureStore:
        unembedding = Unembedding(W_U, np.ones(16), np.ones(D_VOCAB, bool), False, vocabulary)
        return write_store(
            tmp_path / f"{name}.h5", np.ones((SEEN.n_tokens, N_FEATURES)), SEEN, {"tokenizer_hash": tokenizer},
            Dictionary(residual, residual=residual), unembedding,
        )  # fmt: skip

    named = strings(D_VOCAB)
    moved = Vocabulary(tuple(named.texts[i] for i in order), named.count)
    a = store("a", W_U, residual, named, "one")
    b = store("b", basis.T @ W_U[:, order], residual @ basis, moved, "two")
    assert_allclose(np.diag(Similarity.logit(a, b).dense()), 1, atol=1e-5)
    unaware = store("c", basis.T @ W_U[:, order], residual @ basis, None, "one")
    assert abs(Similarity.logit(a, unaware).dense()).max() < 0.1


def test_types_restrict_the_vocabulary_and_its_centre(tmp_path: Path) -> None:
    a, b = made(tmp_path / "a.h5", 0, 16), made(tmp_path / "b.h5", 1, 24)
    joint = np.flatnonzero(np.logical_and(*masks(a, b)))
    some = np.random.default_rng(0).permutation(joint)[:500]
    alive = np.array([0, 1, 4, 6, 7, 8])
    sim = Similarity.logit(a, b, types=some)
    expected = np.corrcoef(logits(a, some)[alive], logits(b, some)[alive])[:6, 6:]
    assert_allclose(sim.dense()[np.ix_(alive, alive)], expected, atol=1e-12)
    assert sim.provenance["n_vocab"] == 500
    assert abs(Similarity.logit(a, b).dense()[np.ix_(alive, alive)] - expected).max() > 0.01


def test_types_that_do_not_count_are_refused(tmp_path: Path) -> None:
    a = made(tmp_path / "a.h5", 0)
    counts = np.flatnonzero(masks(a)[0])
    masked = int(np.flatnonzero(~masks(a)[0])[0])
    with pytest.raises(UniversalityError, match=rf"types: 1 of 3 token ids, such as {masked}, do not count in both"):
        Similarity.logit(a, a, types=[counts[0], masked, counts[1]])
    with pytest.raises(UniversalityError, match="types: expected each token id once"):
        Similarity.logit(a, a, types=counts[[0, 1, 1]])
    for wrong in ([counts[0]], [0.5, 1.5], np.zeros((2, 2), int)):
        with pytest.raises(UniversalityError, match="types: expected at least 2 token ids"):
            Similarity.logit(a, a, types=wrong)


def test_few_shared_strings_are_refused_with_their_number(tmp_path: Path) -> None:
    a = made(tmp_path / "a.h5", 0)
    a, b = (
        made(tmp_path / f"{name}.h5", 0, unembedding=with_strings(a, strings(D_VOCAB, first)),
             provenance={"tokenizer_hash": name})
        for name, first in (("c", 0), ("d", D_VOCAB - 110))
    )  # fmt: skip
    with pytest.raises(MismatchError, match=r"share 110 token strings, of which \d\d are frequent enough .* least 100"):
        Similarity.logit(a, b)


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


def test_stores_of_segments_without_an_unembedding_say_why(tmp_path: Path) -> None:
    segments = made(tmp_path / "a.h5", 0, unembedding=None, provenance={"segments": {"tokenizer_hash": "one"}})
    with pytest.raises(UniversalityError, match=r"a\.h5: holds no unembedding, which logit weights need.*collect it"):
        Similarity.logit(segments, segments)
