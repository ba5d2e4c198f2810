"""The explorer in a real browser: found, sorted, opened, followed and hovered as a reader would."""

# ruff: noqa: E501 - scripts for the browser are expressions of one line

import io
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from chromium import CHROMIUM, Browser
from planted_run import read_data, unpacked

from universality.maps import JointMap

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)"),
]
ROWS = "document.querySelectorAll('#explorer tr[data-k]').length"
PAIR_OF_ROW = "[...document.querySelectorAll('#explorer tr[data-k] td:first-child a')].map(a => +a.textContent)"
READY = (
    "!document.querySelector('#explorer').hidden && document.querySelector('#explorer').dataset.shows === location.hash"
)
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")
VIEWS = (
    "#answer",
    "#explore/pairs",
    "#pair/3",
    "#explore/map",
    "#explore/heatmap",
    "#explore/families",
    "#family/A/0/2",
    "#family/A/0/2?as=graph",
    "#feature/B/7",
    "#explore/pairs?where=held_out.ge.0.7",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def page(browser: Browser, explored: Path) -> Iterator[Browser]:
    """The report, opened anew; afterwards nothing was complained of and nothing left the machine."""
    browser.complaints.clear()
    browser.requests.clear()
    browser.open("about:blank")
    browser.open(explored.as_uri())
    yield browser
    assert browser.complaints == []
    assert browser.requests
    folder = explored.parent.as_uri()
    assert [r for r in browser.requests if not r.startswith((folder, "data:", "about:"))] == []


def go(page: Browser, view: str) -> None:
    page.run(f"location.hash = {view!r}; 0")
    page.until(f"document.querySelector('#explorer').dataset.shows === {view!r}")


def test_open_search_sort_and_open_a_pair(page: Browser) -> None:
    assert page.run("document.querySelector('#explorer').hidden")
    page.mouse("click", ".views a[data-view='pairs']")
    page.until(f"{ROWS} > 0")
    assert page.run("document.querySelector('#found').textContent") == "23 of 23 pairs"
    r = page.run(
        "[...document.querySelectorAll('#explorer tr[data-k] td:nth-child(4)')].map(c => parseFloat(c.innerText.replace('−', '-')))"
    )
    known = [value for value in r if value is not None]
    assert known == sorted(known, reverse=True)
    assert known[0] > 0.99  # shared atoms
    assert known[-1] < 0.2  # and the control: features that only one model has
    page.mouse("click", "#explorer thead th:first-child button")
    page.mouse("click", "#explorer thead th:first-child button")
    assert page.run(PAIR_OF_ROW) == list(range(23))
    page.press("/")
    page.call("Input.insertText", text="#7")
    page.until(f"{ROWS} < 5")
    assert page.run("location.hash").startswith("#explore/pairs?q=%237")
    assert page.run(
        "[...document.querySelectorAll('#explorer tr[data-k]')].every(r => [1, 2].some(c => r.cells[c].textContent === '7'))"
    )
    page.run("document.querySelector('.virtual').focus(); 0")
    page.press("ArrowDown")
    page.press("Enter")
    page.until("location.hash.startsWith('#pair/')")
    page.until(READY)
    assert page.run("document.querySelectorAll('#explorer .side').length") == 2


def test_a_search_that_finds_nothing_says_so(page: Browser) -> None:
    go(page, "#explore/pairs?q=nowhere")
    page.until("document.querySelector('#found')?.textContent === '0 of 23 pairs'")
    assert page.run(ROWS) == 0


def test_a_pair_shows_both_features_and_follows_its_family(page: Browser) -> None:
    go(page, "#pair/3")
    marks = "document.querySelectorAll('#explorer .side')[{}].querySelectorAll('.examples mark').length"
    assert page.run(marks.format(0)) == page.run(marks.format(1)) == 7
    shades = page.run(
        "[...document.querySelectorAll('#explorer .side:first-child .examples:first-of-type mark')].map(m => +m.style.getPropertyValue('--s'))"
    )
    assert max(shades) == 1
    assert page.run("document.querySelectorAll('#explorer .hist rect').length") == 40
    assert page.run("document.querySelectorAll('#explorer .weights li').length") == 32
    page.press("ArrowRight")
    page.until("location.hash === '#pair/4'")
    page.until(READY)
    page.run("[...document.querySelectorAll('#explorer a[href^=\"#family/A\"]')].pop().click()")
    page.until("location.hash.startsWith('#family/A/1/')")
    page.until(READY)
    page.run("document.querySelector('#explorer p a[href^=\"#family/A/0\"]').click()")
    page.until("location.hash.startsWith('#family/A/0/')")
    page.until("document.querySelectorAll('#explorer .tree li').length >= 2")
    page.run("document.querySelectorAll('#explorer .tools button')[1].click()")
    assert page.run("document.querySelector('#explorer details').open") is False
    page.run("document.querySelectorAll('#explorer .tools button')[0].click()")
    assert page.run("[...document.querySelectorAll('#explorer details')].every(d => d.open)")


def test_a_family_is_an_icicle_and_a_graph_beside_that_of_the_other_model(page: Browser, explored: Path) -> None:
    grown = {name: read_data(explored, f"sides/{name}.w24-s0/families") for name in "AB"}
    parent = {name: unpacked(of["parent"]).tolist() for name, of in grown.items()}
    go(page, "#family/A/0/0")
    members = [0, *(k for k, up in enumerate(parent["A"]) if up == 0)]
    drawn = "[...document.querySelectorAll('.family-figure')].map(f => [...f.querySelectorAll('a.node')].map(a => +a.dataset.node))"
    own, theirs = page.run(drawn)
    assert sorted(own) == members
    assert len(members) > 1
    top = grown["B"]["starts"][1]
    partners = [node for node in theirs if node >= top]
    assert partners
    coloured = "[...document.querySelectorAll('.family-figure')].map(f => [...f.querySelectorAll('rect')].filter(r => r.style.fill).length)"
    shared, shared_there = page.run(coloured)
    assert 1 <= shared_there <= shared <= len(members) - 1
    names = page.run(
        "[...document.querySelectorAll('.family-figure a.node')].map(a => a.querySelector('title').textContent)"
    )
    assert any("partner B #" in name and ", r 1.00" in name for name in names)
    page.run("[...document.querySelectorAll('.tools a')].find(a => a.innerText === 'graph').click()")
    page.until("document.querySelectorAll('.family-graph').length > 0")
    edges = "document.querySelector('.family-graph').querySelectorAll('.edge:not(.further)').length"
    assert page.run(edges) == len(members) - 1
    page.run(
        "document.querySelectorAll('.family-graph a.node')[1].dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    page.until("location.hash.startsWith('#family/A/1/')")


def test_views_of_the_table_are_in_the_address_and_kept_under_a_name(page: Browser, explored: Path) -> None:
    pairs = read_data(explored, "comparisons/A-B.w24/matched")
    high = int((unpacked(pairs["held_out"]) >= 0.7).sum())
    assert 0 < high < 23
    go(page, "#explore/pairs?where=held_out.ge.0.7&where=not_measured.le.0.3")
    page.until("document.querySelector('#found')?.textContent === '0 of 23 pairs'")
    assert "no numbers called not_measured" in page.run("document.querySelector('.about').textContent")
    go(page, "#explore/pairs?where=held_out.ge.0.7&where=nonsense")
    page.until("document.querySelector('.about')?.textContent === 'Left out, since they are no conditions: nonsense.'")
    page.until(f"document.querySelector('#found')?.textContent === '{high} of 23 pairs'")
    page.run("document.querySelector('[aria-label=\"Sign of condition 1\"]').value = 'le'; 0")
    page.run("document.querySelector('[aria-label=\"Sign of condition 1\"]').dispatchEvent(new Event('change')); 0")
    page.until(f"document.querySelector('#found').textContent === '{23 - high - missing(pairs)} of 23 pairs'")
    assert page.run("location.hash") == "#explore/pairs?where=held_out.le.0.7"
    page.run("document.querySelector('#view-name').value = '<b>low</b>'; 0")
    page.run("[...document.querySelectorAll('.filter button')].find(b => b.innerText === 'save').click(); 0")
    page.run("document.querySelector('.presets button').click(); 0")
    page.until("document.querySelector('#found')?.textContent === '23 of 23 pairs'")
    page.run("document.querySelector('.kept button').click(); 0")
    page.until("location.hash === '#explore/pairs?where=held_out.le.0.7'")
    assert page.run("document.querySelectorAll('#explorer b').length") == 0
    page.run("document.querySelector('.kept button:last-child').click(); 0")
    assert page.run("document.querySelectorAll('.kept').length") == 0
    rare = page.run(
        "[...document.querySelectorAll('.presets button')].find(b => b.innerText === 'shared though rare').title"
    )
    assert "r ≥ 0.7" in rare


def missing(pairs: dict[str, dict[str, str]]) -> int:
    """Number of pairs without a held-out r, which meet no condition."""
    return int(np.isnan(unpacked(pairs["held_out"])).sum())


def test_a_pair_shows_what_the_two_do(browser: Browser, explored_effects: Path) -> None:
    browser.complaints.clear()
    browser.requests.clear()
    browser.open("about:blank")
    browser.open(explored_effects.as_uri() + "#pair/0")
    browser.until("document.querySelectorAll('#explorer .pair-effects').length")
    assert not [r for r in browser.requests if "features-1" in r or "partners-1" in r or "token-effects-1" in r]
    tokens = read_data(explored_effects, "comparisons/A-B.w24/token-effects-0")[0]
    cells = browser.run(
        "[...document.querySelectorAll('.pair-effects tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    names = ["Both ablated\nall tokens alike", "Both ablated\nweighted by probability"]
    assert [row[0] for row in cells[:2]] == names
    shown = [float(row[1].replace("−", "-")) for row in cells]
    assert shown == pytest.approx([r for rows in tokens["r"] for r in rows], abs=0.006)
    lists = "[...document.querySelectorAll('.pair-effects .weights')].map(l => l.children.length)"
    assert browser.run(lists) == [6, *[8] * 7]
    first = browser.run("document.querySelector('.pair-effects .weights small').innerText")
    assert float(first) == pytest.approx(100 * tokens["sides"][0][0][0][0][1], rel=0.05)
    assert first.startswith("+")
    there = [{word for word, _ in tokens["sides"][side][0][0]} for side in (0, 1)]
    marked = "[...document.querySelectorAll('.pair-effects .logits:first-of-type > div:first-child')].map(d => d.querySelectorAll('.both').length)"
    assert browser.run(marked)[0] == len(there[0] & there[1])
    assert "No other feature of it fires" in browser.run("document.querySelector('.pair-effects').innerText")
    for view, said in (
        ("#pair/1", "It fires at 75% of them"),
        ("#pair/2", "fire together nowhere"),
        ("#pair/4", "too few to compare"),
        ("#pair/22", "was not measured"),
    ):
        go(browser, view)
        assert said in browser.run("document.querySelector('.pair-effects').innerText"), view
    assert browser.complaints == []


def test_tokens_of_effects_are_text_and_the_section_is_accessible(explored_effects: Path, tmp_path: Path) -> None:
    for dark in (False, True):
        with Browser(tmp_path / f"profile{dark}", dark=dark) as browser:
            browser.open(explored_effects.as_uri())
            browser.run(f"{AXE};0")
            go(browser, "#pair/1")
            markup = "document.querySelectorAll('.pair-effects :is(script, img, [onmouseover], [onerror], b:not(.scores b))').length"
            assert browser.run(markup) == 0
            assert "<script>alert(1)</script>" in browser.run("document.querySelector('.pair-effects').innerText")
            faults = browser.run(
                "axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v => [v.id, v.nodes[0].html, v.nodes[0].failureSummary]))"
            )
            assert faults == []
            browser.resize(360, 740)
            assert browser.run("document.documentElement.scrollWidth") <= 360


def test_hover_and_zoom_of_the_heatmap(page: Browser) -> None:
    go(page, "#explore/heatmap")
    page.mouse("mouseMoved", "#explorer canvas", 0.02, 0.02)
    best = page.until(
        "document.querySelector('.readout').textContent.includes('a pair') && document.querySelector('.readout').textContent"
    )
    assert float(best.split("r ")[1].split(",")[0]) > 0.99
    before = page.run("document.querySelector('#explorer canvas').toDataURL()")
    page.run("document.querySelector('[aria-label=\"Zoom in\"]').click()")
    page.until(f"document.querySelector('#explorer canvas').toDataURL() !== {before!r}")
    page.mouse("click", "#explorer canvas", 0.02, 0.02)
    page.until("location.hash.startsWith('#pair/')")
    page.until(READY)


def test_the_map_links_points_table_and_pairs(page: Browser) -> None:
    go(page, "#explore/map?pair=2")
    page.until(f"{ROWS} > 0")
    assert "Nearness across models is the match" in page.run("document.querySelector('#explorer').innerText")
    assert "pair 2, r " in page.run("document.querySelector('.readout').textContent")
    ringed = "document.querySelector('.stack .over').toDataURL()"
    before = page.run(ringed)
    page.run("document.querySelector('#explorer tr[data-k=\"4\"] a').focus(); 0")
    page.until(f"{ringed} !== {before!r}")
    for colour in ("model", "kind", "cluster", "family", "density"):
        page.run(
            f"const s = document.querySelector('#map-colour'); s.value = {colour!r}; s.dispatchEvent(new Event('change')); 0".replace(
                "const s", f"var {colour}"
            ).replace("s.", f"{colour}.")
        )
        page.until(f"location.hash.includes('colour={colour}')")
    assert "<b>bold</b>" in page.run("document.querySelector('#explorer').innerText")
    go(page, "#explore/map?of=1")
    page.until("document.querySelector('#explorer').innerText.includes('UMAP of their decoder directions')")


def test_a_lasso_chooses_features_for_the_table_and_its_csv(page: Browser, planted: Any) -> None:
    go(page, "#explore/map")
    page.until(f"{ROWS} > 0")
    page.run(
        "var saved = null; const made = URL.createObjectURL; URL.createObjectURL = (blob) => { blob.text().then((text) => { saved = text; }); return made.call(URL, blob); }; 0"
    )
    page.run("[...document.querySelectorAll('#explorer button')].find(b => b.textContent === 'lasso').click(); 0")
    corners = "[[0.01, 0.01], [0.99, 0.01], [0.99, 0.5], [0.01, 0.5]]"
    page.run(
        "(c => { const box = c.getBoundingClientRect(); c.setPointerCapture = () => {}; const send = (type, [u, v]) => c.dispatchEvent(new PointerEvent(type, {bubbles: true, buttons: 1, clientX: box.left + u * box.width, clientY: box.top + v * box.height}));"
        f" const corners = {corners}; send('pointerdown', corners[0]); corners.forEach(at => send('pointermove', at)); send('pointerup', corners[3]); }})(document.querySelector('.stack .over')); 0"
    )
    page.until("document.querySelector('#explorer').innerText.includes('features chosen')")
    chosen = page.run(
        "parseInt(document.querySelector('#explorer').innerText.match(/(\\d+) of \\d+ features chosen/)[1])"
    )
    assert 0 < chosen < 48
    page.run("[...document.querySelectorAll('#explorer button')].find(b => b.textContent === 'save as CSV').click(); 0")
    saved = pd.read_csv(io.StringIO(page.until("saved")))
    assert [*saved] == [
        "model",
        "feature",
        "x",
        "y",
        "cluster",
        "alone",
        "pair",
        "held_out_r",
        "density",
        "kind",
        "tokens",
    ]
    assert len(saved) == chosen
    made = JointMap.load(planted[1].map("A-B.w24"))
    for row in saved.itertuples():  # the coordinates of maps/A-B.w24.csv, not those of the page
        own = (made.xy_a if row.model == "A" else made.xy_b)[row.feature]
        np.testing.assert_allclose([row.x, row.y], own, atol=2e-3)
    y = np.concatenate([made.xy_a, made.xy_b])[:, 1]
    assert saved.y.min() > (np.nanmin(y) + np.nanmax(y)) / 2 - 0.5  # the upper half; y rises upwards
    page.run(
        "var size = null; URL.createObjectURL = (blob) => { createImageBitmap(blob).then((map) => { const c = new OffscreenCanvas(map.width, map.height).getContext('2d'); c.drawImage(map, 0, 0); const all = c.getImageData(0, 0, map.width, map.height).data; const seen = new Set(); for (let i = 0; i < all.length; i += 4) seen.add(all.slice(i, i + 3).join()); size = [blob.type, seen.size]; }); return made.call(URL, blob); };"
        "[...document.querySelectorAll('#explorer button')].find(b => b.textContent === 'save as PNG').click(); 0"
    )
    kind, n_colours = page.until("size")
    assert kind == "image/png"
    assert n_colours > 5  # the points are on it, not the paper alone
    page.run("[...document.querySelectorAll('#explorer button')].find(b => b.textContent === 'choose all').click(); 0")
    page.until("!document.querySelector('#explorer').innerText.includes('features chosen')")


def test_tokens_are_text_wherever_they_appear(page: Browser, nasty: tuple[str, ...]) -> None:
    for view in VIEWS:
        go(page, view) if view != "#answer" else None
        assert (
            page.run(
                "document.querySelectorAll('script[src^=\"http\"], #explorer script, #explorer img, #explorer [onmouseover], #explorer [onerror], #explorer b:not(.scores b)').length"
            )
            == 0
        )
        assert page.run("document.title").count("alert(1)") in (0, 1)
    go(page, "#explore/families")
    text = page.run("document.querySelector('#explorer').innerText")
    assert "<script>alert(1)</script>" in text or "<b>bold</b>" in text
    assert "\u202e" not in text
    assert "\x00" not in text
    assert "x" * 200 not in text


def test_a_zero_is_never_negative(page: Browser) -> None:
    numbers = (files("universality.report") / "explorer" / "numbers.js").read_text(encoding="utf-8")
    values = "[-0.001, -0.127, 0, 0.004].map((x) => fixed(x)).concat(small(-0.0002), small(0.5))"
    written = page.run(f"(() => {{ {numbers} return {values}; }})()")
    assert written == ["0.00", "−0.13", "0.00", "0.00", "−2e-4", "0.500"]


def test_an_address_that_leads_nowhere_says_so(page: Browser) -> None:
    for view, said in (("#pair/99999", "no pair 99999"), ("#pair/x", "no pair x"), ("#family/Z/0/0", "no families of Z"),
                       ("#family/A/0/999", "no feature 999")):  # fmt: skip
        go(page, view)
        assert said in page.until("document.querySelector('#explorer .warnings')?.innerText")
        go(page, "#explore/pairs")


@pytest.mark.parametrize("dark", [False, True])
def test_no_serious_fault_of_accessibility(explored: Path, tmp_path: Path, dark: bool) -> None:
    with Browser(tmp_path / "profile", dark=dark) as browser:
        browser.open(explored.as_uri())
        browser.run(f"{AXE};0")
        for view in VIEWS:
            browser.run(f"location.hash = {view!r}; 0")
            browser.until(f"(document.querySelector('#explorer').dataset.shows || '#answer') === {view!r}")
            faults = browser.run(
                "axe.run({resultTypes: ['violations']}).then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact)).map(v => [v.id, v.nodes[0].html, v.nodes[0].failureSummary]))"
            )
            assert faults == [], view
        if not dark:  # the check can fail
            browser.run("document.body.append(document.createElement('button')); 0")
            found = browser.run("axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v => v.id))")
            assert "button-name" in found


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_need_not_scroll_sideways(page: Browser, view: str) -> None:
    page.resize(360, 740)
    if view != "#answer":
        go(page, view)
    assert page.run("document.documentElement.scrollWidth") <= 360
    page.resize(1280, 900)


def test_without_its_data_the_page_says_what_is_missing(explored: Path, tmp_path: Path) -> None:
    alone = tmp_path / "index.html"
    alone.write_bytes(explored.read_bytes())
    with Browser(tmp_path / "profile") as browser:
        browser.open(alone.as_uri() + "#explore/pairs")
        said = browser.until("document.querySelector('#explorer .warnings')?.innerText")
        assert "data/index.js is missing or truncated" in said
