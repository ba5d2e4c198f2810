"""A run whose matches and families are computed by the workers of a scheduler."""

import shutil
from pathlib import Path

import pytest
from run_commands import SMOKE, call_here, contents

from universality.config import load_config, parse_config
from universality.errors import ConfigError


def test_matches_and_families_of_a_cluster_are_those_of_one_process(finished: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="a cluster needs universality[cluster]")
    folder = shutil.copytree(finished, tmp_path / "run")
    anew = [folder / ".done" / f"{name}.json" for name in ("match.A-B.w128", "families.A")]
    for stamp in anew:
        stamp.unlink()
    with distributed.LocalCluster(
        1, threads_per_worker=2, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as c:
        options = ["--out", folder, "--set", f"scheduler={c.scheduler_address}"]
        done = call_here("families", SMOKE, *options)
        assert done.returncode == 0, done.stderr
        assert c.scheduler.transition_counter > 20  # of units
        assert "nothing to do" in call_here("families", SMOKE, *options).stdout
    assert all(stamp.is_file() for stamp in anew)
    assert contents(folder, "match", "families") == contents(finished, "match", "families")


def test_a_scheduler_that_is_missing_is_an_error_before_the_work_begins(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("distributed", reason="a cluster needs universality[cluster]")
    monkeypatch.setattr("universality.execution.PATIENCE", 0.2)
    folder = tmp_path / "run"
    done = call_here("match", SMOKE, "--out", folder, "--set", "scheduler=tcp://127.0.0.1:9")
    assert done.returncode == 2
    assert "scheduler tcp://127.0.0.1:9: no Dask scheduler answers there" in done.stderr
    assert not (folder / "corpus").exists()


def test_a_scheduler_is_an_address() -> None:
    models = {"models": {"load": {"A": "starter/seed0"}}}
    with pytest.raises(ConfigError, match=r"expected an address such as tcp://10\.0\.0\.1:8786, found '10.0.0.1'"):
        parse_config(models | {"scheduler": "10.0.0.1"})
    assert load_config(SMOKE).scheduler is None
