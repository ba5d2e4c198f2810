"""Results of the planted run, and of one that lacks files."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from numpy.testing import assert_array_equal

from universality.errors import FormatError
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.run_results import open_results


def test_the_widest_comparison_answers(planted: Any) -> None:
    with open_results(*planted) as results:
        assert [result.comparison.name for result in results.compared] == ["A-B.w16", "A-B.w24"]
        headline = results.headline
        assert headline is not None
        assert headline.comparison.name == "A-B.w24"
        assert results.headline_peers == [headline]
        assert results.of_type("neurons", ("A", "B")) is None
        assert results.of_type("models", ("A", "B")) is results.compared[0]
        assert results.ceilings(headline) == results.no_ceilings(headline) == []
        assert headline.summary == headline.calibration.summary()
        assert_array_equal(headline.frame["logit"], headline.arrays["logit"])
        sample = headline.sample("features", "f")
        assert sample.values.size + sample.without == headline.summary.n_living == 23
        assert sample.n_works == headline.summary.n_groups


def test_damaged_effects_leave_the_matching_to_be_read(planted: Any, tmp_path: Path) -> None:
    config, finished = planted
    folder = RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))
    agreement = folder.effect_agreement("A-B.w24")
    agreement.parent.mkdir(exist_ok=True)
    agreement.write_bytes(b"PK half of a file")
    with open_results(config, folder) as results:
        headline = results.headline
        assert headline is not None
        assert headline.calibration.match.rows.size
        with pytest.raises(FormatError, match=r"agreement.*\n.*universality effects .*config\.yaml --out ") as caught:
            _ = headline.effects
        assert str(agreement) in str(caught.value)


def test_the_grid_lists_stores_that_exist(planted: Any) -> None:
    with open_results(*planted) as results:
        assert results.grid() == [("A", 16, 0), ("A", 24, 0), ("B", 16, 0), ("B", 24, 0)]


def test_what_an_unfinished_run_lacks_is_named_once(planted: Any, tmp_path: Path) -> None:
    config, finished = planted
    folder = RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))
    folder.calibration("A-B.w24").unlink()
    with open_results(config, folder) as results:
        assert [result.comparison.name for result in results.compared] == ["A-B.w16"]
        assert results.missing == ["the corpus", "the matching A-B.w24"]
        assert results.corpus["tokens"]["report"] == 0
        assert not results.has("the corpus", folder.corpus_summary)
        assert results.missing.count("the corpus") == 1


def test_quality_is_read_where_it_was_measured(planted: Any, tmp_path: Path) -> None:
    config, finished = planted
    folder = RunFolder(Path(shutil.copytree(finished.root, tmp_path / "run")))
    with open_results(config, folder) as results:
        missing = results.quality("A", 24, 0)
        assert (missing.alive, missing.width) == (23, 24)
        assert math.isnan(missing.l0)
        assert "the quality of the SAE A, 24 wide, seed 0" in results.missing
    path = folder.sae("A", 24, 0) / "quality.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"explained_variance": 0.8, "l0": 4.5, "loss": {"recovered_over_zero": None}}))
    with open_results(config, folder) as results:
        quality = results.quality("A", 24, 0)
        assert (quality.explained_variance, quality.l0) == (0.8, 4.5)
        assert math.isnan(quality.loss_recovered)
        assert math.isnan(quality.typical_explained_variance)  # not in files of earlier versions
