"""Normalisation of each token, and back."""

from __future__ import annotations

import pytest
import torch
from foreign import DATA
from torch.testing import assert_close

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.normalisation import Normalisation, normalised


@pytest.mark.parametrize("name", ["layer_norm", "constant_norm_rescale"])
def test_undoing_gives_the_activations_back(name: str) -> None:
    x = 5 * torch.randn(20, 12, generator=torch.Generator().manual_seed(0)) + 3
    y = normalised(x, name)
    assert_close(y.norm(dim=1), torch.full((20,), (11 if name == "layer_norm" else 12) ** 0.5), rtol=1e-4, atol=1e-4)
    assert_close(Normalisation.of(x, name).undo(y), x, rtol=1e-4, atol=1e-4)
    assert normalised(x, "none") is x


def test_the_normalisation_is_part_of_the_function() -> None:
    sae = SAE.load(DATA / "saelens_jumprelu_layer_norm")
    fields = {name: getattr(sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "architecture", "threshold")}
    assert SAE(**fields).hash != sae.hash
    with pytest.raises(FormatError, match=r"normalize_activations is one of none, layer_norm, .*; found 'batch'"):
        SAE(**fields, normalize_activations="batch")
    with pytest.raises(FormatError, match=r"W_dec: expected shape \[d_sae, d_in\], found \[32\]"):
        SAE(**{**fields, "W_dec": sae.b_enc})
