"""The attention-output SAEs of Kissane et al. encode as in SAELens."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from foreign import DATA, agrees

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats.stated_hook import stated_hook

FILE = "attention_saes/attn-saes-gpt2-small-all-layers/gpt2-small_L5_Hcat_z_lr1.20e-03_v9.pt"


def test_encodes_as_saelens_reads_it() -> None:
    agrees(FILE, "relu")
    assert stated_hook(SAE.load(DATA / FILE).metadata) == "blocks.5.attn.hook_z"


def test_shapes_must_be_those_of_the_configuration(tmp_path: Path) -> None:
    shutil.copyfile(DATA / FILE, tmp_path / "sae.pt")
    (tmp_path / "sae_cfg.json").write_text('{"act_name": "blocks.5.attn.hook_z", "act_size": 24, "dict_size": 32}')
    with pytest.raises(FormatError, match=r"W_enc must have shape \[24, 32\], found \[12, 32\]"):
        SAE.load(tmp_path / "sae.pt")
