"""OpenAI's sparse_autoencoder: one ``.pt`` file, which encodes by the published equation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import DATA, agrees

from universality.errors import FormatError
from universality.sae import SAE


@pytest.mark.parametrize(("path", "architecture"), [("openai_relu.pt", "relu"), ("openai_topk.pt", "topk")])
def test_encodes_by_the_published_equation_a_file_not_written_by_the_real_library(path: str, architecture: str) -> None:
    agrees(path, architecture)


def test_torch_files_that_cannot_be_held_are_refused(tmp_path: Path) -> None:
    state = torch.load(DATA / "openai_topk.pt", weights_only=True)
    changes: list[tuple[dict[str, Any], str]] = [
        ({"activation": "Identity"}, "activation 'Identity' cannot be read; known: ReLU, TopK"),
        ({"activation_state_dict": {}}, "must hold k, a whole number; found of type NoneType"),
        ({"activation_state_dict": {"k": 5, "postact_fn": "Identity"}}, "TopK with postact_fn 'Identity'"),
        ({"encoder.weight": torch.zeros(5)}, "encoder.weight must have two dimensions"),
    ]
    for change, message in changes:
        torch.save(state | change, tmp_path / "sae.pt")
        with pytest.raises(FormatError, match=message):
            SAE.load(tmp_path / "sae.pt")
