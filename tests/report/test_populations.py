"""Every place that prints a median or a share of one matching prints it of the same features, and says of how many."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import run_results as gather
from universality.pipeline.reporting.report_pages import _write_summary
from universality.pipeline.reporting.terminal_summary import print_findings
from universality.report.data import Report
from universality.report.figures import best_match_distribution
from universality.report.html import render
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
    with gather.findings(config, folder) as found:
        samples = gather.samples(found, found.headline)
        headline = gather.headline(found, found.headline, samples)
        row = next(row for row in gather.width_rows(found, found.headline) if row.width == 24)
        control = next(row for row in gather.controls(found) if row.name == NAME)
        report = Report("x", headline, widths=(row,), controls=(control,))
    features = headline.of("features")
    assert (features.n, features.n_scored) == (living, scored)
    for one in (row, control):
        assert (one.n_living, one.n_scored) == (living, scored)
        assert_allclose(one.held_out, expected)
    assert_allclose([features.median, few.summary()["matched_report"]], [expected] * 2)
    assert_allclose([features.shares[0], row.shares[0]], [share] * 2)
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


def test_the_terminal_and_the_kept_numbers_say_of_how_many(
    planted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder, few = with_few_scored(planted, tmp_path / "run", 9)
    with gather.findings(config, folder) as found:
        headline = gather.headline(found, found.headline, gather.samples(found, found.headline))
        report = Report("x", headline, widths=gather.width_rows(found, found.headline))
    folder.report.parent.mkdir(exist_ok=True)  # another test may have made the run's report
    path = _write_summary(report, folder.report.with_name("summary.json"))
    print_findings(folder)
    printed = capsys.readouterr().out
    assert re.search(r"SAE features +median +–   9 of 23 scored", printed)
    assert re.search(r"width +24: held-out r +–, 9 of 23 scored", printed)
    (features,) = (p for p in json.loads(path.read_text())["headline"]["populations"] if p["role"] == "features")
    assert (features["n"], features["n_scored"], features["median"]) == (23, 9, None)
    classes = few.strata()
    assert (classes["scored"] <= classes["n"]).all()
    assert classes["scored"].sum() == 9
