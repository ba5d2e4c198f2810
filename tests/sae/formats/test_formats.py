"""SAEs of other tools encode as in the library that wrote them; what an `SAE` cannot hold is refused by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.testing import assert_close

from universality.errors import FormatError
from universality.sae import SAE

DATA = Path(__file__).parent / "data"
BY_THEIR_LIBRARY = {
    "saelens_standard": "relu",
    "saelens_standard_constant_norm": "relu",
    "saelens_topk": "topk",
    "saelens_topk_rescaled": "topk",
    "saelens_jumprelu": "jumprelu",
    "saelens_jumprelu_layer_norm": "jumprelu",
    "saelens_batchtopk": "jumprelu",
    "saelens_before_6": "topk",
    "dictionary_learning_relu": "relu",
    "dictionary_learning_relu_new": "relu",
    "dictionary_learning_topk": "topk",
    "dictionary_learning_batchtopk": "batchtopk",
    "dictionary_learning_matryoshka": "matryoshka",
    "dictionary_learning_jumprelu": "jumprelu",
    "sparsify_topk": "topk",
    "llamascopium_relu": "relu",
    "llamascopium_jumprelu": "jumprelu",
    "llamascopium_jumprelu_by_value": "jumprelu",
    "llamascopium_topk": "topk",
    "llamascopium_topk_token_wise": "topk",
}
FROM_THE_LAYOUT = {
    "gemma_scope/layer_3/width_32/average_l0_9": "jumprelu",
    "gemma_scope_compressed/layer_3/width_32/average_l0_9/params.npz": "jumprelu",
    "openai_relu.pt": "relu",
    "openai_topk.pt": "topk",
}


def agrees(path: str, kind: str) -> None:
    """Codes equal to 1e-5, the same features, and not those of an SAE that treats the decoder's bias otherwise."""
    kept = np.load(DATA / f"{Path(path).parts[0].removesuffix('.pt')}.npz")
    sae = SAE.load(DATA / path)
    assert (sae.architecture, sae.d_in, sae.d_sae) == (kind, 12, 32)
    found = sae.encode(kept["x"]).toarray()
    assert_allclose(found, kept["codes"], rtol=0, atol=1e-5)
    assert np.abs(kept["codes"]).max() > 1
    fields = {name: getattr(sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "architecture", "k", "nested")}
    fields |= {"threshold": sae.threshold, "normalize_activations": sae.normalize_activations}
    control = SAE(**fields, apply_b_dec_to_input=not sae.apply_b_dec_to_input)
    assert np.abs(control.encode(kept["x"]).toarray() - kept["codes"]).max() > 0.01


@pytest.mark.parametrize("name", BY_THEIR_LIBRARY)
def test_encodes_as_the_library_that_wrote_it(name: str) -> None:
    agrees(name, BY_THEIR_LIBRARY[name])


@pytest.mark.parametrize("path", FROM_THE_LAYOUT)
def test_encodes_by_the_published_equation_a_file_not_written_by_the_real_library(path: str) -> None:
    agrees(path, FROM_THE_LAYOUT[path])


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


def test_where_it_was_trained_is_told(tmp_path: Path) -> None:
    for place, expected in (
        ("layers.6.mlp", {"hookpoint": "layers.6.mlp"}),
        ("layers.6/seed2", {"hookpoint": "layers.6", "seed": "seed2"}),
    ):
        shutil.copytree(DATA / "sparsify_topk", tmp_path / place)
        assert expected.items() <= SAE.load(tmp_path / place).metadata.items()
    assert SAE.load(DATA / "saelens_topk").metadata["hook_name"] == "blocks.3.hook_resid_post"
    old = {
        "hook_point": "blocks.3.hook_resid_pre",
        "model_name": "gpt2-small",
        "prepend_bos": True,
        "context_size": 128,
    }
    assert old.items() <= SAE.load(DATA / "saelens_before_6").metadata.items()
    assert SAE.load(DATA / "saelens_jumprelu").metadata["normalize_activations"] == "expected_average_only_in"
    assert SAE.load(DATA / "dictionary_learning_topk").metadata["training"]["seed"] == 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_precisions_are_widened_to_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    plain = SAE.load(DATA / "sparsify_topk")
    folder = edited("sparsify_topk", tmp_path, "cfg.json", {})
    weights = {name: tensor.to(dtype) for name, tensor in load_file(folder / "sae.safetensors").items()}
    save_file(weights, folder / "sae.safetensors")
    found = SAE.load(folder)
    assert found.W_enc.dtype == torch.float32
    assert_close(found.W_enc, plain.W_enc.to(dtype).float(), rtol=0, atol=0)
    torch_folder = edited("dictionary_learning_batchtopk", tmp_path, "config.json", {})
    state = torch.load(torch_folder / "ae.pt", weights_only=True)
    torch.save({k: v.to(dtype) if v.is_floating_point() else v for k, v in state.items()}, torch_folder / "ae.pt")
    assert_close(SAE.load(torch_folder).W_dec, state["decoder.weight"].T.to(dtype).float(), rtol=0, atol=0)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_stored_by_column_are_read_by_row(save: Callable[..., None], tmp_path: Path) -> None:
    archive = DATA / "gemma_scope/layer_3/width_32/average_l0_9/params.npz"
    save(tmp_path / "params.npz", **{name: np.asfortranarray(array) for name, array in np.load(archive).items()})
    assert SAE.load(tmp_path).hash == SAE.load(archive).hash


