"""An outline has the hooks and shapes of the model itself."""

from pathlib import Path

import pytest

from universality.activations import ModelSite
from universality.models.language_model import load_model, new_model, save_model
from universality.models.model_settings import ModelArchitecture
from universality.models.weightless import outline_of, outline_to_train, positions_of

HOOK = "blocks.1.mlp.hook_post"


def test_an_outline_of_a_saved_model_has_its_hooks_and_positions(
    architecture: ModelArchitecture, tmp_path: Path
) -> None:
    model = new_model(architecture, d_vocab=50, n_ctx=16, init_seed=0, name="m")
    save_model(model, tmp_path)
    outline = outline_of(tmp_path, "m")
    assert outline is not None
    assert set(outline.bridge.hook_dict) == set(model.bridge.hook_dict)
    assert positions_of(tmp_path, outline) == 16
    hook = "blocks.0.mlp.hook_post"
    assert ModelSite(outline, hook).d_in == ModelSite(outline_to_train(architecture, "m"), hook).d_in == 64


@pytest.mark.parametrize("model_type", ["gpt2", "gpt_neox"])
def test_an_outline_of_a_hugging_face_model_has_its_hooks_and_shapes(save_tiny, model_type: str) -> None:
    folder = save_tiny(model_type)
    model, outline = load_model(folder), outline_of(folder, "m")
    assert outline is not None
    assert set(outline.bridge.hook_dict) == set(model.bridge.hook_dict)
    assert ModelSite(outline, HOOK).d_in == ModelSite(model, HOOK).d_in == 64
    assert positions_of(folder, outline) == model.n_ctx


def test_a_folder_that_holds_no_model_has_no_outline(tmp_path: Path) -> None:
    assert outline_of(tmp_path, "m") is None
    (tmp_path / "config.json").write_text('{"model_type": "no-such-type"}')
    assert outline_of(tmp_path, "m") is None
