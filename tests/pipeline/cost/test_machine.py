"""What a machine does in a second, the size of a text, and the lines of a plan."""

from pathlib import Path

import pytest

from universality.config import load_config, parse_config
from universality.errors import ConfigError
from universality.pipeline.cost import machine
from universality.pipeline.cost.estimate import (
    Text,
)
from universality.pipeline.cost.machine import Rates, count_text, describe_plan, on_gpu

CONFIGS = Path(__file__).parents[3] / "configs"


QUICKSTART_TOKENS = (5_117_840, 1_140_158)


def test_tokens_are_counted_without_tokenising_all_of_them() -> None:
    text = count_text(load_config(CONFIGS / "quickstart.yaml"))
    assert text.train == pytest.approx(QUICKSTART_TOKENS[0], rel=0.1)
    assert text.held_out == pytest.approx(QUICKSTART_TOKENS[1], rel=0.1)
    assert text.d_vocab == 4096


def test_tokens_of_an_array_are_counted(tmp_path: Path) -> None:
    import numpy as np

    np.save(tmp_path / "x.npy", np.zeros((10, 20), np.int32))
    corpus = {"source": str(tmp_path / "x.npy"), "d_vocab": 7, "held_out": 0.5}
    assert count_text(parse_config({"corpus": corpus, "models": {"load": {"A": "starter/seed0"}}})) == Text(
        100, 100, 7, "tokens counted"
    )


def test_a_gpu_of_the_table_states_its_assumption() -> None:
    here = Rates("this machine", 1.0, 1.0, 2.0, 3.0)
    there = on_gpu(here, "h100")
    assert (there.model_flop, there.sae_flop) == (67e12 * 0.4, 989e12 * 0.1)
    assert (there.entries, there.pairs) == (2.0, 3.0)
    assert "40% and 10% are assumed" in there.notes[0]
    with pytest.raises(ConfigError, match="--gpu v100: not in the table of peaks; known: h100, h200, a100"):
        on_gpu(here, "v100")


def test_the_command_measures_and_prints_every_stage() -> None:
    lines = describe_plan(load_config(CONFIGS / "smoke.yaml"), "h100")
    assert [line.split()[0] for line in lines[1:10]] == [
        "corpus", "train-models", "train-saes", "collect", "match", "families", "effects", "map", "export,",
    ]  # fmt: skip
    assert "within 3×" in lines[-1]
    assert any("a forward pass of A" in line for line in lines)


def test_an_sae_too_wide_to_allocate_is_measured_at_a_narrower_width(tmp_path: Path) -> None:
    config = load_config(CONFIGS / "smoke.yaml", ["saes.widths=[2000000]", "saes.k=32"])
    rate, width = machine._sae_rate(config, 4096)
    assert rate > 0
    assert width * 24 * 4096 <= machine._MOST
