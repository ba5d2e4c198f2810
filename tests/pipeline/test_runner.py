"""The command line on real text: everything once, nothing twice, and a killed run that ends the same."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pandas as pd
import pytest

from universality import FeatureStore
from universality.cli import app, main
from universality.config import load_config
from universality.pipeline import RunFolder
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.pipeline.runner import _corpus_inputs
from universality.pipeline.stages.train_crosscoder import crosscoder_tasks, made_crosscoder
from universality.pipeline.stages.write_exports import decoder
from universality.pipeline.study import comparisons, sae_grid
from universality.pipeline.task import artifact_hash
from universality.sae import Crosscoder
from universality.statistics import Calibration

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "universality", *map(str, arguments)]


def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=600)


def call_two(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """`call` by two processes that share the work."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    whole = [*torchrun, *command(*arguments)[1:]]
    return subprocess.run(whole, capture_output=True, text=True, check=False, timeout=600)


def contents(folder: Path, *stages: str) -> dict[str, str]:
    """File → hash of its contents, of all that the tasks (of these stages) made."""
    files = [path for stage in stages or [""] for path in (folder / ".done").glob(f"{stage}*.json")]
    stamps = [json.loads(path.read_text()) for path in files]
    return {name: output["hash"] for stamp in stamps for name, output in stamp["outputs"].items()}


