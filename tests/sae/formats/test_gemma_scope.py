"""Gemma Scope: ``params.npz`` is read as a JumpReLU SAE, which encodes by the published equation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from foreign import DATA, agrees

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats.stated_hook import stated_hook, stated_hook_out


@pytest.mark.parametrize(
    "path",
    [
        "gemma_scope/layer_3/width_32/average_l0_9",
        "gemma_scope_compressed/layer_3/width_32/average_l0_9/params.npz",
    ],
)
def test_encodes_by_the_published_equation_a_file_not_written_by_the_real_library(path: str) -> None:
    agrees(path, "jumprelu")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_stored_by_column_are_read_by_row(save: Callable[..., None], tmp_path: Path) -> None:
    archive = DATA / "gemma_scope/layer_3/width_32/average_l0_9/params.npz"
    save(tmp_path / "params.npz", **{name: np.asfortranarray(array) for name, array in np.load(archive).items()})
    assert SAE.load(tmp_path).hash == SAE.load(archive).hash


@pytest.mark.parametrize(
    ("repository", "model", "hook"),
    [
        ("gemma-scope-2b-pt-res", "gemma-2-2b-pt", "blocks.3.hook_resid_post"),
        ("models--google--gemma-scope-9b-it-att/snapshots/0a1b", "gemma-2-9b-it", "blocks.3.attn.hook_z"),
        ("gemma-scope-2b-pt-mlp", "gemma-2-2b-pt", "blocks.3.hook_mlp_out"),
        ("downloads", None, None),
    ],
)
def test_the_names_of_the_folders_tell_the_hook(
    repository: str, model: str | None, hook: str | None, tmp_path: Path
) -> None:
    shutil.copytree(DATA / "gemma_scope", tmp_path / repository)
    metadata = SAE.load(tmp_path / repository / "layer_3/width_32/average_l0_9").metadata
    assert (metadata.get("model_name"), stated_hook(metadata)) == (model, hook)


def test_tensors_that_cannot_be_held_are_refused(tmp_path: Path) -> None:
    archive = DATA / "gemma_scope/layer_3/width_32/average_l0_9/params.npz"
    arrays = dict(np.load(archive))
    np.savez(tmp_path / "scaled.npz", **arrays, scaling_factor=np.full(32, 2.0, np.float32))
    with pytest.raises(FormatError, match=r"scaled.npz: scaling_factor, of a finetuned SAE"):
        SAE.load(tmp_path / "scaled.npz")
    np.savez(tmp_path / "turned.npz", **(arrays | {"W_dec": arrays["W_dec"].T}))
    with pytest.raises(FormatError, match=r"W_enc must have shape \[32, 12\], found \[12, 32\]"):
        SAE.load(tmp_path / "turned.npz")
    del arrays["W_dec"]
    np.savez(tmp_path / "headless.npz", **arrays)
    with pytest.raises(FormatError, match="expected a tensor W_dec, found W_enc, b_dec, b_enc, threshold"):
        SAE.load(tmp_path / "headless.npz")


def test_the_name_of_a_repository_makes_it_a_transcoder(tmp_path: Path) -> None:
    place = "layer_3/width_32/average_l0_9"
    for repository in ("gemma-scope-2b-pt-res", "gemma-scope-2b-pt-transcoders"):
        shutil.copytree(DATA / "gemma_scope" / place, tmp_path / repository / place)
    sae = SAE.load(tmp_path / "gemma-scope-2b-pt-res" / place)
    for path in ("", "params.npz"):
        transcoder = SAE.load(tmp_path / "gemma-scope-2b-pt-transcoders" / place / path)
        assert (sae.transcoder, transcoder.transcoder) == (False, True)
        assert stated_hook(transcoder.metadata) == "blocks.3.ln2.hook_normalized"  # before the gain
        assert stated_hook_out(transcoder.metadata) == "blocks.3.hook_mlp_out"
        x = np.load(DATA / "gemma_scope.npz")["x"]
        assert (sae.encode(x) != transcoder.encode(x)).nnz == 0
