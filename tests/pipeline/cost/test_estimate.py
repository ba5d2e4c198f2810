"""Costs against hand counts, and against what finished runs left on the disk."""

import json
from pathlib import Path

import pytest
from run_commands import SMOKE

from universality.config import Config, load_config, parse_config
from universality.errors import ModelError
from universality.files import write_json
from universality.pipeline.cost.estimate import (
    Shape,
    Text,
    estimate,
    forward_flop,
    sae_step_flop,
    shape_of,
    width_at,
)
from universality.pipeline.cost.machine import blank_blocks, count_text
from universality.pipeline.paths import RunFolder

CONFIGS = Path(__file__).parents[3] / "configs"
PYTHIA_70M = Shape(6, 512, 2048, 50_304)
TEXT = Text(5_000_000, 1_000_000, 50_304, "given")
# Bytes that `universality run configs/quickstart.yaml` left, and its tokens (corpus/summary.json).
QUICKSTART = {
    "corpus": 28_037_515,
    "train-saes": 38_118_117,
    "collect": 2_551_498_795,
    "match": 6_170_793,
    "families": 5_116_161,
    "export, report": 62_828_572,
}
QUICKSTART_TOKENS = (5_117_840, 1_140_158)


def test_flop_of_a_forward_pass_is_the_hand_count() -> None:
    shape = Shape(n_layers=2, d_model=8, d_mlp=32, d_vocab=100)
    attention = 4 * 2 * 8 * 8 + 2 * 2 * 16 * 8  # Q, K, V, O; QKᵀ and AV over 16 positions
    block = attention + 2 * 2 * 8 * 32
    assert forward_flop(shape, 16) == 2 * block + 2 * 8 * 100
    assert forward_flop(shape, 16, "blocks.0.mlp.hook_post") == attention + 2 * 8 * 32
    assert forward_flop(shape, 16, "blocks.0.mlp.out.hook_in") == attention + 2 * 8 * 32
    assert forward_flop(shape, 16, "blocks.1.hook_resid_post") == 2 * block
    assert forward_flop(shape, 16, "blocks.1.hook_resid_pre") == block
    assert forward_flop(shape, 16, "blocks.0.hook_attn_out") == attention
    assert forward_flop(shape, 16, "ln_final.hook_normalized") == 2 * block


def test_grouped_keys_and_gates_are_counted() -> None:
    shape = Shape(1, 8, 32, 100, d_kv=4, gated=True)
    assert shape.block == 2 * 8 * 8 + 2 * 8 * 4 + 3 * 8 * 32


def test_heads_wider_than_the_stream_are_counted() -> None:
    shape = Shape(1, 8, 32, 100, d_kv=4, d_q=16)
    assert shape.attention == 2 * 8 * 16 + 2 * 8 * 4  # Q and O, K and V
    assert forward_flop(shape, 10, "blocks.0.hook_attn_out") == 2 * shape.attention + 2 * 2 * 10 * 16


def test_flop_of_torch_agrees() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    from universality.activations import ModelSite
    from universality.models.language_model import new_model
    from universality.models.model_settings import ModelArchitecture

    small = ModelArchitecture(n_layers=2, d_model=32, n_heads=2, d_mlp=64)
    site = ModelSite(new_model(small, d_vocab=50, n_ctx=16, init_seed=0, name="m"), "blocks.1.hook_resid_post")
    with FlopCounterMode(display=False) as counter:
        site.read(blank_blocks(4, 16, 50))
    assert counter.get_total_flops() == pytest.approx(4 * 16 * forward_flop(Shape(2, 32, 64, 50), 16, site.hook))


def test_flop_of_an_sae_step_is_the_hand_count() -> None:
    assert sae_step_flop("topk", 512, 2048, 32) == 2 * 512 * 2048 + 4 * 2 * 32 * 512
    assert sae_step_flop("relu", 512, 2048, 32) == 6 * 2 * 512 * 2048


