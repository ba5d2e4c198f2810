"""The page shows the controls that were made of this study, and none that an older one left."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from universality.config import Config
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import run_results as gather
from universality.pipeline.stages.run_controls import CONTROLS, SHUFFLED, tasks
from universality.pipeline.task import Task, run_tasks


@pytest.fixture
def controlled(planted: Any, tmp_path: Path) -> tuple[Config, RunFolder]:
    """The planted run and stamps of one control, whose partners are those of the study."""
    config, finished = planted
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, folder.root)
    (folder.root / "controls").mkdir()
    made = folder.root / "controls" / f"{SHUFFLED.name}.npz"
    shutil.copy(folder.calibration("A-B.w24"), made)
    shutil.copy(made, made.with_name(f"{CONTROLS[1].name}.npz"))  # no stamp: it was killed
    (wanted,) = (t for t in tasks(config, folder) if t.name == f"controls/{SHUFFLED.name}")
    before = [Task(name, None, (), list) for name in wanted.after]
    run_tasks([*before, replace(wanted, make=lambda: [made])], folder.root, lambda outcome: None)
    return config, folder


def test_made_controls_are_rows(controlled: tuple[Config, RunFolder]) -> None:
    config, folder = controlled
    with gather.findings(config, folder) as found:
        *own, row = gather.controls(found)
    assert [r.name for r in own] == ["A-B.w16", "A-B.w24"]
    assert (row.name, row.of) == ("shuffled-models", "floor: models with shuffled weights")
    assert row.held_out == own[1].held_out
    assert row.share_significant == own[1].share_significant > 0


def test_controls_of_other_settings_are_not(controlled: tuple[Config, RunFolder]) -> None:
    config, folder = controlled
    other = config.model_copy(update={"hook": "blocks.0.hook_resid_post"})
    with gather.findings(other, folder) as found:
        assert [row.name for row in gather.controls(found)] == ["A-B.w16", "A-B.w24"]
