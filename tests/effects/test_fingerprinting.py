from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from tests.effects.conftest import ARCHITECTURE, collected, random_sae
from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.effects import fingerprinting
from universality.effects.changes import Change, ablate, add
from universality.effects.contexts import Contexts, firings, joint_firings, random_positions
from universality.effects.fingerprinting import (
    FingerprintSettings,
    ablation_fingerprints,
    addition_fingerprints,
    mean_probabilities,
    median_activations,
    pair_fingerprints,
)
from universality.effects.fingerprints import TokenSet
from universality.effects.interventions import Intervention, acts_on_later_positions, edited_logits
from universality.effects.model_features import ModelFeatures
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.models.forward import to_device
from universality.models.language_model import new_model, weights
from universality.models.vocabulary import Vocabulary
from universality.similarity import Similarity, shared_tokens

SILENT = FingerprintSettings(silent=True)


def every_token(site: ModelSite) -> TokenSet:
    return TokenSet.of(np.arange(site.model.d_vocab), np.full(site.model.d_vocab, 1.0))


def one_by_one(
    features: ModelFeatures, contexts: Contexts, n_rows: int, change: Callable[[int], Change], later: bool
) -> np.ndarray:
    """The definition: whole blocks, one intervention in each forward pass, log-probabilities of all columns."""
    total = np.zeros((n_rows, features.site.model.d_vocab))
    for i in range(len(contexts)):
        block = features.blocks.take(contexts.block[[i]])
        tokens, text = to_device(block, features.site.device)
        at = torch.zeros_like(text)
        at[0, contexts.column[i]] = True
        edit = Intervention(features.site, features.sae, change(int(contexts.feature[i])))
        plain, edited = (edited_logits(features.site, tokens, e, at).double().log_softmax(-1)[0] for e in ([], [edit]))
        read = text[0].clone()
        read[: contexts.column[i]] = False
        total[contexts.row[i]] += (edited - plain)[read].sum(0).numpy() if later else (edited - plain)[at[0]][0].numpy()
    return total / np.maximum(np.bincount(contexts.row, minlength=n_rows), 1)[:, None]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("where", ["in front of a layer", "behind the last attention"])
def test_ablation_is_what_single_interventions_give(
    features: ModelFeatures, one_layer: dict[str, ModelFeatures], where: str, later: bool
) -> None:
    side = features if where == "in front of a layer" else one_layer["A"]
    assert acts_on_later_positions(side.site) == (side is features)
    chosen = np.flatnonzero(side.store.alive)[:8]
    contexts = firings(side, 5, chosen=chosen, seed=2)
    expected = one_by_one(side, contexts, side.store.n_features, lambda j: ablate([j]), later)
    settings = replace(SILENT, later=later, seed=2)
    prints = ablation_fingerprints(side, every_token(side.site), n_contexts=5, chosen=chosen, settings=settings)
    assert_allclose(prints.values, expected[chosen], atol=1e-5)
    assert abs(expected[chosen]).max() > 0.01
    assert prints.features.tolist() == chosen.tolist()
    assert prints.n_features == side.store.n_features
    assert prints.present.all()
    if side is features:
        other = ablation_fingerprints(
            side, every_token(side.site), n_contexts=5, chosen=chosen, settings=replace(settings, later=not later)
        )
        assert abs(other.values - expected[chosen]).max() > 1e-3


def test_addition_is_what_single_interventions_give(one_layer: dict[str, ModelFeatures], features) -> None:
    for side in (features, one_layer["B"]):
        positions = random_positions(side.blocks, 6, per_block=2, seed=1)
        amount = median_activations(side)
        chosen = np.flatnonzero(side.store.moments().count > 1)[:3]
        each = np.repeat(chosen, 6)
        contexts = Contexts(each, each, np.tile(positions[0], 3), np.tile(positions[1], 3))
        expected = one_by_one(side, contexts, side.store.n_features, lambda j: add([j], amount[j]), False)  # noqa: B023
        tokens = TokenSet.of(np.arange(5, 100), np.ones(95))
        prints = addition_fingerprints(side, tokens, positions, chosen=chosen, settings=SILENT)
        assert_allclose(prints.values, expected[chosen, 5:100], atol=1e-5)
        assert prints.n_contexts.tolist() == [6, 6, 6]
        assert prints.features.tolist() == chosen.tolist()
        values = side.store.feature(int(chosen[0]))[1]
        assert amount[chosen[0]] == np.median(values) > 0


