"""Qwen-Scope: files encode as in SAELens; k comes from the repository's name or the configuration."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from foreign import DATA, agrees

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats.stated_hook import stated_hook

PLACE = "qwen_scope/SAE-Res-Qwen3-1.7B-Base-W32K-L0_5/layer3.sae.pt"


def test_encodes_as_saelens_reads_it() -> None:
    agrees(PLACE, "topk")
    sae = SAE.load(DATA / PLACE)
    assert (sae.k, sae.metadata["model_name"]) == (5, "Qwen/Qwen3-1.7B-Base")
    assert stated_hook(sae.metadata) == "blocks.3.hook_resid_post"


def test_the_repository_is_found_in_the_hubs_cache(tmp_path: Path) -> None:
    folder = tmp_path / "models--Qwen--SAE-Res-Qwen3-1.7B-Base-W32K-L0_5" / "snapshots" / "0a1b"
    folder.mkdir(parents=True)
    shutil.copyfile(DATA / PLACE, folder / "layer3.sae.pt")
    assert SAE.load(folder / "layer3.sae.pt").hash == SAE.load(DATA / PLACE).hash


def test_k_is_not_guessed(tmp_path: Path) -> None:
    file = tmp_path / "layer3.sae.pt"
    shutil.copyfile(DATA / PLACE, file)
    with pytest.raises(FormatError, match=r"the file does not hold k; expected it in the name of a folder above"):
        SAE.load(file)
    (tmp_path / "config.json").write_text(json.dumps({"k": 5}))
    assert SAE.load(file).hash == SAE.load(DATA / PLACE).hash
    folder = shutil.copytree(tmp_path, tmp_path / "SAE-Res-Qwen3-8B-Base-W64K-L0_50")
    with pytest.raises(FormatError, match=r"k is 5, but 50 in the folder's name SAE-Res-Qwen3-8B-Base-W64K-L0_50"):
        SAE.load(folder / "layer3.sae.pt")


def test_matrices_must_be_as_published(tmp_path: Path) -> None:
    folder = tmp_path / "SAE-Res-Qwen3-1.7B-Base-W32K-L0_5"
    folder.mkdir()
    weights = torch.load(DATA / PLACE, weights_only=True)
    torch.save(weights | {"W_dec": weights["W_dec"].T.contiguous()}, folder / "layer3.sae.pt")
    with pytest.raises(FormatError, match=r"W_dec must have shape \[12, 32\], found \[32, 12\]"):
        SAE.load(folder / "layer3.sae.pt")
