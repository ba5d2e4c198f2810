"""Goodfire's and qresearch's files encode as in SAELens; other names are not taken for theirs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from foreign import DATA, agrees

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats.stated_hook import stated_hook

GOODFIRE = "goodfire/Llama-3.1-8B-Instruct-SAE-l19/Llama-3.1-8B-Instruct-SAE-l19.pth"
QRESEARCH = "qresearch/DeepSeek-R1-Distill-Llama-8B-SAE-l19/DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"


@pytest.mark.parametrize("path", [GOODFIRE, QRESEARCH])
def test_encodes_as_saelens_reads_it(path: str) -> None:
    agrees(path, "relu")
    sae = SAE.load(DATA / path)
    assert stated_hook(sae.metadata) == "blocks.19.hook_resid_post"
    assert sae.metadata["model_name"] == Path(path).name.split("-SAE-")[0]


def test_two_linear_layers_of_another_name_are_not_taken_for_theirs(tmp_path: Path) -> None:
    shutil.copyfile(DATA / QRESEARCH, tmp_path / "sae.pt")
    with pytest.raises(FormatError, match="expected the tensors pre_bias"):
        SAE.load(tmp_path / "sae.pt")
