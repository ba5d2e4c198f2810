import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.testing import assert_close

from universality.errors import CorpusError, ModelError
from universality.models.forward import run_until
from universality.models.language_model import LanguageModel, load_model, new_model, save_model, weights, wrap_model
from universality.models.model_settings import ModelArchitecture


@pytest.fixture
def model(architecture) -> LanguageModel:
    return new_model(architecture, d_vocab=50, n_ctx=16, init_seed=3, name="m")


def logits(model: LanguageModel) -> torch.Tensor:
    with torch.no_grad():
        return model.bridge(torch.arange(16)[None], return_type="logits")


def test_saved_model_reloads_with_and_without_this_package(model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "m")
    again = load_model(tmp_path / "m")
    assert again.hash == model.hash
    assert again.name == "m"
    assert_close(logits(again), logits(model), rtol=0, atol=0)

    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native.model import NativeModel

    config = json.loads((tmp_path / "m" / "config.json").read_text())
    cfg = TransformerBridgeConfig(**config["architecture"])
    cfg.d_mlp = config["d_mlp"]
    native = NativeModel(cfg)
    native.load_state_dict(safetensors.torch.load_file(tmp_path / "m" / "model.safetensors"))
    out = native(torch.arange(16)[None])
    assert_close(out if torch.is_tensor(out) else out[0], logits(model))


def test_half_precision_is_half_the_size(model, tmp_path: Path) -> None:
    save_model(model, tmp_path / "32")
    save_model(model, tmp_path / "16", torch.float16)
    sizes = [(tmp_path / d / "model.safetensors").stat().st_size for d in ("16", "32")]
    assert sizes[0] < 0.6 * sizes[1]
    assert_close(logits(load_model(tmp_path / "16")), logits(model), rtol=0, atol=1e-2)


def test_seed_decides_the_weights(architecture) -> None:
    hashes = [new_model(architecture, d_vocab=50, n_ctx=16, init_seed=s, name="m").hash for s in (0, 0, 1)]
    assert hashes[0] == hashes[1] != hashes[2]


def test_local_hugging_face_folder_loads(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=60, n_positions=32, n_embd=16, n_layer=2, n_head=2)).eval()
    theirs.save_pretrained(tmp_path)
    capfd.readouterr()
    ours = load_model(tmp_path, "gpt")
    assert "Loading weights" not in capfd.readouterr().err  # stderr is no terminal here
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        assert_close(ours.bridge(tokens, return_type="logits"), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
    assert (ours.name, ours.n_ctx, ours.d_vocab) == ("gpt", 32, 60)


def test_a_llama_without_its_tokenizer_is_told_what_to_put_where(tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from universality.corpus import train_bpe

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=280, max_position_embeddings=32, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"without its tokenizer, .*; put the tokenizer\.json and .* there") as raised:
        load_model(tmp_path)
    assert "\n" not in str(raised.value)
    backend = train_bpe(["some text to learn from, again and again"], 280).backend
    PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|bos|>").save_pretrained(tmp_path)
    assert load_model(tmp_path).d_vocab == 280


def test_a_hugging_face_model_in_memory_is_studied_as_it_is() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from universality.activations import ModelSite
    from universality.corpus import build_corpus, train_bpe, wrap_tokenizer

    made = train_bpe(["some text to learn from, again and again"], 280)
    fast = PreTrainedTokenizerFast(tokenizer_object=made.backend, bos_token="<|bos|>", eos_token="<|bos|>")
    tokenizer = wrap_tokenizer(fast)
    assert (tokenizer.encode(["again, some"]), tokenizer.bos_id) == (made.encode(["again, some"]), made.bos_id)
    torch.manual_seed(0)
    sizes = {"n_positions": 32, "n_embd": 16, "n_layer": 2, "n_head": 2}
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=280, **sizes, attn_implementation="eager")).eval()
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        before = theirs(tokens, output_hidden_states=True)
    ours = wrap_model(theirs, fast, "mine")
    blocks = build_corpus(max_documents=4, tokenizer=tokenizer, n_ctx=32).blocks
    assert ModelSite(ours, "blocks.0.hook_resid_post").read(blocks.take(np.arange(2))).shape[1] == 16
    with torch.no_grad():
        (stream,) = run_until(ours.bridge, tokens, "blocks.0.hook_out")
        assert_close(stream, before.hidden_states[1], rtol=1e-4, atol=1e-4)
        assert_close(ours.bridge(tokens, return_type="logits"), before.logits, rtol=1e-4, atol=1e-4)
    other = wrap_model(GPT2LMHeadModel(GPT2Config(vocab_size=280, **sizes)), fast, "other")
    assert other.hash != ours.hash
    with pytest.raises(ModelError, match="no: TransformerLens cannot wrap this Linear"):
        wrap_model(torch.nn.Linear(2, 2), fast, "no")
    with pytest.raises(CorpusError, match="object: not a fast tokenizer"):
        wrap_tokenizer(object())
    with pytest.raises(CorpusError, match="names no bos_token, cls_token or eos_token"):
        wrap_tokenizer(PreTrainedTokenizerFast(tokenizer_object=made.backend))


