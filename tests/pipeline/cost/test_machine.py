"""What a machine does in a second, the size of a text, and the lines of a plan."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from universality.config import load_config, parse_config
from universality.errors import ConfigError, DeviceWarning
from universality.pipeline.cost import machine
from universality.pipeline.cost.estimate import (
    Text,
)
from universality.pipeline.cost.machine import Rates, count_text, describe_plan, on_gpu
from universality.similarity.engine import device_blocks

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
    here = Rates("this machine", 1.0, 1.0, 2.0, 3.0, 4.0)
    there = on_gpu(here, "h100")
    assert (there.model_flop, there.sae_flop) == (67e12 * 0.4, 989e12 * 0.1)
    assert (there.entries, there.pairs) == (2.0, 3.0)
    assert "40% and 10% are assumed" in there.notes[0]
    assert "by its CPU, so that match and families are priced too high" in there.notes[0]
    with_card = on_gpu(replace(here, matched_on_cpu=False), "h200")
    assert with_card.notes[0].endswith("stores and matching as on this machine, whose card also matches")
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


def test_a_card_that_would_match_is_timed_at_it(torch_for_card: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    used, block = [], device_blocks.block
    monkeypatch.setattr(device_blocks, "block", lambda source, rows: used.append(source.device) or block(source, rows))
    assert min(machine._store_rates("cuda", n=500, width=64)) > 0
    assert set(used) == {torch_for_card}
    used.clear()
    assert machine._store_rates("cpu", n=500, width=64)[1] < 2e10, "a remembered answer was timed"
    assert not used
    monkeypatch.setattr(machine, "card_of", lambda name: torch_for_card if name == "cuda" else None)
    for part, rate in (("_product_rate", 1e9), ("_sae_rate", (1e9, 32)), ("_store_rates", (1e6, 1e6))):
        monkeypatch.setattr(machine, part, lambda *_, rate=rate: rate)
    text = Text(1000, 1000, 512, "")
    for device, matched_on_cpu, said in (("cuda", False, "32 a token, on cpu)"), ("cpu", True, "32 a token)")):
        config = load_config(CONFIGS / "smoke.yaml", [f"device={device}"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeviceWarning)  # there is no card: torch's CPU stands for it
            found = machine.measure(config, text, weights=False)
        assert found.matched_on_cpu == matched_on_cpu
        assert found.notes[1].endswith(said)
