"""The page in a real browser: no errors, no requests, sorting works, a phone need not scroll sideways."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, FLAGS, Browser

from universality.report import Report, render, write_report

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)"),
]
LOUD = ("--enable-logging=stderr", "--virtual-time-budget=2000")


class Visit:
    """What a browser made of a page: its elements, what it complained of, what it asked the network for."""

    def __init__(self, page: Path, folder: Path, *flags: str) -> None:
        log = folder / "net.json"
        own = (f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}")
        command = [str(CHROMIUM), *FLAGS, *LOUD, *own, *flags]
        done = subprocess.run(
            [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=100, check=True
        )
        self.dom = done.stdout
        self.complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        self.requests = sorted(_requested(json.loads(log.read_text(encoding="utf-8"))))


def _requested(log: dict) -> set[str]:  # type: ignore[type-arg]
    """Network addresses that a page asked for; the browser's own errands have no origin."""
    asked = [event.get("params", {}) for event in log["events"]]
    return {p["url"] for p in asked if p.get("initiator", "not an origin") != "not an origin" and "url" in p} - {""}


def with_script(page: str, script: str) -> str:
    """The page with a further script and without the policy that would forbid it."""
    before, _, after = page.partition('<meta http-equiv="Content-Security-Policy"')
    return (before + after.partition(">")[2]).replace("</body>", f"<script>{script}</script></body>")


def test_it_loads_without_errors_and_requests(full: Report, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    visit = Visit(write_report(full, tmp_path / "index.html"), tmp_path, f"--screenshot={shot}")
    assert shot.read_bytes().startswith(b"\x89PNG")
    assert visit.complaints == []
    assert visit.requests == []
    assert "<button" in visit.dom  # the sorter ran, so the policy let it
    assert "<script>alert" not in visit.dom


def test_the_check_sees_errors_and_requests(full: Report, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    bad = '<img src="http://127.0.0.1:9/x.png"><script>console.error("oh")</script></body>'
    page.write_text(with_script(render(full), "").replace("</body>", bad), encoding="utf-8")
    visit = Visit(page, tmp_path)
    assert any("oh" in line for line in visit.complaints)
    assert visit.requests == ["http://127.0.0.1:9/x.png"]


def test_the_policy_stops_what_the_escaping_might_miss(full: Report, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text(render(full).replace("</body>", "<script>document.title = 'in'</script></body>"), encoding="utf-8")
    visit = Visit(page, tmp_path)
    assert "<title>in</title>" not in visit.dom
    assert any("Content Security Policy" in line for line in visit.complaints)


@pytest.fixture(scope="module")
def browser(full: Report, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """The page in one browser, for everything that needs no record of the network."""
    folder = tmp_path_factory.mktemp("browser")
    with Browser(folder / "profile") as opened:
        opened.open(write_report(full, folder / "index.html").as_uri())
        yield opened


SORT = """(() => {
  const table = document.querySelector("table.sortable"), column = table.tHead.rows[0].cells[0];
  const names = () => [...table.tBodies[0].rows].map((row) => row.cells[0].querySelector("bdi").textContent);
  const before = names();
  column.querySelector("button").click();
  const falling = names();
  column.querySelector("button").click();
  return {before, falling, rising: names(), sort: column.getAttribute("aria-sort")};
})()"""


def test_tables_sort_by_a_click(browser: Browser) -> None:
    found = browser.run(SORT)
    assert found["before"][:2] == ["hebrew", "base64"]
    assert found["falling"] == found["rising"][::-1]
    assert found["rising"][-2:] == ["hebrew", "python"]
    assert found["sort"] == "ascending"
    assert browser.complaints == []


@pytest.mark.parametrize("width", [360, 1100])
def test_it_never_scrolls_sideways(browser: Browser, width: int) -> None:
    browser.resize(width, 800)
    assert 0 < browser.run("document.documentElement.scrollWidth") <= width
