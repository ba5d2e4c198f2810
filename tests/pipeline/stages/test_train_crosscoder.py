"""A crosscoder stands beside the matching; a killed one ends the same."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from run_commands import SMOKE, call_together, command, contents

from universality.config import load_config, parse_config
from universality.errors import ConfigError
from universality.pipeline import RunFolder
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.pipeline.runner import run_crosscoder
from universality.pipeline.stages import train_crosscoder
from universality.pipeline.stages.train_crosscoder import made_crosscoder
from universality.pipeline.task import artifact_hash
from universality.sae import Crosscoder


@pytest.mark.slow
def test_a_crosscoder_stands_beside_the_matching_and_a_killed_one_ends_the_same(finished: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    for folder in (run, whole):
        shutil.copytree(finished, folder)
    settings = "--set", "saes.checkpoint_steps=5"  # changes nothing in what is learnt
    process = subprocess.Popen(command("crosscoder", SMOKE, "--out", run, *settings), stdout=subprocess.DEVNULL)
    while not list(run.glob("crosscoder/checkpoints/*.pt")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (run / "crosscoder" / "cfg.json").exists()
    done = call_together(2, "crosscoder", SMOKE, "--out", run, *settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("crosscoder of A = A and B = B") == 1
    assert "exclusive A" in done.stdout
    steps = [json.loads(line)["step"] for line in (run / "crosscoder" / "train.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    config = load_config(SMOKE)
    for task in train_crosscoder.tasks(config, RunFolder(whole)):
        task.make()
    made = {name.removeprefix("crosscoder/"): value for name, value in contents(run, "crosscoder").items()}
    assert {"cfg.json", "sae_weights.safetensors", "A+B.h5", "norms.csv", "features.csv", "crosscoder.svg"} < set(made)
    assert {name: artifact_hash(whole / "crosscoder" / name) for name in made} == made
    crosscoder = Crosscoder.load(run / "crosscoder")
    assert (crosscoder.models, crosscoder.widths) == (("A", "B"), (64, 64))
    control = Crosscoder.load(run / "crosscoder" / "unpaired")
    assert (control.scales, control.sae.d_sae) == (crosscoder.scales, crosscoder.sae.d_sae)
    assert control.sae.hash != crosscoder.sae.hash
    table = pd.read_csv(run / "crosscoder" / "classes.csv")
    assert table["n"].sum() + json.loads((run / "crosscoder" / "summary.json").read_text())["n_dead"] == 128
    assert made_crosscoder(config, RunFolder(run)) is not None
    other = config.model_copy(update={"crosscoder": config.crosscoder.model_copy(update={"width": 64})})
    assert made_crosscoder(other, RunFolder(run)) is None
    report_as_it_is(run)
    assert (run / "figures" / "crosscoder.png").read_bytes() == (run / "crosscoder" / "crosscoder.png").read_bytes()


def test_a_crosscoder_that_cannot_be_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    alone = parse_config({"models": {"load": {"A": "starter/seed0"}}})
    with pytest.raises(ConfigError, match=r"a crosscoder needs two models; name a second one under models\.load"):
        run_crosscoder(alone, tmp_path / "run")
    pair = {"models": {"load": {"A": "starter/seed0", "B": "starter/seed1"}}, "crosscoder": {"width": 16}}
    with pytest.raises(ConfigError, match=r"crosscoder\.k: 32 features cannot fire in a dictionary of 16; lower it"):
        run_crosscoder(parse_config(pair), tmp_path / "run")
    assert not (tmp_path / "run").exists()
