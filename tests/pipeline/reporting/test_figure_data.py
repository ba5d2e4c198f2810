"""Tables of a run's figures, and drawing them again for print."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from universality.errors import FormatError, UniversalityError
from universality.pipeline.reporting.figure_data import draw_figures
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.report.figures.figure_registry import draw, draw_picture, tables_in
from universality.report.figures.figure_table import load_table
from universality.report.figures.saving import save_for_print


@pytest.fixture(scope="module")
def run(planted: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "run"
    shutil.copytree(planted[1].root, folder)
    report_as_it_is(folder)
    return folder


def test_saved_tables_draw_the_report_s_pictures_again(run: Path) -> None:
    tables = tables_in(run / "figures" / "tables")
    assert {"best_match", "heatmap", "clustered", "coverage", "consistency", "densities", "logit"} <= set(tables)
    for name, path in tables.items():
        again = draw_picture(name, load_table(path))
        assert again.png == (run / "figures" / f"{name}.png").read_bytes(), name


def test_figures_for_print_keep_their_text(run: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    (few / "figures" / "tables").mkdir(parents=True)
    for name in ("best_match", "coverage", "held_out"):
        shutil.copy(run / "figures" / "tables" / f"{name}.csv", few / "figures" / "tables")
    files = draw_figures(few, ("pdf", "svg"), tmp_path)
    assert {path.suffix for path in files} == {".pdf", ".svg"}
    assert len(files) == 2 * len(tables_in(few / "figures" / "tables")) == 6
    svg = (tmp_path / "coverage.svg").read_text(encoding="utf-8")
    assert ">their mean held-out r</text>" in svg
    assert (tmp_path / "coverage.pdf").read_bytes().startswith(b"%PDF")
    assert b"Type3" not in (tmp_path / "coverage.pdf").read_bytes()
    widths = {name: (tmp_path / f"{name}.svg").read_text(encoding="utf-8").split('width="')[1].split("pt")[0]
              for name in ("coverage", "best_match")}  # fmt: skip
    assert {name: round(float(width) / 72, 1) for name, width in widths.items()} == {"coverage": 3.4, "best_match": 6.9}


def test_a_stopped_run_without_tables_has_them_made(planted: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(planted[1].root, run, ignore=shutil.ignore_patterns("figures", "report", "matches"))
    assert "densities.png" in [path.name for path in draw_figures(run, ("png",))]
    assert "densities.csv" in [path.name for path in (run / "figures" / "tables").iterdir()]


def test_what_cannot_be_drawn_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UniversalityError, match="--format: expected some of pdf,svg,png, found jpg"):
        draw_figures(run, ("png", "jpg"))
    with pytest.raises(UniversalityError, match=r"expected a run's folder, with config\.yaml in it"):
        draw_figures(tmp_path)
    with pytest.raises(FormatError, match="nothing: no figure of that name; expected one of best_match"):
        draw("nothing", {})
    with pytest.raises(FormatError, match="held_out: its table has columns chosen, but not held_out"):
        draw("held_out", {"chosen": np.zeros(1)})
    with pytest.raises(UniversalityError, match="expected a name ending in one of pdf, svg, png"):
        save_for_print(draw("held_out", {"chosen": np.zeros(1), "held_out": np.zeros(1)})[0], tmp_path / "x.gif")
    (tmp_path / "x.npz").write_bytes(b"PK no")
    with pytest.raises(FormatError, match="truncated or corrupt table of a figure"):
        load_table(tmp_path / "x.npz")
    empty = tmp_path / "empty"
    shutil.copytree(
        run, empty, ignore=shutil.ignore_patterns("figures", "matches", "features", "families", "similarity")
    )
    with pytest.raises(UniversalityError, match="nothing to draw yet"):
        draw_figures(empty)


def test_the_commands_take_a_run_s_folder(planted: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(planted[1].root, run, ignore=shutil.ignore_patterns("report", "figures", "matches", "families"))
    python = [sys.executable, "-m", "universality"]
    done = subprocess.run([*python, "report", run], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, str(run / "report" / "index.html")), done.stderr
    drawn = subprocess.run([*python, "figures", run, "--format", "svg"], capture_output=True, text=True, check=False)
    assert drawn.returncode == 0, drawn.stderr
    assert "files in" in drawn.stdout
    bad = subprocess.run([*python, "figures", run, "--format", "doc"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "--format: expected some of pdf,svg,png, found doc" in bad.stderr
