"""Transcoders are refused, also where no flag says what they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import DATA, edited
from safetensors.torch import load_file, save_file

from universality.errors import FormatError
from universality.sae import SAE


@pytest.mark.parametrize(
    ("name", "config", "changes", "message"),
    [
        ("saelens_standard", "cfg.json", {"is_transcoder": True}, "is_transcoder is set"),
        ("saelens_standard", "cfg.json", {"d_out": 24}, "d_in is 12, d_out 24"),
        ("saelens_topk", "cfg.json", {"hook_name": "a", "hook_name_out": "b"}, "reads 'a' and writes to 'b'"),
        ("saelens_topk", "cfg.json", {"metadata.hook_name_out": "b"}, "reads 'blocks.3.hook_resid_post' and writes"),
        ("sparsify_topk", "cfg.json", {"transcoder": True}, "transcoder is set"),
        ("dictionary_learning_topk", "config.json", {"buffer.io": "in_and_out"}, "io is 'in_and_out'"),
    ],
)
def test_a_second_site_gives_a_transcoder_away(
    name: str, config: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = edited(name, tmp_path / "sae", config, changes)
    with pytest.raises(FormatError, match="a transcoder cannot be read, it reads one site of a model") as error:
        SAE.load(folder)
    assert message in str(error.value)


def test_a_skip_connection_among_the_tensors_gives_it_away(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "sparsify_topk", tmp_path / "sae")
    tensors = load_file(folder / "sae.safetensors")
    save_file({**tensors, "W_skip": torch.zeros(12, 12)}, folder / "sae.safetensors")
    with pytest.raises(FormatError, match="W_skip is the skip connection or output bias of a transcoder"):
        SAE.load(folder)


def test_the_name_of_a_repository_gives_a_transcoder_away(tmp_path: Path) -> None:
    place = "layer_3/width_32/average_l0_9"
    for repository, refused in (("gemma-scope-2b-pt-res", False), ("gemma-scope-2b-pt-transcoders", True)):
        shutil.copytree(DATA / "gemma_scope" / place, tmp_path / repository / place)
        for path in (tmp_path / repository / place, tmp_path / repository / place / "params.npz"):
            if refused:
                with pytest.raises(FormatError, match=r"they lie in 'gemma-.*-transcoders'\. If it is an SAE, rename"):
                    SAE.load(path)
            else:
                assert SAE.load(path).architecture == "jumprelu"
    edited("sparsify_topk", tmp_path / "skip-transcoder-160m" / "layers.0.mlp", "cfg.json", {"transcode": None})
    with pytest.raises(FormatError, match="they lie in 'skip-transcoder-160m'"):
        SAE.load(tmp_path / "skip-transcoder-160m" / "layers.0.mlp")