@pytest.mark.parametrize("name", ["saelens_standard_constant_norm", "saelens_jumprelu_layer_norm", "openai_topk.pt"])
def test_reconstructions_are_in_the_activations_units(name: str) -> None:
    sae = SAE.load(DATA / name)
    x = torch.from_numpy(np.load(DATA / f"{name.removesuffix('.pt')}.npz")["x"]).double()
    shift = x.mean(dim=1, keepdim=True) if sae.normalize_activations == "layer_norm" else torch.zeros(len(x), 1)
    size = x.std(dim=1, keepdim=True) if sae.normalize_activations == "layer_norm" else x.norm(dim=1)[:, None] / 12**0.5
    codes = torch.from_numpy(sae.encode(x).toarray()).double()
    expected = (codes @ sae.W_dec.double() + sae.b_dec.double()) * size + shift
    assert_allclose(sae.reconstruct(x).numpy(), expected.numpy(), atol=1e-5)
    assert_allclose(sae.decode(codes, like=x).numpy(), expected.numpy(), atol=1e-5)
    assert np.abs(sae.decode(codes).numpy() - expected.numpy()).max() > 0.1
    nothing = sae.encode(torch.zeros(1, 12)).toarray()  # a token without activations has no norm to divide by
    assert np.isfinite(nothing).all()


@pytest.mark.parametrize("name", ["saelens_jumprelu_layer_norm", "dictionary_learning_matryoshka", "openai_topk.pt"])
def test_what_was_loaded_is_saved_as_ours(name: str, tmp_path: Path) -> None:
    sae = SAE.load(DATA / name)
    again = SAE.load(sae.save(tmp_path))
    assert (again.hash, again.metadata, again.nested) == (sae.hash, sae.metadata, sae.nested)


