"""What a notebook shows of a result: one small table, everything in it escaped."""

from collections.abc import Mapping
from html import escape
from typing import Any


def card(title: str, numbers: Mapping[str, Any]) -> str:
    """HTML of a caption and one row a number, for ``_repr_html_``.

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
