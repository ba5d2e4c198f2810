"""The values and counts of candidate edges are their definitions."""

import numpy as np
from numpy.testing import assert_allclose
from world import World

from universality.family import Families


def slow_edge(a: np.ndarray, b: np.ndarray, d: np.ndarray, e: np.ndarray) -> dict[str, float]:
    """The definitions, written out for one pair."""

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))

    a, b, d, e = (v.astype(np.float64) for v in (a, b, d, e))
    on_a, on_b = a > 0, b > 0
    values = {
        "decoder_cosine": cosine(d, e),
        "masked_cosine": max(cosine(a[on_a], b[on_a]), cosine(a[on_b], b[on_b])),
        "coverage": (on_a & on_b).sum() / on_b.sum(),
        "share": (on_a & on_b).sum() / on_a.sum(),
    }
    return values | {"weight": np.sqrt(values["decoder_cosine"] * values["masked_cosine"])}


def test_attributes_of_edges_are_their_definitions(planted: Families, plants: tuple) -> None:
    for (level, i), (above, j), values in planted.graph.edges(data=True):
        low, high = plants[level], plants[above]
        expected = slow_edge(low.x[:, i], high.x[:, j], low.decoder[i], high.decoder[j])
        assert values.keys() == expected.keys() | {"kind", "recovered", "support"}
        for name in expected:
            assert_allclose(values[name], expected[name], rtol=1e-5, err_msg=name)


def test_each_rule_is_counted_alone_and_together(world: World, linked: Families) -> None:
    (a, d), (b, e) = (world.dictionary(side) for side in (0, 1))
    fires_a, fires_b = a > 0, b > 0
    both = fires_a.T.astype(float) @ fires_b
    coverage = both / fires_b.sum(axis=0)
    ab, aa, bb = a.T.astype(float) @ b, (a.astype(float) ** 2).T @ fires_b, fires_a.T @ (b.astype(float) ** 2)
    norm = np.sqrt(np.minimum((a.astype(float) ** 2).sum(0)[:, None] * bb, aa * (b.astype(float) ** 2).sum(0)))
    masked = np.divide(ab, norm, out=np.zeros_like(ab), where=norm > 0)
    cosine = d @ e.T
    met = linked.chance.observed[0]
    assert met.together == (both > 0).sum()
    assert met.covered == (coverage >= 0.2).sum()
    assert met.alike == (masked >= 0.4).sum()
    assert met.covered_alike == ((coverage >= 0.2) & (masked >= 0.4)).sum()
    assert met.linked == ((coverage >= 0.2) & (masked >= 0.4) & (cosine >= 0.3)).sum()