def test_training_takes_three_forward_passes() -> None:
    config = load_config(CONFIGS / "from_scratch.yaml")
    trained = next(stage for stage in estimate(config, Text(1000, 0, 4096, "")) if stage.name == "train-models")
    assert trained.model_flop == 2 * 3 * 2000 * forward_flop(Shape(1, 128, 512, 4096), 128)  # two models, two epochs
    assert trained.tokens == 4000


def test_plan_of_the_quickstart_is_what_it_left_on_the_disk() -> None:
    text = Text(*QUICKSTART_TOKENS, 4096, "counted by a run")
    found = {stage.name: stage.disk for stage in estimate(load_config(CONFIGS / "quickstart.yaml"), text)}
    for stage, written in QUICKSTART.items():
        assert written / 1.5 < found[stage] < written * 1.5, stage


def test_one_more_sae_of_each_model_is_in_the_plan_by_default() -> None:
    models = {"load": {"A": "starter/seed0", "B": "starter/seed1"}}
    by_default, without = (
        {stage.name: stage for stage in estimate(parse_config({"models": models, "saes": saes}), TEXT)}
        for saes in ({}, {"ceiling_seed": None})
    )
    more = 2 * sae_step_flop("topk", 512, 2048, 32) * 2_500_000
    assert by_default["train-saes"].sae_flop - without["train-saes"].sae_flop == pytest.approx(more, rel=0.2)
    assert by_default["match"].pairs - without["match"].pairs == pytest.approx(2 / 3 * without["match"].pairs)


UNPACKED = {CONFIGS / "smollm2.yaml", CONFIGS / "smollm2_gemma3.yaml"}  # of folders that a script makes first


@pytest.mark.parametrize("path", sorted(UNPACKED), ids=lambda p: p.stem)
def test_a_folder_that_is_yet_to_be_made_is_named(path: Path) -> None:
    with pytest.raises(ModelError, match=r"smollm2/: no such model; expected a folder with config\.json"):
        estimate(load_config(path), TEXT)


@pytest.mark.parametrize("path", sorted(set(CONFIGS.glob("*.yaml")) - UNPACKED), ids=lambda p: p.stem)
def test_every_other_shipped_config_can_be_planned_without_a_network(path: Path) -> None:
    config = load_config(path)
    stages = estimate(config, TEXT)
    assert next(stage.name for stage in stages) == "corpus"
    assert all(stage.disk > 0 for stage in stages if stage.name in ("corpus", "train-saes", "collect"))


@pytest.mark.parametrize(
    ("name", "d_in"),
    [
        ("pythia_70m_residual", 512),
        ("pythia_70m_mlp", 2048),
        ("pythia_160m_residual", 768),
        ("pythia_160m_mlp", 3072),
        ("crfm_gpt2", 768),
        ("base_instruct", 576),
        ("checkpoints", 512),
    ],
)
def test_sizes_of_published_models_are_known(name: str, d_in: int) -> None:
    config = load_config(CONFIGS / f"{name}.yaml")
    assert {width_at(shape_of(config, model, 0), config.hook) for model in config.models.names} == {d_in}


def test_sizes_come_from_a_folder(tmp_path: Path) -> None:
    def config(**values: object) -> Config:
        (tmp_path / "config.json").write_text(json.dumps(values))
        return parse_config({"models": {"load": {"A": str(tmp_path)}}})

    gpt2 = config(model_type="gpt2", n_embd=16, n_layer=2, vocab_size=60, n_inner=None)
    assert shape_of(gpt2, "A", 0) == Shape(2, 16, 64, 60)
    llama = config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=40,
        vocab_size=60, hidden_act="silu", rms_norm_eps=1e-5,
    )  # fmt: skip
    assert shape_of(llama, "A", 0) == Shape(2, 16, 40, 60, d_kv=8, gated=True)
    with pytest.raises(ModelError, match=r"config\.json: expected the sizes of a transformer, found KeyError"):
        shape_of(config(model_type="other"), "A", 0)


