"""A model's folder is found by the name of a shipped model or by its path."""

from pathlib import Path

import pytest

from universality.errors import ModelError
from universality.models.shipped import STARTER, model_folder


def test_shipped_models_and_folders_are_found(tmp_path: Path) -> None:
    assert model_folder("starter/seed1") == STARTER / "seed1"
    (tmp_path / "config.json").write_text("{}")
    assert model_folder(tmp_path) == model_folder(str(tmp_path)) == tmp_path


def test_an_empty_folder_and_an_adapter_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a model's folder with config\.json, or one of starter/seed0"):
        model_folder(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"a LoRA adapter without its model; merge it"):
        model_folder(tmp_path)
