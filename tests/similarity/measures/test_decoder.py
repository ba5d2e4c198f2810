"""Decoder cosines, and when they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import text, write_store

from universality.errors import MismatchError, UniversalityError
from universality.features import Dictionary, FeatureStore
from universality.similarity import Similarity

SEEN = text(2)


def made(path: Path, seed: int, n: int = 8, d_in: int = 6, provenance: dict[str, Any] | None = None) -> FeatureStore:
    decoder = np.random.default_rng(seed).standard_normal((n, d_in))
    decoder[1] = 0
    x = np.ones((SEEN.n_tokens, n))
    x[:, 4] = 0
    return write_store(path, x, SEEN, provenance, Dictionary(decoder))


def of_model(name: str, site: str = "mlp") -> dict[str, Any]:
    return {"model": {"name": name, "hash": name * 8}, "site": site}


def test_cosines_within_a_model(tmp_path: Path) -> None:
    a = made(tmp_path / "a.h5", 0, provenance=of_model("m"))
    b = made(tmp_path / "b.h5", 1, 12, provenance=of_model("m"))
    sim = Similarity.decoder(a, b)
    assert a.dictionary is not None
    assert b.dictionary is not None
    x, y = (s.dictionary.decoder.astype(float) for s in (a, b))  # type: ignore[union-attr]
    norm = np.outer(np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1))
    alive = np.ix_([0, 2, 3, 5, 6, 7], [0, 2, 3, 5, 11])
    assert_allclose(sim.dense()[alive], (x @ y.T)[alive] / norm[alive], atol=1e-12)
    assert_array_equal(np.flatnonzero(sim.dead_rows), [1, 4])
    assert_array_equal(sim.dense()[:, [1, 4]], 0)


def test_models_and_layers_in_one_basis_are_compared_without_force(tmp_path: Path) -> None:
    shared = {"basis": "b at resid"}
    a = made(tmp_path / "a.h5", 0, provenance={**of_model("m"), **shared})
    b = made(tmp_path / "b.h5", 0, provenance={**of_model("n", "resid"), **shared})
    assert_allclose(Similarity.decoder(a, b).pairs([0, 7], [0, 7]), 1, atol=1e-12)
    control = made(tmp_path / "c.h5", 0, provenance={**of_model("n"), "basis": "another"})
    with pytest.raises(MismatchError, match=r"if they share a basis, declare it .*models\.one_basis"):
        Similarity.decoder(a, control)


def test_a_store_against_itself_needs_no_provenance(tmp_path: Path) -> None:
    a = made(tmp_path / "a.h5", 0)
    assert_allclose(Similarity.decoder(a, a).pairs([0, 7], [0, 7]), 1, atol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (of_model("m"), of_model("n"), r"b\.h5: model nnnnnnnn, but .*a\.h5 has mmmmmmmm; decoder rows of two models"),
        (of_model("m"), of_model("m", "resid"), r"b\.h5: site resid, but .*a\.h5 has mlp; decoder rows of two sites"),
        (of_model("m"), {}, r"b\.h5: provenance names no model hash"),
    ],
)
def test_refused_across_models_unless_forced(
    tmp_path: Path, first: dict[str, Any], second: dict[str, Any], message: str
) -> None:
    a, b = made(tmp_path / "a.h5", 0, provenance=first), made(tmp_path / "b.h5", 1, provenance=second)
    with pytest.raises(MismatchError, match=message):
        Similarity.decoder(a, b)
    assert Similarity.decoder(a, b, force=True).provenance["force"]


def test_rows_of_two_widths_are_refused_even_if_forced(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"b\.h5: decoder rows of width 7, but .*a\.h5 has 6"):
        Similarity.decoder(made(tmp_path / "a.h5", 0), made(tmp_path / "b.h5", 0, d_in=7), force=True)


def test_a_store_without_dictionary_is_refused(tmp_path: Path) -> None:
    a = write_store(tmp_path / "a.h5", np.ones((SEEN.n_tokens, 2)), SEEN)
    with pytest.raises(UniversalityError, match=r"a\.h5: holds no dictionary"):
        Similarity.decoder(a, a)


def test_transcoders_are_compared_where_they_write(tmp_path: Path) -> None:
    """With an SAE at that hook, and with a transcoder that reads elsewhere; not with an SAE where they read."""
    read, written = "blocks.0.mlp.hook_in", "blocks.0.mlp.hook_out"
    a = made(tmp_path / "a.h5", 0, provenance={**of_model("m", read), "site_out": written})
    other = made(tmp_path / "b.h5", 1, provenance={**of_model("m", "blocks.0.hook_in"), "site_out": written})
    sae = made(tmp_path / "c.h5", 1, provenance=of_model("m", written))
    assert_array_equal(Similarity.decoder(a, other).dense(), Similarity.decoder(a, sae).dense())
    at_input = made(tmp_path / "d.h5", 1, provenance=of_model("m", read))
    with pytest.raises(MismatchError, match=r"mlp\.hook_out \(codes read at blocks\.0\.mlp\.hook_in\)"):
        Similarity.decoder(a, at_input)
