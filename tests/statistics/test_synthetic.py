from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from universality.corpus.units import independent_units
from universality.errors import ConfigError
from universality.matching import match
from universality.similarity import Similarity
from universality.statistics import calibrate, plan_repairing
from universality.statistics.held_out import evaluation_halves
from universality.statistics.synthetic import World, concepts, documents, in_superposition, plant

SMALL = World(n_documents=60, blocks=2, n_shared=30, n_alone=10, n_split=5, n_merged=5, density=(5e-3, 5e-2))


def test_the_truth_is_what_was_planted(tmp_path: Path) -> None:
    found = plant(SMALL, tmp_path, seed=3)
    assert (found.a.n_features, found.b.n_features) == (30 + 5 + 10 + 10, 30 + 10 + 5 + 10)
    assert found.a.n_tokens == SMALL.n_tokens == 60 * 2 * 64
    assert found.has_partner.sum() == 30 + 5 + 10
    whole, parts = (np.bincount(side, minlength=SMALL.n_concepts) for side in (found.concept_a, found.concept_b))
    assert_array_equal(np.flatnonzero(parts == 2), np.flatnonzero((whole == 1) & (parts == 2)))
    assert (parts == 2).sum() == 5
    m = match(Similarity.activation(found.a, found.b))
    assert found.is_true(m.rows, m.cols)[np.isin(found.concept_a[m.rows], np.arange(30))].mean() > 0.9
    # parts of a split never fire together
    for concept in np.flatnonzero(parts == 2):
        one, two = (set(found.b.feature(int(j))[0]) for j in np.flatnonzero(found.concept_b == concept))
        assert one
        assert two
        assert not one & two


def test_the_same_concepts_on_other_text(tmp_path: Path) -> None:
    one, other = plant(SMALL, tmp_path / "x", seed=1), plant(SMALL, tmp_path / "y", seed=1, text_seed=1)
    assert_array_equal(one.concept_a, other.concept_a)
    assert one.a.content_hash() != other.a.content_hash()
    assert one.a.content_hash() == plant(SMALL, tmp_path / "z", seed=1).a.content_hash()
    rank = np.corrcoef(one.firings, other.firings)[0, 1]
    assert rank > 0.9


def test_firing_follows_zipf_and_documents_and_kinds() -> None:
    world = World(n_documents=300, n_shared=40, n_alone=0, density=(2e-3, 5e-2), topic_share=0.2, kind_bound=0.5)
    codes = concepts(world, seed=2)
    density = np.sort(np.diff(codes.indptr) / world.n_tokens)[::-1]
    assert_allclose(density, np.maximum(0.05 / np.arange(1, 41), 2e-3), rtol=0.7)
    document = np.arange(world.n_tokens) // (world.blocks * world.block_length)
    occurs = [np.unique(document[codes.indices[low:high]]) for low, high in pairwise(codes.indptr)]
    assert np.mean([len(found) for found in occurs]) < 0.25 * 300
    kinds = np.array(documents(world).kind)
    bound = [len(set(kinds[found])) == 1 for found in occurs]
    assert 10 <= sum(bound) <= 30
    table = documents(world)
    halves = {kind: [s for k, s in zip(table.kind, table.split, strict=True) if k == kind] for kind in set(table.kind)}
    assert all(half.count("choose") == half.count("report") for half in halves.values())


