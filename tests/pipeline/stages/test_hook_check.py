"""A hook that cannot be is refused from a model's configuration alone, before text is read or weights are loaded."""

import json
from pathlib import Path
from typing import Any

import pytest

from universality.config import Config, parse_config
from universality.errors import MismatchError, ModelError
from universality.pipeline import run
from universality.pipeline.cost.machine import describe_plan
from universality.pipeline.stages.hook_check import check_hooks

NO_VECTOR = (
    r"hook 'blocks.0.attn.hook_pattern' of model 'A' has shape \[1, \d+, 3, 3\] for 3 tokens; expected \[1, 3, d_in\].*"
    r"; the nearest with one are blocks\.0\.attn"
)
MISSING = r"model 'A' has no hook '{}'; the nearest are blocks\.\d\.mlp\.hook_post"
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "vocab_size": 60}
NEOX = {
    "model_type": "gpt_neox", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 40, "vocab_size": 60,
}  # fmt: skip


@pytest.fixture(params=["shipped", "trained here", "gpt2", "gpt_neox"])
def models(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """One model A; of those of Hugging Face there is nothing but a config.json."""
    if request.param == "shipped":
        return {"load": {"A": "starter/seed0"}}
    if request.param == "trained here":
        return {"train": {"A": {"init": 0, "order": 0}}}
    values, name = (GPT2, "GPT2LMHeadModel") if request.param == "gpt2" else (NEOX, "GPTNeoXForCausalLM")
    (tmp_path / "config.json").write_text(json.dumps({**values, "architectures": [name]}))
    return {"load": {"A": str(tmp_path)}}


def at(models: dict[str, Any], hook: str, **other: Any) -> Config:
    return parse_config({"models": models, "hook": hook, **other})


def test_hooks_are_checked_without_weights(models: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=NO_VECTOR):
        check_hooks(at(models, "blocks.0.attn.hook_pattern"))
    for hook in ("blocks.0.mlp.hook_psot", "blocks.9.mlp.hook_post"):
        with pytest.raises(ModelError, match=MISSING.format(hook)):
            check_hooks(at(models, hook))
    for hook in ("blocks.0.hook_resid_post", "blocks.0.mlp.hook_post", "blocks.0.hook_mlp_out"):
        check_hooks(at(models, hook))
    with pytest.raises(ModelError, match=r"hook_attn_in' of model 'A' cannot be read: .*use_attn_in"):
        check_hooks(at(models, "blocks.0.attn.hook_attn_in"))


def test_a_hook_like_no_other_is_answered_with_what_hooks_look_like() -> None:
    with pytest.raises(ModelError, match=r"has no hook 'zzz'; hooks are named as TransformerLens does, blocks\.0\."):
        check_hooks(at({"load": {"A": "starter/seed0"}}, "zzz"))


def test_plan_and_run_refuse_before_they_read_text(tmp_path: Path) -> None:
    config = at({"load": {"A": "starter/seed0", "B": "starter/seed1"}}, "blocks.0.attn.hook_pattern",
                corpus={"source": "nowhere"})  # fmt: skip
    with pytest.raises(ModelError, match=NO_VECTOR):
        describe_plan(config)
    with pytest.raises(ModelError, match=NO_VECTOR):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run" / "corpus").exists()
    assert not (tmp_path / "run" / "config.yaml").exists()


def test_blocks_longer_than_a_model_reads_are_refused(models: dict[str, Any]) -> None:
    if "load" not in models:
        return  # trained to read what blocks hold
    with pytest.raises(MismatchError, match=r"model 'A' reads \d+ positions, blocks have 5000; lower corpus.n_ctx"):
        check_hooks(at(models, "blocks.0.mlp.hook_post", corpus={"n_ctx": 5000}))


def test_what_cannot_be_built_without_weights_is_left_to_whoever_loads_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "unheard-of"}))
    check_hooks(at({"load": {"A": str(tmp_path)}}, "blocks.0.mlp.hook_psot"))
    check_hooks(at({"load": {"A": "someone/unheard-of"}}, "blocks.0.mlp.hook_psot"))


def test_a_weight_file_that_the_index_names_and_the_folder_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({**GPT2, "architectures": ["GPT2LMHeadModel"]}))
    files = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    (tmp_path / files["a"]).touch()
    with pytest.raises(ModelError, match=r"model-00002-of-00002.safetensors missing \(1 of 2 weight files that model"):
        check_hooks(at({"load": {"A": str(tmp_path)}}, "blocks.0.hook_resid_post"))