def test_pairs_are_ablated_where_both_fire(one_layer: dict[str, ModelFeatures]) -> None:
    a, b = one_layer["A"], one_layer["B"]
    rows, cols = np.array([0, 3, 0]), np.array([5, 2, 7])
    sides = joint_firings(a, b, rows, cols, 4, seed=0)
    token = a.blocks.valid.cumsum().reshape(a.blocks.valid.shape) - 1  # of each place
    for side, contexts, of in ((a, sides[0], rows), (b, sides[1], cols)):
        assert (contexts.feature == of[contexts.row]).all()
        fires = side.store.csr()[token[contexts.block, contexts.column], contexts.feature]
        assert (np.asarray(fires) > 0).all()
    assert (sides[0].block == sides[1].block).all()
    assert (sides[0].column == sides[1].column).all()
    tokens = every_token(a.site)
    made = pair_fingerprints(a, b, (tokens, tokens), rows, cols, n_contexts=4, settings=SILENT)
    for side, contexts, prints in zip((a, b), sides, made, strict=True):
        assert_allclose(prints.values, one_by_one(side, contexts, 3, lambda j: ablate([j]), False), atol=1e-5)
    with pytest.raises(MismatchError, match="expected as many features of A as of B"):
        pair_fingerprints(a, b, (tokens, tokens), [1, 2], [1])
    with pytest.raises(UniversalityError, match="features from 0 to 39 exist"):
        pair_fingerprints(a, b, (tokens, tokens), [1], [40])


@pytest.fixture(scope="module")
def planted(blocks: TokenBlocks, tmp_path_factory: pytest.TempPathFactory) -> ModelFeatures:
    """Feature 0 writes a direction that only the logits of the tokens 3 and 7 read."""
    model = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=3, name="planted")
    with torch.no_grad():
        head = weights(model.bridge)["head.weight"]
        head[:, 1] = head[:, 0]
        head[3, 0], head[7, 1] = 2.0, 2.0
    sae = random_sae(32, 48, seed=2)
    sae.W_dec[0] = 0
    sae.W_dec[0, :2] = torch.tensor([1.0, -1.0])  # LayerNorm subtracts a mean of 0
    return collected(tmp_path_factory.mktemp("planted"), ModelSite(model, "blocks.1.hook_out"), sae, blocks)


def test_a_feature_that_acts_on_known_tokens_is_recovered(planted: ModelFeatures) -> None:
    prints = ablation_fingerprints(planted, every_token(planted.site), settings=SILENT)
    shared = np.median(prints.values, axis=1, keepdims=True)  # what 3 loses and 7 takes is shared by all others
    changes = (prints.values - shared)[prints.present]
    share = (changes[:, [3, 7]] ** 2).sum(axis=1) / (changes**2).sum(axis=1)
    assert prints.present[0]
    assert share[0] > 0.8  # ablation changes the norm's scale too, and by it all logits a little
    assert prints.values[0, 3] < 0 < prints.values[0, 7]  # ablated, 3 loses what the feature gave it
    assert np.median(share[1:]) < 0.7
    assert share[1:].max() < share[0]


