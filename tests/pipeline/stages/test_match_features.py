"""Matches of a run: their ceilings, logit weights against chance, and a warning of SAEs that are not good enough."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_allclose
from planted_run import plant

from universality.config import load_config
from universality.features import FeatureStore
from universality.pipeline import RunFolder
from universality.pipeline.stages.match_features import make_match
from universality.pipeline.study import comparisons
from universality.similarity import Similarity
from universality.statistics import Calibration, calibrate


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


def test_logit_weights_stand_beside_their_nulls_and_ceilings(finished: Path) -> None:
    folder = RunFolder(finished)
    wide, of_a, of_b, neurons = (
        Calibration.load(folder.logit_calibration(name))
        for name in ("A-B.w128", "A-A.w128.s0-s1", "B-B.w128.s0-s1", "A-B.neurons")
    )
    assert all([c.null for c in found.chances] == ["vocabulary", "directions"] for found in (wide, of_a, of_b, neurons))
    assert "classes of script and frequency" in wide.notes[0], "stores of text hold their vocabulary"
    frame = wide.to_frame()
    for side, seeds, feature in (("a", of_a, "row"), ("b", of_b, "col")):
        expected = seeds.to_frame().set_index("row")["held_out"].reindex(frame[feature])
        assert frame[f"ceiling_{side}"].notna().any()
        pd.testing.assert_series_equal(frame[f"ceiling_{side}"], expected, check_names=False, check_index=False)
    asked = load_config(finished / "config.yaml").statistics
    with (
        FeatureStore.open(folder.store("A", 128, 0)) as a,
        FeatureStore.open(folder.store("B", 128, 0)) as b,
    ):
        again = calibrate(a, b, measure="logit", replicates=asked.replicates, bootstrap=0, seed=asked.seed)
        assert_allclose(again.to_frame()[["held_out", "q"]], frame[["held_out", "q"]])


def test_logit_r_of_a_pair_stands_beside_that_of_other_pairs(finished: Path) -> None:
    folder = RunFolder(finished)
    match = Calibration.load(folder.calibration("A-B.w128")).match
    with (
        FeatureStore.open(folder.store("A", 128, 0)) as a,
        FeatureStore.open(folder.store("B", 128, 0)) as b,
        np.load(folder.similarity("A-B.w128")) as arrays,
    ):
        every = Similarity.logit(a, b).dense()[np.ix_(match.rows, match.cols)]
        assert_allclose(arrays["logit"], np.diag(every), rtol=1e-5)
        for place, value in enumerate(arrays["logit_by_chance"]):
            others = np.delete(every[place], place)
            assert np.isnan(value) or np.isclose(others, value, rtol=1e-4).any()
        assert np.isfinite(arrays["logit_by_chance"]).mean() > 0.9


def test_the_card_of_the_configuration_matches_and_finds_the_same(
    finished: Path, tmp_path: Path, torch_for_card: torch.device
) -> None:
    """By activation and by logit weights, with nulls and ceilings; torch's CPU stands for the card."""
    copied = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    config = load_config(finished / "config.yaml", ["device=cuda", "statistics.replicates=1", "statistics.bootstrap=0"])
    (wide,) = (comparison for comparison in comparisons(config, copied) if comparison.name == "A-B.w128")
    make_match(config, copied, wide)
    for path_of in (RunFolder.calibration, RunFolder.logit_calibration):
        here, there = (Calibration.load(path_of(folder, wide.name)) for folder in (RunFolder(finished), copied))
        assert there.match.provenance["device"] == str(torch_for_card)
        assert "device" not in here.match.provenance
        columns = ["row", "col", "score", "held_out", "observed", "ceiling_a", "ceiling_b"]
        pd.testing.assert_frame_equal(there.to_frame()[columns], here.to_frame()[columns], rtol=1e-9, atol=1e-9)
        for one, other in zip(there.chances, here.chances, strict=True):
            assert_allclose(one.scores, other.scores[:1], atol=1e-12)
    tables = [np.load(folder.similarity(wide.name)) for folder in (RunFolder(finished), copied)]
    for name in tables[0].files:
        assert_allclose(tables[1][name], tables[0][name], atol=1e-6, err_msg=name)


def test_a_vocabulary_too_small_for_halves_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, folder = plant(tmp_path / "run", 31)
    told = "warning: A-B.w16: 31 token types in the vocabulary that counts, and halves of it need 32"
    assert told in capsys.readouterr().err
    assert not list((folder.root / "matches").glob("*.logit.npz"))
    (wide,) = (c for c in comparisons(config, folder) if c.width == 24)
    folder.logit_calibration(wide.name).write_bytes(b"of a version that matched on all token types")
    folder.decoder_match(wide.name).write_bytes(b"of a configuration whose models shared a basis")
    files = make_match(config, folder, wide)
    assert files == [folder.calibration(wide.name), folder.similarity(wide.name)]
    assert not folder.logit_calibration(wide.name).exists()
    assert not folder.decoder_match(wide.name).exists()
    with np.load(folder.similarity(wide.name)) as arrays:
        assert np.isfinite(arrays["logit"]).any()


def test_saes_not_good_enough_to_match_are_named_before_matching(finished: Path) -> None:
    """Their L0 is 8: much of 32 and 64 features, little of 128."""
    lines = finished.with_suffix(".stderr").read_text().splitlines()
    lines = [line for line in lines if not re.search(r"\d+% done", line)]  # of a slow machine
    assert all(line.startswith("warning: saes/") for line in lines)
    assert len(lines) == len(set(lines)), "an SAE of several comparisons is named once"
    dense = [line for line in lines if "expected at most 10% of them" in line]
    assert [line.split()[1] for line in dense] == [f"saes/{m}/w{w}-s0" for w in (32, 64) for m in "AB"]
