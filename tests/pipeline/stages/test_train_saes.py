"""What the training of SAEs depends on, and which models' SAEs learn side by side."""

from pathlib import Path

import pytest
from run_commands import SMOKE

from universality.config import load_config, parse_config
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.train_saes import _log_name, _streams, tasks
from universality.sae.training.distributed import Ranks


@pytest.mark.parametrize(
    ("override", "again"),
    [
        ("saes.checkpoint_steps=5", False),
        ("saes.watch=none", False),
        ("saes.held_out_steps=5", False),
        ("statistics.replicates=3", False),
        ("saes.weight_decay=0", False),
        ("saes.weight_decay=0.001", True),
        ("saes.dead_after_tokens=20000", False),
        ("saes.dead_after_tokens=40000", True),
        ("saes.k=4", True),
        ("saes.seeds=[3]", True),
        ("activations.cache=cache", True),  # its number format rounds activations
    ],
)
def test_saes_are_trained_again_where_their_outcome_changes(override: str, again: bool, tmp_path: Path) -> None:
    (before,), (after,) = (tasks(load_config(SMOKE, overrides), RunFolder(tmp_path)) for overrides in ([], [override]))
    assert (before.settings != after.settings) is again
    assert "weight_decay" not in before.settings[1]  # a run made before it existed is not trained again


def test_models_of_one_tokenizer_share_a_stream_and_its_log() -> None:
    config = load_config(SMOKE)
    assert _streams(config, ["A", "B"]) == [["A", "B"]]
    assert _streams(config, []) == []  # a rank without SAEs
    sites = {"A": None, "B": None}
    assert _log_name(config, sites, Ranks()) == "train.jsonl"  # type: ignore[arg-type]
    assert _log_name(config, sites, Ranks(1, 2)) == "train.rank1.jsonl"  # type: ignore[arg-type]


def test_models_of_several_tokenizers_have_a_stream_and_a_log_each() -> None:
    models = {"load": {"A": "starter/seed0", "B": "starter/seed1"}, "tokenizers": "own"}
    config = parse_config({"models": models})
    assert _streams(config, ["A", "B"]) == [["A"], ["B"]]
    assert _log_name(config, {"B": None}, Ranks(1, 2)) == "train.B.rank1.jsonl"  # type: ignore[dict-item]
