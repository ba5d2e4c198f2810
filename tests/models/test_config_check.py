"""What cannot take part is refused in one sentence, from config.json alone; what can is run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from universality.activations import ModelSite
from universality.errors import ModelError
from universality.models.config_check import check_architecture
from universality.models.language_model import load_model, wrap_model


@pytest.mark.parametrize(
    ("model_type", "auto", "message"),
    [
        ("bert", "AutoModelForMaskedLM", "BertForMaskedLM is an encoder, whose tokens attend to later ones"),
        ("bert", "AutoModelForCausalLM", "BertLMHeadModel is an encoder"),
        ("t5", "AutoModelForSeq2SeqLM", "T5ForConditionalGeneration is an encoder and a decoder"),
        ("xlm", "AutoModelForCausalLM", r"TransformerLens [\d.]+ cannot run a XLMWithLMHeadModel; take a causal"),
    ],
)
def test_other_kinds_of_models_are_refused_by_their_config(
    save_tiny, tmp_path: Path, model_type: str, auto: str, message: str
) -> None:
    file = save_tiny(model_type, auto) / "config.json"
    shutil.copy(file, tmp_path)  # no weights are read
    with pytest.raises(ModelError, match=message) as raised:
        check_architecture(tmp_path)
    assert "\n" not in str(raised.value)
    with pytest.raises(ModelError, match=message):
        load_model(tmp_path)


def write(folder: Path, **config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_unknown_and_contradicting_configs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"transformers [\d.]+ knows no model_type 'mine'\. Take a model that"):
        check_architecture(write(tmp_path, model_type="mine"))
    with pytest.raises(ModelError, match=r"knows no model_type \[\]\. Its own code \(auto_map\) is not run\."):
        check_architecture(write(tmp_path, model_type=[], auto_map={}))
    with pytest.raises(ModelError, match=r"cannot read this config of model_type 'llama' \(.*Take the config\.json"):
        check_architecture(write(tmp_path, model_type="llama", hidden_size=30, num_attention_heads=4))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"adapter_config\.json says that this is an adapter .*merge it into"):
        check_architecture(write(tmp_path, model_type="llama"))


def test_an_adapter_alone_is_named_as_one(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"a LoRA adapter without its model; merge it \(peft: merge_and_unload\(\)\)"):
        load_model(tmp_path)


def test_models_of_every_accepted_kind_pass(save_tiny) -> None:
    assert check_architecture("universality/models/starter/seed0") is None
    assert check_architecture(save_tiny("llama", tie_word_embeddings=False)) == "LlamaForCausalLM"
    assert check_architecture(save_tiny("gpt2")) == "GPT2LMHeadModel"  # whose weights TransformerLens splits


@pytest.mark.parametrize("model_type", ["qwen3_next", "recurrent_gemma"])
def test_models_without_attention_in_their_first_layers_run(save_tiny, model_type: str) -> None:
    """Caches of past keys, which are not needed here, fail in them."""
    site = ModelSite(load_model(save_tiny(model_type)), "blocks.0.hook_resid_post")
    eye = np.eye(32, dtype=np.float32)
    assert np.array_equal(site.residual(eye), eye)


def test_an_opt_that_normalises_its_stream_has_logit_weights_only_at_its_end(
    save_tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    """As OPT-350m: norms behind each sum, a narrower embedding, no final norm."""
    model = load_model(save_tiny("opt", do_layer_norm_before=False, word_embed_proj_dim=16))
    capsys.readouterr()
    eye = np.eye(32, dtype=np.float32)
    assert np.array_equal(ModelSite(model, "blocks.1.hook_resid_post").residual(eye), eye)
    assert capsys.readouterr().err == ""
    assert ModelSite(model, "blocks.0.hook_resid_post").residual(eye) is None
    assert "no direct path from blocks.0.hook_out to the logits (the model's gradients" in capsys.readouterr().err


def test_a_part_that_transformer_lens_expects_and_the_model_lacks_is_named(save_tiny) -> None:
    folder = save_tiny("opt", do_layer_norm_before=False)
    with pytest.raises(ModelError, match=r"TransformerLens [\d.]+ expects a ln_final in this OPTForCausalLM, and"):
        check_architecture(folder)


def test_a_model_that_reads_ahead_is_refused(save_tiny) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    folder = save_tiny("bert", "AutoModelForMaskedLM")
    model, tokenizer = AutoModelForMaskedLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    with pytest.raises(ModelError, match=r"in this BertForMaskedLM a token changes the logits before it .* ahead"):
        wrap_model(model, tokenizer, "bert")


def test_damaged_weights_and_a_failing_pass_are_said_in_a_sentence(
    save_tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file
    from transformers.models.llama import modeling_llama

    folder = save_tiny("llama", tie_word_embeddings=False)
    shutil.copytree(folder, tmp_path / "damaged")
    held = load_file(folder / "model.safetensors")
    held["model.norm.weight"][3] = torch.nan
    save_file(held, tmp_path / "damaged" / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="the logits of this LlamaForCausalLM are not finite; its weights are damaged"):
        load_model(tmp_path / "damaged")

    def fail(**_: object) -> None:
        raise ValueError("no mask\nfor this")

    monkeypatch.setattr(modeling_llama, "create_causal_mask", fail)
    with pytest.raises(ModelError, match=r"cannot run this LlamaForCausalLM \(no mask\); try the model with transfo"):
        load_model(folder)