def test_equal_models_have_equal_fingerprints_and_other_features_do_not(features: ModelFeatures) -> None:
    probability = mean_probabilities(features.site, features.blocks)
    assert probability.sum() == pytest.approx(1, abs=1e-5)
    tokens = shared_tokens(features.store, features.store, probability, probability)[0]
    prints = ablation_fingerprints(features, tokens, settings=SILENT)
    assert prints.n_contexts[47] == 0
    assert prints.describe()["n_without"] == (~features.store.alive).sum() >= 1
    for weighting in ("equal", "probability"):
        sim = Similarity.fingerprint(prints, prints, weighting)
        living = np.flatnonzero(prints.present)
        assert_allclose(sim.pairs(living, living), 1, atol=1e-9)
        assert sim.dead_rows[47]
        assert sim.dead_cols[47]
        assert sim.pairs([47], [47])[0] == 0
        assert np.median(abs(sim.dense()[np.ix_(living, living)])) < 0.5
    other = ablation_fingerprints(features, tokens, settings=replace(SILENT, seed=1))
    again = Similarity.fingerprint(prints, other)  # other contexts of the same features
    assert np.mean(again.topk(1)[0][living, 0] == living) > 0.9


def test_few_features_take_the_memory_of_few_and_keep_their_numbers(features: ModelFeatures) -> None:
    tokens, chosen = every_token(features.site), np.flatnonzero(features.store.alive)[[1, 5, 20]].tolist()
    budget = 4 * len(chosen) * len(tokens)  # of these rows, and not of the dictionary's
    some, whole = (
        ablation_fingerprints(features, tokens, n_contexts=2, chosen=which, settings=replace(SILENT, **more))
        for which, more in ((chosen, {"memory_budget": budget}), (None, {}))
    )
    assert some.projection is None
    assert some.values.shape == (3, len(tokens))
    sim, of_all = Similarity.fingerprint(some, whole), Similarity.fingerprint(whole, whole)
    assert sim.shape == of_all.shape == (48, 48)
    assert np.flatnonzero(~sim.dead_rows).tolist() == chosen
    assert_allclose(sim.block(chosen), of_all.block(chosen), atol=1e-6)
    assert not sim.block([47]).any()
    assert sim.topk(1)[0][:, 0].tolist() == [j if j in chosen else -1 for j in range(48)]


def test_a_projection_is_off_by_as_much_as_it_states(features: ModelFeatures, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = every_token(features.site)
    whole = ablation_fingerprints(features, tokens, n_contexts=2, settings=SILENT)
    monkeypatch.setattr(fingerprinting, "N_COMPONENTS", 256)
    small = replace(SILENT, memory_budget=4 * 300 * 20)  # 20 rows at a time
    projected = ablation_fingerprints(features, tokens, n_contexts=2, settings=small)
    assert projected.values.shape == (2, 48, 256)
    assert projected.projection is not None
    living = np.flatnonzero(whole.present)
    upper = np.triu_indices(living.size, 1)
    for weighting in ("equal", "probability"):
        exact, rough = (Similarity.fingerprint(p, p, weighting).dense() for p in (whole, projected))
        error = (rough - exact)[np.ix_(living, living)][upper]
        stated = projected.projection.error[weighting]
        assert np.sqrt((error**2).mean()) == pytest.approx(stated.rms, rel=0.3)
        assert 0.3 / 16 < stated.rms < 1.5 / 16
        assert stated.rms < stated.largest < 6 * stated.rms
    with pytest.raises(MismatchError, match="different projections"):
        Similarity.fingerprint(whole, projected)


def test_models_with_different_vocabularies_are_compared_by_strings(
    features: ModelFeatures, blocks: TokenBlocks, tmp_path: Path
) -> None:
    """The same model with its vocabulary in another order has the same fingerprints, token by token of the text."""
    model, order = features.site.model, np.random.default_rng(0).permutation(blocks.d_vocab)
    order = np.concatenate([[0], order[order != 0]])  # entry i here is order[i] there; BOS stays
    renamed = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="renamed")
    with torch.no_grad():
        for name in ("tok_embed.weight", "head.weight"):
            weights(renamed.bridge)[name].copy_(weights(model.bridge)[name][order])
    theirs = replace(blocks, tokens=np.argsort(order)[blocks.tokens].astype(np.int32), tokenizer_hash="other")
    count = np.ones(blocks.d_vocab, np.int64)
    texts = [b""] + [f"<{i}>".encode() for i in range(1, blocks.d_vocab)]
    a = collected(tmp_path, features.site, features.sae, blocks, Vocabulary(tuple(texts), count))
    b = collected(
        tmp_path, ModelSite(renamed, features.site.hook), features.sae, theirs,
        Vocabulary(tuple(texts[i] for i in order), count),
    )  # fmt: skip
    probabilities = [mean_probabilities(side.site, side.blocks) for side in (a, b)]
    assert_allclose(probabilities[1], probabilities[0][order], atol=1e-6)
    tokens = shared_tokens(a.store, b.store, *probabilities)
    prints = [ablation_fingerprints(side, of, settings=SILENT) for side, of in zip((a, b), tokens, strict=True)]
    assert_allclose(prints[0].values, prints[1].values, atol=1e-5)
    assert (tokens[0].entries != tokens[1].entries).any()
    living = np.flatnonzero(prints[0].present)
    assert_allclose(Similarity.fingerprint(*prints, "probability").pairs(living, living), 1, atol=1e-4)
    by_id = ablation_fingerprints(b, TokenSet(tokens[0].entries, tokens[0].probability, "wrong"), settings=SILENT)
    with pytest.raises(MismatchError, match="fingerprints of different tokens"):
        Similarity.fingerprint(prints[0], by_id)
    with pytest.raises(MismatchError, match=r"expected the probabilities of 300 entries, found \[3\]"):
        shared_tokens(a.store, b.store, probabilities[0], np.ones(3))
    for side in (a, b):
        side.store.close()


