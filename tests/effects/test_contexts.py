from dataclasses import replace

import numpy as np
import pytest

from universality.corpus import TokenBlocks
from universality.effects import ablate
from universality.effects.contexts import firings, random_positions
from universality.effects.model_features import ModelFeatures
from universality.errors import MismatchError, UniversalityError
from universality.features import FeatureStore
from universality.features.collection import collect


def test_contexts_are_firings_of_as_many_blocks_as_possible(features: ModelFeatures) -> None:
    contexts = firings(features, 6, seed=1)
    codes = features.sae.encode(features.site.read(features.blocks)).tocsc()
    block_of, column_of = np.nonzero(features.blocks.valid)
    for feature in range(48):
        mine = contexts.feature == feature
        where = codes[:, [feature]].nonzero()[0]
        assert mine.sum() == min(6, where.size)
        places = set(zip(block_of[where].tolist(), column_of[where].tolist(), strict=True))
        assert set(zip(contexts.block[mine].tolist(), contexts.column[mine].tolist(), strict=True)) <= places
        assert np.unique(contexts.block[mine]).size == min(6, np.unique(block_of[where]).size)
    again, other = firings(features, 6, seed=1), firings(features, 6, seed=2)
    assert np.array_equal(again.column, contexts.column)
    assert not np.array_equal(other.column, contexts.column)


def test_a_dense_feature_finds_its_contexts_among_the_first_blocks(
    features: ModelFeatures, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense = int(np.argmax(features.store.moments().count))
    whole = firings(features, 3, chosen=[dense])
    monkeypatch.setattr("universality.effects.contexts._CANDIDATES", 40)  # of a few hundred firings
    assert features.store.moments().count[dense] > 3 * 40
    assert np.array_equal(firings(features, 3, chosen=[dense]).block, whole.block)


def test_only_tokens_of_given_documents(features: ModelFeatures) -> None:
    document = features.blocks.document[3]
    contexts = firings(features, 6, documents=[document])
    assert len(contexts)
    assert (features.blocks.document[contexts.block] == document).all()


def segmented(blocks: TokenBlocks) -> tuple[TokenBlocks, TokenBlocks]:
    """The blocks with segments of two tokens each, and the blocks of these segments."""
    column = np.arange(blocks.n_ctx)
    segment = np.where(blocks.valid, (column + 1) // 2, 0).astype(np.int32)
    n_segments = segment.max(axis=1)
    tokens = np.where(column <= n_segments[:, None], column + 1, 0).astype(np.int32)
    common = replace(blocks, tokens=tokens, length=(n_segments + 1).astype(np.int32), tokenizer_hash="segments")
    return replace(blocks, segment=segment), common


def test_of_a_segment_the_token_is_taken_where_the_feature_is_strongest(
    features: ModelFeatures, blocks: TokenBlocks, tmp_path
) -> None:
    own, common = segmented(blocks)
    collect(features.site, {tmp_path / "s.h5": features.sae}, own, common=common)
    with FeatureStore.open(tmp_path / "s.h5") as store:
        contexts = firings(replace(features, store=store, blocks=own), 4)
    codes = features.sae.encode(features.site.read(blocks)).toarray()
    dense = np.zeros((*blocks.tokens.shape, 48), np.float32)
    dense[blocks.valid] = codes
    value = dense[contexts.block, contexts.column, contexts.feature]
    inside = own.segment[contexts.block] == own.segment[contexts.block, contexts.column][:, None]
    largest = np.where(inside, dense[contexts.block, :, contexts.feature], 0).max(axis=1)
    assert (value > 0).all()
    assert np.array_equal(value, largest)
    assert (contexts.column % 2 == 0).any()  # second tokens of segments too


def test_positions_are_the_same_text_for_models_with_other_tokens(blocks: TokenBlocks) -> None:
    own, common = segmented(blocks)
    block, segment = random_positions(common, 10, seed=4)
    mine = random_positions(own, 10, common=common, seed=4)
    assert np.array_equal(mine[0], block)
    assert (own.segment[block, mine[1]] == segment).all()
    assert (mine[1] == np.minimum(2 * segment, own.length[block] - 1)).all()  # the last token
    assert np.unique(block, return_counts=True)[1].max() == 4
    assert own.valid[mine].all()


def test_bad_positions(blocks: TokenBlocks) -> None:
    with pytest.raises(UniversalityError, match="24 are wanted, and the 23 blocks have 23 with at most 1"):
        random_positions(blocks, 24, per_block=1)
    with pytest.raises(UniversalityError, match="expected at least 1, found 0"):
        random_positions(blocks, 0)
    with pytest.raises(MismatchError, match="the blocks have no segments"):
        random_positions(blocks, 3, common=blocks)
    own, _ = segmented(blocks)
    with pytest.raises(MismatchError, match="are not those of these blocks' segments"):
        random_positions(own, 60, common=blocks)


def test_bad_features(features: ModelFeatures, blocks: TokenBlocks) -> None:
    with pytest.raises(UniversalityError, match="expected indices"):
        firings(features, 3, chosen=[0.5])


def test_features_of_another_origin_are_refused(
    features: ModelFeatures, one_layer: dict[str, ModelFeatures], blocks: TokenBlocks, tmp_path
) -> None:
    sae = features.require_sae()
    for change, message in (
        ({"blocks": blocks.take(np.arange(3))}, r"which are not the .* of the given blocks"),
        ({"blocks": replace(blocks, document=blocks.document[::-1].copy())}, "of the given blocks"),
        (
            {"blocks": replace(blocks, documents=replace(blocks.documents, split=("train",) * 30))},
            "of the given blocks",
        ),
        ({"sae": replace(sae, b_enc=sae.b_enc + 1)}, "give the sae from which the store was collected"),
        ({"sae": None}, "collected from the sae"),
    ):
        with pytest.raises(MismatchError, match=message):
            replace(features, **change)
    with pytest.raises(MismatchError, match="give the model from which the store was collected"):
        replace(one_layer["A"], site=one_layer["B"].site)
    collect(features.site, {tmp_path / "n.h5": None}, blocks)
    with FeatureStore.open(tmp_path / "n.h5") as store:
        neurons = replace(features, sae=None, store=store)
        with pytest.raises(MismatchError, match="its features are neurons; this needs features of an SAE"):
            neurons.intervention(ablate([0]))
        with pytest.raises(MismatchError, match="collected from the sae None"):
            replace(neurons, sae=sae)
