"""The trained SAE: encoding, decoding, files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from foreign import DATA
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality.errors import FormatError, MismatchError, ModelError
from universality.sae import SAE

if TYPE_CHECKING:
    from tests.sae.conftest import RandomSAE

D_IN, D_SAE = 24, 90
ARCHITECTURES = ["relu", "topk", "jumprelu", "batchtopk", "matryoshka"]


def tokens(n: int = 3000) -> torch.Tensor:
    return torch.randn(n, D_IN, generator=torch.Generator().manual_seed(9))


def slow_encode(sae: SAE, x: torch.Tensor) -> np.ndarray:
    """The module's equation in float64."""
    centred = x.double() - sae.b_dec.double() if sae.apply_b_dec_to_input else x.double()
    pre = (centred @ sae.W_enc.double() + sae.b_enc.double()).numpy()
    acts = np.maximum(pre, 0)
    if sae.threshold is not None:
        acts[pre <= sae.threshold.numpy()] = 0
    elif sae.k is not None:
        acts[pre < np.sort(pre, axis=1)[:, -sae.k, None]] = 0
    return acts


@pytest.mark.parametrize("pre_bias", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_encode_is_the_equation(random_sae: RandomSAE, architecture: str, pre_bias: bool) -> None:
    sae = random_sae(architecture, apply_b_dec_to_input=pre_bias)
    found = sae.encode(tokens())
    assert isinstance(found, sparse.csr_matrix)
    assert (found.dtype, found.shape) == (np.float32, (3000, D_SAE))
    assert found.has_sorted_indices
    assert found.data.min() > 0
    assert_allclose(found.toarray(), slow_encode(sae, tokens()), atol=2e-5)
    control = random_sae(architecture, apply_b_dec_to_input=not pre_bias)
    assert np.abs(found.toarray() - slow_encode(control, tokens())).max() > 0.1


def test_encode_takes_numpy_and_torch_and_any_cut(random_sae: RandomSAE) -> None:
    sae, x = random_sae(), tokens()
    whole = sae.encode(x)
    assert_array_equal(sae.encode(x.numpy()).toarray(), whole.toarray())
    assert_array_equal(sae.encode(x.double()).toarray(), whole.toarray())
    halves = sparse.vstack([sae.encode(x[:1100]), sae.encode(x[1100:])])
    assert_allclose(halves.toarray(), whole.toarray(), atol=1e-5)
    assert sae.encode(x[:0]).shape == (0, D_SAE)


def test_decode_keeps_the_type(random_sae: RandomSAE) -> None:
    sae = random_sae()
    features = sae.encode(tokens())
    expected = features.toarray() @ sae.W_dec.numpy() + sae.b_dec.numpy()
    from_csr = sae.decode(features)
    assert isinstance(from_csr, np.ndarray)
    assert_allclose(from_csr, expected, atol=1e-5)
    from_tensor = sae.decode(torch.from_numpy(features.toarray()))
    assert isinstance(from_tensor, torch.Tensor)
    assert_allclose(from_tensor.numpy(), expected, atol=1e-5)
    assert_allclose(sae.reconstruct(tokens()).numpy(), expected, atol=1e-5)


def test_wrong_widths_are_refused(random_sae: RandomSAE) -> None:
    sae = random_sae()
    with pytest.raises(MismatchError, match=r"expected activations \[n_tokens, 24\], found shape \(3, 25\)"):
        sae.encode(torch.zeros(3, 25))
    with pytest.raises(MismatchError, match=r"expected features \[n_tokens, 90\], found shape \(3, 24\)"):
        sae.decode(torch.zeros(3, 24))


def test_hash_is_of_the_function(random_sae: RandomSAE) -> None:
    sae = random_sae()
    assert sae.hash == random_sae(scale=3.0, metadata={}).hash
    others = [
        random_sae(seed=1),
        random_sae(k=7),
        random_sae("relu"),
        random_sae(apply_b_dec_to_input=False),
        random_sae(b_enc=sae.b_enc + 1e-6),
        random_sae("jumprelu"),
        random_sae("jumprelu", threshold=torch.full((D_SAE,), 0.5)),
    ]
    assert len({sae.hash, *(other.hash for other in others)}) == 8


def test_activations_that_are_no_numbers_are_refused(random_sae: RandomSAE) -> None:
    sae, x = random_sae(), torch.ones(5, 24)
    for value in (torch.nan, torch.inf):
        x[3, 7] = value
        with pytest.raises(FormatError, match="activations hold NaN or infinity, first at row 3, column 7"):
            sae.encode(x)


def test_contradictory_saes_are_refused(random_sae: RandomSAE) -> None:
    sae = random_sae()
    with pytest.raises(FormatError, match=r"W_enc: expected shape \(24, 90\) beside .* found \(90, 24\)"):
        random_sae(W_enc=sae.W_dec)
    with pytest.raises(FormatError, match="b_dec of the SAE holds NaN or infinity"):
        random_sae(b_dec=sae.b_dec / 0)
    with pytest.raises(FormatError, match=r"threshold of a jumprelu SAE: expected shape \(90,\), found None"):
        random_sae("jumprelu", threshold=None)
    with pytest.raises(FormatError, match=r"threshold of a topk SAE: expected shape None, found \(90,\)"):
        random_sae(threshold=torch.ones(90))
    with pytest.raises(FormatError, match=r"nested widths must rise to below d_sae = 90, found \[20, 90\]"):
        random_sae("matryoshka", nested=(20, 90))
    with pytest.raises(ModelError, match="unknown SAE architecture 'gated'"):
        random_sae("gated")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_gpu_encodes_the_same(random_sae: RandomSAE, architecture: str) -> None:
    sae = random_sae(architecture)
    assert_allclose(sae.to("cuda").encode(tokens().cuda()).toarray(), sae.encode(tokens()).toarray(), atol=1e-3)


@pytest.mark.parametrize(("value", "what"), [(1e300, "NaN or infinity"), (3e38, r"numbers beyond ±1e\+18")])
def test_activations_that_float32_cannot_hold_are_refused(value: float, what: str) -> None:
    x = torch.zeros(3, 12, dtype=torch.float64)
    x[2, 5] = -value
    sae = SAE.load(DATA / "saelens_topk")
    with pytest.raises(FormatError, match=f"the activations hold {what}, first at row 2, column 5"):
        sae.encode(x)
    assert sae.encode(torch.full((1, 12), 1e17, dtype=torch.float64)).nnz
