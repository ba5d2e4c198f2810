"""Summary of a result in a notebook: one small HTML table, with all text escaped."""

from collections.abc import Mapping
from html import escape
from typing import Any


def card(title: str, numbers: Mapping[str, Any]) -> str:
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
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(part)}" for name, part in value.items())
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