def test_works_are_groups_and_their_documents_share_topics_where_that_is_asked() -> None:
    world = World(n_documents=120, kinds=3, works=2, n_shared=20, n_alone=0, density=(5e-3, 5e-2), work_topics=True)
    table = documents(world)
    assert len(set(table.group)) == 6
    assert all(len({k for k, g in zip(table.kind, table.group, strict=True) if g == one}) == 1 for one in table.group)
    for group in set(table.group):
        halves = [s for s, g in zip(table.split, table.group, strict=True) if g == group]
        assert (halves.count("choose"), halves.count("report")) == (10, 10)  # few works: documents are the unit
    assert independent_units(table).flagged_kinds == ("kind 0", "kind 1", "kind 2")
    many = documents(replace(world, works=10))
    assert len({(g, s) for g, s in zip(many.group, many.split, strict=True)}) == 30  # no work in both halves
    codes = concepts(replace(world, density=(0.05, 0.06)), seed=1)
    document = np.arange(world.n_tokens) // (world.blocks * world.block_length)
    works = [{table.group[d] for d in np.unique(document[codes.indices[a:b]])} for a, b in pairwise(codes.indptr)]
    seen = [np.unique(document[codes.indices[a:b]]).size for a, b in pairwise(codes.indptr)]
    assert all(n >= 0.9 * 20 * len(of) for n, of in zip(seen, works, strict=True))  # whole works, or nothing of them


def test_short_blocks_are_the_same_text_which_no_null_re_pairs(tmp_path: Path) -> None:
    whole, cut = (plant(replace(SMALL, short_blocks=s), tmp_path / str(s), seed=2) for s in (0.0, 0.5))
    assert_array_equal(whole.a.csr().toarray(), cut.a.csr().toarray())
    for null in ("global", "kind"):
        plans = [plan_repairing(w.a, null, evaluation_halves(w.a).choose) for w in (whole, cut)]
        assert [plan.share for plan in plans] == [1, pytest.approx(0.5, abs=0.05)]


def test_noise_leaks_and_neighbours_do_what_they_say(tmp_path: Path) -> None:
    plain = World(n_documents=80, n_shared=20, n_alone=0, density=(1e-2, 5e-2), missed=0, jitter=0)
    clean = plant(plain, tmp_path / "clean")
    assert_allclose(match(Similarity.activation(clean.a, clean.b)).scores, 1, atol=1e-6)
    for name, change in {"missed": 0.5, "leaked": 0.5, "jitter": 1.0}.items():
        noisy = plant(World(**{**vars(plain), name: change}), tmp_path / name)
        scores = match(Similarity.activation(noisy.a, noisy.b)).scores
        assert np.median(scores) < 0.85, name
        assert np.median(scores) > 0.3, name
    near = Similarity.activation(*[plant(World(**{**vars(plain), "correlated": 0.5}), tmp_path / "near").a] * 2).dense()
    assert np.sort(near, axis=1)[:, -2].mean() > 0.2  # the best neighbour, beside the feature itself
    assert np.sort(Similarity.activation(clean.a, clean.a).dense(), axis=1)[:, -2].mean() < 0.1


def test_where_nothing_is_shared_nothing_is_found(tmp_path: Path) -> None:
    alone = plant(World(n_documents=120, n_shared=0, n_alone=80, kind_bound=0.5, density=(3e-3, 5e-2)), tmp_path)
    found = calibrate(alone.a, alone.b, replicates=8, bootstrap=0)
    assert not alone.has_partner.any()
    assert ((found.to_frame()["q_kind"] <= 0.05).mean()) < 0.05


def test_concepts_in_superposition_can_be_read_along_their_directions() -> None:
    codes = concepts(SMALL)
    x, directions = in_superposition(codes, d_in=48, seed=0, noise=0.0)
    assert x.shape == (SMALL.n_tokens, 48)
    assert codes.shape[1] > 48  # more concepts than dimensions
    assert_allclose(np.linalg.norm(directions, axis=1), 1)
    assert_allclose(x, (codes @ directions), atol=1e-5)
    other, elsewhere = in_superposition(codes, d_in=48, seed=1)
    assert abs((directions * elsewhere).sum(axis=1)).mean() < 0.3
    assert not np.allclose(other, x, atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"density": (0.0, 0.1)}, "density: expected 0 < rarest"),
        ({"missed": 1.5}, "missed: expected a share, found 1.5"),
        ({"topic_share": 0.0}, "topic_share: expected a share, found 0.0"),
        ({"n_documents": 2}, "at least 4 documents"),
    ],
)
def test_impossible_worlds_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        World(**change)
