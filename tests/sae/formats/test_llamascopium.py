"""Llamascopium: files encode as in the library of Llama Scope."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from foreign import DATA, agrees, edited
from safetensors.torch import load_file, save_file

from universality.errors import FormatError
from universality.sae import SAE

WRITTEN_BY_IT = {
    "llamascopium_relu": "relu",
    "llamascopium_jumprelu": "jumprelu",
    "llamascopium_jumprelu_by_value": "jumprelu",
    "llamascopium_topk": "topk",
    "llamascopium_topk_token_wise": "topk",
}


@pytest.mark.parametrize("name", WRITTEN_BY_IT)
def test_encodes_as_the_library_that_wrote_it(name: str) -> None:
    agrees(name, WRITTEN_BY_IT[name])


def test_files_of_earlier_versions_encode_as_in_saelens() -> None:
    agrees("llamascopium_before_2/Llama-Scope-R1-Distill/400M-Slimpajama-400M-OpenR1-Math-220k/L3R", "jumprelu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("llamascopium_batchtopk", "act_fn 'batchtopk' cannot be read: without a threshold"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(DATA / name)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("llamascopium_relu", {"sae_type": "crosscoder"}, "sae_type 'crosscoder' cannot be read"),
        ("llamascopium_relu", {"sae_type": "molt"}, "sae_type 'molt' cannot be read: a mixture of linear transforms"),
        (
            "llamascopium_relu",
            {"sae_type": "clt"},
            "'clt' cannot be read: a cross-layer transcoder's features",
        ),
        ("llamascopium_topk_token_wise", {"hook_point_out": "blocks.4"}, "'token-wise' of a transcoder cannot be read"),
        ("llamascopium_topk", {"hook_point_out": "blocks.4"}, "number above 0 as .*norm.blocks.4"),
        ("llamascopium_relu", {"use_glu_encoder": True}, "use_glu_encoder is set"),
        ("llamascopium_relu", {"act_fn": "gelu"}, "act_fn 'gelu' is not known"),
        ("llamascopium_relu", {"norm_activation": "batch-wise"}, "codes would depend on the batch"),
    ],
)
def test_configurations_that_cannot_be_held_are_refused(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(edited(name, tmp_path / "sae", "config.json", changes))


def test_a_scale_that_is_missing_is_refused(tmp_path: Path) -> None:
    folder = edited("llamascopium_topk", tmp_path / "llamascopium_topk", "config.json", {})
    weights = load_file(folder / "sae_weights.safetensors")
    norms = [name for name in weights if name.startswith("dataset_average_activation_norm.")]
    save_file({k: v for k, v in weights.items() if k not in norms}, folder / "sae_weights.safetensors")
    with pytest.raises(FormatError, match="norm_activation is 'dataset-wise', which needs a number above 0 as"):
        SAE.load(folder)
