"""SAEs of other tools go through the pipeline as they are: nothing trained, nothing converted by hand."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_saes import D_IN, HOOK, dictionary_learning, saelens, sparsify, study
from numpy.testing import assert_allclose

from universality import FeatureStore
from universality.activations import ModelSite
from universality.config import Config, load_config
from universality.corpus import TokenBlocks
from universality.errors import ConfigError, FormatError, MismatchError
from universality.matching import Match
from universality.models.language_model import load_model
from universality.pipeline import RunFolder, run
from universality.pipeline.cost.estimate import estimate
from universality.pipeline.cost.machine import count_text, describe_plan
from universality.pipeline.info import describe
from universality.pipeline.runner import run_controls
from universality.pipeline.stages.loaded_saes import _check, _checked, with_loaded_saes
from universality.pipeline.study import comparisons, sae_grid
from universality.sae import SAE
from universality.statistics import Calibration

DATA = Path(__file__).parents[2] / "sae" / "formats" / "data"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Three tools' SAEs of two widths, and one more of each model: of B another seed, of A something else."""
    root = tmp_path_factory.mktemp("saes")
    a = [
        sparsify(root / "layers.0", 24, 0),
        saelens(root / "saelens48", 48, 1, normalize="layer_norm"),
        saelens(root / "again", 48, 2),
    ]
    b = [
        dictionary_learning(root / "dl24", 24, 3),
        *(saelens(root / f"b48-{seed}", 48, seed, hook="blocks.0.hook_out") for seed in (4, 5)),
    ]
    return study({"A": list(map(str, a)), "B": list(map(str, b))})


