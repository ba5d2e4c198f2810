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
from universality.pipeline.study import ceilings_of, comparisons, headline_comparison, sae_grid
from universality.report.figures.figure_registry import draw, tables_in
from universality.report.figures.figure_table import load_table
from universality.statistics import Calibration

SMOKE = Path(__file__).parents[2] / "configs" / "smoke.yaml"


def study(**saes: object) -> Config:
    return parse_config({"models": {"load": {"A": "starter/seed0"}}, "saes": saes})


def compared(**saes: object) -> list[tuple[str, str, tuple[int, int]]]:
    found = comparisons(study(**saes), RunFolder(Path("r")))
    return [(c.name, c.of, c.seeds) for c in found]


def test_every_pair_of_seeds_is_compared_at_every_width_that_has_both() -> None:
    assert compared(widths=[8, 16], seeds=[0, 3], k=4) == [
        ("A-A.w8.s0-s3", "seeds", (0, 3)),
        ("A-A.w16.s0-s3", "seeds", (0, 3)),
    ]
    assert [name for name, _, _ in compared(widths=[8], seeds=[0, 1, 2], k=4)] == [
        "A-A.w8.s0-s1", "A-A.w8.s0-s2", "A-A.w8.s1-s2",
    ]  # fmt: skip
    assert compared(widths=[8, 16], ceiling_seed=5, k=4) == [("A-A.w16.s0-s5", "seeds", (0, 5))]
    assert compared(widths=[8, 16], k=4) == [("A-A.w16.s0-s1", "seeds", (0, 1))]
    assert compared(widths=[8, 16], seeds=[3], k=4) == [("A-A.w16.s3-s0", "seeds", (3, 0))]
    assert compared(widths=[8, 16], ceiling_seed=None, k=4) == []


def test_the_headline_is_the_first_pair_of_seeds_at_the_largest_width() -> None:
    found = headline_comparison(study(widths=[8, 16], seeds=[0, 1, 2], k=4), RunFolder(Path("r")))
    assert (found.name, found.sides) == ("A-A.w16.s0-s1", ("A seed 0", "A seed 1"))
    assert [store.name for store in (found.a, found.b)] == ["A.w16-s0.h5", "A.w16-s1.h5"]


def test_two_models_are_compared_as_before_whatever_their_seeds() -> None:
    models = {"load": {"A": "starter/seed0", "B": "starter/seed1"}}
    config = parse_config({"models": models, "saes": {"widths": [8, 16], "k": 4, "seeds": [0, 1]}})
    found = comparisons(config, RunFolder(Path("r")))
    assert [(c.name, c.of) for c in found] == [
        ("A-B.w8", "models"), ("A-B.w16", "models"), ("A-B.neurons", "neurons"), ("A-A.w16.s0-s1", "ceiling"),
        ("B-B.w16.s0-s1", "ceiling"),
    ]  # fmt: skip
    assert headline_comparison(config, RunFolder(Path("r"))).sides == ("A", "B")


def test_each_model_has_one_more_seed_at_the_headline_s_width_by_default() -> None:
    """A study whose configuration says nothing of it, as people copy it."""
    models = {"load": {"A": "starter/seed0", "B": "starter/seed1"}}
    config = parse_config({"models": models, "saes": {"widths": [8, 16], "k": 4}})
    assert sae_grid(config)[-2:] == [("A", 16, 1), ("B", 16, 1)]
    assert sae_grid(parse_config(config.model_dump())) == sae_grid(config)  # as a run writes it down
    folder = RunFolder(Path("r"))
    by_width = {c.width: ceilings_of(config, folder, c) for c in comparisons(config, folder) if c.of == "models"}
    assert by_width[8] == [None, None]
    assert [c.name for c in by_width[16] if c] == ["A-A.w16.s0-s1", "B-B.w16.s0-s1"]
    without = parse_config({"models": models, "saes": {"widths": [8, 16], "k": 4, "ceiling_seed": None}})
    assert not {c.of for c in comparisons(without, folder)} & {"ceiling"}
    assert sae_grid(without) == sae_grid(config)[:-2]
    two = parse_config({"models": models, "saes": {"widths": [8, 16], "k": 4, "seeds": [4, 2]}})
    assert len(sae_grid(two)) == 8  # the second seed serves, and nothing more is trained
    assert [c.seeds for c in comparisons(two, folder) if c.of == "ceiling"] == [(4, 2), (4, 2)]


def test_a_report_of_nothing_to_compare_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UniversalityError, match="or SAE seeds of one; the configuration names one of each"):
        make_report(study(widths=[8], k=4, ceiling_seed=None), RunFolder(tmp_path))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, RunFolder]:
    settings = [
        "models.train={A: {init: 0, order: 100}}", "saes.widths=[32, 64]", "saes.seeds=[0, 1]",
        "saes.ceiling_seed=null", "saes.tokens=20000", "corpus.max_documents=160", "statistics.replicates=1",
        "families.replicates=0", "families.bootstrap=0",
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
    index = (folder.report.parent / "data" / "index.js").read_text(encoding="utf-8")
    assert '"models":["A seed 0","A seed 1"]' in index.replace(", ", ",").replace(": ", ":")
    assert '"families":[true,false]' in index.replace(", ", ",").replace(": ", ":")


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
    assert "no run there; make it with: universality run configs/smollm2.yaml" in analyse(tmp_path).stderr
