"""Common style of all figures: small, plain, and safe for colour-blind readers, print and headless machines."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, wraps
from itertools import accumulate
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

from universality.visible_tokens import code_point, visible

P = ParamSpec("P")
R = TypeVar("R")

FONT = "DejaVu Sans"  # ships with matplotlib, and has Latin, Greek, Cyrillic, Hebrew, Arabic
COLUMN, PAGE = 3.4, 6.9
"""Widths in inches of one and of two columns of print."""
IN_PANEL, NAME, LINE = 12, 22, 40
"""Greatest widths, in letters n, of a name in a small panel, of one beside others, and of one on its own line."""
BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7", "#56B4E9"
"""Colours of Okabe and Ito, distinguishable with every common type of colour vision."""
GREY, PALE, INK = "#6B6B6B", "#D9D9D9", "#222222"
TICKS = [mantissa * 10**exponent for exponent in range(7) for mantissa in (1, 2, 5)]
"""Round counts for logarithmic scales."""
CYCLE = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
MODEL_COLOURS = (BLUE, VERMILION)
SIGNED_MAP = "RdBu_r"
DENSITY_MAP = LinearSegmentedColormap.from_list("crowd", ["#A9D0EA", BLUE, "#04263D"])
"""From few to many, on white paper."""

STYLE: dict[str, Any] = {
    "font.family": FONT,
    "font.size": 8,
    "text.color": INK,
    "text.parse_math": False,  # a token may hold a dollar sign
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.use_mathtext": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.4,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 100,
    "svg.fonttype": "path",  # reads the same where the font is missing
    "svg.hashsalt": "universality",
}


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Make a function draw in this style, whatever the user's matplotlibrc sets."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with _style():
            return draw(*args, **kwargs)

    return inside


@contextmanager
def _style() -> Iterator[None]:
    """Set this style for a while; what the backend of a notebook sets on the first figure stays."""
    interactive = matplotlib.is_interactive()
    try:
        with matplotlib.style.context(["default", STYLE]):
            try:
                yield
            finally:
                interactive = matplotlib.is_interactive()  # without it, the notebook would show no further figures
    finally:
        matplotlib.interactive(interactive)


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure; sizes are in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def new_axes(width: float, height: float) -> Axes:
    """Make axes in a figure of pyplot, which notebooks show; sizes are in inches."""
    from matplotlib import pyplot

    axes: Axes = pyplot.subplots(figsize=(width, height), layout="constrained")[1]
    return axes


def say(axes: Axes, text: str) -> None:
    """Write a message into empty axes."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)


def legend_beside(axes: Axes, *entries: Sequence[Any]) -> None:
    """Write the legend, of all that is drawn or of some handles and labels, to the right of the axes."""
    axes.legend(*entries, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.9)


@cache
def _font() -> FT2Font:
    font = FT2Font(findfont(FONT))
    font.set_size(12, 72)  # without one no character has a width
    return font


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(_font().get_charmap())


@cache
def _advance(character: str) -> float:
    """Return the width of a character in widths of the letter n."""
    width, width_of_n = (_font().load_char(ord(letter)).linearHoriAdvance for letter in (character, "n"))
    return float(width / width_of_n)


def drawable(text: str, *, mark_spaces: bool = False, most: int | None = None) -> str:
    """Make a text drawable: as ``visible`` shows it, with ``U+4E2D`` for characters without a glyph in the font.

    Parameters
    ----------
    mark_spaces
        As for ``visible``.
    most
        Greatest width in letters n. The middle of a wider text becomes an ellipsis, since names often differ at an
        end.

    >>> drawable("עברית"), drawable("中"), drawable("a name nobody needs", most=9)
    ('עברית', 'U+4E2D', 'a na…eds')
    """
    shown = visible(text, mark_spaces=mark_spaces)
    whole = "".join(c if ord(c) in _glyphs() else code_point(c) for c in shown)
    return whole if most is None else _cut_middle(whole, most)


def in_legend(text: str, most: int) -> str:
    """Make a name drawable in a legend: matplotlib leaves out names that begin with an underscore."""
    shown = drawable(text, most=most)
    return f" {shown}" if shown.startswith("_") else shown


def _cut_middle(text: str, most: float) -> str:
    """Return the text, or its two ends with an ellipsis between them, no wider than ``most``."""
    widths = [_advance(character) for character in text]
    if sum(widths) <= most:
        return text
    room = (most - _advance("…")) / 2
    head = sum(width <= room for width in accumulate(widths))
    tail = sum(width <= room for width in accumulate(reversed(widths)))
    return f"{text[:head]}…{text[len(text) - tail :]}"


def drawable_names(names: Sequence[str], most: int) -> list[str]:
    """Make names drawable; names that become equal when cut get a number.

    >>> drawable_names(["short", "a name nobody needs", "a name somebody needs"], 9)
    ['short', 'a na…eds', 'a n…ds 2']
    """
    cut = [drawable(name, most=most) for name in names]
    seen: dict[str, list[str]] = {}
    for place, (name, short) in enumerate(zip(names, cut, strict=True)):
        alike = seen.setdefault(short, [])
        if name not in alike:
            alike.append(name)
        if number := alike.index(name):
            mark = f" {number + 1}"
            cut[place] = drawable(name, most=most - len(mark)) + mark
    return cut
