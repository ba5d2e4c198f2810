"""Suggested settings follow from what the models' files say, and make a configuration that loads."""

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_saes import saelens

from universality.config import parse_config
from universality.corpus import load_tokenizer, train_bpe
from universality.errors import ModelError
from universality.pipeline.defaults import middle_hook, read_facts, suggest, suggest_width

GPT2 = {"model_type": "gpt2", "n_embd": 48, "n_layer": 6, "n_head": 4, "n_positions": 96, "vocab_size": 300}
LLAMA = {"model_type": "llama", "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4} | {
    "intermediate_size": 96, "max_position_embeddings": 512, "vocab_size": 400,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tokenizers")
    texts = ["a small text of a few words, again and again", "another one, with other words"] * 10
    for name, d_vocab in (("first", 270), ("second", 290)):
        (folder / name).mkdir()
        train_bpe(texts, d_vocab).save(folder / name / "tokenizer.json")
    return folder / "first", folder / "second"


def folder_with(root: Path, config: dict[str, Any], tokenizer: Path | None) -> str:
    """A model's folder without weights."""
    root.mkdir()
    (root / "config.json").write_text(json.dumps(config))
    if tokenizer:
        (root / "tokenizer.json").write_bytes((tokenizer / "tokenizer.json").read_bytes())
    return str(root)


def test_two_shipped_models_read_the_same_tokens_at_one_hook() -> None:
    values = suggest({"A": "starter/seed0", "B": "starter/seed1"})
    config = parse_config(values)
    assert config.hook == "blocks.0.hook_resid_post"
    assert not config.models.tokenizers
    assert config.corpus.tokenizer == config.corpus.source == "starter"
    assert (config.saes.widths, config.saes.tokens, config.corpus.n_ctx) == ([1024], 1_024_000, 128)


def test_models_of_different_depth_and_tokenizer_are_read_at_their_middles_by_characters(
    tmp_path: Path, tokenizers: tuple[Path, Path]
) -> None:
    models = {
        "A": folder_with(tmp_path / "a", GPT2, tokenizers[0]),
        "B": folder_with(tmp_path / "b", LLAMA, tokenizers[1]),
    }
    config = parse_config(suggest(models))
    assert config.hook == {"A": "blocks.2.hook_resid_post", "B": "blocks.1.hook_resid_post"}
    assert config.models.tokenizers == "own"
    assert config.corpus.n_ctx == 96, "the shorter context of the two"
    assert config.saes.widths == [suggest_width(48)] == [512], "from the wider stream of the two"


def test_one_tokenizer_in_two_folders_needs_no_characters(tmp_path: Path, tokenizers: tuple[Path, Path]) -> None:
    models = {name: folder_with(tmp_path / name, GPT2, tokenizers[0]) for name in "AB"}
    config = parse_config(suggest(models))
    assert not config.models.tokenizers
    assert config.corpus.tokenizer == models["A"]
    assert config.hook == "blocks.2.hook_resid_post"


def test_tokenizers_that_are_given_are_named(tmp_path: Path, tokenizers: tuple[Path, Path]) -> None:
    models = {"A": "starter/seed0", "B": folder_with(tmp_path / "b", LLAMA, None)}
    config = parse_config(suggest(models, tokenizers={"B": str(tokenizers[1])}))
    assert config.models.tokenizers == {"A": "starter", "B": str(tokenizers[1])}


def test_what_is_given_is_kept(tmp_path: Path) -> None:
    hook = {"A": "blocks.0.mlp.hook_post", "B": "blocks.0.hook_resid_pre"}
    models = {"A": "starter/seed0", "B": "starter/seed1"}
    values = suggest(models, text=[str(tmp_path)], hook=hook, width=[8, 16], tokens=5000)
    assert values["corpus"]["source"] == [str(tmp_path)]
    assert values["hook"] == hook
    assert values["saes"] == {"widths": [8, 16], "k": 8, "tokens": 5000}, "no more features fire than there are"


def test_the_width_follows_from_the_hook() -> None:
    models = {"A": "starter/seed0", "B": "starter/seed1"}
    assert suggest(models, hook="blocks.0.mlp.hook_post")["saes"]["widths"] == [4096], "512 neurons, not 128"


def test_a_model_of_a_run_finds_the_tokenizer_of_the_run(tmp_path: Path, tokenizers: tuple[Path, Path]) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "models").mkdir()
    tokenizer = tmp_path / "corpus" / "tokenizer.json"
    tokenizer.write_bytes((tokenizers[0] / "tokenizer.json").read_bytes())
    saved = {"format": "universality-model", "d_mlp": 64, "tokenizer_hash": load_tokenizer(tokenizer).hash}
    saved["architecture"] = {"n_layers": 2, "d_model": 32, "n_ctx": 16, "d_vocab": 270}
    facts = read_facts(folder_with(tmp_path / "models" / "A", saved, None))
    assert (facts.tokenizer, facts.n_ctx) == (str(tokenizer), 16)
    other = saved | {"tokenizer_hash": load_tokenizer("starter").hash}
    assert read_facts(folder_with(tmp_path / "models" / "B", other, None)).tokenizer == "starter"


def test_saes_that_are_loaded_state_the_hook(tmp_path: Path) -> None:
    hook = "blocks.0.hook_resid_pre"
    first, other = (str(saelens(tmp_path / str(seed), 24, seed, hook=hook)) for seed in (0, 1))
    values = suggest({"A": "starter/seed0", "B": "starter/seed1"}, saes={"A": first, "B": [other]})
    assert values["hook"] == hook
    assert values["saes"] == {"load": {"A": first, "B": [other]}}


def test_no_model_no_tokenizer_and_no_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nonsense: no such model; expected a folder with config\.json, owner/name"):
        suggest({"A": "nonsense"})
    bare = folder_with(tmp_path / "bare", GPT2, None)
    with pytest.raises(ModelError, match=r"its tokenizer cannot be read .*put the model's tokenizer.json beside"):
        suggest({"A": bare})
    shapeless = folder_with(tmp_path / "shapeless", {"model_type": "gpt2"}, None)
    with pytest.raises(ModelError, match="expected the sizes of a transformer"):
        suggest({"A": shapeless})


def test_the_middle_hook_is_reached_after_half_of_the_layers() -> None:
    assert [middle_hook(n) for n in (1, 2, 3, 24)] == [f"blocks.{i}.hook_resid_post" for i in (0, 0, 1, 11)]
