"""A planted rotation between two models' spaces is found from the stores alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import concepts, dense, noisy, text, write_store

from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary, FeatureStore
from universality.matching import match
from universality.similarity import Similarity, align
from universality.statistics import repaired_rows

SEEN = text(30)
N, D = 40, 12


def rotated(folder: Path, d_b: int = D, shared: bool = True) -> tuple[FeatureStore, FeatureStore, np.ndarray]:
    """Two dictionaries of one world, B's in a rotated space and in another order; the rotation."""
    rng = np.random.default_rng(0)
    world = concepts(SEEN.n_tokens, np.full(N, 0.1), rng)
    other = world if shared else concepts(SEEN.n_tokens, np.full(N, 0.1), rng)
    rotation = np.linalg.qr(rng.standard_normal((max(D, d_b), max(D, d_b))))[0][:D, :d_b]
    decoder, order = rng.standard_normal((N, D)), rng.permutation(N)
    provenance = [{"model": {"hash": name * 8}, "site": "mlp"} for name in "ab"]
    a = write_store(folder / "a.h5", noisy(world, 0.02, rng), SEEN, provenance[0], Dictionary(decoder))
    b_rows = Dictionary((decoder @ rotation)[order])
    return a, write_store(folder / "b.h5", noisy(other, 0.02, rng)[:, order], SEEN, provenance[1], b_rows), order


@pytest.mark.parametrize("d_b", [D, 17])
def test_partners_are_found_across_models(tmp_path: Path, d_b: int) -> None:
    a, b, order = rotated(tmp_path, d_b)
    alignment = align(a, b)
    assert alignment.explained_variance > 0.85
    assert_allclose(alignment.rotation @ alignment.rotation.T, np.eye(D), atol=1e-12)
    sim = Similarity.decoder(a, b, alignment=alignment)
    m = match(sim)
    assert_array_equal(order[m.cols], m.rows)
    assert m.scores.min() > 0.9
    assert sim.provenance["alignment"]["explained_variance"] == alignment.explained_variance
    if d_b == D:  # the control: without an alignment the cosine says nothing
        raw = match(Similarity.decoder(a, b, force=True))
        assert np.mean(order[raw.cols] == raw.rows) < 0.3


def test_equals_procrustes_on_dense_reconstructions(tmp_path: Path) -> None:
    a, b, _ = rotated(tmp_path, 17)
    documents = np.arange(0, 30, 2)
    part = np.isin(SEEN.document, documents)
    x, y = (dense(s)[part] @ s.dictionary.decoder.astype(float) for s in (a, b))  # type: ignore[union-attr]
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    left, singular, right = np.linalg.svd(x.T @ y, full_matrices=False)
    found = align(a, b, documents)
    assert_allclose(found.rotation, left @ right, atol=1e-8)
    scale = singular.sum() / (x**2).sum()
    residual = ((scale * x @ found.rotation - y) ** 2).sum() / (y**2).sum()
    assert_allclose(found.explained_variance, 1 - residual, atol=1e-10)


def test_unrelated_worlds_align_badly(tmp_path: Path) -> None:
    a, b, _ = rotated(tmp_path, shared=False)
    assert align(a, b).explained_variance < 0.1


def test_what_cannot_be_aligned_is_refused(tmp_path: Path) -> None:
    a, b, _ = rotated(tmp_path)
    bare = write_store(tmp_path / "bare.h5", np.ones((SEEN.n_tokens, 2)), SEEN)
    with pytest.raises(UniversalityError, match=r"bare\.h5: holds no dictionary, and decoder rows are needed; write"):
        align(a, bare)
    zero = write_store(tmp_path / "z.h5", np.ones((SEEN.n_tokens, 2)), SEEN, {}, Dictionary(np.zeros((2, 3))))
    with pytest.raises(UniversalityError, match="reconstructions that do not vary cannot be aligned"):
        align(a, zero)
    with pytest.raises(
        MismatchError, match=r"alignment of spaces \(12, 12\), but the decoder rows .*are 12 and 3 wide"
    ):
        Similarity.decoder(a, zero, alignment=align(a, b))


def test_a_rotation_fitted_on_re_paired_tokens_finds_no_partners(tmp_path: Path) -> None:
    """The null: blocks of other documents give a map that explains little and matches by chance."""
    a, b, order = rotated(tmp_path)
    alignment = align(a, b, rows=repaired_rows(a))
    assert alignment.provenance["tokens"]["repaired"]
    assert alignment.explained_variance < 0.3
    m = match(Similarity.decoder(a, b, alignment=alignment))
    assert np.mean(order[m.cols] == m.rows) < 0.3
    true = repaired_rows(a)[0]
    assert align(a, b, rows=(true, true)).explained_variance > 0.85  # the same tokens, paired with themselves
