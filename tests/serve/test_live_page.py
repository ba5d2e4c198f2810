"""The live views are added to the report's page, and to nothing else."""

import base64
import hashlib
import re

import pytest

from universality.errors import UniversalityError
from universality.serve.live_page import live_page
from universality.serve.live_run import LiveComparison


def test_views_are_added_within_the_script_of_the_page(live: LiveComparison) -> None:
    stored = live.run.folder.report.read_text(encoding="utf-8")
    html, policy = live_page(stored, "page")
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    (before,) = re.findall(r"<script>(.*?)</script>", stored, re.DOTALL)
    assert script.startswith(before.removesuffix("})();\n"))
    assert 'tab: "text"' in script
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}' 'self'; connect-src 'self'" in policy
    assert "Content-Security-Policy" not in html  # the header replaces it
    assert re.sub(r"<script>.*?</script>|<style>.*?</style>", "", html, flags=re.DOTALL) == re.sub(
        r'<script>.*?</script>|<style>.*?</style>|<meta http-equiv="Content-Security-Policy" content="[^"]*">\n',
        "", stored, flags=re.DOTALL,
    )  # fmt: skip


@pytest.mark.parametrize("page", ["", "<html></html>", "<style></style><script>1</script>"])
def test_another_page_is_refused(page: str) -> None:
    with pytest.raises(UniversalityError, match=r"x\.html: expected a page of the report with its explorer"):
        live_page(page, "x.html")
