"""Fields of an SAE from a tool's tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats.fields import expect, fold_centring, fold_decoder_norm, fold_scale, threshold_by_feature


def test_folding_norms_and_scales_changes_no_reconstruction() -> None:
    generator = torch.Generator().manual_seed(0)
    fields = {
        "W_enc": torch.randn(6, 9, generator=generator),
        "b_enc": torch.randn(9, generator=generator),
        "W_dec": torch.randn(9, 6, generator=generator),
        "b_dec": torch.randn(6, generator=generator),
        "threshold": torch.rand(9, generator=generator),
    }
    x = torch.randn(50, 6, generator=generator)
    sae, unit = (SAE(**given, architecture="jumprelu") for given in (fields, fold_decoder_norm(fields)))
    assert_close(unit.W_dec.norm(dim=1), torch.ones(9))
    assert_close(unit.reconstruct(x), sae.reconstruct(x))
    scaled = SAE(**fold_scale(fields, 4.0), architecture="jumprelu")
    assert_close(4 * scaled.reconstruct(x), sae.reconstruct(4 * x))
    assert scaled.scale == 4


@pytest.mark.parametrize("subtracted", [True, False])
def test_a_centred_sae_encodes_activations_as_they_are(subtracted: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (6, 9), "b_enc": (9,), "W_dec": (9, 6), "b_dec": (6,)}
    fields = {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    given = fields | {"apply_b_dec_to_input": subtracted}
    sae, centred = (SAE(**each, architecture="relu") for each in (given, fold_centring(given)))
    x = torch.randn(50, 6, generator=generator) + 3
    expected = sae.encode(x - x.mean(dim=1, keepdim=True)).toarray()
    assert_close(torch.from_numpy(centred.encode(x).toarray()), torch.from_numpy(expected), atol=1e-5, rtol=0)
    assert abs(sae.encode(x).toarray() - expected).max() > 0.1


def test_one_threshold_is_spread_and_none_is_negative() -> None:
    assert threshold_by_feature(torch.tensor(0.5), 3).tolist() == [0.5] * 3
    assert threshold_by_feature(torch.tensor([-1.0, 2.0]), 2).tolist() == [0.0, 2.0]


def test_tensors_must_be_exactly_those_expected() -> None:
    tensors = {"a": torch.zeros(2, 3)}
    expect(tensors, Path("x"), {"a": (2, 3)})
    for shapes, message in (
        ({"a": (3, 2)}, r"x: a must have shape \[3, 2\], found \[2, 3\]"),
        ({"a": (2, 3), "b": ()}, "x: expected the tensors a, b, found a"),
    ):
        with pytest.raises(FormatError, match=message):
            expect(tensors, Path("x"), shapes)
