from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import linear_sum_assignment
from scipy.sparse import csr_matrix

from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary, FeatureStore
from universality.similarity import Similarity
from universality.statistics import by_frequency, excess_correlation, mppc, pw_mcc, shared_by_weights

N_TOKENS = 3000


def write(
    path: Path,
    acts: np.ndarray,
    decoder: np.ndarray | None = None,
    encoder: np.ndarray | None = None,
    model: str = "one",
) -> FeatureStore:
    provenance = {"model": {"name": model, "hash": model}, "site": "here"}
    writer = FeatureStore.create(path, acts.shape[1], provenance)
    n = len(acts)
    position = np.tile(np.arange(1, 31), n // 30)
    writer.append(
        csr_matrix(acts.astype(np.float32)),
        token=position, document=np.repeat(np.arange(n // 30), 30), position=position, kind=np.full(n, "text"),
    )  # fmt: skip
    if decoder is None:
        return writer.finish()
    as_float = {name: None if w is None else w.astype(np.float32) for name, w in (("d", decoder), ("e", encoder))}
    return writer.finish(Dictionary(decoder=as_float["d"], encoder=as_float["e"]))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def dictionaries(tmp_path: Path, sign: int = 1) -> tuple[FeatureStore, FeatureStore, np.ndarray, np.ndarray]:
    """B is A permuted by 3 2 1 0 5 4: row 1 times ``sign``, 2 another encoder, 3 dissimilar; row 5 never fires."""
    rng = np.random.default_rng(0)
    decoder, encoder = unit(rng.normal(size=(6, 64))), unit(rng.normal(size=(6, 64)))
    acts = np.maximum(rng.normal(size=(N_TOKENS, 6)), 0)
    acts[:, 5] = 0
    order = np.array([3, 2, 1, 0, 5, 4])
    their_decoder, their_encoder = decoder.copy(), encoder.copy()
    their_decoder[1] *= sign
    their_encoder[2] = unit(rng.normal(size=(1, 64)))[0]
    their_decoder[3] = unit(decoder[3:4] + unit(rng.normal(size=(1, 64))) * 1.5)[0]
    a = write(tmp_path / "a.h5", acts, decoder, encoder)
    b = write(tmp_path / "b.h5", acts[:, order], their_decoder[order], 3 * their_encoder[order])
    return a, b, decoder, their_decoder[order]


def test_mppc_is_the_mean_of_the_best_of_each_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    x = np.maximum(rng.normal(size=(N_TOKENS, 4)), 0)
    y = np.maximum(x[:, [0, 0, 2]] + rng.normal(size=(N_TOKENS, 3)), 0)
    x[:, 3] = 0  # dead, so left out
    a, b = write(tmp_path / "a.h5", x), write(tmp_path / "b.h5", y)
    r = np.corrcoef(x[:, :3].T, y.T)[:3, 3:]
    assert_allclose(mppc(Similarity.activation(a, b)), r.max(axis=1).mean(), atol=1e-6)
    assert np.isnan(mppc(Similarity.from_dense(np.zeros((2, 2)), dead_rows=[True, True])))


def test_pw_mcc_signed_and_absolute(tmp_path: Path) -> None:
    a, b, ours, theirs = dictionaries(tmp_path, sign=-1)
    living = (ours[:5] @ np.delete(theirs, 4, axis=0).T).astype(np.float64)
    for absolute, cosine in ((False, living), (True, np.abs(living))):
        best = linear_sum_assignment(cosine, maximize=True)
        assert_allclose(pw_mcc(a, b, absolute), cosine[best].mean(), atol=1e-6)
    assert pw_mcc(a, b, absolute=True) > pw_mcc(a, b) + 0.15  # the negated row counts in one of them only


def test_shared_needs_both_sides_to_agree(tmp_path: Path) -> None:
    a, b, *_ = dictionaries(tmp_path)
    found = shared_by_weights(a, b)
    assert_array_equal(found["row"], [0, 1, 2, 3, 4])
    assert_array_equal(found["shared"], [True, True, False, False, True])
    assert found.loc[0, "decoder_partner"] == found.loc[0, "encoder_partner"] == 3
    assert_allclose(found.loc[[0, 4], "encoder_cosine"], 1, atol=1e-6)
    assert shared_by_weights(a, b, threshold=0.3)["shared"].sum() == 4  # row 3 comes in


def test_weights_of_two_models_or_without_an_encoder_are_refused(tmp_path: Path) -> None:
    a, *_ = dictionaries(tmp_path)
    acts = np.abs(np.random.default_rng(0).normal(size=(N_TOKENS, 6)))
    other = write(tmp_path / "c.h5", acts, np.eye(6, 64), np.eye(6, 64), model="two")
    for measure in (pw_mcc, shared_by_weights):
        with pytest.raises(MismatchError, match=r"model two, but .* has one"):
            measure(a, other)
    bare = write(tmp_path / "d.h5", acts, np.eye(6, 64))
    with pytest.raises(UniversalityError, match="holds no encoder"):
        shared_by_weights(a, bare)


def test_excess_over_rotations(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    shared = np.maximum(rng.normal(size=(N_TOKENS, 12)), 0)
    x = np.column_stack([shared[:, :6], np.maximum(rng.normal(size=(N_TOKENS, 6)), 0)])
    y = shared[:, ::-1] * np.linspace(0.5, 2, 12)
    a, b = write(tmp_path / "a.h5", x), write(tmp_path / "b.h5", y)
    found = excess_correlation(a, [b, b], rotations=3, seed=5)
    r = np.corrcoef(x.T, y.T)[:12, 12:]
    assert_allclose(found["best"], r.max(axis=1), atol=1e-6)
    assert (found["excess"][:6] > 0.3).all()  # axes that both models share
    assert (found["excess"][6:].abs() < 0.1).all()  # the control: no partner, with or without axes
    # the rotated correlations are those of the rotated activations
    turns = np.random.default_rng(5)
    expected = np.zeros(12)
    for _ in range(6):
        q, upper = np.linalg.qr(turns.normal(size=(12, 12)))
        rotated = y @ (q * np.sign(np.diag(upper)))
        expected += np.corrcoef(x.T, rotated.T)[:12, 12:].max(axis=1) / 6
    assert_allclose(found["rotated"], expected, atol=1e-6)
    with pytest.raises(UniversalityError, match="at least one other model and one rotation, found 0 and 1"):
        excess_correlation(a, [])


def test_features_that_do_not_vary_are_no_partners_and_no_axes(tmp_path: Path) -> None:
    """A dead partner's score of 0 would hide that every living one has a negative r."""
    x = np.zeros((N_TOKENS, 3))
    x[np.arange(N_TOKENS) % 2 == 0, 0] = 1
    x[:, 2] = 1  # fires always, and alike
    y = np.zeros((N_TOKENS, 4))
    y[np.arange(N_TOKENS) % 2 == 1, 1] = 1
    y[np.arange(N_TOKENS) % 4 == 1, 2] = 2
    a, b = write(tmp_path / "a.h5", x), write(tmp_path / "b.h5", y)
    found = excess_correlation(a, [b], seed=3)
    assert_array_equal(found["row"], [0])
    assert_allclose(found["best"], np.corrcoef(x[:, 0], y[:, 2])[0, 1])
    assert found["best"][0] < -0.5
    alone = excess_correlation(a, [write(tmp_path / "c.h5", y[:, 1:3])], seed=3)
    assert_allclose(found, alone)
    silent = write(tmp_path / "s.h5", np.zeros((N_TOKENS, 2)))
    with pytest.raises(UniversalityError, match=r"s\.h5: excess_correlation needs features that vary, found none"):
        excess_correlation(a, [silent])


def test_a_score_by_frequency() -> None:
    table = by_frequency([0.1, 0.3, 0.9, np.nan], [10, 30, 5000, 5000], n_tokens=1_000_000)
    assert_array_equal(table["n"], [0, 2, 0, 1, 0])
    assert_allclose(table["mean"], [np.nan, 0.2, np.nan, 0.9, np.nan])
    assert_allclose(table["median"], table["mean"])
    assert_array_equal(table["high"], [2.4, 54, 1200, 27000, np.inf])
    with pytest.raises(MismatchError, match=r"found shapes \(2,\) and \(1,\)"):
        by_frequency([1, 2], [1], 10)
