"""circuit-tracer: one file a layer; hooks from the set's configuration; cross-layer transcoders are refused.

`test_transcoder` compares codes and outputs with the library's.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from foreign import DATA
from safetensors.torch import load_file, save_file

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats.stated_hook import stated_hook, stated_hook_out


def test_a_layer_of_a_set_is_named_by_its_file(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "circuit_tracer_relu", tmp_path / "set")
    shutil.copy(folder / "layer_0.safetensors", folder / "layer_12.safetensors")
    transcoder = SAE.load(folder / "layer_12.safetensors")
    assert stated_hook(transcoder.metadata) == "blocks.12.mlp.hook_in"
    assert stated_hook_out(transcoder.metadata) == "blocks.12.hook_mlp_out"
    assert transcoder.hash == SAE.load(folder / "layer_0.safetensors").hash
    with pytest.raises(FormatError, match=r"transcoders of 2 layers, one a file; name one of layer_0\.safetens"):
        SAE.load(folder)


def test_without_a_configuration_the_hooks_are_unknown(tmp_path: Path) -> None:
    shutil.copy(DATA / "circuit_tracer_relu" / "layer_0.safetensors", tmp_path)
    transcoder = SAE.load(tmp_path)
    assert transcoder.transcoder
    assert stated_hook(transcoder.metadata) is None
    assert stated_hook_out(transcoder.metadata) is None


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            "model_kind: cross_layer_transcoder",
            "a cross-layer transcoder cannot be read: each feature writes at",
        ),
        ("[1, 2]", r"config.yaml: expected a mapping of at most 1,048,576 bytes"),
        ("a: {", "config.yaml: cannot be read as YAML"),
        ("x: !!python/object/apply:os.getcwd []", "config.yaml: cannot be read as YAML"),
        ("feature_input_hook: 3", "feature_input_hook must be a string, found 3"),
        ("a" * 2_000_000, "expected a mapping of at most"),
    ],
)
def test_configurations_that_cannot_be_held_are_refused(config: str, message: str, tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "circuit_tracer_relu", tmp_path / "set")
    (folder / "config.yaml").write_text(config)
    with pytest.raises(FormatError, match=message):
        SAE.load(folder)


def test_a_cross_layer_transcoder_is_recognised_by_its_files(tmp_path: Path) -> None:
    for name in ("W_enc_0.safetensors", "W_dec_0.safetensors"):
        save_file({"W_enc_0": torch.zeros(4, 2)}, tmp_path / name)
    for path in (tmp_path, tmp_path / "W_enc_0.safetensors"):
        with pytest.raises(FormatError, match="a cross-layer transcoder cannot be read"):
            SAE.load(path)


def test_tensors_that_cannot_be_held_are_refused(tmp_path: Path) -> None:
    path = shutil.copytree(DATA / "circuit_tracer_jumprelu_skip", tmp_path / "set") / "layer_0.safetensors"
    tensors = load_file(path)
    threshold = "activation_function.threshold"
    save_file(tensors | {threshold: tensors[threshold] - 1}, path)
    with pytest.raises(FormatError, match=f"{threshold} is below 0, so that activations may be negative"):
        SAE.load(path)
    save_file(tensors | {"W_dec": tensors["W_dec"].T.contiguous()}, path)
    with pytest.raises(FormatError, match=r"b_dec must have shape \[32\], found \[12\]|W_dec must have shape"):
        SAE.load(path)
