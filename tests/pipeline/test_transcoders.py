"""Transcoders by configuration: read at one hook, written at another, in stores, quality, refusals and the report.

The planted transcoder is the MLP of the starter model itself, whose neurons are rectified: they are its features.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_saes import saelens, study
from numpy.testing import assert_allclose

from universality import FeatureStore, Similarity
from universality.activations import ModelSite, harvest
from universality.arrays import evenly_spaced
from universality.config import Config
from universality.corpus import TokenBlocks
from universality.errors import ConfigError, MismatchError
from universality.models.language_model import LanguageModel, load_model
from universality.pipeline import RunFolder, run
from universality.pipeline.info import describe
from universality.pipeline.stages.loaded_saes import _check_written, with_loaded_saes
from universality.sae import SAE, Quality, loss_recovered

READ, WRITTEN = "blocks.0.mlp.hook_in", "blocks.0.hook_mlp_out"
Save = Callable[..., Path]


def mlp(model: LanguageModel, neurons: slice = slice(None), **changes: object) -> SAE:
    """The MLP of a model of one layer, or some of its neurons, as a transcoder."""
    part = model.bridge.blocks[0].mlp
    weights = (part.W_in[:, neurons], part.b_in[neurons], part.W_out[neurons], part.b_out)
    given = {"apply_b_dec_to_input": False, "transcoder": True, **changes}
    given.setdefault("metadata", {"hook_name": READ, "hook_name_out": WRITTEN})
    return SAE(*(weight.detach().clone() for weight in weights), architecture="relu", **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def models() -> dict[str, LanguageModel]:
    return {name: load_model(f"starter/seed{seed}", name) for seed, name in enumerate("AB")}


@pytest.fixture(scope="module")
def save(models: dict[str, LanguageModel], tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Save 32 neurons of a model as a transcoder; returns its folder."""

    def saved(name: str, first: int = 0, **changes: object) -> Path:
        transcoder = mlp(models[name], slice(first, None, 16), **changes)
        return transcoder.save(tmp_path_factory.mktemp("transcoder") / f"{name}{first}")

    return saved


def of_two(a: list[Path], b: list[Path], **other: object) -> Config:
    two = {"load": {"A": "starter/seed0", "B": "starter/seed1"}}
    corpus = {"max_documents": 12, "n_ctx": 32, "held_out": 0.5, "tokenizer": "starter"}
    effects = {"blocks": 32, "exact": 20, "contexts": 1, "loss_blocks": 4}
    given = {"hook": READ, "models": two, "corpus": corpus, "effects": effects}
    return study({"A": list(map(str, a)), "B": list(map(str, b))}, **given | other)


