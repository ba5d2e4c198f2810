"""A study of one model: its SAE seeds are matched with each other, at each width, and the report says so."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from universality import run
from universality.config import Config, load_config, parse_config
from universality.errors import UniversalityError
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.report_pages import make_report
from universality.pipeline.study import comparisons
from universality.report.figures.figure_registry import draw, tables_in
from universality.report.figures.figure_table import load_table
from universality.statistics import Calibration

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def study(**saes: object) -> Config:
    return parse_config({"models": {"load": {"A": "starter/seed0"}}, "saes": saes})


def compared(**saes: object) -> list[tuple[str, str, tuple[int, int]]]:
    found = comparisons(study(**saes), RunFolder(Path("r")))
    return [(c.name, c.of, c.seeds) for c in found]


def test_a_report_of_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UniversalityError, match="or SAE seeds of one; the configuration names one of each"):
        make_report(study(widths=[8], k=4, ceiling_seed=None), RunFolder(tmp_path))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, RunFolder]:
    settings = [
        "models.train={A: {init: 0, order: 100}}", "saes.widths=[32, 64]", "saes.seeds=[0, 1]",
        "saes.ceiling_seed=null", "saes.tokens=20000", "corpus.max_documents=160", "statistics.replicates=1",
        "families.replicates=0", "families.bootstrap=0", "map.draw=false",
    ]  # fmt: skip
    config, folder = load_config(SMOKE, settings), tmp_path_factory.mktemp("one")
    run(config, folder)
    return config, RunFolder(folder)


def test_seeds_of_one_model_go_all_the_way_to_the_report(made: tuple[Config, RunFolder]) -> None:
    config, folder = made
    for comparison in comparisons(config, folder):
        r = Calibration.load(folder.calibration(comparison.name)).held_out
        assert len(r) == comparison.width
        assert np.nanmax(r) < 0.9999  # two dictionaries, not one with itself
    found = json.loads(folder.report.with_name("summary.json").read_text())
    assert found["headline"]["seeds_of"] == "A"
    assert [(row["width"], row["a"]["seed"], row["b"]["seed"]) for row in found["widths"]] == [(32, 0, 1), (64, 0, 1)]
    assert [row["role"] for row in found["headline"]["populations"]] == ["features", "null"]
    assert found["saes"] == []  # all stand in the rows of the widths
    assert [table["model"] for table in found["families"]] == ["A"]


def test_the_page_says_that_two_seeds_were_compared(made: tuple[Config, RunFolder]) -> None:
    page = made[1].report.read_text(encoding="utf-8")
    assert "Do two sparse autoencoders of A, which differ in their seed, find the same features?" in page
    assert (
        "Both dictionaries are of one model, A, were trained on the same text, and differ in their seed only." in page
    )
    assert "<bdi>A seed 0</bdi> against <bdi>A seed 1</bdi>" in page
    for wrong in (
        "trained apart",
        "partner in B with",
        "Bricken et al. 2023</th>",
        "the ceiling is unknown",
        "not stored",
    ):
        assert wrong not in page, wrong


def test_the_pictures_name_the_seeds(made: tuple[Config, RunFolder]) -> None:
    tables = tables_in(made[1].root / "figures" / "tables")
    for name in ("heatmap", "clustered", "concepts"):
        figure, _ = draw(name, load_table(tables[name]))
        said = " ".join(text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel()))
        assert "A seed 0" in said, name
        assert "in A seed 1" in said, name
        assert " B" not in said, name
    page = made[1].report.read_text(encoding="utf-8")
    assert "features of A seed 0, columns their partners in A seed 1" in page


def test_files_of_the_page_are_those_of_the_seeds_and_families_are_of_one_side(made: tuple[Config, RunFolder]) -> None:
    folder = made[1]
    page = folder.report.read_text(encoding="utf-8")
    assert "../matches/A-A.w64.s0-s1.activation.csv" in page
    assert (folder.root / "matches" / "A-A.w64.s0-s1.activation.graphml").is_file()
    text = (folder.report.parent / "data" / "index.js").read_text(encoding="utf-8")
    index = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert [side["name"] for side in index["sides"]] == ["A seed 0", "A seed 1"]
    assert ["families" in side["files"] for side in index["sides"]] == [True, False]


def test_seeds_are_compared_by_their_weights_too(made: tuple[Config, RunFolder], tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "analyses" / "sae_seeds.py"

    def analyse(run: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, script, run]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    done = analyse(made[1].root)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("A-A.") and "," not in line]
    assert [(row[0], int(float(row[1])) <= width) for row, width in zip(rows, (32, 64), strict=True)] == [
        ("A-A.w32.s0-s1", True), ("A-A.w64.s0-s1", True),
    ]  # fmt: skip
    assert "no run; make it with: universality run configs/smollm2.yaml" in analyse(tmp_path).stderr
