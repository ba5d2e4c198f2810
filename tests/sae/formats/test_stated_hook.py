"""Every tool's name for a place in a model comes out as TransformerLens's."""

import shutil
from pathlib import Path

import pytest
import torch
import transformers
from torch.testing import assert_close

from universality.models.language_model import load_model
from universality.sae import SAE
from universality.sae.formats.stated_hook import hook_of, same_place, stated_hook, stated_name

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("path", "hook"),
    [
        ("saelens_topk", "blocks.3.hook_resid_post"),
        ("saelens_before_6", "blocks.3.hook_resid_pre"),
        ("dictionary_learning_topk", "blocks.3.hook_resid_post"),
        ("llamascopium_topk", "blocks.3.hook_resid_post"),
        ("sparsify_topk", None),  # its folder is not named for a module
        ("openai_topk.pt", None),
    ],
)
def test_files_of_the_real_libraries_tell_their_hook(path: str, hook: str | None) -> None:
    assert stated_hook(SAE.load(DATA / path).metadata) == hook


@pytest.mark.parametrize(
    ("metadata", "hook"),
    [
        ({"hookpoint": "layers.3"}, "blocks.3.hook_resid_post"),
        ({"hookpoint": "gpt_neox.layers.3.mlp"}, "blocks.3.hook_mlp_out"),
        ({"hookpoint": "transformer.h.11.attn"}, "blocks.11.hook_attn_out"),
        ({"hookpoint": "model.layers.3.self_attn"}, "blocks.3.hook_attn_out"),
        ({"hookpoint": "embed_in"}, None),
        ({"training": {"submodule_name": "mlp_out_layer_5"}}, "blocks.5.hook_mlp_out"),
        ({"training": {"submodule_name": "attention_layer_5"}}, "blocks.5.hook_attn_out"),
        ({"training": "anything"}, None),
        ({"hook": "blocks.0.mlp.hook_post"}, "blocks.0.mlp.hook_post"),
        ({}, None),
        ({"hook_name": "model.layers.1"}, "blocks.1.hook_resid_post"),
        ({"hook_name": "transformer.h.3"}, "blocks.3.hook_resid_post"),
        ({"hook_point": "gpt_neox.layers.2"}, "blocks.2.hook_resid_post"),
        ({"hook_name": "model.decoder.layers.4.self_attn"}, "blocks.4.hook_attn_out"),
        ({"hook_name": "model.layers.0.mlp"}, "blocks.0.hook_mlp_out"),
        ({"hf_hook_point_in": "model.layers.1.output"}, "blocks.1.hook_resid_post"),
        ({"hook_name": "model.layers.1.input"}, "blocks.1.hook_resid_pre"),
        ({"hook_name": "model.layers.1.mlp.input"}, "blocks.1.mlp.hook_in"),
        ({"hook_name": "model.layers.1.self_attn.input"}, None),
        ({"hookpoint": "transformer.h.3.mlp.act"}, "blocks.3.mlp.hook_post"),
        ({"hookpoint": "model.layers.3.mlp.act_fn"}, None),  # behind it a gate is still to come
        ({"hookpoint": "layers.3.self_attn.o_proj"}, None),
        ({"hf_hook_point_in": "model.layers.3.self_attn.o_proj.input"}, "blocks.3.attn.hook_z"),
        ({"hf_hook_point_in": "model.layers.3.post_feedforward_layernorm.output"}, "blocks.3.hook_mlp_out"),
        ({"hf_hook_point_in": "model.layers.3.pre_feedforward_layernorm.output"}, "blocks.3.mlp.hook_in"),
        ({"hf_hook_point_in": "model.language_model.layers.3.output"}, "blocks.3.hook_resid_post"),
        ({"hook_name": "ln_final.hook_in"}, "ln_final.hook_in"),
        (
            {
                "hook_name": "blocks.3.hook_mlp_in",
                "hf_hook_name": "model.layers.3.pre_feedforward_layernorm.output",
            },
            "blocks.3.mlp.hook_in",
        ),
        ({"hook_name": "blocks.3.hook_out", "hf_hook_name": "encoder.7"}, "blocks.3.hook_out"),
        ({"training": {"submodule_name": "resid_post_layer_5"}, "io": "out"}, "blocks.5.hook_resid_post"),
        ({"training": {"submodule_name": "mlp_layer_5"}, "io": "in"}, None),
    ],
)
def test_names_of_modules_and_places(metadata: dict[str, object], hook: str | None) -> None:
    assert stated_hook(metadata) == hook


def test_what_leaves_a_block_enters_the_next() -> None:
    assert same_place("blocks.3.hook_resid_pre", ["blocks.2.hook_resid_post"])
    assert same_place("blocks.2.hook_out", ["blocks.2.hook_resid_post", "blocks.2.hook_out"])
    assert same_place("blocks.2.mlp.hook_post", ["blocks.2.mlp.out.hook_in", "blocks.2.mlp.hook_post"])
    assert not same_place("blocks.3.hook_resid_pre", ["blocks.3.hook_resid_post"])
    assert not same_place("blocks.3.hook_mlp_out", ["blocks.3.hook_resid_post"])


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"hook_name": "encoder.7"}, "encoder.7"),
        ({"hookpoint": "layers.3.self_attn.o_proj"}, "layers.3.self_attn.o_proj"),
        ({"hookpoint": "downloads"}, None),  # a folder may be called anything
        ({"training": {"submodule_name": "mlp_layer_5"}, "io": "in"}, "mlp_layer_5 (input)"),
        ({}, None),
    ],
)
def test_what_the_file_calls_the_place_is_told_too(metadata: dict[str, object], name: str | None) -> None:
    assert stated_name(metadata) == name


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


def test_modules_of_gemma_are_the_places_that_they_stand_for(tmp_path: Path) -> None:
    """A tiny Gemma 2, whose norms have random gains: what its modules give is at the hooks that their names mean."""
    sizes = {"vocab_size": 50, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 16}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(transformers.Gemma2Config(**sizes, **heads))
    layer, given = model.model.layers[0], {}
    for norm in (layer.pre_feedforward_layernorm, layer.post_feedforward_layernorm):
        norm.weight.data.normal_()
    model.save_pretrained(tmp_path)
    for name in ("pre_feedforward_layernorm", "post_feedforward_layernorm"):
        getattr(layer, name).register_forward_hook(lambda _, x, y, name=name: given.update({name: (x[0], y)}))
    tokens = torch.arange(1, 7)[None]
    bridge, seen = load_model(tmp_path, "G").bridge, {}
    names = {
        "pre_feedforward_layernorm": hook_of("model.layers.0.pre_feedforward_layernorm.output"),
        "post_feedforward_layernorm": hook_of("model.layers.0.post_feedforward_layernorm.output"),
        "without gain": "blocks.0.ln2.hook_normalized",  # where Gemma Scope's transcoders read
    }
    model.train(False)(tokens)
    keep = [(hook, lambda x, hook, name=name: seen.update({name: x.clone()})) for name, hook in names.items()]
    with torch.no_grad():
        bridge.run_with_hooks(tokens, fwd_hooks=keep)
    for name, (_, output) in given.items():
        assert_close(seen[name], output)
    x = given["pre_feedforward_layernorm"][0]
    assert_close(seen["without gain"], x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt())
    assert (seen["without gain"] - seen["pre_feedforward_layernorm"]).abs().max() > 0.1
