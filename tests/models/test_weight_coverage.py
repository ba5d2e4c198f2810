"""A folder whose weights are not the model's is refused by name; what is benign, or certain, is read."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from universality.errors import ModelError
from universality.models.language_model import load_model, weights

Rename = Callable[[str], str | None]


@pytest.fixture
def whole(save_tiny) -> Path:
    return save_tiny("llama", tie_word_embeddings=False)


@pytest.fixture
def altered(whole: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy with tensors renamed or dropped, others added, and settings changed."""

    def alter(rename: Rename = lambda name: name, add: dict[str, torch.Tensor] | None = None, **config: object) -> Path:
        folder = tmp_path / "altered"
        shutil.copytree(whole, folder)
        held = load_file(whole / "model.safetensors") | (add or {})
        renamed = {new: value for name, value in held.items() if (new := rename(name))}
        save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
        said = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(said | config))
        return folder

    return alter


def prefixed(prefix: str) -> Rename:
    return lambda name: prefix + name


REFUSED = {
    "a layer lost": (
        {"rename": lambda name: None if "layers.1." in name else name},
        r"9 of 21 tensors are missing \(model\.layers\.1\.input_layernorm\.weight, .*, …\)\. Likely cause: "
        r"config\.json lists layers that the files lack \(number 1\): a file of weights is missing",
    ),
    "a layer too many in the config": ({"num_hidden_layers": 3}, r"9 of 30 tensors .* the files lack \(number 2\)"),
    "a layer too few in the config": (
        {"num_hidden_layers": 1},
        r"9 are surplus .*the files hold layers that config\.json does not list \(number 1\); correct its number",
    ),
    "no unembedding": (
        {"rename": lambda name: None if name == "lm_head.weight" else name},
        r"1 of 21 tensors are missing \(lm_head\.weight\).*without its unembedding, .* or set tie_word_embed",
    ),
    "a classifier": (
        {"rename": lambda name: name.replace("lm_head", "score")},
        r"missing \(lm_head\.weight\), 1 are surplus \(score\.weight\).*or with another head",
    ),
    "the final norm lost": (  # transformers would begin it at 1, the same at each load
        {"rename": lambda name: None if name == "model.norm.weight" else name},
        r"1 of 21 tensors are missing \(model\.norm\.weight\)\. Likely cause: a file of weights is missing",
    ),
    "PEFT": ({"rename": prefixed("base_model.model.")}, r"21 of 21 .*the names carry 'base_model\.model\.' of PEFT"),
    "FSDP": (
        {"rename": lambda name: name.replace("layers.0.", "layers.0._fsdp_wrapped_module.")},
        r"9 of 21 tensors are missing .*9 are surplus .*the names carry '_fsdp_wrapped_module\.' of FSDP",
    ),
    "another wrapper": ({"rename": prefixed("policy.")}, r"the names carry 'policy\.' of a module that held the model"),
    "half DataParallel": (
        {"rename": lambda name: name if "layers.0." in name else f"module.{name}"},
        r"12 of 21 tensors are missing .*the names carry 'module\.' of DataParallel",
    ),
    "LoRA beside the weights": (
        {"add": {"model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 32)}},
        r"1 are surplus .*a LoRA that was not merged; call model\.merge_and_unload\(\)",
    ),
    "LoRA around the weights": (
        {"rename": lambda name: name.replace("q_proj.weight", "q_proj.base_layer.weight")},
        r"2 of 21 tensors are missing .*a LoRA that was not merged",
    ),
    "a value head": (
        {"add": {"v_head.weight": torch.ones(3)}},
        r"1 are surplus \(v_head\.weight\)\. Likely cause: the weights of another model or of a larger one",
    ),
    "other sizes": (
        {"intermediate_size": 48},
        r"6 have another shape \(model\.layers\.0\.mlp\.down_proj\.weight \[32, 64\] in place of \[32, 48\].*"
        r"config\.json is another model's, or its sizes were changed",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_are_not_the_models_are_refused(altered, name: str) -> None:
    changes, message = REFUSED[name]
    with pytest.raises(ModelError, match=message) as raised:
        load_model(altered(**changes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_a_certain_prefix_is_taken_off_in_memory_alone(altered, whole: Path, prefix: str) -> None:
    folder = altered(prefixed(prefix))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert load_model(folder).hash == load_model(whole).hash
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_transformers_leaves_out_on_purpose_is_not_surplus(altered, whole: Path, save_tiny) -> None:
    rotary = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(4) for i in (0, 1)}
    assert load_model(altered(add=rotary)).hash == load_model(whole).hash
    tied = save_tiny("gpt2")
    file = tied / "model.safetensors"
    held, content = load_file(file), file.read_bytes()
    masks = {f"transformer.h.{i}.attn.{name}": torch.ones(1) for i in (0, 1) for name in ("bias", "masked_bias")}
    expected = load_model(tied).hash
    save_file(held | masks, file, metadata={"format": "pt"})
    try:
        assert "lm_head.weight" not in held
        assert load_model(tied).hash == expected
    finally:
        file.write_bytes(content)


def test_sharded_and_pickled_weights_are_compared_too(whole: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model, expected = AutoModelForCausalLM.from_pretrained(whole), load_model(whole).hash
    shards = tmp_path / "shards"
    shutil.copytree(whole, shards, ignore=shutil.ignore_patterns("*.safetensors"))
    model.save_pretrained(shards, max_shard_size="40KB")
    index = shards / "model.safetensors.index.json"
    assert load_model(shards).hash == expected
    said = json.loads(index.read_text())
    lost = sorted(set(said["weight_map"].values()))[-1]
    kept = {name: file for name, file in said["weight_map"].items() if file != lost}
    index.write_text(json.dumps(said | {"weight_map": kept}))
    with pytest.raises(ModelError, match=r"tensors are missing"):
        load_model(shards)
    index.write_text(json.dumps(said))
    (shards / lost).unlink()
    with pytest.raises(
        ModelError, match=r"the weights cannot be read \(.*a file is missing or truncated; copy it again"
    ):
        load_model(shards)

    pickled = tmp_path / "pickled"
    shutil.copytree(whole, pickled, ignore=shutil.ignore_patterns("*.safetensors"))
    state = model.state_dict()
    torch.save(state, pickled / "pytorch_model.bin")
    assert load_model(pickled).hash == expected
    del state["model.norm.weight"]
    torch.save(state, pickled / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"1 of 21 tensors are missing \(model\.norm\.weight\)"):
        load_model(pickled)


def test_the_weights_of_the_file_are_those_of_the_model(whole: Path) -> None:
    held, found = load_file(whole / "model.safetensors"), weights(load_model(whole).bridge)
    assert held.keys() == found.keys()
    assert all(torch.equal(held[name], found[name]) for name in held)
