"""Two layers of one model, by configuration: the hook is that of each model in caches, SAEs, stores, plan and page."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality import FeatureStore, run
from universality.activations import ModelSite, harvest
from universality.config import Config, load_config, parse_config
from universality.corpus import TokenBlocks
from universality.errors import ConfigError, MismatchError
from universality.matching import Match
from universality.models.language_model import load_model
from universality.pipeline import RunFolder
from universality.pipeline.cost.estimate import estimate, forward_flop, shape_of
from universality.pipeline.cost.machine import count_text
from universality.pipeline.runner import all_tasks, run_crosscoder
from universality.pipeline.stages.loaded_saes import _check
from universality.pipeline.stages.model_sites import make_sites
from universality.pipeline.stages.run_controls import SHUFFLED, _sites
from universality.pipeline.study import units_of
from universality.sae import SAE

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"
EARLY, LATE = "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"
HOOKS = {"early": EARLY, "late": LATE}


def study(trained: Path, cache: Path, **hooks: str) -> Config:
    model = trained / "models" / "M"
    settings = [
        f"models={{one_basis: true, load: {{early: {model}, late: {model}}}}}", f"hook={json.dumps(HOOKS | hooks)}",
        f"corpus.tokenizer={trained / 'corpus' / 'tokenizer.json'}", "corpus.max_documents=80",
        f"activations.cache={cache}", "saes.widths=[48]", "saes.ceiling_seed=null", "saes.k=4",
        "saes.tokens=20000", "saes.quality_blocks=8", "statistics.replicates=1", "statistics.bootstrap=5",
        "statistics.nulls=[global]", "map.draw=false",
    ]  # fmt: skip
    return load_config(SMOKE, settings)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a model of two layers, M."""
    settings = [
        "models.train={M: {init: 0, order: 1}}", "models.architecture.n_layers=2", "models.training.epochs=0.2",
        "corpus.max_documents=80",
    ]  # fmt: skip
    return run(load_config(SMOKE, settings), tmp_path_factory.mktemp("trained"), until="train-models")


