"""dictionary_learning: files encode as in the library, those of 2024 included."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign import DATA, agrees, edited

from universality.errors import FormatError
from universality.sae import SAE

WRITTEN_BY_IT = {
    "dictionary_learning_relu": "relu",
    "dictionary_learning_relu_new": "relu",
    "dictionary_learning_topk": "topk",
    "dictionary_learning_batchtopk": "batchtopk",
    "dictionary_learning_matryoshka": "matryoshka",
    "dictionary_learning_jumprelu": "jumprelu",
    "dictionary_learning_gated": "jumprelu",
}


@pytest.mark.parametrize("name", WRITTEN_BY_IT)
def test_encodes_as_the_library_that_wrote_it(name: str) -> None:
    agrees(name, WRITTEN_BY_IT[name])


def test_a_gated_sae_is_recorded_as_such() -> None:
    assert SAE.load(DATA / "dictionary_learning_gated").metadata["original_architecture"] == "gated"
    assert "original_architecture" not in SAE.load(DATA / "dictionary_learning_jumprelu").metadata


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (
            "dictionary_learning_topk",
            {"trainer.dict_class": "CrossCoder"},
            "a crosscoder reads several sites at once; SAEs of one site can be read",
        ),
        ("dictionary_learning_topk", {"trainer.dict_class": "New"}, "dict_class 'New' is not known"),
        ("dictionary_learning_topk", {"trainer.k": 6}, "k is 6, but 5 in ae.pt"),
        ("dictionary_learning_topk", {"trainer.dict_class": "AutoEncoder"}, "expected the tensors"),
    ],
)
def test_configurations_that_cannot_be_held_are_refused(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(edited(name, tmp_path / "sae", "config.json", changes))


def test_group_sizes_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    folder = edited("dictionary_learning_matryoshka", tmp_path / "dictionary_learning_matryoshka", "config.json", {})
    state = torch.load(folder / "ae.pt", weights_only=True)
    torch.save(state | {"group_sizes": torch.tensor([8, 8])}, folder / "ae.pt")
    with pytest.raises(FormatError, match=r"group_sizes must be whole numbers that add up to d_sae = 32, found \[8, 8"):
        SAE.load(folder)


def without(target: Path, name: str, *gone: str, **other: torch.Tensor) -> Path:
    """A dictionary_learning fixture without some of its tensors."""
    shutil.copytree(DATA / name, target)
    state = torch.load(target / "ae.pt", weights_only=True)
    torch.save({key: value for key, value in (state | other).items() if key not in gone}, target / "ae.pt")
    return target


def test_topk_of_2024_is_read_with_the_configurations_k(tmp_path: Path) -> None:
    whole = SAE.load(DATA / "dictionary_learning_topk")
    assert SAE.load(without(tmp_path / "december", "dictionary_learning_topk", "threshold")).hash == whole.hash
    july = without(tmp_path / "july", "dictionary_learning_topk", "threshold", "k")
    assert SAE.load(july).hash == whole.hash
    config = json.loads((july / "config.json").read_text())
    del config["trainer"]["k"]
    (july / "config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match="trainer: incomplete, it lacks k"):
        SAE.load(july)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka"])
def test_a_batch_kind_without_its_threshold_is_refused(name: str, tmp_path: Path) -> None:
    folder = without(tmp_path / "sae", f"dictionary_learning_{name}", "threshold")
    with pytest.raises(FormatError, match="without a threshold, as saved in 2024, cannot be read: its codes would"):
        SAE.load(folder)


def test_k_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    folder = without(tmp_path / "sae", "dictionary_learning_topk", k=torch.tensor(4.0))
    with pytest.raises(FormatError, match=r"ae\.pt: k must be a whole number, found the torch.float32 4"):
        SAE.load(folder)
    for tool, config in (
        ("saelens_topk", "cfg.json"),
        ("sparsify_topk", "cfg.json"),
        ("llamascopium_topk", "config.json"),
    ):
        key = "top_k" if tool.startswith("llama") else "k"
        with pytest.raises(FormatError, match=rf"{key} must be a whole number from 1 to 2\^40, found 5\.0"):
            SAE.load(edited(tool, tmp_path / tool, config, {key: 5.0}))