def test_the_normalisation_is_part_of_the_function() -> None:
    sae = SAE.load(DATA / "saelens_jumprelu_layer_norm")
    fields = {name: getattr(sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "architecture", "threshold")}
    assert SAE(**fields).hash != sae.hash
    with pytest.raises(FormatError, match=r"normalize_activations is one of none, layer_norm, .*; found 'batch'"):
        SAE(**fields, normalize_activations="batch")
    with pytest.raises(FormatError, match=r"W_dec: expected shape \[d_sae, d_in\], found \[32\]"):
        SAE(**{**fields, "W_dec": sae.b_enc})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("saelens_gated", "architecture 'gated' cannot be read: its gates and magnitudes have biases"),
        ("saelens_transcoder", "architecture 'transcoder' cannot be read: it reads one site and writes to another"),
        ("saelens_hook_z", "reshape_activations is 'hook_z'; only SAEs with 'none' can be read"),
        ("dictionary_learning_gated", "dict_class 'GatedAutoEncoder' cannot be read: its gates"),
        ("sparsify_skip_transcoder", "skip_connection is set; it cannot be read: it adds a linear map"),
        ("sparsify_groupmax", "activation 'groupmax' cannot be read; known: topk"),
        ("llamascopium_batchtopk", "act_fn 'batchtopk' cannot be read: without a threshold"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(DATA / name)


def edited(name: str, tmp_path: Path, config: str, changes: dict[str, Any]) -> Path:
    """A copy of a fixture with another configuration; a dotted key goes into a section."""
    folder = tmp_path / name
    shutil.copytree(DATA / name, folder)
    values = json.loads((folder / config).read_text())
    for key, value in changes.items():
        *sections, last = key.split(".")
        target = values
        for section in sections:
            target = target[section]
        target[last] = value
    (folder / config).write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("name", "config", "changes", "message"),
    [
        ("saelens_standard", "cfg.json", {"architecture": "matching_pursuit"}, "it encodes step by step"),
        ("saelens_before_6", "cfg.json", {"activation_fn_str": "tanh-relu"}, "activation function 'tanh-relu'; known"),
        ("saelens_before_6", "cfg.json", {"hook_point": "blocks.1.attn.hook_z"}, "reshape_activations is 'hook_z'"),
        ("sparsify_topk", "cfg.json", {"transcode": True}, "transcode is set; it cannot be read: a transcoder reads"),
        ("sparsify_topk", "cfg.json", {"signed": True}, "signed is set; it cannot be read: its activations"),
        (
            "sparsify_topk",
            "cfg.json",
            {"num_latents": 0, "expansion_factor": 3},
            r"encoder.weight must have shape \[36",
        ),
        ("dictionary_learning_topk", "config.json", {"trainer.dict_class": "CrossCoder"}, "it reads several sites"),
        ("dictionary_learning_topk", "config.json", {"trainer.dict_class": "New"}, "dict_class 'New' is not known"),
        ("dictionary_learning_topk", "config.json", {"trainer.k": 6}, "k is 6, but 5 in ae.pt"),
        ("dictionary_learning_topk", "config.json", {"trainer.dict_class": "AutoEncoder"}, "expected the tensors"),
        ("llamascopium_relu", "config.json", {"sae_type": "crosscoder"}, "sae_type 'crosscoder' cannot be read"),
        ("llamascopium_relu", "config.json", {"hook_point_out": "blocks.4"}, "a transcoder from .* cannot be read"),
        ("llamascopium_relu", "config.json", {"use_glu_encoder": True}, "use_glu_encoder is set"),
        ("llamascopium_relu", "config.json", {"act_fn": "gelu"}, "act_fn 'gelu' is not known"),
        ("llamascopium_relu", "config.json", {"norm_activation": "batch-wise"}, "codes would depend on the batch"),
    ],
)
def test_configurations_that_cannot_be_held_are_refused(
    name: str, config: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(edited(name, tmp_path, config, changes))


def test_tensors_that_cannot_be_held_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = edited("saelens_standard", tmp_path, "cfg.json", {})
    weights = load_file(folder / "sae_weights.safetensors")
    save_file(weights | {"scaling_factor": torch.ones(32)}, folder / "sae_weights.safetensors")
    assert SAE.load(folder).hash == SAE.load(DATA / "saelens_standard").hash
    save_file(weights | {"scaling_factor": torch.full((32,), 2.0)}, folder / "sae_weights.safetensors")
    with pytest.raises(FormatError, match="scaling_factor, of a finetuned SAE, is not 1"):
        SAE.load(folder)
    folder = edited("llamascopium_topk", tmp_path, "config.json", {})
    weights = load_file(folder / "sae_weights.safetensors")
    norms = [name for name in weights if name.startswith("dataset_average_activation_norm.")]
    save_file({k: v for k, v in weights.items() if k not in norms}, folder / "sae_weights.safetensors")
    with pytest.raises(FormatError, match="norm_activation is 'dataset-wise', which needs a number above 0 as"):
        SAE.load(folder)
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
    folder = edited("dictionary_learning_matryoshka", tmp_path, "config.json", {})
    state = torch.load(folder / "ae.pt", weights_only=True)
    torch.save(state | {"group_sizes": torch.tensor([8, 8])}, folder / "ae.pt")
    with pytest.raises(FormatError, match=r"group_sizes must be whole numbers that add up to d_sae = 32, found \[8, 8"):
        SAE.load(folder)


def test_known_layouts_that_cannot_be_held_are_refused(tmp_path: Path) -> None:
    (tmp_path / "cfg.json").write_text("{}")
    (tmp_path / "cc_weights.pt").write_bytes(b"")
    with pytest.raises(FormatError, match=r"a crosscoder of Kissane et al., which reads two models at once"):
        SAE.load(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FormatError, match=r"no SAE of a known format; expected ours .*OpenAI.* found an empty folder"):
        SAE.load(empty)
