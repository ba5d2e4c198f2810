"""Effects of a run: its tasks, its files, what is left out and why, and what a stopped run resumes to."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_saes import saelens, study
from run_commands import SMOKE

from universality import SAE, FeatureStore
from universality.config import Config, load_config
from universality.effects import ExactEffects, Fingerprints, read_gradient_norms
from universality.pipeline.paths import RunFolder
from universality.pipeline.runner import all_tasks, run
from universality.pipeline.stages import measure_effects
from universality.pipeline.stages.compare_partner_effects import make_agreement
from universality.pipeline.stages.measure_effects import make_effects, tasks
from universality.pipeline.stages.model_sites import live_site
from universality.pipeline.study import effect_comparisons, effect_dictionaries
from universality.pipeline.task import artifact_hash, read_stamp
from universality.statistics import Calibration, EffectAgreement

NAMES = [
    "effects/A",
    "effects/B",
    "effects/A.families",
    "effects/B.families",
    "effects/A-A.w128.s0-s1",
    "effects/B-B.w128.s0-s1",
    "effects/A-B.w128",
    "effects/A-B.neurons",
]


def copied(finished: Path, folder: Path) -> RunFolder:
    """Copy a run, its effects left out."""
    left_out = shutil.ignore_patterns("effects", "effects.*", "report", "report.json", "figures")
    return RunFolder(Path(shutil.copytree(finished, folder, ignore=left_out)))


def test_models_come_first_then_ceilings_then_their_comparisons(tmp_path: Path) -> None:
    made = tasks(load_config(SMOKE), RunFolder(tmp_path))
    assert [task.name for task in made] == NAMES
    after = {task.name: task.after for task in made}
    assert {"match/A-B.w128", "match/A-A.w128.s0-s1", "collect/B"} < set(after["effects/A"])
    assert "match/B-B.w128.s0-s1" not in after["effects/A"]
    assert {*NAMES[:2], *NAMES[4:6], "match/A-B.w128"} < set(after["effects/A-B.w128"])
    assert after["effects/B.families"] == ["effects/B", "families/B"]


def test_only_export_and_report_notice_that_effects_are_not_measured(tmp_path: Path) -> None:
    with_effects, without = (
        {task.name: (task.settings, list(task.after), task.version) for task in all_tasks(config, RunFolder(tmp_path))}
        for config in (load_config(SMOKE), load_config(SMOKE, ["effects.measure=false"]))
    )
    assert with_effects.keys() - without.keys() == set(NAMES)
    assert [name for name in without if without[name] != with_effects[name]] == ["export", "report"]
    assert set(with_effects["report"][1]) - set(without["report"][1]) == set(NAMES)


def test_a_study_of_one_model_compares_its_seeds(tmp_path: Path) -> None:
    saes = {"widths": [8, 16], "seeds": [0, 1], "k": 2}
    config = Config.model_validate({"models": {"load": {"A": "starter/seed0"}}, "saes": saes})
    assert [c.name for c in effect_comparisons(config, RunFolder(tmp_path))] == ["A-A.w16.s0-s1"]
    assert effect_dictionaries(config, RunFolder(tmp_path), "A") == [(16, 0), (16, 1)]


def test_effects_stand_beside_activations_of_the_same_firings(finished: Path) -> None:
    folder = RunFolder(finished)
    with (
        FeatureStore.open(folder.effects("A", 128, 1)) as effects,
        FeatureStore.open(folder.effect_activations("A", 128, 1)) as activations,
        FeatureStore.open(folder.store("A", 128, 1)) as whole,
        FeatureStore.open(folder.gradient_norms("A")) as norms,
    ):
        assert (effects.quantity, activations.quantity) == ("effect", "activation")
        assert effects.tokens_hash == activations.tokens_hash == norms.tokens_hash
        assert set(np.array(effects.documents.split)[effects.tokens.document]) == {"report"}
        assert 0 < effects.n_tokens < whole.n_tokens
        fired, acting = activations.csr(), effects.csr()
        assert (acting.astype(bool) > fired.astype(bool)).nnz == 0
        directions = SAE.load(folder.sae("A", 128, 1)).contribution
        size = np.linalg.norm(directions(fired), axis=1) * read_gradient_norms(norms)
        assert (size * (1 + 1e-4) + 1e-9 >= np.abs(acting.sum(axis=1)).A1).all()  # Cauchy and Schwarz
        assert (0.1 * size < np.abs(acting.sum(axis=1)).A1).mean() > 0.1


def test_every_part_is_there_with_ceilings_and_fingerprints(finished: Path) -> None:
    folder = RunFolder(finished)
    exact = ExactEffects.load(folder.exact_effects("A")).accuracy()
    assert exact.n == 100
    assert exact.spearman > 0.9
    made = Fingerprints.load(folder.fingerprints("B", 128, 0))
    matched = Calibration.load(folder.calibration("A-B.w128")).match
    assert set(np.flatnonzero(made.present)) <= set(range(128))
    assert set(matched.cols) & set(np.flatnonzero(made.present))
    assert made.n_contexts.max() == 2
    shares = json.loads(folder.shared_loss("A").read_text())
    assert {row["partners"] for row in shares["rows"]} == {"", "B", "A seed 1"}
    agreement = EffectAgreement.load(folder.effect_agreement("A-B.w128"))
    pairs = agreement.to_frame()
    assert pairs["ceiling_a"].notna().sum() > 10
    assert pairs["ceiling_b"].notna().sum() > 10
    assert {"ablation_r", "ablation_weighted_r"} < set(pairs)
    assert pairs["ablation_r"].notna().sum() > 10
    numbers = agreement.summary()
    assert numbers.ceiling_a > 2 * numbers.r_per_norm  # at this size two models share little
    neurons = EffectAgreement.load(folder.effect_agreement("A-B.neurons"))
    assert neurons.summary().n_compared > 32
    assert all(json.loads(path.read_text()) == {} for path in (finished / "effects").glob("*.unmeasured.json"))


def test_a_stopped_stage_resumes_to_the_same_contents(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(finished, tmp_path / "run")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(measure_effects.Measured, "exact", stop)
        with pytest.raises(KeyboardInterrupt):
            make_effects(load_config(SMOKE), folder, "A")
    assert folder.effects("A", 128, 0).exists()
    files = make_effects(load_config(SMOKE), folder, "A")
    expected = {name: output["hash"] for name, output in read_stamp(finished, "effects/A")["outputs"].items()}
    assert {path.relative_to(folder.root).as_posix(): artifact_hash(path) for path in files} == expected


def test_equal_models_agree_fully(tmp_path: Path) -> None:
    """A and B are one model with one SAE. The second SAE of each is another."""
    saes = [str(saelens(tmp_path / str(seed), 32, seed)) for seed in (0, 1)]
    config = study({"A": saes, "B": saes}, effects={"blocks": 64, "exact": 20, "contexts": 4, "loss_blocks": 8})
    folder = RunFolder(run(config, tmp_path / "run", until="effects"))
    same, other = (
        EffectAgreement.load(folder.effect_agreement(name)).summary() for name in ("A-B.w32", "A-A.w32.s0-s1")
    )
    assert same.n_compared > 8
    assert same.r_per_norm == pytest.approx(1, abs=1e-6)
    assert same.fingerprints["ablation"]["r"] == pytest.approx(1, abs=1e-5)
    assert same.ceiling_a == same.ceiling_b == pytest.approx(other.r_per_norm)
    assert abs(other.r_per_norm) < 0.9  # random directions
    shares = json.loads(folder.shared_loss("A").read_text())
    assert {row["partners"] for row in shares["rows"]} == {"", "A seed 1"}  # B's dictionary is A's own


def test_a_hook_behind_which_nothing_follows_is_left_out_with_the_reason(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, config = copied(finished, tmp_path / "run"), load_config(SMOKE)
    folder.exact_effects("A").parent.mkdir()
    folder.exact_effects("A").write_text("of an earlier run")
    deaf = live_site(config, folder, "A")
    with torch.no_grad():
        for weight in deaf.model.bridge.blocks[0].mlp.out.original_component.parameters():
            weight.zero_()  # nothing reads the neurons any more
    monkeypatch.setattr(measure_effects, "live_site", lambda *_: deaf)
    assert make_effects(config, folder, "A") == [folder.unmeasured_effects("A")]
    assert not folder.exact_effects("A").exists()
    reason = "nothing that model 'A' predicts depends on blocks.0.mlp.out"
    assert json.loads(folder.unmeasured_effects("A").read_text())["effects"].startswith(reason)
    assert f"note: effects/A: no effects: {reason}" in capsys.readouterr().err
    shutil.copy(finished / "effects" / "B.unmeasured.json", folder.unmeasured_effects("B"))
    compared = next(c for c in effect_comparisons(config, folder) if c.name == "A-B.w128")
    assert make_agreement(config, folder, compared) == [folder.unmeasured_effects("A-B.w128")]
    assert list(json.loads(folder.unmeasured_effects("A-B.w128").read_text())) == ["effects of A"]


def test_without_transformer_lens_nothing_is_measured_and_the_task_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, folder = load_config(SMOKE), RunFolder(tmp_path)
    before = [task.settings for task in tasks(config, folder)]
    monkeypatch.setattr(measure_effects, "can_run_models", lambda: False)
    assert all(task.settings not in before for task in tasks(config, folder))
    assert make_effects(config, folder, "A") == [folder.unmeasured_effects("A")]
    assert "transformer_lens" in json.loads(folder.unmeasured_effects("A").read_text())["effects"]
