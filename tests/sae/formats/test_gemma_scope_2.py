"""Gemma Scope 2: files encode as in SAELens; what reads or writes elsewhere is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import DATA, agrees, edited
from safetensors.torch import load_file, save_file

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats.stated_hook import stated_hook, stated_hook_out

PLACE = "gemma_scope_2/gemma-scope-2-270m-pt/attn_out/layer_9_width_16k_l0_small"
FOLDER = "attn_out/layer_9_width_16k_l0_small"
NORM = "model.layers.9.post_feedforward_layernorm.output"


def test_encodes_as_saelens_reads_it() -> None:
    agrees(PLACE, "jumprelu")
    metadata = SAE.load(DATA / PLACE / "params.safetensors").metadata
    assert (metadata["model_name"], metadata["l0"]) == ("google/gemma-3-270m", 10)


@pytest.mark.parametrize(
    ("site", "hook"),
    [
        ("resid_post", "blocks.9.hook_resid_post"),
        ("resid_post_all", "blocks.9.hook_resid_post"),
        ("attn_out", "blocks.9.attn.hook_z"),
        ("mlp_out_all", "blocks.9.hook_mlp_out"),
    ],
)
def test_without_a_configuration_the_folder_tells_the_site(site: str, hook: str, tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / PLACE, tmp_path / site / "layer_9_width_16k_l0_small")
    (folder / "config.json").unlink()
    sae = SAE.load(folder)
    assert stated_hook(sae.metadata) == hook
    assert sae.hash == SAE.load(DATA / PLACE).hash


def test_without_either_it_may_be_a_transcoder(tmp_path: Path) -> None:
    shutil.copyfile(DATA / PLACE / "params.safetensors", tmp_path / "params.safetensors")
    with pytest.raises(FormatError, match=r"without config\.json it may be an SAE or a transcoder; download that file"):
        SAE.load(tmp_path)
    folder = shutil.copytree(tmp_path, tmp_path / "transcoder_all" / "layer_9_width_16k_l0_small")
    assert SAE.load(folder).transcoder
    assert stated_hook_out(SAE.load(folder).metadata) == "blocks.9.hook_mlp_out"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hf_hook_point_out": NORM}, f"type is 'sae', .*o_proj.input' and hf_hook_point_out '{NORM}'; expected two"),
        ({"type": "transcoder"}, "type is 'transcoder', .*; expected two hook points of a transcoder"),
        ({"architecture": "topk"}, "architecture 'topk' cannot be read; known: jump_relu"),
    ],
)
def test_configurations_that_cannot_be_held_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(edited(PLACE, tmp_path / "sae", "config.json", changes))


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("affine_skip_connection", torch.zeros(12, 12), "affine_skip_connection is the skip connection"),
        ("w_dec", torch.zeros(32, 4, 12), "a crosscoder or cross-layer transcoder of Gemma Scope 2"),
        ("w_enc", torch.zeros(24, 32), "d_in is 24, d_out 12"),
        ("threshold", torch.zeros(31), r"threshold must have shape \[32\], found \[31\]"),
    ],
)
def test_tensors_that_cannot_be_held_are_refused(name: str, tensor: torch.Tensor, message: str, tmp_path: Path) -> None:
    folder = edited(PLACE, tmp_path / "sae", "config.json", {})
    weights = load_file(folder / "params.safetensors")
    save_file(weights | {name: tensor}, folder / "params.safetensors")
    with pytest.raises(FormatError, match=message):
        SAE.load(folder)


def test_weights_split_by_layer_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"type": "crosscoder"}))
    for layer in range(2):
        shutil.copyfile(DATA / PLACE / "params.safetensors", tmp_path / f"params_layer_{layer}.safetensors")
    for path in (tmp_path, tmp_path / "params_layer_1.safetensors"):
        with pytest.raises(FormatError, match=r"crosscoder or cross-layer transcoder .*; its SAEs of one site can be"):
            SAE.load(path)
