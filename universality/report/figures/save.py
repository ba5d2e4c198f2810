"""Pictures as bytes and as files: the same bytes for the same picture, and files that are whole or not there."""

import io
from pathlib import Path

from matplotlib.figure import Figure

from universality.errors import UniversalityError
from universality.report.data import Caption, Picture, Section
from universality.report.figures.style import styled
from universality.report.files import write_bytes

DPI = 200


@styled
def figure_bytes(figure: Figure) -> tuple[bytes, bytes]:
    """The figure as PNG and as SVG, without dates or versions."""
    png, svg = io.BytesIO(), io.BytesIO()
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    figure.savefig(svg, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    return png.getvalue(), svg.getvalue()


def save_figure(figure: Figure, stem: str | Path) -> tuple[Path, Path]:
    """Write ``stem.png`` and ``stem.svg``, each whole or not at all; makes the folder.

    Returns
    -------
    tuple of Path
        The PNG and the SVG.
    """
    return _write_both(figure_bytes(figure), Path(stem))


def picture(name: str, section: Section, title: str, figure: Figure, caption: Caption) -> Picture:
    """Draw a figure for the report.

    Raises
    ------
    UniversalityError
        If ``name`` cannot be a file name.
    """
    if not name or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in name) or name.startswith("."):
        raise UniversalityError(f"a picture's name becomes a file name: letters, digits, - _ and ., found {name!r}")
    return Picture(name, section, title, caption, *figure_bytes(figure), float(figure.get_figwidth()))


def save_picture(drawn: Picture, folder: str | Path) -> tuple[Path, Path]:
    """Write a picture's PNG and SVG into a folder under its name."""
    return _write_both((drawn.png, drawn.svg), Path(folder) / drawn.name)


def _write_both(content: tuple[bytes, bytes], stem: Path) -> tuple[Path, Path]:
    png, svg = content
    return (
        write_bytes(stem.with_name(f"{stem.name}.png"), png),
        write_bytes(stem.with_name(f"{stem.name}.svg"), svg),
    )
