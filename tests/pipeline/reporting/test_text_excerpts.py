"""Excerpts of the planted run: pairs in order, concepts with partners, and effects on the logits."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality import FeatureStore
from universality.pipeline.reporting.run_results import open_results
from universality.pipeline.reporting.text_excerpts import concept_rows, logit_extremes, pair_groups


def test_pairs_go_from_the_highest_r_to_the_lowest(planted: Any) -> None:
    with open_results(*planted) as results:
        groups = pair_groups(results)
        assert pair_groups(results, size=8) == ()  # 23 scored pairs are too few for three groups of 8
        assert results.headline is not None
        scored = results.headline.frame["held_out"].dropna().sort_values()
    assert [group.title for group in groups] == ["Highest r", "Around the median", "Lowest r"]
    r = [[pair.held_out for pair in group.pairs] for group in groups]
    assert min(r[0]) >= max(r[1]) >= min(r[1]) >= max(r[2])
    assert_allclose(sorted(r[2]), scored.iloc[:5])
    best = groups[0].pairs[0]
    assert best.a.examples[0].partner_activation > 0  # a shared feature: the partner fires on the same token
    assert best.a.examples[0].activation == max(best.a.examples[0].activations)
    assert len(best.a.promotes) == 6


def test_every_kind_with_enough_tokens_has_a_feature_and_its_partner(planted: Any) -> None:
    with open_results(*planted) as results:
        rows = concept_rows(results)
    assert {row.kind for row in rows} == {"hebrew", "python", "<b>bold</b>"}
    for row in rows:
        assert row.n_groups == 40  # works on whose documents partners are scored
        assert len(row.tokens_a) == 5
        assert np.isnan(row.neuron_r)  # neurons were not stored


@pytest.fixture
def store(planted: Any) -> Any:
    with FeatureStore.open(planted[1].store("A", 24, 0)) as opened:
        yield opened


def test_logit_extremes_are_centred_weights_of_the_direct_path(store: FeatureStore) -> None:
    features = np.asarray([3, 7])
    raised, lowered = logit_extremes(store, features, 4, lambda ids: [str(i) for i in ids])
    unembedding, dictionary = store.unembedding(), store.dictionary
    assert unembedding is not None
    assert dictionary is not None
    direction = dictionary.residual[features].astype(np.float64)
    direction -= direction.mean(axis=1, keepdims=True)  # this model's final norm is a LayerNorm
    weights = (direction * unembedding.gain) @ unembedding.W_U
    weights -= weights.mean(axis=1, keepdims=True)
    for i in range(2):
        order = np.argsort(weights[i])
        assert [int(token) for token, _ in raised[i]] == order[::-1][:4].tolist()
        assert [int(token) for token, _ in lowered[i]] == order[:4].tolist()
        assert_allclose([value for _, value in raised[i]], weights[i][order[::-1][:4]], rtol=1e-4)
