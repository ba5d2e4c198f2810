"""Models, texts and SAEs in memory are saved once, whole, and left as they are."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from universality.corpus import train_bpe
from universality.errors import ModelError, UniversalityError
from universality.models.language_model import load_model, wrap_model
from universality.pipeline.given_inputs import (
    identity,
    keep_model,
    keep_saes,
    listed_saes,
    model_and_tokenizer,
    named_models,
    texts_as_source,
)
from universality.sae import SAE


@pytest.fixture
def model_in_memory(tmp_path: Path) -> tuple[Any, Any]:
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    file = tmp_path / "bpe" / "tokenizer.json"
    file.parent.mkdir()
    train_bpe(["a small text of small words"] * 3, 280).save(file)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=280, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    return GPT2LMHeadModel(config), PreTrainedTokenizerFast(tokenizer_file=str(file), bos_token="<|bos|>")


def test_a_saved_model_computes_the_same_and_the_one_in_memory_is_unchanged(
    model_in_memory: tuple[Any, Any], tmp_path: Path
) -> None:
    model, tokenizer = model_in_memory
    model.train()
    before = copy.deepcopy(model.config.to_dict())
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    folder = keep_model(model, tokenizer, tmp_path / "inputs" / "A")
    assert model.config.to_dict() == before
    assert model.training
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    tokens = torch.arange(10)[None]
    with torch.no_grad():
        theirs = model.eval()(tokens).logits
        ours = load_model(folder).bridge.run_with_hooks(tokens, fwd_hooks=[], return_type="logits")
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_same_model_is_not_written_again_and_a_changed_one_is(
    model_in_memory: tuple[Any, Any], tmp_path: Path
) -> None:
    model, tokenizer = model_in_memory
    file = keep_model(model, tokenizer, tmp_path / "A") / "model.safetensors"
    first = file.stat().st_mtime_ns, file.read_bytes()
    keep_model(model, tokenizer, tmp_path / "A")
    assert file.stat().st_mtime_ns == first[0]
    with torch.no_grad():
        model.transformer.wte.weight[3, 3] += 1
    keep_model(model, tokenizer, tmp_path / "A")
    assert file.read_bytes() != first[1]


def test_a_folder_without_its_record_is_written_again(model_in_memory: tuple[Any, Any], tmp_path: Path) -> None:
    folder = keep_model(*model_in_memory, tmp_path / "A")
    (folder / "model.safetensors").write_bytes(b"half")  # as if killed while it was written: the record comes last
    (tmp_path / "A.json").unlink()
    keep_model(*model_in_memory, tmp_path / "A")
    assert load_model(folder).n_ctx == 32
    assert json.loads((tmp_path / "A.json").read_text())["hash"] == identity(model_in_memory)


def test_a_wrapped_model_is_saved_like_the_model_inside(model_in_memory: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = model_in_memory
    plain = keep_model(model, tokenizer, tmp_path / "plain") / "model.safetensors"
    wrapped = model_and_tokenizer("A", wrap_model(model, tokenizer, "A"))
    assert (keep_model(*wrapped, tmp_path / "wrapped") / "model.safetensors").read_bytes() == plain.read_bytes()


def test_models_that_cannot_be_saved_are_refused(model_in_memory: tuple[Any, Any]) -> None:
    model, tokenizer = model_in_memory
    with pytest.raises(ModelError, match=r"B: a model in memory needs its tokenizer; pass the tuple"):
        model_and_tokenizer("B", model)
    with pytest.raises(ModelError, match=r"B: expected a model's name, folder, or .* found int"):
        model_and_tokenizer("B", 5)
    with pytest.raises(ModelError, match="B: Linear is no model of transformers; save it"):
        model_and_tokenizer("B", (torch.nn.Linear(2, 2), tokenizer))
    with pytest.raises(ModelError, match="B: object is not a fast tokenizer"):
        model_and_tokenizer("B", (model, object()))
    model.merge_and_unload = None
    with pytest.raises(ModelError, match=r"B: GPT2LMHeadModel is an adapter; pass model.merge_and_unload"):
        model_and_tokenizer("B", (model, tokenizer))


def test_names_follow_from_sources() -> None:
    assert list(named_models(["starter/seed0", Path("models/mine.v2/")])) == ["seed0", "mine_v2"]
    assert list(named_models(["a/x", "a/x"])) == ["a_x_1", "a_x_2"]
    with pytest.raises(UniversalityError, match=r"a model in memory \(Linear\) needs a name"):
        named_models(["starter/seed0", torch.nn.Linear(2, 2)])
    with pytest.raises(UniversalityError, match="expected two models or more, found A"):
        named_models({"A": "starter/seed0"})


def test_texts_are_a_source_or_saved(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    with texts_as_source([str(tmp_path / "a.txt"), tmp_path / "missing.txt"]) as (source, file):
        assert source == [str(tmp_path / "a.txt"), str(tmp_path / "missing.txt")]
        assert file is None
    with texts_as_source(["one text", "another \0 text"]) as (source, file):
        assert source is None
        assert file is not None
        assert json.loads(file.read_text("utf-8").splitlines()[0])["text"] == "one text"


def test_a_paragraph_and_an_empty_text_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with texts_as_source(["a word " * 60, "."]) as (source, file):  # longer than a file name may be
        assert source is None
        assert file is not None
    with pytest.raises(UniversalityError, match="found none"), texts_as_source(["", ""]):
        pass


def test_names_of_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    assert list(named_models([".", "../other"])) == ["mine", "other"]


def test_saes_in_memory_are_saved_and_others_named(tmp_path: Path) -> None:
    sae = SAE(torch.eye(2), torch.zeros(2), torch.eye(2), torch.zeros(2), architecture="topk", k=1)
    saved = keep_saes(listed_saes("A", [sae, "release/id"]), tmp_path)
    assert saved[1] == "release/id"
    assert SAE.load(saved[0]).hash == sae.hash
    assert listed_saes("A", "one/path") == ["one/path"]
    with pytest.raises(UniversalityError, match=r"saes of A: expected names, folders or SAEs .* found int"):
        listed_saes("A", [1])
