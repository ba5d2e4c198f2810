from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.effects.fingerprints import Fingerprints, Projection, TokenSet
from universality.effects.projection import ProjectionError
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.matching import match
from universality.similarity import Similarity

N_TOKENS = 40


def made(seed: int, n: int = 6) -> Fingerprints:
    rng = np.random.default_rng(seed)
    tokens = TokenSet.of(np.arange(N_TOKENS), np.arange(N_TOKENS) + 1.0)
    values = rng.standard_normal((n, N_TOKENS)).astype(np.float32)
    values[1], values[2] = 0, 5  # no fingerprint, and one that does not vary
    return Fingerprints(values, [8, 0, 8, 8, 8, 8][:n], tokens, "ablation", False, provenance={"seed": seed})


def projected(seed: int) -> Fingerprints:
    whole, error = made(seed), ProjectionError(0.1, 0.3, 15)
    values = np.stack([whole.factor(w)[:, :4] for w in ("equal", "probability")])
    return replace(whole, values=values, projection=Projection(4, 0, {"equal": error, "probability": error}))


@pytest.mark.parametrize("weighting", ["equal", "probability"])
def test_similarity_is_the_weighted_correlation(weighting) -> None:
    x, y = made(0), made(1)
    weights = np.ones(N_TOKENS) if weighting == "equal" else np.arange(N_TOKENS) + 1.0
    sim = Similarity.fingerprint(x, y, weighting)
    some = [0, 3, 4, 5]
    for i in some:
        for j in some:
            covariance = np.cov(x.values[i].astype(float), y.values[j].astype(float), aweights=weights)
            r = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
            assert sim.pairs([i], [j])[0] == pytest.approx(r, abs=1e-6)
    assert np.flatnonzero(sim.dead_rows).tolist() == [1, 2]
    assert sim.provenance["weighting"] == weighting
    assert sim.provenance["a"]["n_without"] == 1
    assert match(Similarity.fingerprint(x, x, weighting)).cols.tolist() == match(sim).rows.tolist() == some


@pytest.mark.parametrize("weighting", ["equal", "probability"])
def test_rows_of_some_features_speak_of_the_whole_dictionary(weighting, tmp_path: Path) -> None:
    features = np.array([2, 3, 7, 8, 11, 12])
    x = Fingerprints.load(replace(made(0), features=features, n_features=14).save(tmp_path / "x.npz"))
    y = replace(made(1), n_features=9)
    sim, rows_alone = Similarity.fingerprint(x, y, weighting), Similarity.fingerprint(made(0), y, weighting)
    assert sim.shape == (14, 9)
    assert np.flatnonzero(~sim.dead_rows).tolist() == [2, 8, 11, 12]
    assert np.flatnonzero(~sim.dead_cols).tolist() == [0, 3, 4, 5]
    expected = np.zeros((14, 9))
    expected[features] = rows_alone.dense()
    assert_allclose(sim.dense(), expected)
    assert match(sim).rows.tolist() == features[match(rows_alone).rows].tolist()
    assert match(sim).cols.tolist() == match(rows_alone).cols.tolist()
    assert (x.describe()["n_features"], x.describe()["n_rows"], x.describe()["n_without"]) == (14, 6, 1)


@pytest.mark.parametrize("make", [made, projected])
def test_a_file_gives_them_back(make, tmp_path: Path) -> None:
    prints = make(0)
    loaded = Fingerprints.load(prints.save(tmp_path / "f.npz"))
    assert loaded.describe() == prints.describe()
    assert_allclose(loaded.factor("probability"), prints.factor("probability"), rtol=0)
    assert_allclose(
        Similarity.fingerprint(loaded, prints).pairs([0, 3], [0, 3]), prints.factor()[[0, 3]].__pow__(2).sum(1)
    )
    content = (tmp_path / "f.npz").read_bytes()
    (tmp_path / "f.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match=r"f\.npz: not a whole universality-fingerprints file"):
        Fingerprints.load(tmp_path / "f.npz")


def test_what_is_made_differently_is_not_compared() -> None:
    x = made(0)
    with pytest.raises(MismatchError, match=r"different interventions \('ablation' and 'addition'\)"):
        Similarity.fingerprint(x, replace(x, how="addition"))
    with pytest.raises(MismatchError, match="different positions"):
        Similarity.fingerprint(x, replace(x, later=True))
    with pytest.raises(MismatchError, match="different projections"):
        Similarity.fingerprint(x, projected(0))
    with pytest.raises(MismatchError, match="different tokens"):
        Similarity.fingerprint(x, replace(x, tokens=TokenSet.of(np.arange(N_TOKENS) + 1, x.tokens.probability)))
    with pytest.raises(MismatchError, match="different weights"):
        Similarity.fingerprint(x, replace(x, tokens=TokenSet.of(np.arange(N_TOKENS), np.ones(N_TOKENS))))
    nearly = replace(x, tokens=TokenSet.of(x.tokens.entries, x.tokens.probability * (1 + 1e-6 * np.arange(N_TOKENS))))
    np.testing.assert_allclose(Similarity.fingerprint(x, nearly).dense(), Similarity.fingerprint(x, x).dense())
    with pytest.raises(UniversalityError, match="weighting: expected one of equal, probability, found 'none'"):
        Similarity.fingerprint(x, x, "none")  # type: ignore[arg-type]


def test_bad_contents() -> None:
    x = made(0)
    with pytest.raises(MismatchError, match=r"expected values \[6, 40\], found \[6, 39\]"):
        replace(x, values=x.values[:, 1:])
    for features, n_features in (([0, 1, 2, 3, 4], 6), ([0, 1, 2, 3, 5, 4], 6), ([0, 1, 2, 3, 4, 6], 6), (None, 5)):
        with pytest.raises(MismatchError, match=f"expected 6 rising features from 0 to {n_features - 1}, found"):
            replace(x, features=features, n_features=n_features)
    with pytest.raises(FormatError, match="a value is NaN or infinite"):
        replace(x, values=np.full_like(x.values, np.inf))
    with pytest.raises(MismatchError, match="expected at least 2 entries and a weight for each"):
        TokenSet.of([1], [1])
    with pytest.raises(MismatchError, match="expected distinct entries"):
        TokenSet.of([1, 1], [1, 1])
    with pytest.raises(MismatchError, match="weights of at least 0 that are not all 0"):
        TokenSet.of([1, 2], [0, 0])