def test_sizes_of_gemma_3_come_from_its_config(tmp_path: Path) -> None:
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    config = Gemma3TextConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1, head_dim=8,
        intermediate_size=40, vocab_size=60,
    )  # fmt: skip
    config.architectures = ["Gemma3ForCausalLM"]
    config.save_pretrained(tmp_path)
    shape = shape_of(parse_config({"models": {"load": {"A": str(tmp_path)}}}), "A", 0)
    assert shape == Shape(2, 16, 40, 60, d_kv=8, gated=True, d_q=32, tied=True)
    matrices = {id(w): w.numel() for w in Gemma3ForCausalLM(config).parameters() if w.ndim == 2}
    assert shape.parameters == sum(matrices.values())


def test_logits_of_a_large_vocabulary_are_held_a_block_at_a_time(tmp_path: Path) -> None:
    def planned(d_vocab: int) -> int:
        values = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1}
        write_json(tmp_path / "config.json", {**values, "vocab_size": d_vocab})
        stages = estimate(parse_config({"models": {"load": {"A": str(tmp_path)}}}), TEXT)
        memory = next(stage.memory for stage in stages if stage.name == "train-models")
        return memory - 4 * shape_of(parse_config({"models": {"load": {"A": str(tmp_path)}}}), "A", 0).parameters

    assert planned(250_000) - planned(100) < 4 * 2**28  # the logits of 32 blocks would take 4 GB alone
    assert planned(1_000_000) - planned(500_000) == 4 * (4 * 128 * 1_000_000) - 4 * 2**28  # a block is above the limit


def test_models_with_tokenizers_of_their_own_read_their_own_tokens() -> None:
    models = {"load": {"A": "starter/seed0", "B": "starter/seed1"}, "tokenizers": {"A": "starter"}}
    config = parse_config({"models": models})

    def collected(own: dict[str, float]) -> tuple[int, float, float]:
        stages = {stage.name: stage for stage in estimate(config, Text(5_000_000, 1_000_000, 4096, "", own))}
        return stages["collect"].tokens, stages["collect"].model_flop, stages["match"].pairs

    tokens, flop, pairs = collected({"A": 1, "B": 1})
    assert tokens == 2_000_000
    assert collected({"A": 1.5, "B": 2}) == (3_500_000, pytest.approx(1.75 * flop), pytest.approx(3.08 * pairs, 0.01))


def test_an_unknown_model_is_refused_with_what_to_do() -> None:
    config = parse_config({"models": {"load": {"A": "someone/unheard-of@main"}}})
    with pytest.raises(ModelError, match=r"sizes are unknown here.*`hf download someone/unheard-of config\.json`"):
        shape_of(config, "A", 0)


def test_the_plan_foretold_the_bytes(finished: Path) -> None:
    from universality.pipeline.cost.estimate import estimate

    config = load_config(SMOKE)
    text = count_text(config)
    tokens = json.loads(RunFolder(finished).corpus_summary.read_text())["tokens"]
    assert text.train == pytest.approx(tokens["train"], rel=0.25)
    planned = {stage.name: stage.disk for stage in estimate(config, text)}
    for stage, folder in {"train-models": "models", "train-saes": "saes", "collect": "features"}.items():
        suffix = {"collect": "*.h5"}.get(stage, "*.safetensors")
        written = sum(path.stat().st_size for path in (finished / folder).rglob(suffix))
        assert written / 1.5 < planned[stage] < written * 1.5, stage


def test_a_model_that_cannot_take_part_is_not_planned_with(tmp_path: Path) -> None:
    sizes = {
        "hidden_size": 8,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "vocab_size": 9,
    }
    write_json(tmp_path / "config.json", {"model_type": "bert", "architectures": ["BertForMaskedLM"], **sizes})
    config = Config.model_validate({"models": {"load": {"A": str(tmp_path)}}})
    with pytest.raises(ModelError, match="BertForMaskedLM is an encoder"):
        shape_of(config, "A", d_vocab=9)
