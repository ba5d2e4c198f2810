"""The script on dictionary sizes, on a ladder of two small rungs."""

import re
import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

ROOT = Path(__file__).parents[2]
SMOKE = ROOT / "configs" / "smoke.yaml"


@pytest.fixture
def ladder(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the script, whose modules are imported anew for each test."""
    folder = ROOT / "analyses" / "ladder"
    monkeypatch.syspath_prepend(str(folder))
    for path in folder.glob("*.py"):
        monkeypatch.delitem(sys.modules, path.stem, raising=False)
    return folder


def test_every_rung_is_a_configuration_of_its_own(ladder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    from rungs import LADDER

    configs = [rung.config() for rung in LADDER]
    assert [config.saes.widths for config in configs] == [[2**power] for power in range(9, 18)]
    assert [len(config.saes.seeds) for config in configs] == [2] * 6 + [1] * 3


@pytest.mark.slow
def test_two_small_rungs_end_in_tables(
    ladder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    import rungs

    config = yaml.safe_load(SMOKE.read_text(encoding="utf-8"))
    config["saes"]["held_out_steps"], config["map"] = 10, {"draw": False}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setattr(rungs, "CONFIG", tmp_path / "small.yaml")
    small = (rungs.Rung(64, k=8, tokens=20_000, replicates=2), rungs.Rung(128, tokens=20_000, seeds=(0,), replicates=2))
    monkeypatch.setattr(rungs, "LADDER", small)
    monkeypatch.setattr(rungs, "LONGER", (rungs.Rung(64, k=8, tokens=30_000, seeds=(0,), replicates=2),))
    monkeypatch.setattr(rungs, "EPOCH", 20_000)
    monkeypatch.setattr(sys, "argv", ["ladder", "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    runpy.run_path(str(ladder / "__main__.py"), run_name="__main__")
    assert re.search(r"in all \d+\.\d hours on this machine", capsys.readouterr().out)
    quality = pd.read_csv(tmp_path / "out" / "quality.csv")
    assert list(quality["width"]) == [64] * 4 + [128] * 2 + [64] * 2
    assert list(quality["epochs"]) == [1] * 6 + [1.5] * 2
    shared = pd.read_csv(tmp_path / "out" / "shared.csv")
    assert list(shared["models"]) == ["A-A", "A-B", "B-B", "A-B", "A-B"]
    assert set(pd.read_csv(tmp_path / "out" / "families.csv")["to"]) == {128}
    for name in ("families", "recurring", "appearing", "concepts", "curves"):
        assert len(pd.read_csv(tmp_path / "out" / f"{name}.csv"))
    assert "| width | steps |" in (tmp_path / "out" / "scaling.md").read_text()
    assert {path.name for path in (tmp_path / "out").glob("*.png")} == {"ladder.png", "concepts.png"}
