"""Summary of a result in a notebook: a small HTML table and a picture, with all text escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_WIDTH, _HEIGHT, _TEXT = 320, 80, 16  # pixels of a picture, and of the line of text beneath it


def card(title: str, numbers: Mapping[str, Any], picture: str = "") -> str:
    """Render a caption and one row per number as HTML, for ``_repr_html_``; numbers that are None are left out.

    Examples
    --------
    >>> card("Match <1>", {"median r": 0.5, "gap": None})
    '<table><caption>Match &lt;1&gt;</caption><tr><th>median r</th><td>0.5</td></tr></table>'
    """
    rows = "".join(
        f"<tr><th>{escape(str(name))}</th><td>{escape(_shown(value))}</td></tr>"
        for name, value in numbers.items()
        if value is not None
    )
    table = f"<table><caption>{escape(title)}</caption>{rows}</table>"
    return f"<div>{table}{picture}</div>" if picture else table


def histogram(
    values: ArrayLike, label: str, low: float | None = None, high: float | None = None, mark: float | None = None
) -> str:
    """Draw a histogram as inline SVG; an empty string where there is nothing to show.

    Parameters
    ----------
    values
        [n] numbers; those that are not finite are left out.
    label
        Name of the horizontal axis.
    low, high
        Ends of the axis; by default the smallest and the largest value.
    mark
        Value at which a dashed line is drawn, where it lies between the ends.

    Examples
    --------
    >>> histogram([], "r"), histogram([0.0, 1.0, 1.0], "r <1>").count("r &lt;1&gt;")
    ('', 2)
    """
    array = np.asarray(values, np.float64)
    array = array[np.isfinite(array)]
    if not len(array):
        return ""
    start = float(array.min()) if low is None else min(low, float(array.min()))
    stop = float(array.max()) if high is None else max(high, float(array.max()))
    counts, _ = np.histogram(array, bins=40, range=(start, stop if stop > start else start + 1))
    step = _WIDTH // len(counts)
    bars = "".join(
        f"M{i * step} {_HEIGHT}v-{round(_HEIGHT * int(n) / int(counts.max()))}h{step - 1}V{_HEIGHT}z"
        for i, n in enumerate(counts)
        if n
    )
    marks = f'<path d="{bars}"/>'
    if mark is not None and start < mark < stop:
        x = round(_WIDTH * (mark - start) / (stop - start))
        marks += f'<path d="M{x} 0V{_HEIGHT}" stroke="#d33" stroke-dasharray="4 3"/>'
    return picture(marks + captions(f"{start:.3g}", label, f"{stop:.3g}"), f"histogram of {label}")


def captions(left: str, middle: str, right: str) -> str:
    """Write three texts beneath a picture."""
    places = ((0, "start", left), (_WIDTH // 2, "middle", middle), (_WIDTH, "end", right))
    return "".join(
        f'<text x="{x}" y="{_HEIGHT + _TEXT - 4}" text-anchor="{anchor}" font-size="11">{escape(text)}</text>'
        for x, anchor, text in places
    )


def picture(marks: str, title: str) -> str:
    """Wrap SVG marks in a picture of the size of a card, in the colour of the page's text."""
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT + _TEXT}" fill="currentColor" role="img">'
        f"<title>{escape(title)}</title>{marks}</svg>"
    )


def layered_tree(levels: Sequence[Sequence[tuple[float, int]]], names: Sequence[str], title: str) -> str:
    """Draw a tree from left to right as inline SVG.

    Parameters
    ----------
    levels
        For each level, a node's height (0 at the top, 1 at the bottom) and its parent's index in the level before.
    names
        Three texts beneath: left, middle and right.
    title
        Description of the picture.

    Examples
    --------
    >>> layered_tree([[(0.5, -1)], [(0.0, 0), (1.0, 0)]], ("8", "", "16"), "a split").count("<circle")
    3
    """

    def place(level: int, height: float) -> tuple[int, int]:
        span = max(1, len(levels) - 1)
        return 5 + round(level * (_WIDTH - 10) / span), 5 + round(height * (_HEIGHT - 10))

    lines, nodes = [], []
    for level, row in enumerate(levels):
        for height, parent in row:
            x, y = place(level, height)
            nodes.append(f'<circle cx="{x}" cy="{y}" r="3"/>')
            if level:
                px, py = place(level - 1, levels[level - 1][parent][0])
                lines.append(f"M{px} {py}L{x} {y}")
    edges = f'<path d="{"".join(lines)}" stroke="currentColor" fill="none"/>'
    return picture(edges + "".join(nodes) + captions(*names), title)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
