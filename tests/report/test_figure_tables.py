"""Every picture comes from its table alone, and can be drawn again for print."""

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
from universality.report import sample
from universality.report.figures.consistency import FrequencySample
from universality.report.figures.coverage import coverage_curve
from universality.report.figures.figure_table import load_table, save_table
from universality.report.figures.heatmap import cluster_order
from universality.report.figures.redrawing import DRAWINGS, draw, draw_picture, tables_in
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
    files = draw_figures(run, ("pdf", "svg"), tmp_path)
    assert {path.suffix for path in files} == {".pdf", ".svg"}
    assert len(files) == 2 * len(tables_in(run / "figures" / "tables"))
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
    with pytest.raises(FormatError, match="not a whole table of a figure"):
        load_table(tmp_path / "x.npz")
    empty = tmp_path / "empty"
    shutil.copytree(
        run, empty, ignore=shutil.ignore_patterns("figures", "matches", "features", "families", "similarity")
    )
    with pytest.raises(UniversalityError, match="nothing to draw yet"):
        draw_figures(empty)


def test_tables_come_back_as_they_were(tmp_path: Path) -> None:
    flat = {"kind": np.asarray(["a,b", 'q"', "NA"]), "r": np.asarray([0.1 + 0.2, np.nan, 1e-300])}
    path = save_table(flat, tmp_path / "t")
    assert path.name == "t.csv"
    for name, column in load_table(path).items():
        np.testing.assert_array_equal(column, flat[name])
    assert save_table({**flat, "edges": np.arange(2)}, tmp_path / "t").name == "t.npz"
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


def test_no_cell_of_a_table_is_a_formula(tmp_path: Path) -> None:
    kinds = ["=HYPERLINK(1)", "+1", "-1", "@x", "'quoted", "a\\b", "\udce2", "\n", "17", "nan", "None"]
    table = {"kind": np.asarray(kinds, dtype=object), "r": np.arange(len(kinds)) / 7}
    path = save_table(table, tmp_path / "t")
    cells = [line.split(",")[0] for line in path.read_text(encoding="utf-8").splitlines()]
    assert not any(cell.startswith(tuple("=+-@")) for cell in cells)
    assert load_table(path)["kind"].tolist() == kinds
    np.testing.assert_array_equal(load_table(path)["r"], table["r"])


def test_tables_of_earlier_versions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('kind,r\n"a,b",0.30000000000000004\n=x,\n', encoding="utf-8")
    found = load_table(path)
    assert found["kind"].tolist() == ["a,b", "=x"]
    np.testing.assert_array_equal(found["r"], [0.1 + 0.2, np.nan])


def test_every_drawing_says_that_its_table_is_empty() -> None:
    for name in ("coverage", "consistency", "best_match"):
        empty = {column: np.zeros(0) for column in DRAWINGS[name].columns}
        assert draw(name, empty)[1].alt


def test_shared_and_exclusive_features_stand_where_they_belong() -> None:
    norm = np.asarray([0.0, 0.02, 0.5, 0.5, 0.5, 0.97])
    table = {"relative_norm": norm, "partners": norm == 0.5, "models": np.asarray(["base", "tuned"])}
    table["unpaired"] = np.asarray([0.01, 0.99])
    figure, caption = draw("crosscoder", table)
    (axes,) = figure.axes
    bars, agreed, _, control = (patch.get_data() for patch in axes.patches)
    np.testing.assert_array_equal(np.flatnonzero(control.values), [0, len(control.values) - 1])
    assert bars.values.sum() == 6
    np.testing.assert_array_equal(np.flatnonzero(agreed.values), [np.searchsorted(agreed.edges, 0.5, "right") - 1])
    assert "base alone: 2, 0% with" in caption.alt
    assert "shared: 3, 100% with" in caption.alt
    none = {**table, "relative_norm": norm[:0], "partners": norm[:0] > 0}
    assert "No living features" in draw("crosscoder", none)[1].alt


def test_coverage_is_the_mean_of_the_best() -> None:
    curve = coverage_curve(sample("features", "x", [0.2, 0.8, np.nan], without=1))
    np.testing.assert_allclose(curve.share, [0.25, 0.5])
    np.testing.assert_allclose(curve.quality, [0.8, 0.5])
    assert np.isnan(curve.at(0.9))


def test_quartiles_by_frequency_find_the_planted_rise() -> None:
    draw_ = np.random.default_rng(0)
    firings = 10 ** draw_.uniform(1, 4, 4000)
    found = FrequencySample("features", "x", firings, np.log10(firings) / 4 + draw_.normal(0, 0.01, 4000)).quartiles()
    np.testing.assert_allclose(found[:, 2], np.log10(found[:, 0]) / 4, atol=0.02)
    shuffled = FrequencySample("features", "x", draw_.permutation(firings), np.log10(firings) / 4).quartiles()
    assert np.ptp(shuffled[:, 2]) < 0.2


def test_clusters_stand_together() -> None:
    group = np.asarray([0, 1, 2] * 10)
    order = cluster_order((group[:, None] == group[None, :]).astype(float))
    assert np.count_nonzero(np.diff(group[order])) == 2


def test_the_commands_take_a_run_s_folder(planted: Any, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(planted[1].root, run, ignore=shutil.ignore_patterns("report", "figures"))
    python = [sys.executable, "-m", "universality"]
    done = subprocess.run([*python, "report", run], capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, str(run / "report" / "index.html")), done.stderr
    drawn = subprocess.run([*python, "figures", run, "--format", "svg"], capture_output=True, text=True, check=False)
    assert drawn.returncode == 0, drawn.stderr
    assert "files in" in drawn.stdout
    bad = subprocess.run([*python, "figures", run, "--format", "doc"], capture_output=True, text=True, check=False)
    assert bad.returncode == 2
    assert "--format: expected some of pdf,svg,png, found doc" in bad.stderr