def test_bad_input(features: ModelFeatures) -> None:
    tokens = every_token(features.site)
    with pytest.raises(UniversalityError, match="n_contexts: expected at least 1, found 0"):
        ablation_fingerprints(features, tokens, n_contexts=0)
    with pytest.raises(UniversalityError, match=r"features from 0 to 47 exist in .*, found 3 to 48"):
        ablation_fingerprints(features, tokens, chosen=[3, 48])
    with pytest.raises(UniversalityError, match="features: one is named twice"):
        ablation_fingerprints(features, tokens, chosen=[1, 1])
    with pytest.raises(UniversalityError, match="documents: indices from 0 to"):
        ablation_fingerprints(features, tokens, documents=[10_000])
    with pytest.raises(MismatchError, match="entry 300 is none of the 300 of model 'A'"):
        ablation_fingerprints(features, TokenSet.of([5, 300], [1, 1]))
    with pytest.raises(UniversalityError, match="positions: expected blocks and columns that hold text"):
        addition_fingerprints(features, tokens, (np.array([0]), np.array([0])))  # BOS
    with pytest.raises(UniversalityError, match="expected n_components and memory_budget of at least 1"):
        FingerprintSettings(n_components=0)
    silent = ablation_fingerprints(features, tokens, chosen=[47], settings=SILENT)
    assert not silent.present.any()
    assert Similarity.fingerprint(silent, silent).dead_rows.all()


def test_a_hook_behind_which_nothing_follows_is_refused(blocks: TokenBlocks, tmp_path: Path) -> None:
    model = new_model(ARCHITECTURE, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=0, name="deaf")
    with torch.no_grad():
        weights(model.bridge)["layers.1.mlp.fc_out.weight"].zero_()
    site = ModelSite(model, "blocks.1.mlp.hook_post")
    side = collected(tmp_path, site, random_sae(site.d_in, 9, seed=0), blocks)
    with side.store, pytest.raises(ModelError, match=r"nothing that model 'deaf' predicts depends on blocks\.1\.mlp"):
        ablation_fingerprints(side, every_token(site), settings=SILENT)
