"""How far apart dictionaries began: 0 for one seed, the distance of chance for two."""

from universality.sae import SAESpec, beginnings
from universality.sae.training.initial_distance import record

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
