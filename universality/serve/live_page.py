"""The report's page with the live views added: the stored page, its data files, and scripts of this package."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from universality.errors import UniversalityError

PARTS = ("live_client", "live_text", "live_pairs", "live_steering", "live_neighbours", "live_search", "live_start")
"""Scripts in the order in which they are added."""
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy" content="[^"]*">\n?')
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_END = "})();\n"  # of `universality.report.explorer.explorer_script`, whose functions the live views use


@cache
def _part(name: str) -> str:
    return (Path(__file__).parent / "page" / name).read_text(encoding="utf-8")


def live_page(page: str, where: str) -> tuple[str, str]:
    """Add the live views to a page of the report.

    Parameters
    ----------
    page
        HTML of a report with an explorer.
    where
        Name of the page, for the message.

    Returns
    -------
    html, policy
        The page, and its content security policy, which is to be sent as a header: scripts of the page's own text and
        files of the server's, and requests to the server alone.

    Raises
    ------
    UniversalityError
        If it is no such page.
    """
    scripts = _SCRIPT.findall(page)
    if len(scripts) != 1 or not scripts[0].endswith(_END) or not _POLICY.search(page) or "</style>" not in page:
        raise UniversalityError(
            f"{where}: expected a page of the report with its explorer; `universality report RUN` writes it again"
        )
    live = "".join(_part(f"{name}.js") for name in PARTS)
    script = f"{scripts[0].removesuffix(_END)}{{\n{live}}}\n{_END}"  # a block, so that no name is declared twice
    page = _POLICY.sub("", page, count=1).replace("</style>", f"{_part('live.css')}</style>", 1)
    html = _SCRIPT.sub(lambda _: f"<script>{script}</script>", page)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}' 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return html, policy
