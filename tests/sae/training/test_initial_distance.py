"""How far apart dictionaries began: 0 for one seed, the distance of chance for two."""

import pytest
import torch

from universality.sae import SAESpec, beginnings
from universality.sae.training.initial_distance import index_agreement, record

D_IN = {"a": 64, "b": 64, "c": 32}


def test_one_seed_is_distance_0_and_another_is_not() -> None:
    specs = {
        ("a", "w600"): SAESpec(600, seed=0),
        ("b", "w600"): SAESpec(600, seed=0),
        ("a", "other"): SAESpec(600, seed=1),
        ("a", "narrow"): SAESpec(300, seed=0),
        ("c", "w600"): SAESpec(600, seed=0),
    }
    found = {(pair.a, pair.b): pair for pair in beginnings(specs, D_IN)}
    assert set(found) == {("a/w600", "b/w600"), ("a/w600", "a/other"), ("b/w600", "a/other")}
    same, other = found["a/w600", "b/w600"], found["a/w600", "a/other"]
    assert (same.same_index, same.nearest, same.distance) == (1, 1, 0)
    assert abs(other.same_index) < 0.05
    assert 0.3 < other.nearest < 0.5  # the largest of 600 cosines of random directions in 64 dimensions
    assert other == found["b/w600", "a/other"] or other.nearest == found["b/w600", "a/other"].nearest

    written = record(specs, 5, list(found.values()))
    assert written["seeds"]["a/other"] == {"order": 5, "resample_seed": 0, "seed": 1}
    assert {pair["distance"] for pair in written["pairs"] if pair["b"] == "b/w600"} == {0}


def test_dictionaries_that_began_alike_agree_index_by_index_and_others_do_not() -> None:
    draw = torch.Generator().manual_seed(0)
    first, other = (torch.randn(256, 48, generator=draw) for _ in range(2))
    learnt = first + 2 * torch.randn(256, 48, generator=draw)  # what training leaves of a common beginning
    found = index_agreement(first, learnt)
    assert found.began_alike
    assert found.same_index > 0.3
    assert abs(found.other_index) < 0.1
    assert not index_agreement(first, other).began_alike
    assert not index_agreement(first + 3, other + 3).began_alike  # all rows alike: their order still says nothing
    same_features = first[torch.randperm(256, generator=draw)]  # what two that began apart may both learn
    assert not index_agreement(first, same_features).began_alike
    assert not index_agreement(first[:1], first[:1]).began_alike  # of one feature nothing can be said


def test_the_deviation_is_that_of_shuffled_rows() -> None:
    draw = torch.Generator().manual_seed(1)
    a, b = (torch.randn(40, 16, generator=draw) for _ in range(2))
    found = index_agreement(a, b)
    x, y = (torch.nn.functional.normalize(side.double(), dim=1) for side in (a, b))
    shuffled = torch.stack([(x * y[torch.randperm(40, generator=draw)]).sum(dim=1).mean() for _ in range(4000)])
    assert float(shuffled.mean()) == pytest.approx(found.other_index, abs=0.002)
    assert float(shuffled.std()) == pytest.approx((found.same_index - found.other_index) / found.z, rel=0.05)


def test_of_wide_dictionaries_evenly_spaced_features_are_compared() -> None:
    a = torch.randn(9000, 8, generator=torch.Generator().manual_seed(2))
    assert index_agreement(a, a).same_index == pytest.approx(1)
