"""`compare` is the pipeline: it gives the numbers of `run`, resumes, and refuses what cannot be compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from typer.testing import CliRunner

import universality
from universality import Study, compare
from universality.cli import app
from universality.config import load_config
from universality.errors import ConfigError, ModelError, UniversalityError
from universality.pipeline import run
from universality.pipeline.compare_models import prepare

TINY = {
    "corpus": {"max_documents": 120, "n_ctx": 48, "held_out": 0.4},
    "saes": {"k": 4, "batch_size": 512, "buffer_tokens": 4096, "quality_blocks": 8, "products": "float32"},
    "statistics": {"replicates": 1, "bootstrap": 5},
    "features": {"neuron_documents": 0.3},
    "effects": {"measure": False},
    "map": {"draw": False},
}
PAIR = {"A": "starter/seed0", "B": "starter/seed1"}


def tiny(models: Any, texts: Any = "starter", **arguments: Any) -> Study:
    return compare(models, texts, width=32, tokens=8000, settings=TINY, **arguments)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return tiny(PAIR, hook="blocks.0.mlp.hook_post", out=tmp_path_factory.mktemp("compared") / "run")


@pytest.mark.slow
def test_gives_the_numbers_of_run(study: Study, tmp_path: Path) -> None:
    folder = run(load_config(study.folder / "config.yaml"), tmp_path / "run", until="match")
    other = Study.open(folder)
    assert_array_equal(study.calibration.held_out, other.calibration.held_out)
    assert_array_equal(study.match.cols, other.match.cols)
    assert study.summary().equals(other.summary())
    assert not (folder / "report").exists()
    assert other.report().is_file()


def test_a_second_call_does_nothing(study: Study, capsys: pytest.CaptureFixture[str]) -> None:
    again = tiny(PAIR, hook="blocks.0.mlp.hook_post", out=study.folder)
    said = capsys.readouterr().out
    assert "nothing to do" in said
    assert "GB memory" not in said
    assert again.summary().equals(study.summary())


def test_prints_the_configuration_and_its_cost_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prepared = prepare(PAIR, width=32, tokens=8000, settings=TINY, out=tmp_path / "run")
    prepared.announce()
    said = capsys.readouterr().out
    file = tmp_path / "printed.yaml"
    file.write_text(said.split("stage  ")[0], encoding="utf-8")
    assert load_config(file) == prepared.config
    assert "h, this machine" in said
    assert not (tmp_path / "run").exists()


def test_the_study_shows_its_results(study: Study, tmp_path: Path) -> None:
    summary, pairs = study.summary(), study.pairs
    assert summary.loc["SAE features", "n"] == study.calibration.summary().n_living
    assert summary.loc["SAE features", "median"] == study.calibration.summary().held_out_median
    assert {"row", "col", "held_out", "row_tokens"} <= set(pairs)
    assert study.graph(tmp_path / "pairs.graphml").is_file()
    with pytest.raises(UniversalityError, match=r"pairs.txt: expected a file that ends in one of .graphml"):
        study.graph(tmp_path / "pairs.txt")
    assert study.report() == study.folder / "report" / "index.html"
    assert study.store("A").n_features == 32
    with pytest.raises(UniversalityError, match="no model 'C'; the models are A, B"):
        study.store("C")
    with pytest.raises(UniversalityError, match="no families of A"):
        study.families("A")
    html = study._repr_html_()
    assert "SAE features" in html
    assert "blocks.0.mlp.hook_post" in html
    assert "SAE features" in repr(study)


def test_models_and_texts_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    from universality.corpus import train_bpe
    from universality.corpus.passages import read_passages

    monkeypatch.chdir(tmp_path)
    texts = [passage.text for passage in read_passages("starter", 400) if passage.kind == "english"][:60]
    models: dict[str, Any] = {}
    for seed, (name, d_vocab) in enumerate((("small", 300), ("large", 400))):
        train_bpe(texts[:20], d_vocab).save(tmp_path / f"{name}.json")
        torch.manual_seed(seed)
        sizes = {"n_positions": 64, "n_embd": 16 * (seed + 1), "n_layer": 2, "n_head": 2}
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / f"{name}.json"), bos_token="<|bos|>")
        models[name] = GPT2LMHeadModel(GPT2Config(vocab_size=d_vocab, **sizes)), tokenizer
    study = tiny(models, texts, until="match")
    assert study.config.models.tokenizers == "own"
    assert study.config.hooks["large"] == "blocks.0.hook_resid_post"
    assert study.folder.parent == Path("runs")
    assert study.folder.name.startswith("small-large-")
    assert (study.folder / "inputs" / "models" / "small" / "model.safetensors").is_file()
    again = prepare(models, texts, width=32, tokens=8000, settings=TINY)
    assert again.folder == study.folder
    other = prepare(models, texts[1:], width=32, tokens=8000, settings=TINY)
    assert other.folder != study.folder
    with torch.no_grad():
        models["small"][0].transformer.wte.weight[3, 3] += 1
    assert prepare(models, texts, width=32, tokens=8000, settings=TINY).folder != study.folder


def test_refusals(tmp_path: Path, study: Study) -> None:
    with pytest.raises(ConfigError, match="saes names C, the models are A, B"):
        tiny(PAIR, saes={"C": "somewhere"}, out=tmp_path)
    with pytest.raises(ModelError, match="no such model"):
        tiny({"A": "starter/seed0", "B": "./nowhere"}, out=tmp_path)
    with pytest.raises(ModelError, match=r"blocks\.7\.hook_resid_post"):
        tiny(PAIR, hook="blocks.7.hook_resid_post", out=tmp_path)
    with pytest.raises(UniversalityError, match=r"expected a run's folder, with config.yaml in it"):
        Study.open(tmp_path)
    (tmp_path / "config.yaml").write_bytes((study.folder / "config.yaml").read_bytes())
    with pytest.raises(UniversalityError, match="this run has no matching yet; `universality run"):
        Study.open(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hook": {"A": "blocks.0.hook_resid_post"}}, "hook names none of B"),
        ({"hook": {"A": "blocks.0.hook_resid_post", "B": "blocks.0.mlp.hook_post"}}, "the same part of a block"),
        ({"models": {"A/x": "starter/seed0", "B": "starter/seed1"}}, "a model's name becomes a file name"),
        ({"models": "starter/seed0"}, "expected two models or more, found starter/seed0 alone"),
        ({"settings": {"saess": {}}}, "unknown key saess; did you mean saes"),
        ({"tokens": 0}, "saes.tokens: expected"),
        ({"width": []}, r"width: expected a whole number or a list of them, found \[\]"),
        ({"width": "64"}, "width: expected a whole number or a list of them, found '64'"),
        ({"saes": {"A": [], "B": []}}, "saes names no SAE of A"),
        ({"until": "collect"}, "until: results need the matching; expected one of match, .*, found 'collect'"),
        ({"texts": ["", ""]}, "found none"),
        ({"texts": "nowhere.txt"}, "nowhere.txt: no such file or folder; pass texts themselves as a list"),
        ({"tokenizers": {"C": "starter"}}, "tokenizers names C, the models are A, B"),
        ({"settings": [1]}, "settings: expected a mapping of sections, found list"),
        ({"settings": {"saes": {"kk": 1}}}, "unknown key saes.kk"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UniversalityError, match=message):
        compare(**{"models": PAIR, "out": tmp_path / "run", **arguments})
    assert not (tmp_path / "run").exists()


def test_width_and_tokens_are_refused_beside_saes(tmp_path: Path) -> None:
    import torch

    from universality.sae import SAE

    sae = SAE(torch.eye(128), torch.zeros(128), torch.eye(128), torch.zeros(128), architecture="topk", k=4)
    with pytest.raises(ConfigError, match="width: SAEs are given, so none is trained; leave it out"):
        prepare(PAIR, saes={"A": sae, "B": sae}, width=64, out=tmp_path / "run")


def test_numbers_of_numpy_are_widths(tmp_path: Path) -> None:
    assert prepare(PAIR, width=np.int64(64), tokens=10_000, out=tmp_path / "run").config.saes.widths == [64]


def test_on_the_command_line(tmp_path: Path) -> None:
    command = ["compare", *PAIR.values(), "--width", "32", "--dry-run"]
    options = ["--tokens", "8000", "--set", "saes.k=4", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    (tmp_path / "printed.yaml").write_text(done.stdout.split("stage  ")[0], encoding="utf-8")
    config = load_config(tmp_path / "printed.yaml")
    assert config.models.load == {"seed0": "starter/seed0", "seed1": "starter/seed1"}
    assert (config.saes.widths, config.saes.k, config.saes.tokens) == ([32], 4, 8000)
    assert not (tmp_path / "run").exists()
    wrong = CliRunner().invoke(app, [*command, "--sae", "one"])
    assert "--sae: expected one for each of seed0, seed1, found 1" in str(wrong.exception)


def test_three_lines_and_the_root_name() -> None:
    assert universality.compare is compare
