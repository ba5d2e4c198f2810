"""The terminal prints the numbers of the page."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import report_rows
from universality.pipeline.reporting.report_pages import write_summary
from universality.pipeline.reporting.run_results import open_results
from universality.pipeline.reporting.terminal_summary import print_summary
from universality.report.data import Report
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


def test_the_terminal_and_the_kept_numbers_say_of_how_many(
    planted: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, folder, few = with_few_scored(planted, tmp_path / "run", 9)
    with open_results(config, folder) as found:
        headline = report_rows.headline(found, found.headline, report_rows.samples(found, found.headline))
        report = Report("x", headline, widths=report_rows.width_rows(found, found.headline))
    folder.report.parent.mkdir(exist_ok=True)  # another test may have made the run's report
    path = write_summary(report, folder.report.with_name("summary.json"))
    print_summary(folder)
    printed = capsys.readouterr().out
    assert re.search(r"SAE features +median +–   9 of 23 scored", printed)
    assert re.search(r"width +24: held-out r +–, 9 of 23 scored", printed)
    (features,) = (p for p in json.loads(path.read_text())["headline"]["populations"] if p["role"] == "features")
    assert (features["n"], features["n_scored"], features["median"]) == (23, 9, None)
    classes = few.strata()
    assert (classes["scored"] <= classes["n"]).all()
    assert classes["scored"].sum() == 9