@pytest.fixture(scope="module")
def config(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    return study(trained, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def made(config: Config, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return RunFolder(run(config, tmp_path_factory.mktemp("layers")))


def test_each_layer_s_features_are_those_of_its_own_activations(config: Config, made: RunFolder, trained: Path) -> None:
    blocks = TokenBlocks.load(made.blocks).select("choose", "report")
    model = load_model(trained / "models" / "M", "M")
    at = {hook: ModelSite(model, hook).read(blocks) for hook in (EARLY, LATE)}
    for name, other in (("early", LATE), ("late", EARLY)):
        sae = SAE.load(made.sae(name, 48, 0))
        assert sae.metadata["hook"] == HOOKS[name]
        with FeatureStore.open(made.store(name, 48, 0)) as store:
            found = store.rows(slice(0, store.n_tokens)).toarray()
            assert store.provenance["basis"].endswith(" at the residual stream")
            assert store.provenance["site"] == ModelSite(model, HOOKS[name]).hook
        assert_allclose(found, sae.encode(at[HOOKS[name]]).toarray(), atol=1e-4)
        assert np.abs(found - sae.encode(at[other]).toarray()).max() > 0.1
    assert config.activations.cache is not None
    assert len(list(Path(config.activations.cache).glob("*/*.json"))) == 2


def test_their_decoder_rows_are_matched(made: RunFolder) -> None:
    early, late = (SAE.load(made.sae(name, 48, 0)).W_dec.numpy() for name in HOOKS)
    found = Match.load(made.decoder_match("early-late.w48"))
    assert len(found.rows) == 48
    cosine = early @ late.T
    known = ~(found.dead_rows[found.rows] | found.dead_cols[found.cols])
    assert known.any()
    assert_allclose(found.scores[known], cosine[found.rows, found.cols][known], atol=1e-5)
    assert found.scores[known].mean() > cosine.mean() + 0.1  # partners, and not any two rows


def test_the_page_names_both_hooks_and_says_nothing_of_training_apart(config: Config, made: RunFolder) -> None:
    page = made.report.read_text(encoding="utf-8")
    assert "Do early and late have the same features?" in page
    assert "trained apart" not in page
    assert f"early {EARLY}; late {LATE}" in page
    assert units_of(config) == f"basis directions of {EARLY} and {LATE}"
    assert units_of(config) in page
    assert units_of(config, "late", "late") == f"basis directions of {LATE}"


def test_a_crosscoder_reads_both_layers(config: Config, made: RunFolder) -> None:
    run_crosscoder(config, made.root)
    told = json.loads((made.root / "crosscoder" / "cfg.json").read_text())["metadata"]
    assert told["hook"] == f"{EARLY}+{LATE}"


def test_only_the_layer_that_changed_is_done_again(config: Config, made: RunFolder, trained: Path) -> None:
    assert config.activations.cache is not None
    other = study(trained, Path(config.activations.cache), late="blocks.1.hook_mlp_out")
    before, after = ({task.name: task for task in all_tasks(c, made)} for c in (config, other))
    changed = {name for name in before if before[name].settings != after[name].settings}
    assert changed == {"train-models/late", "train-saes", "collect/late", "effects/late"}


def test_a_plan_counts_each_model_up_to_its_own_hook(config: Config) -> None:
    text = count_text(config)

    def flop(**hooks: str) -> float:
        stages = estimate(config.model_copy(update={"hook": hooks}), text)
        return next(stage.model_flop for stage in stages if stage.name == "collect")

    early, both, late = flop(early=EARLY, late=EARLY), flop(early=EARLY, late=LATE), flop(early=LATE, late=LATE)
    assert early < both < late
    assert both == pytest.approx((early + late) / 2)


def live(config: Config, **load: str) -> Config:
    """The study without its cache."""
    update: dict[str, object] = {"activations": config.activations.model_copy(update={"cache": None})}
    update["models"] = config.models.model_copy(update={"load": config.models.load | load})
    return config.model_copy(update=update)


@pytest.fixture(scope="module")
def copied(config: Config, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    """The study with two models, which happen to be alike."""
    copy = shutil.copytree(trained / "models" / "M", tmp_path_factory.mktemp("copy") / "M")
    return live(config, late=str(copy))


def test_the_model_is_loaded_once_and_runs_once_a_batch(config: Config, copied: Config, made: RunFolder) -> None:
    sites = make_sites(live(config, late=f"{config.models.load['late']}/../M/"), made)  # the same, spelled otherwise
    early, late = sites.values()
    assert early.model.bridge is late.model.bridge
    assert [site.name for site in sites.values()] == list(sites) == config.models.names
    blocks, begun = TokenBlocks.load(made.blocks).select("choose", "report"), []
    with early.model.bridge.hooks(fwd_hooks=[("blocks.0.hook_in", lambda _, hook: begun.append(hook.name))]):
        read = sum(len(rows) for rows, _ in harvest(sites, blocks, batch_blocks=50))
    assert (read, len(begun)) == (blocks.n_tokens, -(-len(blocks) // 50))
    apart = make_sites(copied, made)
    assert apart["early"].model.bridge is not apart["late"].model.bridge
    few = blocks.take(np.arange(5))
    assert all(sites[name].read(few).equal(apart[name].read(few)) for name in sites)


def test_a_plan_counts_a_model_that_is_loaded_under_two_names_once(config: Config, copied: Config) -> None:
    text = count_text(config)
    one, two = (next(s for s in estimate(c, text) if s.name == "train-saes") for c in (live(config), copied))
    shape = shape_of(config, "early", text.d_vocab)
    assert two.memory - one.memory == 4 * shape.parameters
    assert two.tokens - one.tokens == config.saes.tokens
    further = config.saes.tokens * forward_flop(shape, config.corpus.n_ctx, EARLY)  # the later hook is in both
    assert two.model_flop - one.model_flop == pytest.approx(further)
    assert (one.sae_flop, one.disk) == (two.sae_flop, two.disk)


def test_shuffled_layers_are_of_one_shuffled_model(config: Config, made: RunFolder) -> None:
    sites = _sites(config, made, SHUFFLED)
    assert [site.hook for site in sites.values()] == ["blocks.0.hook_out", "blocks.1.hook_out"]
    assert len({site.model_hash for site in sites.values()}) == 1


def test_an_sae_of_another_layer_is_refused_with_the_model_s_own_hook(
    config: Config, made: RunFolder, trained: Path
) -> None:
    site, early = ModelSite(load_model(trained / "models" / "M", "late"), LATE), made.sae("early", 48, 0)
    _check(config, "late", site, str(made.sae("late", 48, 0)), SAE.load(made.sae("late", 48, 0)))
    message = r"late: .* the study reads blocks\.1\..*; set hook: \{late: blocks\.0\..*\} for this model"
    with pytest.raises(MismatchError, match=message):
        _check(config, "late", site, str(early), SAE.load(early))


@pytest.mark.parametrize(
    ("hook", "message"),
    [
        ({"early": EARLY}, "^configuration: hook names none of late: one for every model, or a single one for all$"),
        ({**HOOKS, "later": LATE}, "hook names later, the models are early, late"),
        (
            {"early": "blocks.0.mlp.hook_post", "late": "blocks.1.mlp.hook_post"},
            r"share a basis in the residual stream only, found blocks\.0\.mlp\.hook_post; set .*one_basis out",
        ),
        (
            {**HOOKS, "late": "blocks.1.mlp.hook_post"},
            rf"hook: expected the same part of a block for every model, found {EARLY} reads the residual stream; "
            r"blocks\.1\.mlp\.hook_post reads the MLP's neurons; features of different parts are compared in Python",
        ),
        ({"early": 3, "late": LATE}, r"hook\.early: expected text; found 3$"),
        (3, r"hook: expected text or a section; found 3$"),
    ],
)
def test_hooks_that_do_not_fit_the_models_are_refused(hook: object, message: str) -> None:
    models = {"load": {"early": "starter/seed0", "late": "starter/seed0"}, "one_basis": True}
    with pytest.raises(ConfigError, match=message):
        parse_config({"models": models, "hook": hook})


def test_neurons_of_two_layers_are_compared_where_no_basis_is_claimed() -> None:
    models = {"load": {"early": "starter/seed0", "late": "starter/seed0"}}
    hook = {"early": "blocks.0.mlp.hook_post", "late": "blocks.1.mlp.hook_post"}
    config = parse_config({"models": models, "hook": hook})
    assert config.hooks == hook
    assert units_of(config) == "neurons"
    assert (
        parse_config({"models": {**models, "one_basis": True}, "hook": dict.fromkeys(hook, EARLY)}).hooks["late"]
        == EARLY
    )
