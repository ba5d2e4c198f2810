"""The command line on real text: everything once, nothing twice, and a killed run that ends the same."""

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from run_commands import (
    SMOKE,
    call,
    call_here,
    call_launched,
    call_together,
    command,
    contents,
    environments,
    with_models_only,
)

from universality import FeatureStore
from universality.cli import app
from universality.config import load_config, parse_config
from universality.errors import ConfigError, UniversalityError
from universality.pipeline import RunFolder, run, runner
from universality.pipeline.runner import STAGES, all_tasks, alone_in
from universality.pipeline.study import comparisons, sae_grid
from universality.statistics import Calibration


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


def test_second_call_does_nothing_and_says_so(finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    done = call_here("run", SMOKE, "--out", finished)
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_only_what_a_change_touches_is_made_again(finished: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", finished, copy], check=True)
    done = call_here("match", SMOKE, "--out", copy, "--set", "statistics.replicates=1")
    assert done.returncode == 0, done.stderr
    made = [line.split()[0] for line in done.stdout.splitlines() if line.endswith(" s")]
    assert made
    assert all(name.startswith("match/") for name in made)


@pytest.mark.slow
def test_killed_anywhere_it_ends_in_the_same_contents(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    # The training of a model is interrupted in tests/models/test_train_model.py; each kill here costs another import.
    for begun in ("saes/train.jsonl", "matches/A-B.w64.activation.npz"):
        process = subprocess.Popen(
            command("run", SMOKE, "--out", folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (folder / begun).exists() and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (folder / "report").exists()
    assert call("run", SMOKE, "--out", folder).returncode == 0
    assert contents(folder) == contents(finished)


@pytest.mark.parametrize(
    ("killed", "resumed", "until", "begun"),
    [
        pytest.param(1, 2, "collect", "saes/train.jsonl", marks=pytest.mark.slow),
        pytest.param(2, 3, "effects", "saes/train.jsonl", marks=pytest.mark.slow),
        pytest.param(3, 2, "effects", "matches/A-B.w64.activation.npz", marks=pytest.mark.slow),
        pytest.param(2, 1, "effects", "effects/A.exact.npz", marks=pytest.mark.slow),
    ],
)
def test_killed_it_ends_with_other_processes_in_the_contents_of_one(
    finished: Path, tmp_path: Path, killed: int, resumed: int, until: str, begun: str
) -> None:
    """As many processes as there are take the tasks of a stage in turn."""
    folder = with_models_only(finished, tmp_path / "run")
    processes = [  # not by torchrun, which starts each in a session of its own, where a test cannot reach it
        subprocess.Popen(
            command(until, SMOKE, "--out", folder),
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for environment in environments(killed)
    ]
    while not (folder / begun).exists() and processes[0].poll() is None:
        time.sleep(0.005)
    for process in processes:
        process.kill()
    assert [process.wait() for process in processes] == [-signal.SIGKILL] * killed
    kept = {path.name for path in (folder / ".done").iterdir()}
    done = call_together(resumed, until, SMOKE, "--out", folder)
    assert done.returncode == 0, done.stderr
    made = STAGES[STAGES.index("train-saes") : STAGES.index(until) + 1]
    for stage in made:
        stamps = {path.name: json.loads(path.read_text())["task"] for path in (folder / ".done").glob(f"{stage}*.json")}
        assert stamps
        for name, task in stamps.items():
            assert done.stdout.count(f"{task} ") == (name not in kept), done.stdout
    assert not kept >= {path.name for path in (folder / ".done").iterdir()}
    assert len(contents(folder, *made)) > 20
    assert contents(folder, *made) == contents(finished, *made)
    rows = [json.loads(line) for line in (folder / "saes" / "train.jsonl").read_text().splitlines()]
    assert all(len(row["saes"]) == 8 for row in rows)
    assert sorted(path.name for path in (folder / "saes").iterdir() if path.is_file()) == [
        "beginnings.json",
        "train.jsonl",
        "training.png",
        "training.svg",
    ]


@pytest.mark.slow
def test_a_cache_is_enough_where_transformer_lens_is_missing(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = with_models_only(finished, tmp_path / "cached")
    options = ["--out", folder, "--set", f"activations.cache={tmp_path / 'cache'}"]
    made = call_here("cache", SMOKE, *options)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("harvesting") == 2
    assert made.stdout.splitlines()[-1] == str(tmp_path / "cache")
    told = call_here("info", next((tmp_path / "cache").iterdir()), "--verify")
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
    monkeypatch.setitem(sys.modules, "transformer_lens", None)
    done = call_here(*arguments)
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
        (finished / "matches" / "A-B.w32.logit.npz", "calibration"),
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
        (["run", "nowhere.yaml"], "nowhere.yaml: neither a file nor a shipped configuration"),
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
    done = call_here(*arguments, "--out", tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refused_configuration_leaves_the_one_before(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    before = (tmp_path / "run" / "config.yaml").read_bytes()
    done = call_here("run", SMOKE, "--out", tmp_path / "run", "--set", "hook=blocks.0.nowhere")
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
    assert "interrupted; run the same command again to resume" in said


def test_help_names_every_command() -> None:
    done = call("--help")
    assert done.returncode == 0
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert {
        "run",
        "train-models",
        "cache",
        "train-saes",
        "collect",
        "match",
        "controls",
        "families",
        "effects",
    } < commands
    listed = re.findall(r"^│ ([a-z-]+) +[A-Z]", done.stdout, re.MULTILINE)
    assert set(listed) == commands


def test_a_report_of_one_model_and_one_seed_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    config = parse_config({"models": {"load": {"A": "starter/seed0"}}, "saes": {"ceiling_seed": None}})
    message = (
        "a report compares two models or more, or SAE seeds of one; the configuration names A alone, with SAE seed 0; "
        r"name another under models.load or models.train, or a second seed as in saes.seeds=\[0, 1\]"
    )
    with pytest.raises(ConfigError, match=message):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_file_is_no_folder_for_a_run(tmp_path: Path) -> None:
    config = parse_config({"models": {"load": {"A": "starter/seed0", "B": "starter/seed1"}}})
    (tmp_path / "run").write_text("mine")
    with pytest.raises(UniversalityError, match=r"run: expected a folder for the run, found a file; name another with"):
        run(config, tmp_path / "run")
    assert (tmp_path / "run").read_text() == "mine"


HOLD = """
import sys, time
from pathlib import Path
from universality.pipeline.runner import STAGES, all_tasks, alone_in
with alone_in(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder, holder.stdout:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UniversalityError, match="another process is at work in this folder"), alone_in(tmp_path):
            pass
        holder.kill()
        holder.wait()
    with alone_in(tmp_path), pytest.raises(UniversalityError, match="take another --out"), alone_in(tmp_path):
        pass


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("saes.k=abc", "saes.k: expected an integer or a list of integers; found 'abc'"),  # before processes meet
        pytest.param(  # by the first, while others wait
            "corpus.source=nowhere.txt", "nowhere.txt: no such file or folder", marks=pytest.mark.slow
        ),
    ],
)
def test_a_refusal_of_two_processes_is_said_once_without_a_traceback(
    tmp_path: Path, override: str, message: str
) -> None:
    done = call_launched("collect", SMOKE, "--set", override, "--out", tmp_path / "run")
    assert done.returncode != 0
    assert done.stderr.count(message) == 1
    assert "[rank" not in done.stderr  # torch's mark of a process's traceback; the launcher ends in one of its own
    assert str(Path("universality") / "cli.py") not in done.stderr


SMOKE_KEYS = {
    "corpus": "0bb9e156a633",
    "train-models/A": "32d33e8ad524",
    "train-models/B": "addff4a96971",
    "train-saes": "f4790187195a",
    "collect/A": "bf061f8fc844",
    "collect/B": "706d147a4292",
    "match/A-A.w128.s0-s1": "15eab7ed8032",
    "match/B-B.w128.s0-s1": "61a9bf78631c",
    "match/A-B.w32": "e7a432f318d2",
    "match/A-B.w64": "e7a432f318d2",
    "match/A-B.w128": "6a5b514f8f0a",
    "match/A-B.neurons": "e7a432f318d2",
    "families/A": "ed66fce7e42f",
    "families/B": "d40088156b3f",
    "effects/A": "c2c8ce02ab46",
    "effects/B": "58427a413871",
    "effects/A.families": "14987f71db5a",
    "effects/B.families": "2f287e8b03d9",
    "effects/A-A.w128.s0-s1": "283f1b9430d0",
    "effects/B-B.w128.s0-s1": "e84ba324064a",
    "effects/A-B.w128": "aadc006c4e92",
    "effects/A-B.neurons": "fc8594e3939d",
    "map/A.w128-s0": "07d980f776a4",
    "map/B.w128-s0": "0126521f5d1c",
    "map/A-B.w128": "3da186330c7c",
    "export": "5cdd7934581d",
    "report": "2c683e34e4d6",
}


def test_tasks_and_their_keys_stay_so_that_finished_runs_are_recognised(tmp_path: Path) -> None:
    """Raise a stage's version, and not its settings, where it is to be made again."""
    keys: dict[str, str] = {}
    for task in all_tasks(load_config(SMOKE), RunFolder(tmp_path)):
        made_from = {name: {"file": keys[name]} for name in task.after}  # every earlier task stands for its file
        version = [] if task.version == 1 else [task.version]
        text = json.dumps([task.settings, made_from, *version], sort_keys=True)
        keys[task.name] = hashlib.sha256(text.encode()).hexdigest()
    assert {name: key[:12] for name, key in keys.items()} == SMOKE_KEYS


@pytest.mark.parametrize("inside", ["", "x"])
def test_a_link_to_a_missing_place_is_named(tmp_path: Path, inside: str) -> None:
    (tmp_path / "scratch").symlink_to(tmp_path / "unmounted" / "disk")
    done = call_here("run", SMOKE, "--out", tmp_path / "scratch" / inside)
    assert done.returncode == 2
    assert "the run's folder cannot be created" in done.stderr
    assert "name another with --out" in done.stderr


def test_a_missing_card_is_said_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    quick = ["device=cuda:9", "corpus.max_documents=60", "models.training.epochs=0.1"]
    run(load_config(SMOKE, quick), tmp_path / "run", until="train-models")
    told = capfd.readouterr().err
    assert told.count("computing on the CPU") == 1
    assert "note: device cuda:9: " in told


@pytest.mark.parametrize(
    ("scheduler", "pending", "told"),
    [
        (None, ["train-saes", "match"], "models, SAEs, matches and families are computed on cpu\n"),
        (None, ["families"], "matches and families are computed on cpu\n"),
        ("tcp://here:1", ["train-saes", "match"], "models and SAEs are computed on cpu\n"),
        ("tcp://here:1", ["match"], ""),
        (None, ["report"], ""),
    ],
)
def test_a_run_says_what_a_card_computes(
    scheduler: str | None,
    pending: list[str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(runner, "card_of", lambda device: torch.device("cpu"))  # stands for a card
    runner._print_device(load_config(SMOKE).model_copy(update={"scheduler": scheduler}), pending)
    assert capsys.readouterr().out == told
