"""A model is compared with what the run recorded of it wherever a later stage meets it."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from universality.config import Config
from universality.errors import MismatchError, ModelError
from universality.files import write_json
from universality.models.language_model import load_model
from universality.models.shipped import model_folder
from universality.models.shuffled_weights import shuffled
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.make_corpus import make_corpus
from universality.pipeline.stages.model_sites import check_architectures, live_sites


@pytest.fixture
def met(tmp_path: Path) -> tuple[Config, RunFolder, Path]:
    """A run that has met model A and recorded its hash."""
    source, folder = tmp_path / "theirs", RunFolder(tmp_path / "run")
    shutil.copytree(model_folder("starter/seed0"), source)
    folder.model("A").mkdir(parents=True)
    write_json(folder.model("A") / "source.json", {"hash": load_model(source).hash})
    return Config.model_validate({"models": {"load": {"A": str(source)}}}), folder, source


def test_weights_that_changed_under_a_run_are_refused(met: tuple[Config, RunFolder, Path]) -> None:
    config, folder, source = met
    assert live_sites(config, folder, ["A"])["A"].model_hash == load_model(source).hash
    live_sites(config, folder, ["A"], load=shuffled)
    held = load_file(source / "model.safetensors")
    next(iter(held.values())).view(-1)[0] += 1
    save_file(held, source / "model.safetensors")
    for load in (None, shuffled):
        with pytest.raises(
            MismatchError, match=r"model 'A': .* have hash \w{12}, and this run records \w{12} in .*source"
        ):
            live_sites(config, folder, ["A"], load=load)


def test_a_model_that_cannot_take_part_is_refused_before_text_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "config.json", {"model_type": "bert", "architectures": ["BertForMaskedLM"]})
    config = Config.model_validate(
        {"corpus": {"source": str(tmp_path / "nowhere.txt")}, "models": {"load": {"A": str(tmp_path)}}}
    )
    with pytest.raises(ModelError, match="BertForMaskedLM is an encoder"):
        check_architectures(config)
    with pytest.raises(ModelError, match="BertForMaskedLM is an encoder"):
        make_corpus(config, RunFolder(tmp_path / "run"))
