"""Every place that prints a median or a share of one matching prints it of the same features, and says of how many."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.config import Config
from universality.errors import FormatError
from universality.pipeline.finished_study import Study
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import report_rows
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.pipeline.reporting.report_rows import control_rows
from universality.pipeline.reporting.run_results import open_results
from universality.pipeline.reporting.terminal_summary import print_summary
from universality.pipeline.stages.run_controls import CONTROLS, SHUFFLED, tasks
from universality.pipeline.task import Task, run_tasks
from universality.report.data import Report
from universality.report.figures import best_match_distribution
from universality.report.html import render
from universality.report.logit_narrative import logit_chance, same_partner
from universality.report.narrative import answer, verdict
from universality.statistics import Calibration

NAME = "A-B.w24"


def with_few_scored(planted: Any, target: Path, scored: int) -> tuple[Any, RunFolder, Calibration]:
    """The planted run, where all but so many pairs at the headline's width fire too rarely to be scored."""
    config, finished = planted
    folder = RunFolder(target)
    shutil.copytree(finished.root, folder.root)
    found = Calibration.load(folder.calibration(NAME))
    order = np.argsort(-found.held_out)
    few = replace(found, held_out=np.where(np.isin(np.arange(len(order)), order[:scored]), found.held_out, np.nan))
    few.save(folder.calibration(NAME))
    return config, folder, few


@pytest.mark.parametrize("scored", [17, 9])
def test_one_matching_has_one_population_everywhere(planted: Any, tmp_path: Path, scored: int) -> None:
    config, folder, few = with_few_scored(planted, tmp_path / "run", scored)
    living = int((~few.match.dead_rows).sum())
    assert scored < living == 23
    expected = np.sort(np.append(few.held_out[~np.isnan(few.held_out)], [-1.0] * (living - scored)))[living // 2]
    expected = expected if scored > living / 2 else np.nan
    share = float((few.held_out >= 0.5).sum() / living)
    with open_results(config, folder) as found:
        samples = report_rows.samples(found, found.headline)
        headline = report_rows.headline(found, found.headline, samples)
        row = next(row for row in report_rows.width_rows(found, found.headline) if row.width == 24)
        control = next(row for row in report_rows.control_rows(found) if row.name == NAME)
        report = Report("x", headline, widths=(row,), controls=(control,))
    features = headline.of("features")
    assert (features.n, features.n_scored) == (living, scored)
    for one in (row, control):
        assert (one.summary.n_living, one.summary.n_scored) == (living, scored)
        assert_allclose(one.summary.held_out_median, expected)
    assert_allclose([features.median, few.summary().held_out_median], [expected] * 2)
    assert_allclose([features.shares[0], row.summary.shares[0]], [share] * 2)
    assert f"{scored} of 23 scored" in answer(headline)[0]
    assert render(report).count(f"{scored} of 23") >= 4  # answer, tile, widths, controls
    axes = best_match_distribution(samples).axes[0]
    dot, line = next(line for line in axes.lines if line.get_marker() == "o"), axes.lines[3]
    assert f"({scored} of 23 scored)" in line.get_label()
    assert_allclose(line.get_ydata()[0], scored / 23)  # the curve starts at the share that was scored
    assert_allclose(dot.get_xdata()[0], expected)
    if scored > living / 2:
        assert_allclose(np.interp(expected, *line.get_data()), 0.5, atol=0.5 / living + 1e-9)
    else:
        assert verdict(headline) == "No answer"


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
    with open_results(config, folder) as found:
        *own, row = control_rows(found)
    assert [r.name for r in own] == ["A-B.w16", "A-B.w24"]
    assert (row.name, row.of) == ("shuffled-models", "floor: models with shuffled weights")
    assert row.summary.held_out_median == own[1].summary.held_out_median
    assert row.summary.null.share_significant == own[1].summary.null.share_significant > 0


def test_controls_of_other_settings_are_not(controlled: tuple[Config, RunFolder]) -> None:
    config, folder = controlled
    other = config.model_copy(update={"hook": "blocks.0.hook_resid_post"})
    with open_results(other, folder) as found:
        assert [row.name for row in control_rows(found)] == ["A-B.w16", "A-B.w24"]


def test_logit_weights_are_a_row_of_the_page_of_the_summary_and_of_the_terminal(
    planted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, finished = planted
    folder = RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))
    found = Calibration.load(folder.logit_calibration(NAME))
    page = report_as_it_is(folder.root)
    with open_results(config, folder) as results:
        (row,) = report_rows.logit_rows(results, results.headline)
        partners = [dict(zip(c.match.rows, c.match.cols, strict=True)) for c in (results.headline.calibration, found)]
    both = partners[0].keys() & partners[1].keys()
    assert (row.role, row.summary) == ("features", found.summary())
    assert row.same_partner.n == len(both)
    assert row.same_partner.n_same == sum(partners[0][feature] == partners[1][feature] for feature in both)
    with np.load(folder.similarity(NAME)) as arrays:
        assert_allclose(row.pairs_median, np.median(arrays["logit"]), rtol=1e-6)
        known = arrays["logit_by_chance"][np.isfinite(arrays["logit_by_chance"])].astype(float)
    assert_allclose(row.random_pairs_95, np.quantile(known, 0.95))
    shown = page.read_text(encoding="utf-8")
    assert 'id="logit-weights"' in shown
    assert same_partner(row) in shown
    assert shown.count(logit_chance([row])) > 10  # beside every card's logit r
    (kept,) = json.loads(page.with_name("summary.json").read_text())["logit"]
    assert kept["summary"]["nulls"]["directions"]["replicates"] == 2
    assert kept["same_partner"]["n_same"] == row.same_partner.n_same
    with Study.open(folder.root) as study:
        table = study.logit_summary()
    assert table.index.tolist() == ["SAE features"]
    assert table.loc["SAE features", "null_directions"] == found.summary().nulls["directions"].median
    assert table.loc["SAE features", "same_partner"] == row.same_partner.share
    print_summary(folder)
    printed = capsys.readouterr().out
    assert f"by logit weights, SAE features: held-out r {found.summary().held_out_median:z.3f}, chance" in printed
    assert f"same partner as by activation for {row.same_partner.share:.1%}, chance 4.35% to 4.35%" in printed  # 1 / 23


def test_a_match_by_logit_weights_of_an_earlier_version_has_no_row(planted: Any, tmp_path: Path) -> None:
    config, finished = planted
    folder = RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))
    path = folder.logit_calibration(NAME)
    Calibration.load(path).match.save(path)
    with open_results(config, folder) as results:
        assert results.headline.by_logit is None
        assert report_rows.logit_rows(results, results.headline) == ()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(FormatError, match="not a whole"), open_results(config, folder):
        pass