@pytest.fixture(scope="module")
def finished(save: Save, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two SAEs' worth of neurons of each model, the second for the ceiling."""
    config = of_two([save("A"), save("A", 1)], [save("B"), save("B", 1)])
    return RunFolder(run(config, tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def held_out(finished: RunFolder) -> TokenBlocks:
    return TokenBlocks.load(finished.blocks).select("choose", "report").take(np.arange(8))


def test_a_perfect_transcoder_recovers_the_loss_and_as_an_sae_it_does_not(
    models: dict[str, LanguageModel], held_out: TokenBlocks
) -> None:
    transcoder = mlp(models["A"])
    reads, writes = (ModelSite(models["A"], hook) for hook in (READ, WRITTEN))
    sae = replace(transcoder, transcoder=False)  # the control: what it reconstructs is taken for what it reads
    quality, wrong = Quality(transcoder), Quality(sae)
    for _, activations in harvest({"x": reads, "y": writes}, held_out):
        quality.update(activations["x"], target=activations["y"])
        wrong.update(activations["x"])
    assert quality.compute().explained_variance == pytest.approx(1, abs=1e-6)
    assert wrong.compute().explained_variance < 0
    losses = loss_recovered(
        transcoder,
        lambda replace: writes.spliced_loss(held_out, replace),
        quality.mean,
        lambda replace: writes.spliced_loss(held_out, replace, reads=reads),
    )
    assert (losses.over_zero, losses.over_mean) == (pytest.approx(1, abs=1e-5), pytest.approx(1, abs=1e-5))
    control = loss_recovered(sae, lambda replace: reads.spliced_loss(held_out, replace), wrong.mean)
    assert control.clean == pytest.approx(losses.clean, abs=1e-6)
    assert control.over_zero < 0.5
    with pytest.raises(MismatchError, match="a transcoder needs loss_through, the loss of the model with a function"):
        loss_recovered(transcoder, lambda replace: writes.spliced_loss(held_out, replace), quality.mean)


def test_a_skip_connection_is_part_of_what_is_spliced_in(
    models: dict[str, LanguageModel], held_out: TokenBlocks
) -> None:
    """Half of the MLP's output comes from its neurons, the other from a linear map that is subtracted from the MLP."""
    skip = 0.1 * torch.randn(128, 128, generator=torch.Generator().manual_seed(0))
    plain = mlp(models["A"])
    skipping = replace(plain, W_skip=skip)
    reads, writes = (ModelSite(models["A"], hook) for hook in (READ, WRITTEN))
    clean = writes.spliced_loss(held_out, lambda y: y)
    corrected = lambda x: skipping.reconstruct(x) - x @ skip  # noqa: E731
    assert writes.spliced_loss(held_out, corrected, reads=reads) == pytest.approx(clean, abs=1e-5)
    assert writes.spliced_loss(held_out, skipping.reconstruct, reads=reads) > clean + 0.05


def test_the_study_reads_and_writes_where_the_files_say(finished: RunFolder) -> None:
    config = (finished.root / "config.yaml").read_text()
    assert f"hook_out: {WRITTEN}" in config
    assert "This run is not finished" not in finished.report.read_text(encoding="utf-8")
    page = finished.report.read_text(encoding="utf-8")
    assert f"transcoders: codes read at {READ}; written at {WRITTEN}" in page
    source = json.loads((finished.model("A") / "source.json").read_text())
    assert (source["hook"], source["hook_out"], source["logit_weights"]) == (READ, "blocks.0.mlp.hook_out", "direct")


def test_stores_hold_what_is_written_where_it_is_written(finished: RunFolder, models: dict[str, LanguageModel]) -> None:
    """Logit weights are direct, wherever codes are read: worked out by hand from W_dec, the final gain and W_U."""
    rows = {}
    for name, model in models.items():
        transcoder = SAE.load(finished.sae(name, 32, 0))
        with FeatureStore.open(finished.store(name, 32, 0)) as store:
            said = {key: store.provenance[key] for key in ("site", "site_out")}
            assert said == {"site": "blocks.0.mlp.hook_in", "site_out": "blocks.0.mlp.hook_out"}
            assert store.site_written == "blocks.0.mlp.hook_out"
            assert store.dictionary is not None
            assert_allclose(store.dictionary.decoder, transcoder.W_dec)
            assert_allclose(store.dictionary.residual, transcoder.W_dec)
            assert_allclose(store.dictionary.encoder, transcoder.W_enc.T)
            u = store.unembedding()
            assert u is not None
        final, W_U = model.bridge.ln_final.weight.detach(), model.bridge.W_U.detach()
        centred = transcoder.W_dec - transcoder.W_dec.mean(dim=1, keepdim=True)
        rows[name] = ((centred * final) @ W_U).numpy()[:, u.mask]
    expected = np.corrcoef(rows["A"], rows["B"])[:32, 32:]
    with FeatureStore.open(finished.store("A", 32, 0)) as a, FeatureStore.open(finished.store("B", 32, 0)) as b:
        sim = Similarity.logit(a, b)
        alive = np.ix_(a.alive, b.alive)
        assert_allclose(sim.dense()[alive], expected[alive], atol=1e-4)


def test_quality_is_of_the_hook_that_is_written(finished: RunFolder, models: dict[str, LanguageModel]) -> None:
    """As measured here, also for the model's losses without its MLP."""
    quality = json.loads((finished.sae("A", 32, 0) / "quality.json").read_text())
    blocks = TokenBlocks.load(finished.blocks).select("choose", "report")
    part = blocks.take(evenly_spaced(len(blocks), 8))
    writes = ModelSite(models["A"], WRITTEN)
    assert quality["loss"]["zero"] == pytest.approx(writes.spliced_loss(part, torch.zeros_like), abs=1e-5)
    transcoder = SAE.load(finished.sae("A", 32, 0))
    x, y = ModelSite(models["A"], READ).read(part).double(), writes.read(part).double()
    rectified = (x @ transcoder.W_enc.double() + transcoder.b_enc.double()).relu()
    residual = y - rectified @ transcoder.W_dec.double() - transcoder.b_dec.double()
    explained = 1 - residual.square().sum() / (y - y.mean(dim=0)).square().sum()
    assert quality["explained_variance"] == pytest.approx(float(explained), abs=1e-5)
    assert quality["mse"] == pytest.approx(float(residual.square().mean()), rel=1e-4)
    shown = list(describe(finished.sae("A", 32, 0)))
    assert shown[0].startswith("transcoder ")
    assert f"  reads at: {READ}" in shown
    assert f"  writes at: {WRITTEN}" in shown


@pytest.mark.slow
def test_cached_activations_of_both_hooks_give_the_same_quality(
    save: Save, finished: RunFolder, tmp_path: Path
) -> None:
    given = {"models": {"load": {"A": "starter/seed0"}}, "activations": {"cache": str(tmp_path / "cache")}}
    config = of_two([save("A")], [], **given, saes={"load": {"A": str(save("A"))}, "quality_blocks": 8})
    folder = RunFolder(run(config, tmp_path / "run", until="collect"))
    hooks = {json.loads(path.read_text())["hook"] for path in (tmp_path / "cache").glob("*/cache.json")}
    assert hooks == {"blocks.0.mlp.hook_in", "blocks.0.mlp.hook_out"}
    cached, live = (json.loads((f.sae("A", 32, 0) / "quality.json").read_text()) for f in (folder, finished))
    assert cached["explained_variance"] == pytest.approx(live["explained_variance"], abs=1e-5)
    assert cached["loss"]["spliced"] == pytest.approx(live["loss"]["spliced"], abs=1e-5)
    with FeatureStore.open(folder.store("A", 32, 0)) as one, FeatureStore.open(finished.store("A", 32, 0)) as other:
        assert one.content_hash() == other.content_hash()


def test_a_hook_that_no_file_names_comes_from_the_configuration(save: Save) -> None:
    silent = [[save(name, metadata={"hook_name": READ})] for name in "AB"]
    with pytest.raises(ConfigError, match=r"A0 is a transcoder, and its file names no hook .*; set hook_out"):
        with_loaded_saes(of_two(*silent))
    resolved = with_loaded_saes(of_two(*silent, hook_out=WRITTEN))
    assert resolved.hooks_out == {"A": WRITTEN, "B": WRITTEN}
    one = with_loaded_saes(of_two(silent[0], [save("B")], hook_out={"A": WRITTEN}))
    assert one.hook_out == WRITTEN  # B's file names the same


def test_transcoders_and_saes_are_told_apart(save: Save, tmp_path: Path) -> None:
    sae = saelens(tmp_path / "sae", 32, 0, hook=READ)
    with pytest.raises(ConfigError, match=r"A0 is a transcoder and .*sae an SAE; to compare them, name the mo"):
        with_loaded_saes(of_two([save("A"), sae], [save("B")]))
    mixed = with_loaded_saes(of_two([save("A")], [sae]))
    assert (mixed.hook_out, mixed.hooks_written) == ({"A": WRITTEN}, {"A": WRITTEN, "B": READ})
    with pytest.raises(ConfigError, match=r"hook_out names B, but .*sae is an SAE, which writes where it reads"):
        with_loaded_saes(of_two([save("A")], [sae], hook_out={"B": WRITTEN}))
    with pytest.raises(ConfigError, match=r"hook_out is .*, but the SAEs under saes.load write where they read"):
        with_loaded_saes(of_two([sae], [sae], hook_out=WRITTEN))


def test_a_transcoder_of_another_hook_is_refused_with_both_named(save: Save, models: dict[str, LanguageModel]) -> None:
    config = with_loaded_saes(of_two([save("A")], [save("B")], hook_out="blocks.0.hook_resid_post"))
    site = ModelSite(models["A"], "blocks.0.hook_resid_post")
    with pytest.raises(MismatchError, match=rf"it writes at {WRITTEN}, hook_out is blocks.0.hook_resid_post; set"):
        _check_written(config, "A", site, "it", mlp(models["A"]))
    with pytest.raises(MismatchError, match=r"it writes 128 activations a token, the model has 512 at .*; set ho"):
        _check_written(config, "A", ModelSite(models["A"], "blocks.0.mlp.hook_post"), "it", mlp(models["A"]))


def test_a_hook_that_is_not_known_is_not_checked_and_said(
    save: Save, models: dict[str, LanguageModel], capsys: pytest.CaptureFixture[str]
) -> None:
    config = with_loaded_saes(of_two([save("A")], [save("B")]))
    site = ModelSite(models["A"], WRITTEN)
    _check_written(config, "A", site, "it", mlp(models["A"]))
    assert not capsys.readouterr().err
    for metadata, said in (({}, "its file does not say where"), ({"hook_name_out": "encoder.7"}, "says 'encoder.7'")):
        _check_written(config, "A", site, "it", mlp(models["A"], metadata=metadata))
        assert said in capsys.readouterr().err


def test_one_basis_is_that_of_the_hooks_that_are_written(save: Save) -> None:
    """They read in front of each block's MLP, and write into the stream, which all layers share."""
    two = {"load": {"A": "starter/seed0", "B": "starter/seed0"}, "one_basis": True}
    config = with_loaded_saes(of_two([save("A")], [save("A", 1)], models=two))
    assert config.models.one_basis
    elsewhere = {"hook_name": READ, "hook_name_out": "blocks.0.hook_resid_post"}
    apart = of_two([save("A")], [save("A", 1, metadata=elsewhere)], models=two)
    assert with_loaded_saes(apart).hooks_out["B"] == "blocks.0.hook_resid_post"
    neurons = {"hook_name": READ, "hook_name_out": "blocks.0.mlp.hook_post"}
    with pytest.raises(ConfigError, match=r"models\.one_basis: hooks that differ share a basis in the residual"):
        with_loaded_saes(of_two([save("A")], [save("A", 1, metadata=neurons)], models=two))
