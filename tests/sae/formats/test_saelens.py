"""SAELens: files of version 6 and before encode as in SAELens; scaling that is left to the caller."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign import DATA, agrees, edited
from numpy.testing import assert_allclose
from safetensors.torch import load_file, save_file

from universality.errors import FormatError, ModelError
from universality.sae import SAE

WRITTEN_BY_IT = {
    "saelens_standard": "relu",
    "saelens_standard_constant_norm": "relu",
    "saelens_topk": "topk",
    "saelens_topk_rescaled": "topk",
    "saelens_jumprelu": "jumprelu",
    "saelens_jumprelu_layer_norm": "jumprelu",
    "saelens_batchtopk": "jumprelu",
    "saelens_before_6": "topk",
}


@pytest.mark.parametrize("name", WRITTEN_BY_IT)
def test_encodes_as_the_library_that_wrote_it(name: str) -> None:
    agrees(name, WRITTEN_BY_IT[name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("saelens_gated", "architecture 'gated' cannot be read: its gates and magnitudes have biases"),
        ("saelens_hook_z", "reshape_activations is 'hook_z'; only SAEs with 'none' can be read"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(DATA / name)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("saelens_standard", {"architecture": "matching_pursuit"}, "it encodes step by step"),
        ("saelens_transcoder", {"normalize_activations": "expected_average_only_in"}, "scale of its output is not rec"),
        ("saelens_transcoder", {"architecture": "gated_transcoder"}, "architecture 'gated' cannot be read"),
        ("saelens_transcoder", {"d_out": None}, "d_out: missing|lacks d_out|d_out"),
        ("saelens_transcoder", {"apply_b_dec_to_input": True}, "apply_b_dec_to_input of a transcoder must be false"),
        ("saelens_before_6", {"activation_fn_str": "tanh-relu"}, "activation function 'tanh-relu'; known"),
        ("saelens_before_6", {"hook_point": "blocks.1.attn.hook_z"}, "reshape_activations is 'hook_z'"),
    ],
)
def test_configurations_that_cannot_be_held_are_refused(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(edited(name, tmp_path / "sae", "cfg.json", changes))


def test_a_scaling_factor_other_than_1_is_refused(tmp_path: Path) -> None:
    folder = edited("saelens_standard", tmp_path / "saelens_standard", "cfg.json", {})
    weights = load_file(folder / "sae_weights.safetensors")
    save_file(weights | {"scaling_factor": torch.ones(32)}, folder / "sae_weights.safetensors")
    assert SAE.load(folder).hash == SAE.load(DATA / "saelens_standard").hash
    save_file(weights | {"scaling_factor": torch.full((32,), 2.0)}, folder / "sae_weights.safetensors")
    with pytest.raises(FormatError, match="scaling_factor, of a finetuned SAE, is not 1"):
        SAE.load(folder)


@pytest.mark.parametrize("name", ["saelens_standard_constant_norm", "saelens_jumprelu_layer_norm", "openai_topk.pt"])
def test_reconstructions_are_in_the_activations_units(name: str) -> None:
    sae = SAE.load(DATA / name)
    x = torch.from_numpy(np.load(DATA / f"{name.removesuffix('.pt')}.npz")["x"]).double()
    shift = x.mean(dim=1, keepdim=True) if sae.normalize_activations == "layer_norm" else torch.zeros(len(x), 1)
    size = x.std(dim=1, keepdim=True) if sae.normalize_activations == "layer_norm" else x.norm(dim=1)[:, None] / 12**0.5
    codes = torch.from_numpy(sae.encode(x).toarray()).double()
    expected = (codes @ sae.W_dec.double() + sae.b_dec.double()) * size + shift
    assert_allclose(sae.reconstruct(x).numpy(), expected.numpy(), atol=1e-5)
    assert_allclose(sae.decode(codes, like=x).numpy(), expected.numpy(), atol=1e-5)
    assert np.abs(sae.decode(codes).numpy() - expected.numpy()).max() > 0.1
    nothing = sae.encode(torch.zeros(1, 12)).toarray()  # a token without activations has no norm to divide by
    assert np.isfinite(nothing).all()


def activations() -> torch.Tensor:
    return 3 * torch.randn(40, 12, generator=torch.Generator().manual_seed(0)) + 1


@pytest.mark.parametrize("name", ["saelens_jumprelu", "saelens_topk", "saelens_standard", "saelens_topk_rescaled"])
@pytest.mark.parametrize("way", ["expected_average_only_in", True])
def test_scaled_codes_are_the_tools_in_the_activations_units(name: str, way: Any, tmp_path: Path) -> None:
    theirs = SAE.load(edited(name, tmp_path / "sae", "cfg.json", {"normalize_activations": way}))
    assert theirs.awaits_scale
    ours, x = theirs.scaled(0.37, n_tokens=40), activations()
    assert_allclose(ours.encode(x).toarray() * 0.37, theirs.encode(0.37 * x).toarray(), atol=1e-5)
    assert_allclose(ours.reconstruct(x).numpy() * 0.37, theirs.reconstruct(0.37 * x).numpy(), atol=1e-5)
    assert np.abs(ours.encode(x).toarray() * 0.37 - theirs.encode(x).toarray()).max() > 0.1
    again = SAE.load(ours.save(tmp_path / "ours"))
    assert (again.hash, again.scale, again.awaits_scale) == (ours.hash, 0.37, False)
    assert again.metadata["activation_scale"] == {"asked_by": way, "factor": 0.37, "n_tokens": 40}
    assert SAE.load(theirs.save(tmp_path / "unscaled")).awaits_scale, "a copy asks for it still"


def test_a_checkpoint_that_tells_its_factor_asks_for_none(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "saelens_jumprelu", tmp_path / "sae")
    (folder / "activation_scaler.json").write_text('{"scaling_factor": null}')
    assert SAE.load(folder).awaits_scale
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 0.37}')
    sae = SAE.load(folder)
    assert not sae.awaits_scale
    assert sae.hash == SAE.load(DATA / "saelens_jumprelu").scaled(0.37).hash
    (folder / "activation_scaler.json").write_text('{"scaling_factor": -1}')
    with pytest.raises(FormatError, match=r"scaler\.json: scaling_factor must be a number above 0, found -1"):
        SAE.load(folder)


@pytest.mark.parametrize("way", ["none", None, False, "layer_norm", "constant_norm_rescale"])
def test_what_is_not_left_to_the_caller_asks_for_nothing(way: Any, tmp_path: Path) -> None:
    folder = edited("saelens_topk", tmp_path / "sae", "cfg.json", {"normalize_activations": way})
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 0.37}')
    sae = SAE.load(folder)
    assert not sae.awaits_scale
    assert sae.scale == 1


def test_a_factor_that_cannot_be_is_refused() -> None:
    with pytest.raises(ModelError, match=r"scaled by a finite factor above 0, .*; found 0\.0 and"):
        SAE.load(DATA / "saelens_topk").scaled(0.0)
    with pytest.raises(ModelError, match=r"not where each token is normalised; found 2\.0 and .*'layer_norm'"):
        SAE.load(DATA / "saelens_jumprelu_layer_norm").scaled(2.0)
