"""Similarity of effects: planted relations, and stores of other quantities."""

from pathlib import Path

import numpy as np
import pytest
from planted import dense, pearson, text, write_store
from scipy import sparse

from universality.errors import MismatchError
from universality.features import FeatureStore
from universality.matching import match
from universality.similarity import Similarity
from universality.statistics import calibrate

SEEN = text(40)
N = 12


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FeatureStore]:
    """Features that fire alike in A and B; effects of pair k agree, are opposite, or are independent, k mod 3."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("effects")
    fires = rng.random((SEEN.n_tokens, N)) < 0.1
    effect = rng.standard_normal(fires.shape) * fires
    other = np.where(np.arange(N) % 3 == 2, rng.standard_normal(fires.shape) * fires, effect)
    other = np.where(np.arange(N) % 3 == 1, -effect, other)
    values = {"a": fires, "b": fires, "ea": effect, "eb": other}
    return {
        name: write_store(folder / f"{name}.h5", x, SEEN, {"quantity": "effect"} if name[0] == "e" else {})
        for name, x in values.items()
    }


def test_effects_tell_apart_what_firing_does_not(stores: dict[str, FeatureStore]) -> None:
    sim = Similarity.effect(stores["ea"], stores["eb"])
    np.testing.assert_allclose(sim.dense(), pearson(dense(stores["ea"]), dense(stores["eb"])), atol=1e-9)
    r = sim.pairs(np.arange(N), np.arange(N))
    assert r[0::3].min() > 0.999
    assert r[1::3].max() < -0.999
    assert np.abs(r[2::3]).max() < 0.2
    assert Similarity.activation(stores["a"], stores["b"]).pairs(np.arange(N), np.arange(N)).min() > 0.999


def test_effects_are_restricted_matched_and_calibrated(stores: dict[str, FeatureStore]) -> None:
    a, b = stores["ea"], stores["eb"]
    sim = Similarity.effect(a, b)
    half = sim.restrict(np.arange(10))
    assert half.provenance["tokens"]["n_documents"] == 10
    matched = match(sim)
    assert dict(zip(matched.rows.tolist(), matched.cols.tolist(), strict=True)).items() >= {
        (k, k) for k in range(0, N, 3)
    }
    calibration = calibrate(a, b, measure="effect", replicates=3).to_frame().set_index("row")
    assert calibration.loc[list(range(0, N, 3)), "held_out"].min() > 0.999
    assert (calibration.loc[[k for k in range(N) if k % 3], "held_out"] < 0.5).all()


def test_constant_effects_measure_firing_together(stores: dict[str, FeatureStore], tmp_path: Path) -> None:
    """Where all effects are of one sign, r over all tokens is large though sizes are unrelated."""
    rng = np.random.default_rng(1)
    fires = stores["a"].csr().toarray() > 0
    a, b = (
        write_store(tmp_path / f"{k}.h5", fires * rng.uniform(0.8, 1.2, fires.shape), SEEN, {"quantity": "effect"})
        for k in "ab"
    )
    assert Similarity.effect(a, b).pairs(np.arange(N), np.arange(N)).min() > 0.9
    both = fires[:, 0]
    assert abs(np.corrcoef(dense(a)[both, 0], dense(b)[both, 0])[0, 1]) < 0.4


def test_other_quantities_are_refused(stores: dict[str, FeatureStore]) -> None:
    with pytest.raises(MismatchError, match=r"a\.h5: holds values of quantity 'activation', .*collect_effects"):
        Similarity.effect(stores["a"], stores["eb"])
    for compare in (Similarity.activation, Similarity.firing, Similarity.masked_cosine, Similarity.coverage):
        with pytest.raises(MismatchError, match="or compare effects by the measure 'effect'"):
            compare(stores["a"], stores["eb"])


def test_children_that_share_a_parents_effect(tmp_path: Path) -> None:
    """A parent whose effects are those of two children on their own tokens; a third child does something else."""
    rng = np.random.default_rng(2)
    kinds = rng.integers(0, 8, SEEN.n_tokens)
    effects = rng.standard_normal(SEEN.n_tokens)
    first, second = effects * (kinds == 0), effects * (kinds == 1)
    other = rng.standard_normal(SEEN.n_tokens) * (kinds == 1)
    provenance = {"quantity": "effect"}
    parents = write_store(tmp_path / "p.h5", sparse.csr_matrix((first + second)[:, None]), SEEN, provenance)
    children = write_store(tmp_path / "c.h5", np.column_stack([first, second, other]), SEEN, provenance)
    r = Similarity.effect(parents, children).pairs([0, 0, 0], [0, 1, 2])
    assert r[:2].min() > 0.6
    assert abs(r[2]) < 0.15
