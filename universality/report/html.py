"""The report as one HTML file: pictures inside, nothing fetched, every string escaped.

Only the explorer's views read more: script files in ``data/`` beside the page, each when it is first needed.

Strings pass ``visible`` and Jinja's escaping on their way out, so a token can hold markup, control characters or
directional overrides and still be shown as what it is.
"""

import base64
import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from universality.errors import UniversalityError
from universality.files import write_bytes
from universality.report import caveats as cautions
from universality.report import formatting as numbers
from universality.report import narrative as words
from universality.report import published_concepts as published
from universality.report.data import PAGE_WIDTH, THRESHOLDS, Example, FileLink, Picture, Report
from universality.report.explorer import explorer_script
from universality.report.visible_tokens import direction, pieces, visible
from universality.statistics.concept_partners import KNOWS

LARGEST_SVG = 400_000
"""Bytes; a larger drawing is embedded as PNG."""
_WRITTEN_OUT = re.compile(r"((?:\\x[0-9A-F]{2}|U\+[0-9A-F]{4,6})+)")


@dataclass(frozen=True)
class Stretch:
    """Text of an example with one shade: ``share`` of the focus's activation, 0 where the feature is silent."""

    text: str
    share: float
    focus: bool


def write_report(report: Report, path: str | Path) -> Path:
    """Write the page, whole or not at all; makes its folder.

    Parameters
    ----------
    report
        What it says.
    path
        Of the file, usually ``report/index.html`` in the run's folder; links to files are relative to it.

    Raises
    ------
    UniversalityError
        If a file's link is not relative.
    """
    return write_bytes(path, render(report).encode("utf-8"))


def render(report: Report) -> str:
    """The page as a string. The same report gives the same bytes."""
    environment = _environment()
    script = environment.get_template("sort.js.j2").render() + (explorer_script() if report.explorer else "")
    style = environment.get_template("style.css").render()
    return environment.get_template("template.html.j2").render(
        report=report,
        headline=report.headline,
        question=words.question(report.headline),
        verdict=words.verdict(report.headline),
        answer=words.answer(report.headline),
        widths_text=words.across_widths(report.widths),
        models_text=words.language_models(report.models) if report.models else "",
        knows=KNOWS,
        concepts_text=words.concepts(report.concepts) if report.concepts else "",
        warnings=cautions.warnings(report),
        limits=cautions.limits(report),
        links=[(_href(link), link.path, link.what) for link in report.files],
        saes=[sae for row in report.widths for sae in (row.a, row.b)] + list(report.saes),
        concepts=sorted(report.concepts, key=lambda row: (row.kind not in published.CONCEPTS, _falling(row.held_out))),
        few_groups=cautions.FEW_GROUPS,
        published=published,
        thresholds=THRESHOLDS,
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=Markup(style),
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("universality.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_finalize,
    )
    filters: Mapping[str, Any] = {
        "fixed": numbers.fixed,
        "percent": numbers.percent,
        "count": numbers.count,
        "small": numbers.small,
        "interval": numbers.interval,
        "plural": numbers.plural,
        "of_all": numbers.of_all,
        "sortable": _sortable,
        "image": _image,
        "stretches": _stretches,
        "direction": _example_direction,
        "token": _token,
        "marked": _marked,
        "page_share": _page_share,
    }
    environment.filters.update(filters)
    return environment


def _finalize(value: Any) -> Any:
    """Nothing invisible reaches the page."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _token(token: str) -> str:
    return visible(token, mark_spaces=True)


def _marked(text: str) -> Markup:
    """Visible text, escaped; written-out bytes and code points keep their order among letters of any direction."""
    parts = _WRITTEN_OUT.split(text)
    shown = [
        Markup('<bdi class="esc" dir="ltr">{}</bdi>').format(part) if i % 2 else escape(part)
        for i, part in enumerate(parts)
    ]
    return Markup("").join(shown)


def _page_share(picture: Picture) -> int:
    """Width of the picture as a percentage of the page's, so that letters are equally large in all of them."""
    return min(100, round(100 * picture.width / PAGE_WIDTH))


def _falling(value: float) -> float:
    """Sorts largest first and NaN last."""
    return math.inf if math.isnan(value) else -value


def _sortable(value: float | None) -> str:
    """A number for the table sorter; empty where there is none."""
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def _image(picture: Picture) -> Markup:
    """The picture as a data URI: SVG unless that is heavy."""
    kind, content = ("svg+xml", picture.svg) if len(picture.svg) <= LARGEST_SVG else ("png", picture.png)
    return Markup(f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}")


def _stretches(example: Example) -> list[Stretch]:
    """The example's text cut where its shade changes, characters never."""
    found: list[Stretch] = []
    strongest = max((a for a in example.activations if math.isfinite(a)), default=0.0)
    for piece in pieces(example.tokens):
        values = [example.activations[i] for i in piece.tokens if math.isfinite(example.activations[i])]
        share = max(0.0, max(values, default=0.0) / strongest) if strongest > 0 else 0.0
        focus = example.focus in piece.tokens
        if found and not focus and not found[-1].focus and share == found[-1].share == 0:
            found[-1] = Stretch(found[-1].text + piece.text, 0.0, False)
        else:
            found.append(Stretch(piece.text, round(share, 2), focus))
    return found


def _example_direction(example: Example) -> str:
    return direction("".join(example.tokens))


def _href(link: FileLink) -> str:
    """A relative link, percent-encoded."""
    first = link.path.split("/")[0]
    if not link.path or not first or ":" in first or "\\" in link.path:
        raise UniversalityError(
            f"files: expected a path relative to the report's folder with forward slashes, as in "
            f"../matches/pairs.csv, found {link.path!r}"
        )
    return quote(link.path)
