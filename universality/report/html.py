"""The report as one HTML file with embedded pictures, which fetches nothing and escapes every string.

Only the explorer's views load more: script files in ``data/`` beside the page, each when it is first needed.

Every string passes through ``visible`` and Jinja's escaping, so that tokens with markup, control characters or
directional overrides are shown as what they are.
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

from universality import formatting
from universality.corpus.splits import MIN_GROUPS
from universality.errors import UniversalityError
from universality.files import write_bytes
from universality.report import caveats, effect_narrative, logit_narrative, narrative, opening, transfer_narrative
from universality.report import published_concepts as published
from universality.report.data import PAGE_WIDTH, THRESHOLDS, Example, FileLink, Picture, Report
from universality.report.explorer import explorer_script
from universality.report.split_narrative import split_answer
from universality.statistics.concept_partners import KNOWS
from universality.visible_tokens import direction, pieces, visible

LARGEST_SVG = 400_000
"""Bytes; a larger SVG is embedded as PNG, since browsers draw many thousands of paths slowly."""
_WRITTEN_OUT = re.compile(r"((?:\\x[0-9A-F]{2}|U\+[0-9A-F]{4,6})+)")


@dataclass(frozen=True)
class Stretch:
    """Text of an example with one shade.

    Parameters
    ----------
    text
        Text of one or more tokens.
    share
        Activation relative to the strongest of the example; 0 where the feature is silent.
    focus
        Whether the example is shown for this token.
    """

    text: str
    share: float
    focus: bool


def write_report(report: Report, path: str | Path) -> Path:
    """Write the page of a report atomically, and create its folder.

    Parameters
    ----------
    report
        Contents of the page.
    path
        File to write, usually ``report/index.html`` in the run's folder; links to files are relative to it.

    Raises
    ------
    UniversalityError
        If the link of a file is not relative.
    """
    return write_bytes(path, render(report).encode("utf-8"))


def _views(report: Report) -> list[str]:
    """List the explorer's views that the page has tabs for."""
    several = ["compare"] if len(report.pairings) > 1 else []
    return ["pairs", *several, "map", "heatmap", *(["families"] if report.families else [])]


def _explorer_href(report: Report, view: str) -> str:
    """Return the address of a view of the explorer, on this page or on the one that has it."""
    link = report.explored_at
    return f"#explore/{view}" if link is None else f"{link.page}#explore/{view}?comparison={quote(link.comparison)}"


def render(report: Report) -> str:
    """Render the page as a string. The same report gives the same bytes."""
    environment = _environment()
    script = environment.get_template("sort.js.j2").render() + (explorer_script() if report.explorer else "")
    style = environment.get_template("style.css").render()
    return environment.get_template("template.html.j2").render(
        report=report,
        views=_views(report),
        explorer_href=_explorer_href,
        headline=report.headline,
        question=narrative.question(report.headline),
        sentence=opening.sentence(report),
        numbers=opening.numbers(report),
        effect_lead=effect_narrative.lead(report.effects),
        effect_answer=effect_narrative.agreement(report.effects),
        carried_text=effect_narrative.carried,
        transfer_text=transfer_narrative,
        split_answer=split_answer,
        answer=narrative.answer(report.headline),
        widths_text=narrative.across_widths(report.widths),
        models_text=narrative.language_models(report.models) if report.models else "",
        logit_text=logit_narrative.logit_answer(report.headline, report.logit),
        logit_chance=logit_narrative.logit_chance(report.logit),
        knows=KNOWS,
        concepts_text=narrative.concepts(report.concepts) if report.concepts else "",
        cautions=caveats.cautions(report),
        limits=caveats.limits(report),
        links=[(_href(link), link.path, link.what) for link in report.files],
        saes=[sae for row in report.widths for sae in (row.a, row.b)] + list(report.saes),
        concepts=sorted(report.concepts, key=lambda row: (row.kind not in published.CONCEPTS, _falling(row.held_out))),
        few_groups=MIN_GROUPS,
        published=published,
        thresholds=THRESHOLDS,
        script=Markup(script),
        # the page's policy allows this script alone, by its hash, so that injected markup cannot run
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
        "fixed": formatting.fixed,
        "percent": formatting.percent,
        "count": formatting.count,
        "counts": formatting.counts,
        "small": formatting.small,
        "interval": formatting.interval,
        "plural": formatting.plural,
        "of_all": formatting.of_all,
        "sortable": _sortable,
        "image": _image,
        "href": _href,
        "stretches": _stretches,
        "direction": _example_direction,
        "token": _token,
        "marked": _marked,
        "page_share": _page_share,
    }
    environment.filters.update(filters)
    return environment


def _finalize(value: Any) -> Any:
    """Make every string visible before it reaches the page."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _token(token: str) -> str:
    return visible(token, mark_spaces=True)


def _marked(text: str) -> Markup:
    """Escape visible text, and isolate written-out bytes and code points from right-to-left letters around them."""
    parts = _WRITTEN_OUT.split(text)
    escaped = [
        Markup('<bdi class="esc" dir="ltr">{}</bdi>').format(part) if i % 2 else escape(part)
        for i, part in enumerate(parts)
    ]
    return Markup("").join(escaped)


def _page_share(picture: Picture) -> int:
    """Return the picture's width in percent of the page, so that letters have the same size in all pictures."""
    return min(100, round(100 * picture.width / PAGE_WIDTH))


def _falling(value: float) -> float:
    """Return a sort key that puts the largest first and NaN last."""
    return math.inf if math.isnan(value) else -value


def _sortable(value: float | None) -> str:
    """Format a number for the table sorter; empty where there is none."""
    return "" if value is None or not math.isfinite(value) else repr(float(value))


def _image(picture: Picture) -> Markup:
    """Encode the picture as a data URI: as SVG unless that is large."""
    media_type, content = ("svg+xml", picture.svg) if len(picture.svg) <= LARGEST_SVG else ("png", picture.png)
    return Markup(f"data:image/{media_type};base64,{base64.b64encode(content).decode('ascii')}")


def _stretches(example: Example) -> list[Stretch]:
    """Cut the text of an example where its shade changes, but never within a character."""
    stretches: list[Stretch] = []
    # NaN marks tokens on which the activation is not known
    strongest = max((a for a in example.activations if math.isfinite(a)), default=0.0)
    for piece in pieces(example.tokens):
        values = [example.activations[i] for i in piece.tokens if math.isfinite(example.activations[i])]
        share = max(0.0, max(values, default=0.0) / strongest) if strongest > 0 else 0.0
        focus = example.focus in piece.tokens
        previous = stretches[-1] if stretches else None
        if previous and not focus and not previous.focus and share == previous.share == 0:
            stretches[-1] = Stretch(previous.text + piece.text, 0.0, False)
        else:
            stretches.append(Stretch(piece.text, round(share, 2), focus))
    return stretches


def _example_direction(example: Example) -> str:
    return direction("".join(example.tokens))


def _href(link: FileLink) -> str:
    """Percent-encode a relative link; refuse any other, which could leave the run's folder or the machine."""
    first = link.path.split("/")[0]
    if not link.path or not first or ":" in first or "\\" in link.path:
        raise UniversalityError(
            f"files: expected a path relative to the report's folder with forward slashes, as in "
            f"../matches/pairs.csv, found {link.path!r}"
        )
    return quote(link.path)
