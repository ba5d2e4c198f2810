"""SAELens: files of version 6 and before encode as in SAELens; scaling that is left to the caller."""

from __future__ import annotations

import json
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
    "saelens_gated": "jumprelu",
    "saelens_matryoshka": "matryoshka",
    "saelens_hook_z": "relu",
    "saelens_finetuned_standard": "relu",
    "saelens_finetuned_jumprelu": "jumprelu",
}


@pytest.mark.parametrize("name", WRITTEN_BY_IT)
def test_encodes_as_the_library_that_wrote_it(name: str) -> None:
    agrees(name, WRITTEN_BY_IT[name])


def test_a_gate_that_opens_below_zero_leaves_the_relu(tmp_path: Path) -> None:
    """Two features with a gate that is always open: one is a plain ReLU, the other fires above its threshold."""
    folder = edited("saelens_gated", tmp_path / "sae", "cfg.json", {"d_in": 1, "d_sae": 2})
    weights = {
        "W_enc": torch.ones(1, 2), "W_dec": torch.ones(2, 1), "b_dec": torch.zeros(1),
        "r_mag": torch.tensor([2.0, 3.0]).log(), "b_gate": torch.tensor([9.0, -1.0]), "b_mag": torch.tensor([0.5, 0.5]),
    }  # fmt: skip
    save_file(weights, folder / "sae_weights.safetensors")
    sae = SAE.load(folder)
    assert (sae.architecture, sae.metadata["original_architecture"]) == ("jumprelu", "gated")
    x = torch.tensor([[-0.3], [0.5], [0.9], [1.1]])
    # the gates open above -9 and above 1; the magnitudes are 2 x + 0.5 and 3 x + 0.5
    assert_allclose(sae.encode(x).toarray(), [[0, 0], [1.5, 0], [2.3, 0], [2.7, 3.8]], atol=1e-6)
    again = SAE.load(sae.save(tmp_path / "ours"))
    assert (again.hash, again.metadata["original_architecture"]) == (sae.hash, "gated")


def test_a_matryoshka_sae_is_cut_at_its_widths(tmp_path: Path) -> None:
    sae, x = SAE.load(DATA / "saelens_matryoshka"), activations()
    assert (sae.nested, sae.k) == ((8, 16), 5)
    part = sae.prefix(16)
    assert_allclose(part.encode(x).toarray(), sae.encode(x).toarray()[:, :16], atol=1e-6)
    assert SAE.load(part.save(tmp_path / "part")).nested == (8,)
    details = {"metadata.training_architecture_details.matryoshka_widths": [8, 16]}
    with pytest.raises(FormatError, match=r"matryoshka_widths must end with d_sae = 32, found \[8, 16\]"):
        SAE.load(edited("saelens_matryoshka", tmp_path / "cut", "cfg.json", details))


def test_heads_are_concatenated_on_the_way_back_to_saelens_too(tmp_path: Path) -> None:
    sae = SAE.load(DATA / "saelens_hook_z")
    config = json.loads((sae.export(tmp_path / "out") / "cfg.json").read_text())
    assert config["reshape_activations"] == "hook_z"
    assert SAE.load(tmp_path / "out").hash == sae.hash
    config = json.loads((SAE.load(DATA / "saelens_topk").export(tmp_path / "plain") / "cfg.json").read_text())
    assert config["reshape_activations"] == "none"


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("saelens_standard", {"architecture": "matching_pursuit"}, "it encodes step by step"),
        ("saelens_transcoder", {"normalize_activations": "expected_average_only_in"}, "scale of its output is not rec"),
        ("saelens_transcoder", {"architecture": "gated_transcoder"}, "architecture 'gated_transcoder' is not known"),
        ("saelens_transcoder", {"d_out": None}, "d_out: missing|lacks d_out|d_out"),
        ("saelens_transcoder", {"apply_b_dec_to_input": True}, "apply_b_dec_to_input of a transcoder must be false"),
        ("saelens_before_6", {"activation_fn_str": "tanh-relu"}, "activation function 'tanh-relu'; known"),
        ("saelens_topk", {"reshape_activations": "transposed"}, "is 'transposed'; only SAEs with 'none' or 'hook_z'"),
    ],
)
def test_configurations_that_cannot_be_held_are_refused(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(edited(name, tmp_path / "sae", "cfg.json", changes))


@pytest.mark.parametrize("name", ["scaling_factor", "finetuning_scaling_factor"])
def test_a_scaling_factor_needs_its_setting(name: str, tmp_path: Path) -> None:
    folder = edited("saelens_standard", tmp_path / "saelens_standard", "cfg.json", {})
    weights = load_file(folder / "sae_weights.safetensors")
    plain = SAE.load(DATA / "saelens_standard")
    save_file(weights | {name: torch.ones(32)}, folder / "sae_weights.safetensors")
    assert SAE.load(folder).hash == plain.hash
    save_file(weights | {name: torch.full((32,), 2.0)}, folder / "sae_weights.safetensors")
    with pytest.raises(FormatError, match=f"holds {name}, which is not 1; expected .* finetuning_scaling_factor true"):
        SAE.load(folder)
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, "finetuning_scaling_factor": True}))
    assert_allclose(SAE.load(folder).W_dec.numpy(), 2 * plain.W_dec.numpy())
    save_file(weights | {name: torch.full((3,), 2.0)}, folder / "sae_weights.safetensors")
    with pytest.raises(FormatError, match=rf"{name} must have shape \[32\], found \[3\]"):
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
