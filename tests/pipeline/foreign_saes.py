"""SAEs of other tools as files, and studies that load them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from universality.config import Config, parse_config

HOOK = "blocks.0.hook_resid_post"


D_IN = 128


def weights(width: int, seed: int) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(width, D_IN, generator=rng), dim=1)
    return {"W_dec": decoder, "W_enc": decoder.T.contiguous(), "b_enc": torch.zeros(width), "b_dec": torch.zeros(D_IN)}


def saelens(folder: Path, width: int, seed: int, hook: str = HOOK, normalize: str = "none") -> Path:
    folder.mkdir(parents=True)
    save_file(weights(width, seed), folder / "sae_weights.safetensors")
    config = {"architecture": "topk", "k": 4, "d_in": D_IN, "d_sae": width, "normalize_activations": normalize}
    metadata = {"hook_name": hook, "model_name": "starter"}
    (folder / "cfg.json").write_text(json.dumps({**config, "metadata": metadata}))
    return folder


def sparsify(folder: Path, width: int, seed: int) -> Path:
    folder.mkdir(parents=True)
    w = weights(width, seed)
    tensors = {"encoder.weight": w["W_dec"], "encoder.bias": w["b_enc"], "W_dec": w["W_dec"], "b_dec": w["b_dec"]}
    save_file({name: value.clone() for name, value in tensors.items()}, folder / "sae.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": D_IN, "num_latents": width, "k": 4}))
    return folder


def dictionary_learning(folder: Path, width: int, seed: int) -> Path:
    folder.mkdir(parents=True)
    w = weights(width, seed)
    state = {"encoder.weight": w["W_dec"], "encoder.bias": w["b_enc"], "decoder.weight": w["W_dec"].T.clone()}
    torch.save(state | {"b_dec": w["b_dec"], "k": torch.tensor(4), "threshold": torch.tensor(-1.0)}, folder / "ae.pt")
    place = {"layer": 0, "submodule_name": "resid_post_layer_0", "lm_name": "starter"}
    trainer = {"dict_class": "AutoEncoderTopK", "activation_dim": D_IN, "dict_size": width, "k": 4, **place}
    (folder / "config.json").write_text(json.dumps({"trainer": trainer}))
    return folder


def study(load: dict[str, Any], **other: Any) -> Config:
    return parse_config(
        {
            "corpus": {"max_documents": 32, "n_ctx": 32, "held_out": 0.5},
            "features": {"neuron_documents": 0},
            "models": {"load": {"A": "starter/seed0", "B": "starter/seed0"}, "one_basis": True},
            "hook": HOOK,
            "saes": {"load": load, "quality_blocks": 8},
            "statistics": {"replicates": 1, "bootstrap": 5},
            "families": {"replicates": 0, "bootstrap": 0},
            "effects": {"measure": False},
            "map": {"draw": False},
            **other,
        }
    )
