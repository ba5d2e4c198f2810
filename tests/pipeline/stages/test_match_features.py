"""Matches of a run: their ceilings, and a warning of SAEs that are not good enough."""

import json
import re
from pathlib import Path

import pandas as pd

from universality.pipeline import RunFolder
from universality.statistics import Calibration


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


def test_saes_not_good_enough_to_match_are_named_before_matching(finished: Path) -> None:
    """Their L0 is 8: much of 32 and 64 features, little of 128."""
    lines = finished.with_suffix(".stderr").read_text().splitlines()
    lines = [line for line in lines if not re.search(r"\d+% done", line)]  # of a slow machine
    assert all(line.startswith("warning: saes/") for line in lines)
    dense = [line for line in lines if "expected at most 10% of them" in line]
    assert [line.split()[1] for line in dense] == [f"saes/{m}/w{w}-s0" for w in (32, 64) for m in "AB"]
