"""Two SAEs are seeds of one another only where nothing that they record differs but the seed."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from universality.sae import SAE
from universality.sae.recorded_differences import differences, training_recorded

TRAINING = {"learning_rate": 1e-3, "tokens_seen": 1000, "seed": 0, "resample_seed": 3, "k": 4}
METADATA = {
    "hook": "blocks.0.hook_out", "blocks_hash": "abc", "model": {"name": "A", "hash": "h"}, "order_seed": 0,
    "training": TRAINING, "wandb_name": "first", "dataset_path": "pile",
}  # fmt: skip


def sae(**changes: Any) -> SAE:
    draw = torch.Generator().manual_seed(0)
    w = torch.randn(8, 6, generator=draw)
    fields = {"architecture": "topk", "k": 4, "metadata": METADATA} | changes
    return SAE(W_enc=w.T, b_enc=torch.zeros(8), W_dec=w, b_dec=torch.zeros(6), **fields)


def with_training(**changes: Any) -> SAE:
    return sae(metadata=METADATA | {"training": TRAINING | changes})


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (sae(k=2), ["k (4 and 2)"]),
        (sae(architecture="relu", k=None), ["architecture (topk and relu)"]),
        (sae(normalize_activations="layer_norm"), ["normalize_activations (none and layer_norm)"]),
        (sae(apply_b_dec_to_input=False), ["apply_b_dec_to_input (True and False)"]),
        (with_training(learning_rate=1e-2), ["learning_rate (0.001 and 0.01)"]),
        (with_training(tokens_seen=2000), ["tokens_seen (1000 and 2000)"]),
        (sae(metadata=METADATA | {"blocks_hash": "other"}), ["blocks_hash (abc and other)"]),
        (sae(metadata=METADATA | {"dataset_path": "c4"}), ["dataset_path (pile and c4)"]),
        (sae(metadata=METADATA | {"hook": "blocks.1.hook_out"}), ["hook (blocks.0.hook_out and blocks.1.hook_out)"]),
        (sae(metadata=METADATA | {"model": {"name": "A", "hash": "i"}}), ["hash (h and i)"]),
        (sae(metadata=METADATA | {"loaded": {"format": "sparsify"}}), []),  # the other does not say which tool
        # The controls: a seed, of whatever, and what a run is called change nothing in what is learnt.
        (with_training(seed=7, resample_seed=8), []),
        (sae(metadata=METADATA | {"order_seed": 9, "wandb_name": "second", "model": {"name": "B", "hash": "h"}}), []),
    ],
)
def test_what_differs_is_named_and_seeds_are_not(other: SAE, said: list[str]) -> None:
    assert [str(one) for one in differences(sae(), other)] == said


def test_of_two_models_the_model_and_the_hook_may_differ() -> None:
    other = sae(k=2, metadata=METADATA | {"model": {"name": "B", "hash": "i"}, "hook": "blocks.1.hook_out"})
    assert [one.name for one in differences(sae(), other, one_model=False)] == ["k"]


def test_two_tools_are_a_difference() -> None:
    one, other = (sae(metadata=METADATA | {"loaded": {"format": name}}) for name in ("SAELens", "sparsify"))
    assert [str(found) for found in differences(one, other)] == ["tool (SAELens and sparsify)"]


def test_files_that_say_nothing_of_their_training_are_known_to() -> None:
    bare = sae(metadata={"file": "params.npz", "seed": 1})
    assert training_recorded(sae(), with_training(seed=1))
    assert not training_recorded(bare, replace(bare, k=2))
    assert not training_recorded(sae(), bare)
