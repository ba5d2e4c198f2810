"""Every tool's name for a place in a model comes out as TransformerLens's."""

from pathlib import Path

import pytest

from universality.sae import SAE
from universality.sae.place import same_place, stated_hook

DATA = Path(__file__).parent / "formats" / "data"


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