def test_bad_folders_are_named(model, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a model's folder with config\.json, or one of starter/seed0"):
        load_model(tmp_path / "nowhere")
    save_model(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())

    def rewritten(**changes) -> None:
        (tmp_path / "config.json").write_text(json.dumps(config | changes))

    rewritten(version=9)
    with pytest.raises(ModelError, match="expected version 1 of universality-model, found 9"):
        load_model(tmp_path)
    rewritten(d_mlp=128)
    with pytest.raises(ModelError, match="does not fit the architecture"):
        load_model(tmp_path)
    rewritten(format="other")
    with pytest.raises(ModelError, match="neither a model saved here"):
        load_model(tmp_path)
    rewritten()
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:500])
    with pytest.raises(ModelError, match="not a complete model"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(ModelError, match="expected a JSON object, found list"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-type"}))
    with pytest.raises(ModelError, match="knows no model_type 'no-such-type'"):
        load_model(tmp_path)


def test_heads_must_divide(architecture) -> None:
    with pytest.raises(ModelError, match="d_model 32 must be a multiple of n_heads 5"):
        new_model(ModelArchitecture(d_model=32, n_heads=5), d_vocab=5, n_ctx=4, init_seed=0, name="m")


def test_weights_have_the_wrapped_models_names(model) -> None:
    assert {"tok_embed.weight", "head.weight", "layers.0.mlp.fc_out.weight", "ln_out.weight"} <= set(
        weights(model.bridge)
    )


def test_a_model_of_the_hubs_cache_is_recorded_and_its_old_hook_names_resolve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    from universality.activations import ModelSite

    home, commit = tmp_path / "models--someone--neox-seed1", "0" * 39 + "1"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "step10").write_text(commit)
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32,
    )  # fmt: skip
    theirs = GPTNeoXForCausalLM(config).eval()
    theirs.save_pretrained(home / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    ours = load_model("someone/neox-seed1@step10")
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        assert_close(ours.bridge(tokens, return_type="logits"), theirs(tokens).logits, rtol=1e-4, atol=1e-4)
    assert ours.metadata == {"source": "someone/neox-seed1", "revision": "step10", "commit": commit}
    neurons, stream = ModelSite(ours, "blocks.1.mlp.hook_post"), ModelSite(ours, "blocks.0.hook_resid_post")
    assert (neurons.d_in, stream.d_in) == (32, 16)
    assert (neurons.hook, stream.hook) == ("blocks.1.mlp.out.hook_in", "blocks.0.hook_out")
    assert neurons.residual(torch.eye(32).numpy()).shape == (32, 16)
    with pytest.raises(ModelError, match=r"no hook 'blocks.1.mlp.post'; the nearest are blocks\.1\.mlp\."):
        ModelSite(ours, "blocks.1.mlp.post")
