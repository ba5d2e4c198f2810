"""Weights of other precisions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from foreign import DATA, edited
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from universality.sae import SAE


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_widened_to_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    plain = SAE.load(DATA / "sparsify_topk")
    folder = edited("sparsify_topk", tmp_path / "sparsify", "cfg.json", {})
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "sae.safetensors").items()}
    save_file(weights, folder / "sae.safetensors")
    found = SAE.load(folder)
    assert found.W_enc.dtype == torch.float32
    assert_close(found.W_enc, plain.W_enc.to(dtype).float(), rtol=0, atol=0)
    torch_folder = edited("dictionary_learning_batchtopk", tmp_path / "torch", "config.json", {})
    state = torch.load(torch_folder / "ae.pt", weights_only=True)
    torch.save({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, torch_folder / "ae.pt")
    assert_close(SAE.load(torch_folder).W_dec, state["decoder.weight"].T.to(dtype).float(), rtol=0, atol=0)
