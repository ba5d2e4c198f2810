"""``universality init`` writes a file that loads, can be planned and runs, from configurations without weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from universality.cli import app
from universality.config import Config, load_config
from universality.corpus import train_bpe
from universality.errors import ConfigError, ModelError
from universality.pipeline import RunFolder, run
from universality.pipeline.starting_config import starting_config, write_starting_config

TEXTS = ["a small text of a few words, again and again", "another one, with other words and letters"]


def loaded(content: str, folder: Path) -> Config:
    return load_config(write_starting_config(folder / "my.yaml", content))


@pytest.fixture(scope="module")
def two_makers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tiny GPT-2 and a tiny Llama of other depth, width and tokenizer, as folders that transformers wrote."""
    import torch
    from tokenizers import Tokenizer
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    root = tmp_path_factory.mktemp("models")
    ids = {"bos_token_id": 0, "eos_token_id": 0}
    gpt = {"n_positions": 64, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_inner": 64, **ids}
    llama = {"hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, **ids}
    made: dict[str, tuple[int, Callable[[int], Any]]] = {
        "gpt": (270, lambda n: GPT2LMHeadModel(GPT2Config(vocab_size=n, **gpt))),
        "llama": (290, lambda n: LlamaForCausalLM(LlamaConfig(vocab_size=n, max_position_embeddings=48, **llama))),
    }
    torch.manual_seed(0)
    for name, (d_vocab, model) in made.items():
        tokenizer = train_bpe(TEXTS * 10, d_vocab)
        backend = Tokenizer.from_str(tokenizer.backend.to_str())
        model(tokenizer.d_vocab).save_pretrained(root / name)
        PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|bos|>").save_pretrained(root / name)
    return {name: str(root / name) for name in made}


@pytest.fixture(scope="module")
def of_two_makers(two_makers: dict[str, str]) -> str:
    return starting_config(two_makers, width=32, tokens=6000)


def test_shipped_models_give_a_file_that_says_what_can_be_changed(tmp_path: Path) -> None:
    out = tmp_path / "my.yaml"
    arguments = ["init", "starter/seed0", "starter/seed1", "--width", "64", "--tokens", "5000", "--out", str(out)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.output.strip() == str(out)
    config = load_config(out)
    assert config.models.load == {"seed0": "starter/seed0", "seed1": "starter/seed1"}
    assert (config.hook, config.saes.widths, config.saes.tokens) == ("blocks.0.hook_resid_post", [64], 5000)
    text = out.read_text(encoding="utf-8")
    for said in (
        "# seed0: starter/seed0, 1 layer, d_model 128, 512 neurons a layer, vocabulary 4,096, reads up to 128 tokens",
        "# seed0 and seed1: one layer. Some of its hooks, with the activations of a token: blocks.0.hook_resid_pre",
        "blocks.0.mlp.hook_post [512]",
        " held out\n# Cost here, estimated within 3 to 10 times: ",
        "  # Features that fire on a token\n  k: 32\n",
    ):
        assert said in text
    assert max(map(len, text.splitlines())) < 130


@pytest.mark.slow
def test_models_of_two_makers_are_planned_and_run_to_the_report(of_two_makers: str, tmp_path: Path) -> None:
    path = write_starting_config(tmp_path / "my.yaml", of_two_makers)
    config = load_config(path)
    assert config.hook == {"gpt": "blocks.0.hook_resid_post", "llama": "blocks.1.hook_resid_post"}
    assert (config.models.tokenizers, config.corpus.n_ctx) == ("own", 48)
    assert "# gpt: layers 0 to 1. Some" in of_two_makers
    assert "# llama: layers 0 to 2. Some" in of_two_makers
    small = ("corpus.max_documents=40", "corpus.held_out=0.4", "saes.batch_size=512", "saes.buffer_tokens=4096")
    quick = ("saes.quality_blocks=8", "statistics.replicates=1", "statistics.bootstrap=5")
    folder = RunFolder(run(load_config(path, (*small, *quick)), tmp_path / "run"))
    assert "This run is not finished" not in folder.report.read_text(encoding="utf-8")


def test_weights_are_not_read(two_makers: dict[str, str], of_two_makers: str, tmp_path: Path) -> None:
    import shutil

    bare = {name: str(shutil.copytree(path, tmp_path / name)) for name, path in two_makers.items()}
    for path in bare.values():
        (Path(path) / "model.safetensors").unlink()
    again = starting_config(bare, width=32, tokens=6000)
    assert loaded(again, tmp_path).saes == loaded(of_two_makers, Path(two_makers["gpt"]).parent).saes


def test_what_does_not_exist_is_refused(two_makers: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nonsense: no such model; expected a folder with config\.json, owner/name"):
        starting_config({"A": "starter/seed0", "B": "nonsense"})
    with pytest.raises(ModelError, match=r"model 'gpt' has no hook 'blocks\.2\.hook_resid_post'; the nearest are"):
        starting_config(two_makers, hook="blocks.2.hook_resid_post")
    (tmp_path / "my.yaml").touch()
    with pytest.raises(ConfigError, match=r"my\.yaml: exists already; name another file with --out"):
        write_starting_config(tmp_path / "my.yaml", "")
    with pytest.raises(ConfigError, match=r"the folder .*nowhere does not exist; create it"):
        write_starting_config(tmp_path / "nowhere" / "my.yaml", "")