@pytest.fixture(scope="module")
def finished(config: Config, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return RunFolder(run(config, tmp_path_factory.mktemp("run")))


def test_a_study_of_three_tools_reaches_its_report(config: Config, finished: RunFolder) -> None:
    resolved = with_loaded_saes(config)
    assert sae_grid(resolved) == [
        ("A", 24, 0), ("A", 48, 0), ("B", 24, 0), ("B", 48, 0), ("A", 48, 1), ("B", 48, 1),
    ]  # fmt: skip
    for comparison in comparisons(resolved, finished):
        assert finished.calibration(comparison.name).is_file()
    assert finished.report.is_file()
    assert "This run is not finished" not in finished.report.read_text(encoding="utf-8")
    assert finished.families("A").is_file()
    assert not (finished.root / "saes" / "train.jsonl").exists()


def test_what_is_no_second_seed_is_no_ceiling_and_is_named(config: Config, finished: RunFolder) -> None:
    """A's two SAEs normalise differently; B's two differ in their seed, as far as their files say."""
    frame = Calibration.load(finished.calibration("A-B.w48")).to_frame()
    assert frame["ceiling_a"].isna().all()
    assert frame["ceiling_b"].notna().any()
    headline = json.loads(finished.report.with_name("summary.json").read_text(encoding="utf-8"))["headline"]
    roles = [(part["role"], part["label"]) for part in headline["populations"]]
    assert roles[1:3] == [
        ("ceiling", "two SAE seeds of B"),
        ("control", "two SAEs of A that differ in normalize_activations"),
    ]
    assert headline["ceilings_of"] == ["B"]
    page = finished.report.read_text(encoding="utf-8")
    for said in (
        "The two SAEs of A differ in normalize_activations (layer_norm and none), so they give no ceiling.",
        "The files of the two SAEs of B do not record how they were trained",
        "The SAEs of A and B differ in normalize_activations (layer_norm and none): where their features disagree",
        "no two loaded SAEs of this width agree index by index",
    ):
        assert said in page, said
    assert "two SAE seeds of A" not in page
    assert page.count("two SAEs of A that differ in normalize_activations") >= 3  # table, controls, pictures


def test_models_in_one_basis_are_matched_by_decoder_rows_too(finished: RunFolder) -> None:
    """Here one model twice. Scores are the cosines, worked out by hand."""
    a, b = (SAE.load(finished.sae(name, 48, 0)).W_dec.numpy() for name in "AB")
    found = Match.load(finished.decoder_match("A-B.w48"))
    cosine = (a @ b.T) / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    assert_allclose(found.scores, cosine[found.rows, found.cols], atol=1e-6)
    assert finished.decoder_match("A-B.w48").with_suffix(".csv").is_file()
    with FeatureStore.open(finished.store("A", 48, 0)) as one, FeatureStore.open(finished.store("B", 48, 0)) as other:
        assert one.provenance["basis"] == other.provenance["basis"]
        assert one.provenance["basis"].endswith(" at blocks.0.hook_out")


def test_stores_hold_what_the_source_encodes(config: Config, finished: RunFolder) -> None:
    blocks = TokenBlocks.load(finished.blocks).select("choose", "report")
    activations = ModelSite(load_model("starter/seed0", "A"), HOOK).read(blocks)
    for path, target in zip(config.saes.load["A"], ("w24-s0", "w48-s0", "w48-s1"), strict=True):
        expected = SAE.load(path).encode(activations).toarray()
        with FeatureStore.open(finished.root / "features" / f"A.{target}.h5") as store:
            found = store.rows(slice(0, store.n_tokens)).toarray()
            said = store.provenance["sae"]["loaded"]
        assert_allclose(found, expected, atol=1e-4)
        assert said["from"] == path
        assert all(len(value) == 64 for value in said["sha256"].values())
    layer_norm, plain = (SAE.load(finished.sae("A", 48, n)) for n in (0, 1))
    assert (layer_norm.normalize_activations, plain.normalize_activations) == ("layer_norm", "none")


def test_quality_is_measured_as_of_trained_ones(finished: RunFolder) -> None:
    quality = json.loads((finished.sae("B", 24, 0) / "quality.json").read_text())
    assert quality["l0"] == pytest.approx(4, abs=0.1)
    assert np.isfinite(quality["loss"]["spliced"])
    assert quality["typical_explained_variance"] == pytest.approx(quality["explained_variance"], abs=0.2)
    shown = (
        f"explained variance {quality['explained_variance']:.3f}, {quality['typical_explained_variance']:.3f} of the"
    )
    assert any(shown in line for line in describe(finished.sae("B", 24, 0)))
    assert "of the median token" in finished.report.read_text(encoding="utf-8")


def test_a_second_run_does_nothing_and_a_changed_file_is_read_again(
    config: Config, finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config, finished.root)
    assert "nothing to do" in capsys.readouterr().out
    shutil.copytree(finished.root, tmp_path / "run")
    other = saelens(tmp_path / "other", 48, 9)
    changed = {**config.saes.load, "B": [config.saes.load["B"][0], str(other)]}
    run(study(changed), tmp_path / "run", until="train-saes")
    assert SAE.load(tmp_path / "run" / "saes" / "B" / "w48-s0").hash == SAE.load(other).hash


def test_the_run_s_own_configuration_runs_again(finished: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    run(load_config(finished.root / "config.yaml"), finished.root)
    assert "nothing to do" in capsys.readouterr().out


def test_a_plan_trains_nothing(config: Config) -> None:
    resolved = with_loaded_saes(config)
    stages = {stage.name: stage for stage in estimate(resolved, count_text(resolved))}
    trained = resolved.model_copy(update={"saes": resolved.saes.model_copy(update={"load": {}})})
    control = {stage.name: stage for stage in estimate(trained, count_text(trained))}
    assert stages["train-saes"].sae_flop < 0.1 * control["train-saes"].sae_flop
    assert stages["collect"].disk == control["collect"].disk


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda p: {
                "A": [saelens(p / f"a{w}", w, w) for w in (24, 48)],
                "B": [saelens(p / f"b{s}", 32, s) for s in range(3)],
            },
            "found the widths A 24, 48; B 32, 32, 32",
        ),
        (
            lambda p: {"A": [saelens(p / "a", 24, 0)], "B": [saelens(p / f"b{s}", 24, s) for s in range(3)]},
            "expected equally many SAEs of each width, for every model",
        ),
    ],
)
def test_a_grid_with_holes_is_refused(tmp_path: Path, make: Any, message: str) -> None:
    load = {name: list(map(str, paths)) for name, paths in make(tmp_path).items()}
    with pytest.raises(ConfigError, match=message):
        with_loaded_saes(study(load))


