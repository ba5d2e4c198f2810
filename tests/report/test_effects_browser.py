"""Effects in a real browser: the section, its figures, and the columns of the table of pairs."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, Browser
from planted_effects import plant_effects

from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.report_pages import report_as_it_is

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)"),
]
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(planted: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Report of the planted run with effects, open in a browser that has nothing to complain of."""
    folder = RunFolder(tmp_path_factory.mktemp("browsed") / "run")
    shutil.copytree(planted[1].root, folder.root, ignore=shutil.ignore_patterns("report", "figures"))
    plant_effects(folder)
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(report_as_it_is(folder.root).as_uri())
        yield opened
        assert opened.complaints == []


@pytest.mark.parametrize("width", [360, 1100])
def test_the_section_is_shown_with_its_figures(page: Browser, width: int) -> None:
    page.resize(width, 800)
    sentence = page.run("document.querySelector('.verdict').innerText")
    assert sentence.startswith("Largely yes by activation; in part by effect: ")
    assert page.run("document.querySelectorAll('.tiles dd').length") == 3
    assert page.run("document.querySelector('.lead').innerText").startswith(
        "Of the loss that A's SAE of 15 features recovers"
    )
    assert page.run("document.querySelector('nav a[href=\"#effects\"]').innerText") == "Effects"
    shown = "[...document.querySelectorAll('#effects figure img')].map(i => i.complete && i.naturalWidth > 100)"
    assert page.run(shown) == [True, True]
    assert page.run("document.querySelectorAll('#effects table').length") == 3
    assert 0 < page.run("document.documentElement.scrollWidth") <= width


def test_no_serious_fault_of_accessibility(page: Browser) -> None:
    page.run(AXE + "; 0")
    faults = page.run(
        "axe.run('#effects').then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
        ".map(v => v.id))"
    )
    assert faults == []


def test_a_family_says_whether_children_do_what_their_parent_did(page: Browser) -> None:
    page.run("location.hash = '#family/A/0/0?as=graph'; 0")
    page.until("document.querySelectorAll('.family-graph .edge title').length > 0")
    titles = page.run("[...document.querySelectorAll('.family-graph .edge title')].map(t => t.textContent)")
    known = [", r of effects where both fire 0." in title for title in titles]
    assert any(known)
    assert known.count(False) <= 3  # that many edges were not compared
    assert ", r of effects where both fire 0." in page.run("document.querySelector('#explorer .tree').innerText")


def test_the_table_of_pairs_has_columns_of_effects(page: Browser) -> None:
    page.resize(1280, 900)
    page.run("location.hash = '#explore/pairs'; 0")
    page.until("document.querySelectorAll('#explorer tr[data-k]').length > 0")
    heads = page.run("[...document.querySelectorAll('#explorer thead th')].map(h => h.innerText)")
    place = [name.split("\n")[0] for name in heads].index("effect r")
    assert heads[place : place + 6] == [
        "effect r", "q of effects", "equal signs", "rank among controls", "tokens where both fire",
        "fingerprint r, ablation",
    ]  # fmt: skip
    page.run(f"document.querySelectorAll('#explorer thead th button')[{place}].click(); 0")
    cells = page.run(f"[...document.querySelectorAll('#explorer tr[data-k]')].map(r => r.cells[{place}].innerText)")
    assert len(cells) == 23
    assert cells[:10] == ["0.60"] * 10
    assert cells[10:20] == ["0.30"] * 10
    assert cells[20:] == ["–"] * 3
