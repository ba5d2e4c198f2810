"""Figures as bytes and as files, reproducible to the byte and written atomically."""

import io
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from universality.errors import UniversalityError
from universality.files import as_path, write_bytes
from universality.plot.style import COLUMN, PAGE, styled
from universality.report.data import Caption, Picture, Section

DPI = 200


@styled
def figure_bytes(figure: Figure) -> tuple[bytes, bytes]:
    """Render a figure as PNG and as SVG, without dates or versions."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")  # the layout of the PNG is kept: computing it takes as long as drawing
    figure.savefig(svg, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    figure.set_layout_engine(engine)
    return png.getvalue(), svg.getvalue()


def save_figure(figure: Figure, stem: str | Path) -> tuple[Path, Path]:
    """Write ``stem.png`` and ``stem.svg`` atomically, and create the folder.

    Returns
    -------
    tuple of Path
        Paths of the PNG and of the SVG.
    """
    return _write_both(figure_bytes(figure), as_path(stem))


FORMATS = ("pdf", "svg", "png")
_TEXT: dict[Any, Any] = {"svg.fonttype": "none", "pdf.fonttype": 42}
"""Keep text as text, for editors of vector graphics."""
_DATELESS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@styled
def save_for_print(figure: Figure, path: str | Path) -> Path:
    """Write a figure for print, one or two columns wide, in the format of the file name's ending.

    Text stays text. Figures drawn up to 1.3 columns wide become one column wide, all others two.

    Parameters
    ----------
    path
        File name that ends in one of ``FORMATS``.

    Raises
    ------
    UniversalityError
        If the ending is not one of ``FORMATS``.
    """
    path = as_path(path)
    ending = path.suffix.removeprefix(".")
    if ending not in FORMATS:
        raise UniversalityError(f"{path}: expected a name ending in one of {', '.join(FORMATS)}")
    figure.set_figwidth(COLUMN if figure.get_figwidth() <= 1.3 * COLUMN else PAGE)
    content = io.BytesIO()
    with matplotlib.rc_context(_TEXT):
        figure.savefig(content, format=ending, dpi=DPI, metadata=_DATELESS[ending])
    return write_bytes(path, content.getvalue())


def picture(name: str, section: Section, title: str, figure: Figure, caption: Caption) -> Picture:
    """Render a figure as a picture of the report.

    Raises
    ------
    UniversalityError
        If ``name`` cannot be a file name.
    """
    if not name or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in name) or name.startswith("."):
        raise UniversalityError(f"a picture's name becomes a file name: letters, digits, - _ and ., found {name!r}")
    return Picture(name, section, title, caption, *figure_bytes(figure), float(figure.get_figwidth()))


def save_picture(drawn: Picture, folder: str | Path) -> tuple[Path, Path]:
    """Write the PNG and SVG of a picture into a folder, under its name."""
    return _write_both((drawn.png, drawn.svg), as_path(folder) / drawn.name)


def _write_both(content: tuple[bytes, bytes], stem: Path) -> tuple[Path, Path]:
    png, svg = content
    return (
        write_bytes(stem.with_name(f"{stem.name}.png"), png),
        write_bytes(stem.with_name(f"{stem.name}.svg"), svg),
    )
