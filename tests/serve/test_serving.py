"""The live page in a real browser, from a real server on the loopback."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from chromium import CHROMIUM, Browser

from universality.errors import UniversalityError
from universality.serve.live_run import LiveComparison
from universality.serve.serving import serve

AXE = Path(__file__).parents[1] / "report" / "axe" / "axe.min.js"


@pytest.fixture(scope="module")
def address(finished: Path) -> Iterator[str]:
    """Address of a server of the smoke run, in a thread of this process."""
    servers: list[uvicorn.Server] = []

    class Kept(uvicorn.Server):
        def __init__(self, config: uvicorn.Config) -> None:
            super().__init__(config)
            servers.append(self)

    addresses: list[str] = []
    started = threading.Event()

    def ready(link: str) -> None:
        addresses.append(link)
        started.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uvicorn, "Server", Kept)
        thread = threading.Thread(target=serve, args=(finished,), kwargs={"port": 0, "ready": ready})
        thread.start()
        assert started.wait(60)
        yield addresses[0]
        servers[0].should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@pytest.fixture(scope="module")
def page(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs chromium (Debian: apt-get install chromium)")
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(address)
        yield opened
        assert opened.complaints == []
        assert all(request.startswith((address, "data:")) for request in opened.requests)


def typed(page: Browser, text: str) -> None:
    """Type a text, and wait for its answer."""
    page.run(
        f"box = document.querySelector('#typed'); box.value = {json.dumps(text)}; "
        "box.dispatchEvent(new Event('input')); 0"
    )
    shown = "[...document.querySelectorAll('.strip [data-piece]')].map(e => e.textContent).join('')"
    page.until(f"{shown} === {json.dumps(text.replace(chr(10), '⏎').replace(chr(0), 'U+0000'))}")


@pytest.mark.browser
def test_a_typed_text_shows_what_fires(page: Browser) -> None:
    page.until("document.querySelectorAll('.strip [data-piece]').length > 0")  # the example that is there at first
    typed(page, "The cat <script>alert(1)</script>\nשלום\0")
    assert "features of A and" in page.run("document.querySelector('#found').textContent")
    assert page.run("document.querySelectorAll('.strip script').length") == 0
    assert page.run("document.querySelectorAll('table.live tbody tr').length") > 5
    assert page.run(
        "[...document.querySelectorAll('.strip [data-piece]')].some(e => e.style.getPropertyValue('--s') > 0)"
    )
    page.run("document.querySelectorAll('table.live button')[1].click(); 0")
    assert page.run("document.querySelectorAll('table.live .chosen').length") == 1
    assert page.run("document.querySelector('table.live tbody tr:nth-child(2)').className") == "chosen"


@pytest.mark.browser
def test_marks_search_by_example_and_the_address_holds_everything(page: Browser, address: str) -> None:
    typed(page, "one two three")
    page.run("document.querySelectorAll('.strip [data-piece]')[1].focus(); 0")
    page.press("Enter")
    assert page.run("document.querySelectorAll('.strip [aria-pressed=true]').length") == 1
    assert "most specific first" in page.run("document.querySelector('.tools output').textContent")
    rows = "document.querySelector('table.live tbody').innerText"
    before, link = page.run(rows), page.run("location.href")
    assert "t=one+two+three" in link
    page.open(address + "report/index.html#answer")
    page.open(link)
    page.until("document.querySelectorAll('.strip [aria-pressed=true]').length === 1")
    assert page.run(rows) == before


@pytest.mark.browser
def test_a_feature_is_found_opened_and_steered(page: Browser, live: LiveComparison) -> None:
    row, col = live.pairs(np.asarray([0]))[0]["features"]
    page.run(f"location.hash = '#explore/search?q={row}'; 0")
    page.until(f"document.querySelector('.near a[href=\"#feature/A/{row}\"]') !== null")
    page.run(f"document.querySelector('.near a[href=\"#feature/A/{row}\"]').click(); 0")
    page.until("document.querySelector('.steering button') !== null")
    assert page.run("document.querySelectorAll('.near li').length") == 10
    assert page.run(f"document.querySelector('#explorer a[href=\"#feature/B/{col}\"]') !== null")
    page.run("document.querySelector('#tokens').value = 3; document.querySelector('.steering button').click(); 0")
    page.until("document.querySelectorAll('.written').length === 2")
    page.run("location.hash = '#pair/0'; 0")
    page.until(f"document.querySelector('.live-links a[href=\"#feature/B/{col}\"]') !== null")


@pytest.mark.browser
def test_errors_are_shown(page: Browser) -> None:
    page.run("location.hash = '#feature/A/99999'; 0")
    page.until("document.querySelector('#explorer .warnings')?.innerText.includes('numbered 0 to 127')")


@pytest.mark.browser
def test_no_fault_of_accessibility_and_no_sideways_scrolling(page: Browser) -> None:
    page.run(AXE.read_text(encoding="utf-8") + "; 0")
    for view, shown in (
        ("#explore/text", ".strip [data-piece]"),
        ("#feature/B/3", ".steering"),
        ("#explore/search?q=3", ".near li"),
    ):
        page.run(f"location.hash = '{view}'; 0")
        page.until(f"document.querySelector('{shown}') !== null")
        for width in (360, 1200):
            page.resize(width, 800)
            assert 0 < page.run("document.documentElement.scrollWidth") <= width
        assert page.run("axe.run('#explorer').then(r => r.violations.map(v => v.id))") == []


def test_a_port_that_is_taken_is_said(finished: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UniversalityError, match=f"127.0.0.1, port {port}: .*--port 0 takes any free port"):
            serve(finished, port=port)
    with pytest.raises(UniversalityError, match=r"no\.such\.host, port 1: "):
        serve(finished, host="no.such.host", port=1)
