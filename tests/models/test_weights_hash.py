from pathlib import Path

import pytest

from universality.errors import ModelError
from universality.models.language_model import load_model, new_model, save_model
from universality.models.model_settings import ModelArchitecture
from universality.models.weights_hash import saved_hash


def test_a_saved_model_is_told_without_building_it(tmp_path: Path) -> None:
    architecture = ModelArchitecture(d_model=16, n_heads=2, d_mlp=32)
    model = new_model(architecture, d_vocab=50, n_ctx=8, init_seed=0, name="m")
    save_model(model, tmp_path)
    assert saved_hash(tmp_path) == model.hash == load_model(tmp_path).hash
    save_model(new_model(architecture, d_vocab=50, n_ctx=8, init_seed=1, name="m"), tmp_path)
    assert saved_hash(tmp_path) != model.hash
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="not the weights of a model saved here"):
        saved_hash(tmp_path)