def call_here(*arguments: object) -> subprocess.CompletedProcess[str]:
    """`call` in this process: a new interpreter takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["universality", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return subprocess.CompletedProcess(sys.argv, int(end.value.code or 0), out.getvalue(), err.getvalue())


def test_everything_is_there(finished: Path) -> None:
    config, folder = load_config(SMOKE), RunFolder(finished)
    assert len(sae_grid(config)) == 8
    for model, width, seed in sae_grid(config):
        with FeatureStore.open(folder.store(model, width, seed)) as store:
            store.verify()
            assert store.n_features == width
            assert store.unembedding() is not None
        quality = json.loads((folder.sae(model, width, seed) / "quality.json").read_text())
        assert quality["l0"] <= config.saes.k
    for comparison in comparisons(config, folder):
        assert len(Calibration.load(folder.calibration(comparison.name)).to_frame())
    assert folder.report.is_file()


def test_every_pair_at_the_headline_s_width_has_both_ceilings(finished: Path) -> None:
    folder = RunFolder(finished)
    narrow, wide, of_a, of_b = (
        Calibration.load(folder.calibration(name)).to_frame()
        for name in ("A-B.w64", "A-B.w128", "A-A.w128.s0-s1", "B-B.w128.s0-s1")
    )
    for side, of, feature in (("a", of_a, "row"), ("b", of_b, "col")):
        expected = of.set_index("row")["held_out"].reindex(wide[feature])
        assert wide[f"ceiling_{side}"].notna().any()
        pd.testing.assert_series_equal(wide[f"ceiling_{side}"], expected, check_names=False, check_index=False)
        assert narrow[f"ceiling_{side}"].isna().all()
    populations = json.loads(folder.report.with_name("summary.json").read_text())["headline"]["populations"]
    assert [p["label"] for p in populations if p["role"] == "ceiling"] == ["two SAE seeds of A", "two SAE seeds of B"]
    page = folder.report.read_text(encoding="utf-8")
    assert page.count("ceiling, <bdi>A</bdi>") > 5  # the cards of pairs


def test_held_out_documents_were_not_trained_on(finished: Path) -> None:
    config, folder = load_config(SMOKE), RunFolder(finished)
    with FeatureStore.open(folder.store("A", config.saes.widths[0], 0)) as store:
        used = {store.documents.split[i] for i in set(store.tokens.document.tolist())}
        assert store.tokens.position.min() == 1
    assert used == {"choose", "report"}


def test_a_model_is_stamped_with_its_own_unembedding_only(finished: Path) -> None:
    of = {name: [f for f in contents(finished, f"collect.{name}") if "unembedding-" in f] for name in "AB"}
    with FeatureStore.open(RunFolder(finished).store("A", 64, 0)) as store:
        assert of["A"] == [f"features/{store.unembedding().file_name}"]
    assert len(of["B"]) == 1
    assert of["A"] != of["B"]


def test_controls_stand_beside_the_study_and_are_made_once(finished: Path, tmp_path: Path) -> None:
    """By two processes: the first makes them, the other waits."""
    shutil.copytree(finished, tmp_path / "run")
    done = call_two("controls", SMOKE, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("models with shuffled weights") == 1  # of the table
    assert done.stdout.count("controls/table") == 1
    table = pd.read_csv(tmp_path / "run" / "controls" / "controls.csv").set_index("kind")
    assert sorted(table.index) == ["ceiling"] * 3 + ["floor"] * 4 + ["study"]
    assert {"two SAE seeds of A", "two SAE seeds of B"} < set(table["control"])
    assert table[["held_out_median", "nearest_median", "n_living"]].notna().all(axis=None)
    assert (table["n_scored"] <= table["n_living"]).all()
    study = Calibration.load(RunFolder(finished).calibration("A-B.w128"))
    assert table.loc["study", "held_out_median"] == pytest.approx(study.summary().held_out_median)
    widths = {path.stem: FeatureStore.open(path).n_features for path in (tmp_path / "run" / "controls").glob("*.h5")}
    assert set(widths.values()) == {128}
    assert len(widths) == 7
    assert (tmp_path / "run" / "controls" / "controls.svg").is_file()
    assert "nothing to do" in call("controls", SMOKE, "--out", tmp_path / "run").stdout


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
    done = call_two("crosscoder", SMOKE, "--out", run, *settings)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("crosscoder of A = A and B = B") == 1
    assert "exclusive A" in done.stdout
    steps = [json.loads(line)["step"] for line in (run / "crosscoder" / "train.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    config = load_config(SMOKE)
    for task in crosscoder_tasks(config, RunFolder(whole)):
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


def test_second_call_does_nothing_and_says_so(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    done = call("run", SMOKE, "--out", finished)
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_only_what_a_change_touches_is_made_again(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", finished, copy], check=True)
    done = call("match", SMOKE, "--out", copy, "--set", "statistics.replicates=1")
    assert done.returncode == 0, done.stderr
    made = [line.split()[0] for line in done.stdout.splitlines() if line.endswith(" s")]
    assert made
    assert all(name.startswith("match/") for name in made)


def test_killed_anywhere_it_ends_in_the_same_contents(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    kills = 0
    for seconds in (6, 9, 12):
        process = subprocess.Popen(
            command("run", SMOKE, "--out", folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(seconds)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills
    assert call("run", SMOKE, "--out", folder).returncode == 0
    assert contents(folder) == contents(finished)


def test_saes_not_good_enough_to_match_are_named_before_matching(finished: Path) -> None:
    """Their L0 is 8: much of 32 and 64 features, little of 128."""
    lines = finished.with_suffix(".stderr").read_text().splitlines()
    lines = [line for line in lines if not re.search(r"\d+% done", line)]  # of a slow machine
    assert all(line.startswith("warning: saes/") for line in lines)
    dense = [line for line in lines if "expected at most 10% of them" in line]
    assert [line.split()[1] for line in dense] == [f"saes/{m}/w{w}-s0" for w in (32, 64) for m in "AB"]


def with_models_only(finished: Path, folder: Path) -> Path:
    """A run that stopped before its SAEs."""
    for name in ("corpus", "models", ".done"):
        shutil.copytree(finished / name, folder / name)
    for stage in ("train-saes", "collect", "match", "families", "export", "report"):
        for stamp in (folder / ".done").glob(f"{stage}*.json"):
            stamp.unlink()
    return folder


def test_two_processes_end_in_the_contents_of_one(finished: Path, tmp_path: Path) -> None:
    folder = with_models_only(finished, tmp_path / "two")
    done = call_two("collect", SMOKE, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("train-saes") == 1
    made = contents(folder, "train-saes", "collect")
    assert len(made) > 20
    assert made == contents(finished, "train-saes", "collect")
    rows = [json.loads(line) for line in (folder / "saes" / "train.jsonl").read_text().splitlines()]
    assert all(len(row["saes"]) == 8 for row in rows)
    assert sorted(path.name for path in (folder / "saes").iterdir() if path.is_file()) == [
        "beginnings.json",
        "train.jsonl",
        "training.png",
        "training.svg",
    ]


def test_a_cache_is_enough_where_transformer_lens_is_missing(finished: Path, tmp_path: Path) -> None:
    folder = with_models_only(finished, tmp_path / "cached")
    options = ["--out", folder, "--set", f"activations.cache={tmp_path / 'cache'}"]
    made = call("cache", SMOKE, *options)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("harvesting") == 2
    assert made.stdout.splitlines()[-1] == str(tmp_path / "cache")
    told = call("info", next((tmp_path / "cache").iterdir()), "--verify")
    assert "activations of" in told.stdout
    assert "verified: every file is what was written" in told.stdout
    script = "import sys; sys.modules['transformer_lens'] = None; from universality.cli import main; main()"
    without = [sys.executable, "-c", script]
    arguments = [str(argument) for argument in ("collect", SMOKE, *options)]
    done = subprocess.run([*without, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (
        FeatureStore.open(folder / "features" / "A.w64-s0.h5") as ours,
        FeatureStore.open(finished / "features" / "A.w64-s0.h5") as theirs,
    ):
        assert ours.tokens_hash == theirs.tokens_hash
        assert ours.unembedding().hash == theirs.unembedding().hash
    one, other = (json.loads((f / "saes/A/w64-s0/quality.json").read_text()) for f in (folder, finished))
    assert one["explained_variance"] == pytest.approx(other["explained_variance"], abs=0.02)
    assert one["loss"]["recovered_over_zero"] is None

    shutil.rmtree(next((tmp_path / "cache").iterdir()))
    (folder / ".done" / "train-saes.json").unlink()
    done = subprocess.run([*without, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "transformer_lens, which could run the model, is not installed" in done.stderr


def test_info_describes_and_verifies(finished: Path, tmp_path: Path) -> None:
    store = finished / "features" / "A.w32-s0.h5"
    for path, text in [
        (finished, "every file is there"),
        (store, "verified: every array"),
        (finished / "saes" / "A" / "w32-s0", "SAE"),
        (finished / "models" / "A", "hooks: "),
        (finished / "matches" / "A-B.w32.activation.npz", "calibration"),
        (finished / "matches" / "A-B.w32.logit.npz", "match"),
        (finished / "families" / "A.json", "families"),
        (finished / "corpus" / "blocks.npz", "token blocks"),
    ]:
        done = call_here("info", path, "--verify")
        assert done.returncode == 0, done.stderr
        assert text in done.stdout
    damaged = tmp_path / "a.h5"
    data = bytearray(store.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    (tmp_path / "x.txt").write_text("x")
    for path, text in [
        (damaged, "a.h5"),
        (tmp_path / "x.txt", "expected one of"),
        (tmp_path / "nowhere", "no such file or folder"),
    ]:
        done = call_here("info", path, "--verify")
        assert done.returncode == 2
        assert text in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nowhere.yaml"], "no such file"),
        (["run", SMOKE, "--set", "saes.widhts=[1]"], "did you mean saes.widths?"),
        (["run", SMOKE, "--set", "corpus.source=nowhere.txt"], "no such file or folder"),
        (["cache", SMOKE], "activations.cache names no folder: set it"),
        (
            [
                "run",
                SMOKE,
                "--set",
                "hook=blocks.0.mlp.pots",
                "--set",
                "models.train={}",
                "--set",
                "models.load={A: nowhere, B: starter/seed1}",
            ],
            "nowhere",
        ),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = call(*arguments, "--out", tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_configuration_leaves_the_one_before(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    done = call("run", SMOKE, "--out", tmp_path / "run", "--set", "hook=blocks.0.nowhere")
    assert done.returncode == 2
    assert "has no hook 'blocks.0.nowhere'" in done.stderr
    assert (tmp_path / "run" / "config.yaml").read_bytes() == before


def test_interrupted_it_says_how_to_go_on(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell inherit "ignore"
    process = subprocess.Popen(
        command("train-models", SMOKE, "--out", tmp_path / "run"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    signal.signal(signal.SIGINT, before)
    while not (tmp_path / "run" / "models" / "A" / "train.jsonl").exists():  # an import may swallow the signal
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on where it stopped" in said


def test_text_of_one_name_in_two_folders_is_told_apart(tmp_path: Path) -> None:
    for inside in ("x", "y"):
        (tmp_path / inside).mkdir()
        (tmp_path / inside / "a.txt").write_text(f"text of {inside}")
    config = load_config(SMOKE, [f"corpus.source={tmp_path}"])
    before = _corpus_inputs(config)
    (tmp_path / "x" / "a.txt").write_text("changed")
    assert _corpus_inputs(config) != before


def test_a_split_without_text_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a single short document " * 40)
    done = call("run", SMOKE, "--set", f"corpus.source={tmp_path / 'one.txt'}", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "1 document leaves a split without tokens" in done.stderr
    assert "A text file is one document: cut it into several files, or into JSON lines" in done.stderr
    assert not (tmp_path / "run" / "models").exists()


def test_help_names_every_command() -> None:
    done = call("--help")
    assert done.returncode == 0
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {"run", "train-models", "cache", "train-saes", "collect", "match", "controls", "families"} < commands
    listed = re.findall(r"^│ ([a-z-]+) +[A-Z]", done.stdout, re.MULTILINE)
    assert set(listed) == commands


def test_the_plan_foretold_the_bytes(finished: Path) -> None:
    from universality.pipeline.cost.estimate import estimate
    from universality.pipeline.cost.machine import count_text

    config = load_config(SMOKE)
    text = count_text(config)
    tokens = json.loads(RunFolder(finished).corpus_summary.read_text())["tokens"]
    assert text.train == pytest.approx(tokens["train"], rel=0.25)
    planned = {stage.name: stage.disk for stage in estimate(config, text)}
    for stage, folder in {"train-models": "models", "train-saes": "saes", "collect": "features"}.items():
        suffix = {"collect": "*.h5"}.get(stage, "*.safetensors")
        written = sum(path.stat().st_size for path in (finished / folder).rglob(suffix))
        assert written / 1.5 < planned[stage] < written * 1.5, stage


def test_tokens_without_strings_stay_apart_in_a_row(tmp_path: Path) -> None:
    """A corpus of token ids has no tokenizer."""
    assert "".join(decoder(RunFolder(tmp_path))([1, 22, 3])) == " 1 22 3"
