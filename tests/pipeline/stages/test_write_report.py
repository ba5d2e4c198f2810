"""The report comes after everything, and is written again when controls or a crosscoder are made."""

from pathlib import Path

from run_commands import SMOKE

from universality.config import load_config
from universality.pipeline.paths import RunFolder
from universality.pipeline.runner import all_tasks


def test_the_report_reads_every_other_task(tmp_path: Path) -> None:
    *earlier, report = all_tasks(load_config(SMOKE), RunFolder(tmp_path))
    assert sorted(report.after) == sorted(task.name for task in earlier)


def test_controls_and_crosscoders_are_inputs_of_the_report(tmp_path: Path) -> None:
    config, folder = load_config(SMOKE), RunFolder(tmp_path)

    def settings() -> object:
        return all_tasks(config, folder)[-1].settings

    assert settings() == config.name
    for name in ("controls/a.npz", "crosscoder/features.csv"):
        before = settings()
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("made")
        assert settings() != before
    (tmp_path / "controls" / "controls.csv").write_text("a table")  # control: drawn from the others
    before = settings()
    (tmp_path / "controls" / "controls.csv").write_text("another")
    assert settings() == before
