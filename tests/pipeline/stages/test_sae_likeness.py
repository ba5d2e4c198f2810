"""Loaded SAEs that differ in more than their seed are recognised."""

import json
from pathlib import Path

import pytest
from foreign_saes import saelens, study, weights
from safetensors.torch import save_file

from universality.config import Config
from universality.pipeline import RunFolder, run
from universality.pipeline.stages.loaded_saes import with_loaded_saes
from universality.pipeline.stages.sae_likeness import likeness, write_likeness
from universality.pipeline.study import comparisons
from universality.sae import SAE


def seeds_of_one(tmp_path: Path, *saes: Path) -> tuple[Config, RunFolder]:
    """A study of loaded SAEs of one model, which were compared."""
    load = {"A": list(map(str, saes))}
    config = with_loaded_saes(study(load, models={"load": {"A": "starter/seed0"}}))
    folder = RunFolder(tmp_path / "run")
    for number, path in enumerate(saes):
        target = folder.sae("A", 24, number)
        SAE.load(path).save(target)
        (target / "quality.json").write_text(json.dumps({"l0": 4.0 * (1 + number), "explained_variance": 0.9}))
    write_likeness(config, folder)
    return config, folder


def test_what_the_files_do_not_record_is_measured(tmp_path: Path) -> None:
    config, folder = seeds_of_one(tmp_path, *(saelens(tmp_path / f"{seed}", 24, seed) for seed in range(2)))
    (comparison,) = comparisons(config, folder)
    found = likeness(config, folder, comparison)
    assert (comparison.of, comparison.sides) == ("seeds", ("A SAE 0", "A SAE 1"))
    assert found.differences == ("L0 (4.0 and 8.0)",)
    assert found.label("A") == "two SAEs of A that differ in L0"


def test_saes_that_began_from_the_same_weights_are_told(tmp_path: Path) -> None:
    one, other = saelens(tmp_path / "one", 24, 0), saelens(tmp_path / "other", 24, 1)
    learnt = {name: 0.9 * w + 0.1 * weights(24, 1)[name] for name, w in weights(24, 0).items()}
    save_file(learnt, other / "sae_weights.safetensors")
    config, folder = seeds_of_one(tmp_path, one, other)
    found = likeness(config, folder, *comparisons(config, folder))
    assert found.began_alike
    assert not found.is_ceiling
    assert "began from the same weights (decoder rows of equal index have a mean cosine of 0.9" in found.what
    assert "the nearest decoder row stands at the same index for 24 of 24 features, where 1 is expected" in found.what


@pytest.mark.slow
def test_a_run_warns_of_models_whose_saes_began_from_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Once before matching, and in the report; a pair of another seed is the control."""
    one, other, apart = (saelens(tmp_path / name, 24, seed) for name, seed in (("one", 0), ("like", 1), ("apart", 2)))
    learnt = {name: 0.9 * w + 0.1 * weights(24, 1)[name] for name, w in weights(24, 0).items()}
    save_file(learnt, other / "sae_weights.safetensors")
    load = {"A": [str(one)], "B": [str(other)], "C": [str(apart)]}
    models = {"load": dict.fromkeys("ABC", "starter/seed0"), "one_basis": True}
    folder = RunFolder(run(study(load, models=models), tmp_path / "run"))
    lines = [line for line in capsys.readouterr().err.splitlines() if "began from the same weights" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: A-B.w24: the SAEs of A and B began from the same weights: decoder rows of")
    assert "for 24 of 24 features, where 1 is expected" in lines[0]
    page = folder.report.read_text(encoding="utf-8")
    assert page.count("do not show that the models agree") == 1
    assert "for 24 of 24 features, where 1 is expected" in page