@pytest.fixture(scope="module")
def unequal(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A with two SAEs of 48 and one of 24; B with one of 16, one of 32 and two of 64."""
    root = tmp_path_factory.mktemp("unequal")
    widths = {"A": (24, 48, 48), "B": (16, 32, 64, 64)}
    load = {
        name: [str(saelens(root / f"{name}{seed}", width, 10 * len(of) + seed)) for seed, width in enumerate(of)]
        for name, of in widths.items()
    }
    return study(load)


@pytest.mark.slow
def test_models_with_saes_of_different_widths_are_compared_by_rank_to_the_report(
    unequal: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    resolved, folder = with_loaded_saes(unequal), RunFolder(run(unequal, tmp_path / "run"))
    assert resolved.saes.widths_of == {"A": [24, 48], "B": [16, 32, 64]}
    compared = {c.name: (c.of, c.widths, c.level) for c in comparisons(resolved, folder)}
    assert compared == {
        "A-B.w24-w32": ("models", (24, 32), 1),
        "A-B.w48-w64": ("models", (48, 64), 0),
        "A-A.w48.s0-s1": ("ceiling", (48, 48), 0),
        "B-B.w64.s0-s1": ("ceiling", (64, 64), 0),
    }
    calibration = Calibration.load(folder.calibration("A-B.w48-w64"))
    assert calibration.match.shape == (48, 64)
    frame = calibration.to_frame()
    assert len(frame) <= 48
    assert frame["ceiling_a"].notna().any()
    assert frame["ceiling_b"].notna().any(), "each model has a ceiling at its own width"
    for name, of in resolved.saes.widths_of.items():
        with FeatureStore.open(folder.store(name, of[-1], 0)) as store:
            assert store.n_features == of[-1]
        graph = json.loads(folder.families(name).read_text(encoding="utf-8"))
        assert str(of[0]) in json.dumps(graph)
    page = folder.report.read_text(encoding="utf-8")
    assert "This run is not finished" not in page
    for said in (
        "dictionaries of 48 and 64 features",
        "of A (48 wide)",
        "in B (64 wide)",
        "widths A 24, 48; B 16, 32, 64",
    ):
        assert said in page, said
    headline = json.loads(folder.report.with_name("summary.json").read_text(encoding="utf-8"))["headline"]
    assert (headline["width"], headline["width_b"], headline["ceilings_of"]) == (48, 64, ["A", "B"])
    capsys.readouterr()
    run(load_config(folder.root / "config.yaml"), folder.root)
    assert "nothing to do" in capsys.readouterr().out


def test_a_plan_counts_each_model_s_own_widths(unequal: Config) -> None:
    resolved = with_loaded_saes(unequal)
    stages = {stage.name: stage for stage in estimate(resolved, count_text(resolved))}
    assert stages["match"].pairs > 0
    only_b = resolved.model_copy(
        update={"saes": resolved.saes.model_copy(update={"widths_of": {"A": [48], "B": [16, 32, 64]}})}
    )
    fewer = {stage.name: stage for stage in estimate(only_b, count_text(only_b))}
    assert fewer["families"].disk < stages["families"].disk
    lines = describe_plan(unequal)
    assert "SAEs compared, by rank from the largest: A 24 with B 32; A 48 with B 64" in lines


def test_widths_of_models_are_not_set_by_hand() -> None:
    with pytest.raises(ConfigError, match="widths_of follows from SAEs under load; give the widths of SAEs to train"):
        study({}, saes={"widths_of": {"A": [8]}})


def test_several_seeds_of_every_model_are_numbered(tmp_path: Path) -> None:
    load = {m: [str(saelens(tmp_path / f"{m}{s}", 24, s)) for s in range(2)] for m in "AB"}
    saes = with_loaded_saes(study(load)).saes
    assert (saes.widths, saes.seeds, saes.ceiling_seed, saes.k, saes.architecture) == ([24], [0, 1], None, [4], "topk")


def test_each_model_may_have_one_more_of_the_largest_width(tmp_path: Path) -> None:
    small, large = ([str(saelens(tmp_path / f"w{w}s{s}", w, s)) for s in range(3)] for w in (24, 32))
    resolved = with_loaded_saes(study({"A": [small[0], large[0]], "B": [small[1], large[1], large[2]]}))
    assert sae_grid(resolved) == [("A", 24, 0), ("A", 32, 0), ("B", 24, 0), ("B", 32, 0), ("B", 32, 1)]
    there = [c.models for c in comparisons(resolved, RunFolder(tmp_path)) if c.of == "ceiling"]
    assert there == [("B", "B")]


def test_configurations_that_contradict_themselves_are_refused(tmp_path: Path) -> None:
    a = str(saelens(tmp_path / "a", 24, 0))
    with pytest.raises(ConfigError, match=r"names SAEs of A and none of B: name them too"):
        study({"A": a})
    with pytest.raises(ConfigError, match=r"saes\.load names C, the models are A, B"):
        study({"A": a, "B": a, "C": a})
    with pytest.raises(ConfigError, match="load names no SAE of B"):
        study({"A": a, "B": []})
    with pytest.raises(ConfigError, match=r"saes\.widths is \[512\], the SAEs under saes\.load have \[24\]"):
        with_loaded_saes(study({}, saes={"load": {"A": a, "B": a}, "widths": [512]}))
    with pytest.raises(FormatError, match="no such file or folder; expected"):
        with_loaded_saes(study({"A": a, "B": str(tmp_path / "nowhere")}))
    with pytest.raises(ConfigError, match="controls train SAEs as the study's own were trained"):
        run_controls(study({"A": a, "B": a}), tmp_path / "run")


def test_an_sae_of_another_model_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saelens(tmp_path / "a", 24, 0)
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"]["model"] = {"name": "elsewhere", "hash": "0" * 64}
    (folder / "cfg.json").write_text(json.dumps(config))
    site = ModelSite(load_model("starter/seed0", "A"), HOOK)
    given, sae = study({"A": str(folder), "B": str(folder)}), SAE.load(folder)
    _check(given, "A", site, str(folder), sae)  # in one basis the SAE may be of another checkpoint
    assert "was trained on another model than A" in capsys.readouterr().err
    apart = given.model_copy(update={"models": given.models.model_copy(update={"one_basis": False})})
    with pytest.raises(MismatchError, match=r"another model than A \(its weights differ\); name an SAE of this model"):
        _check(apart, "A", site, str(folder), sae)


def test_an_sae_of_another_layer_is_refused_before_a_model_is_run(tmp_path: Path) -> None:
    folder = saelens(tmp_path / "a", 24, 0)
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"]["hook_name"] = "blocks.3.hook_resid_post"
    (folder / "cfg.json").write_text(json.dumps(config))
    with pytest.raises(
        MismatchError, match=rf"was trained at blocks\.3\.hook_resid_post, the study reads {HOOK}; set hook"
    ):
        with_loaded_saes(study({"A": str(folder), "B": str(folder)}))


def test_a_run_scales_what_asks_for_it(finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the mean norm of the training tokens; with the same bytes each time."""
    asks = saelens(tmp_path / "a", 24, 0, normalize="expected_average_only_in")
    plain = saelens(tmp_path / "b", 24, 1)
    config = study({"A": [str(asks), str(plain)], "B": str(plain)})
    site = ModelSite(load_model("starter/seed0", "A"), HOOK)
    blocks, few = TokenBlocks.load(finished.blocks).select("train"), RunFolder(tmp_path / "few")
    few.blocks.parent.mkdir(parents=True)
    blocks.take(np.arange(40)).save(few.blocks)
    (target, sae), (_, untouched) = _checked(config, few, "A", site)
    train = site.read(blocks.take(np.arange(40)))
    factor = D_IN**0.5 / float(train.double().norm(dim=1).mean())
    assert sae.scale == pytest.approx(factor, rel=1e-5)
    assert_allclose(sae.encode(train).toarray() * factor, SAE.load(asks).encode(train * factor).toarray(), atol=1e-4)
    assert (target.name, untouched.scale) == ("w24-s0", 1)
    assert sae.metadata["activation_scale"]["n_tokens"] == len(train)
    said = f"activations are multiplied by {factor:.4g}, √d_in over their mean norm on {len(train):,} training tokens"
    assert said in capsys.readouterr().err
    again = next(_checked(config, few, "A", site))[1]
    one, other = (found.save(tmp_path / name) / "cfg.json" for found, name in ((sae, "one"), (again, "other")))
    assert one.read_bytes() == other.read_bytes()
    TokenBlocks.load(finished.blocks).select("choose").save(few.blocks)
    with pytest.raises(
        MismatchError, match=r"the 0 training tokens of this study have none .*; lower corpus\.held_out"
    ):
        list(_checked(config, few, "A", site))


def test_a_place_that_cannot_be_checked_and_an_encoder_of_another_site_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = saelens(tmp_path / "a", 24, 0, hook="model.layers.0.self_attn.o_proj")
    site, config = ModelSite(load_model("starter/seed0", "A"), HOOK), study({"A": str(folder), "B": str(folder)})
    sae = SAE.load(folder)
    _check(config, "A", site, str(folder), sae)
    said = capsys.readouterr().err
    assert (
        "trained at 'model.layers.0.self_attn.o_proj', which is no name of TransformerLens's: whether that is" in said
    )
    assert "transcoder" not in said
    other = torch.randn(D_IN, 24, generator=torch.Generator().manual_seed(9))
    other -= (other * sae.W_dec.T).sum(dim=0) * sae.W_dec.T  # not a trace of what is written
    _check(config, "A", site, str(folder), replace(sae, W_enc=other))
    assert "its encoder and decoder do not point the same way; a transcoder, or not trained?" in capsys.readouterr().err
    module = saelens(tmp_path / "b", 24, 0, hook="model.layers.0.mlp")
    with pytest.raises(MismatchError, match=r"at model\.layers\.0\.mlp, in TransformerLens's names blocks\.0\.hook_ml"):
        _check(config, "A", site, str(module), SAE.load(module))


def test_braces_stand_for_several_paths() -> None:
    load = study({"A": "a/w{512,1024}", "B": ["b/w{512,1024}"]}).saes.load
    assert load == {"A": ["a/w512", "a/w1024"], "B": ["b/w512", "b/w1024"]}


def test_saes_that_do_not_fit_their_model_are_refused_with_what_to_set(
    config: Config, finished: RunFolder, tmp_path: Path
) -> None:
    """In copies of a run whose models are checked, so that only the SAEs are at fault."""
    mlp, pre = (saelens(tmp_path / h, 24, 0, hook=h) for h in ("blocks.0.mlp.hook_post", "blocks.0.hook_resid_pre"))
    fine = saelens(tmp_path / "fine", 24, 1)
    narrow = shutil.copytree(DATA / "saelens_topk", tmp_path / "narrow")
    settings = (narrow / "cfg.json").read_text().replace("blocks.3.hook_resid_post", "blocks.0.hook_resid_post")
    (narrow / "cfg.json").write_text(settings)
    shutil.copytree(finished.root, tmp_path / "run")
    for load, message in [
        ({"A": str(mlp), "B": str(fine)}, r"was trained at blocks\.0\.mlp\.hook_post, .*; set hook: blocks\.0\.mlp"),
        ({"A": str(fine), "B": str(pre)}, r"saes\.load of B: .* was trained at blocks\.0\.hook_resid_pre"),
        ({"A": str(narrow), "B": str(narrow)}, "reads 12 activations a token, the model has 128 at"),
        ({m: [str(fine), str(shutil.copytree(fine, tmp_path / f"copy{m}"))] for m in "AB"}, "are one SAE"),
    ]:
        with pytest.raises(MismatchError, match=message):
            run(study(load), tmp_path / "run", until="train-saes")


def test_an_sae_whose_file_names_another_model_is_refused(tmp_path: Path) -> None:
    folder = saelens(tmp_path / "a", 24, 0)
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"]["model_name"] = "pythia-160m"
    (folder / "cfg.json").write_text(json.dumps(config))
    given, sae = study({"A": str(folder), "B": str(folder)}), SAE.load(folder)
    site = ModelSite(load_model("starter/seed0", "A"), HOOK)
    _check(given, "A", site, str(folder), sae)  # the name of a shipped model says nothing

    def loading(source: str) -> Config:
        return given.model_copy(update={"models": given.models.model_copy(update={"load": {"A": source, "B": source}})})

    _check(loading("EleutherAI/pythia-160m-deduped"), "A", site, str(folder), sae)
    with pytest.raises(
        MismatchError, match="was trained on pythia-160m, and A is EleutherAI/pythia-70m@step9; name an"
    ):
        _check(loading("EleutherAI/pythia-70m@step9"), "A", site, str(folder), sae)
