"""A file of the folder is as good as the folder."""

from __future__ import annotations

import pytest
from foreign import DATA

from universality.sae import SAE


@pytest.mark.parametrize(
    ("path", "weights"),
    [
        ("sparsify_topk", "sae.safetensors"),
        ("dictionary_learning_topk", "ae.pt"),
        ("dictionary_learning_topk", "config.json"),
        ("llamascopium_topk", "sae_weights.safetensors"),
        ("gemma_scope/layer_3/width_32/average_l0_9", "params.npz"),
    ],
)
def test_a_file_of_the_folder_is_as_good_as_the_folder(path: str, weights: str) -> None:
    assert SAE.load(DATA / path / weights).hash == SAE.load(DATA / path).hash
