"""Figures as files."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

from universality.errors import UniversalityError
from universality.files import write_bytes
from universality.report import Caption, figures
from universality.report.figures.saving import figure_bytes


def test_same_numbers_same_bytes_whatever_the_users_style(samples) -> None:  # type: ignore[no-untyped-def]
    first = figure_bytes(figures.best_match_distribution(samples))
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "svg.hashsalt": "x", "lines.linewidth": 9}):
        second = figure_bytes(figures.best_match_distribution(samples))
    assert first == second
    assert b"date" not in first[1].lower()
    assert b"Software" not in first[0]


def test_both_files_are_written_and_nothing_else(samples, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    figure = figures.best_match_distribution(samples)
    paths = figures.save_figure(figure, tmp_path / "new" / "w1.024")
    assert [path.name for path in paths] == ["w1.024.png", "w1.024.svg"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["w1.024.png", "w1.024.svg"]
    drawn = figures.picture("w1.024", "answer", "t", figure, Caption("c", "a"))
    assert paths[0].read_bytes() == drawn.png
    assert figures.save_picture(drawn, tmp_path / "new") == paths
    assert drawn.width == figure.get_figwidth()


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".x", "é", "a b"])
def test_a_name_that_is_no_file_name_is_refused(name: str, samples) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UniversalityError, match="a picture's name becomes a file name"):
        figures.picture(name, "answer", "t", figures.best_match_distribution(samples), Caption("c", "a"))


def test_a_write_that_fails_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = write_bytes(tmp_path / "x.html", b"old")
    with pytest.raises(TypeError):
        write_bytes(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.html"]


def test_the_page_needs_no_matplotlib_and_pictures_no_pyplot() -> None:
    script = (
        "import sys, universality.report; assert 'matplotlib' not in sys.modules; "
        "from universality.report import figures, sample; figures.best_match_distribution([sample('null', 'x', [1])]); "
        "assert 'matplotlib.pyplot' not in sys.modules; assert 'networkx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
