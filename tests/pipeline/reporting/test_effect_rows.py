"""Planted numbers on effects reach the page, the terminal, the tables and Python as they are."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.planted_effects import NAME, plant_effects
from universality import Study
from universality.errors import UniversalityError
from universality.export import read_csv
from universality.files import write_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.effect_rows import effects_of
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.pipeline.reporting.run_results import open_results
from universality.pipeline.reporting.terminal_summary import print_summary
from universality.pipeline.stages.write_exports import make_exports


@pytest.fixture(scope="module")
def measured(planted: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, RunFolder]:
    """The planted run with numbers on effects, its report and its exports."""
    config, finished = planted
    folder = RunFolder(tmp_path_factory.mktemp("effects") / "run")
    shutil.copytree(finished.root, folder.root, ignore=shutil.ignore_patterns("report", "figures"))
    plant_effects(folder)
    report_as_it_is(folder.root)
    make_exports(config, folder)
    return config, folder


def words(page: Path) -> str:
    """Text of a page, a space for each run of markup and white space."""
    return " ".join(re.sub(r"<style.*?</style>|<script.*?</script>|<[^>]*>", " ", page.read_text(), flags=re.S).split())


def test_the_page_states_the_planted_numbers(measured: tuple[Any, RunFolder]) -> None:
    text = words(measured[1].report)
    for part in (
        "Largely yes by activation; in part by effect: ",
        "features with a partner in B at r ≥ 0.7 alone recover 76% (73% to 79%), those without 94% (91% to 97%); "
        "random subsets of equal mass 60% (57% to 63%), 59% to 61% over 2 draws",
        "SAE features 20 of 23 200 0.45 0.41 to 0.48 43% 0% 0.02 0.05 overlap 40% 20 50% 0% 71% chance 52% 50% chance "
        "17% 0.44 controls 0.11 0.70",
        "A all firings 100 1.00 1.04 100%",
        "random, same mass draws 59% to 61% 15 63% 60% 57% to 63% 16% 14% to 18% 42% 40% to 45% 60% 57% to 63%",
        "on 3,840 held-out tokens",
    ):
        assert part in text
    assert "Loss that shared features carry." in text
    assert "Agreement of effects and of activations." in text
    assert "r of effects compares what both do to the loss" in text


def test_a_run_without_effects_says_nothing_of_them(planted: Any, tmp_path: Path) -> None:
    finished = planted[1]
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, folder.root, ignore=shutil.ignore_patterns("report", "figures"))
    text = words(report_as_it_is(folder.root))
    assert "Do partners" not in text
    assert "by activation;" not in text
    assert "effects" not in json.loads(folder.report.with_name("summary.json").read_text())
    with Study.open(folder.root) as study:
        assert not [name for name in study.pairs if name.startswith(("effect_", "fingerprint_"))]
        with pytest.raises(UniversalityError, match=r"agreement\.npz: no effects; the stage `effects`"):
            _ = study.effects
        with pytest.raises(UniversalityError, match="no loss of shared features"):
            study.shared_loss("A")


def test_what_could_not_be_measured_is_a_warning(planted: Any, tmp_path: Path) -> None:
    config, finished = planted
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, folder.root, ignore=shutil.ignore_patterns("report", "figures"))
    (folder.root / "effects").mkdir()
    write_json(folder.unmeasured_effects(NAME), {"effects of A": "nothing follows <the hook>"})
    with open_results(config, folder) as results:
        found = effects_of(results, results.headline)
    assert found is not None
    assert found.unmeasured == ("Not measured: effects of A, since nothing follows <the hook>",)
    text = report_as_it_is(folder.root).read_text()
    assert "Not measured: effects of A, since nothing follows &lt;the hook&gt;" in text


def test_the_terminal_leads_with_the_sentence(
    measured: tuple[Any, RunFolder], capsys: pytest.CaptureFixture[str]
) -> None:
    print_summary(measured[1])
    printed = capsys.readouterr().out
    assert printed.startswith("Of the loss that A's SAE of 15 features recovers (against mean ablation), features")
    assert re.search(r"SAE features +median 0\.450 +20 of 23 pairs compared; null 0\.020, controls 0\.050", printed)
    assert "first order, A: rank correlation with exact effects 1.000, slope 1.040, 100 firings" in printed


def test_summary_holds_the_numbers(measured: tuple[Any, RunFolder]) -> None:
    effects = json.loads(measured[1].report.with_name("summary.json").read_text())["effects"]
    assert effects["rows"][0]["summary"]["n_tested"] == 20
    assert effects["carried"][0]["loss"]["model"] == "A"
    assert effects["carried"][0]["sentence"].startswith("Of the loss")


def test_tables_graphs_and_python_have_the_pairs_numbers(measured: tuple[Any, RunFolder]) -> None:
    folder = measured[1]
    table = read_csv(folder.calibration(NAME).with_suffix(".csv"))
    assert np.isnan(table["effect_r"]).sum() == 3
    assert set(table["effect_r"].dropna().round(6)) == {0.3, 0.6}
    assert set(table["fingerprint_ablation_r"].dropna()) == {0.44}
    graph = folder.calibration(NAME).with_suffix(".graphml").read_text()
    assert 'attr.name="effect_r"' in graph
    assert 'attr.name="effect_q"' in graph
    with Study.open(folder.root) as study:
        assert study.effects.summary().n_compared == 20
        assert study.shared_loss("A").row("B", 0.7, "shared").recovered == 0.76
        joined = study.pairs.set_index("row")["effect_r"]
        own = study.effects.pairs.set_index("row")["r_per_norm"]
        np.testing.assert_array_equal(joined.loc[own.index], own)


def test_nothing_is_left_of_effects_that_are_no_longer_measured(
    measured: tuple[Any, RunFolder], tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(measured[1].root, folder.root)
    settings = folder.root / "config.yaml"
    settings.write_text(re.sub(r"(?m)^effects:\n(  .*\n)*", "", settings.read_text()) + "effects: {measure: false}\n")
    assert {path.name for path in of_effects(folder)} == {
        "effects.png", "effects.svg", "effects.csv", "carried_loss.png", "carried_loss.svg", "carried_loss.csv",
        "effects.js",
    }  # fmt: skip
    text = words(report_as_it_is(folder.root))
    assert "Do partners" not in text
    assert of_effects(folder) == []
    assert (folder.root / "figures/best_match.png").exists()
    with Study.open(folder.root) as study, pytest.raises(UniversalityError, match=r"effects\.measure is false"):
        _ = study.effects


def of_effects(folder: RunFolder) -> list[Path]:
    """List the figures, tables and data files of the page that are about effects."""
    made = [*folder.root.glob("figures/**/*.*"), *folder.root.glob("report/data/**/*.js")]
    return [path for path in made if re.search(r"effects|carried", path.name)]


def test_figures_are_drawn_and_their_tables_saved(measured: tuple[Any, RunFolder]) -> None:
    figures = measured[1].root / "figures"
    for name in ("carried_loss", "effects"):
        assert (figures / f"{name}.svg").stat().st_size > 1000
        assert (figures / "tables" / f"{name}.csv").exists()
