"""Labels in the explorer, in a real browser: shown, found by their words, and inert whatever they hold."""

# ruff: noqa: E501 - scripts for the browser are expressions of one line

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import CHROMIUM, Browser
from planted_run import HOSTILE
from test_explorer import AXE, ROWS, go

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)"),
]
MARKUP = "document.querySelectorAll('main script, main img, main [onmouseover], main [onerror]').length"
TEXT = "document.querySelector('#explorer').innerText"
LABELS = "[...document.querySelectorAll('#explorer bdi.label')].map(b => b.textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, explored_labels: Path) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(explored_labels.as_uri())
        yield opened
        assert opened.complaints == []


def pair_of(browser: Browser, feature: int) -> str:
    """View of the pair of a feature of A."""
    go(browser, f"#explore/pairs?q=%23{feature}")
    browser.until(f"{ROWS} > 0")
    return str(
        browser.run(
            f"[...document.querySelectorAll('#explorer tr[data-k]')].find(r => r.cells[1].textContent === '{feature}').querySelector('a').getAttribute('href')"
        )
    )


def test_the_page_of_a_pair_shows_both_labels_beside_their_floors(browser: Browser) -> None:
    go(browser, pair_of(browser, 7))
    shown = browser.run(LABELS)
    assert shown[0] == "rhyme 7 of A 24"
    assert any(text.startswith("rhyme") and "of B 24" in text for text in shown)
    cells = browser.run(
        "[...document.querySelector('.explained table').rows].map(r => [...r.cells].map(c => c.innerText))"
    )
    assert cells == [
        ["", "detection"],
        ["explanation", "0.57\n0.40 to 0.90"],
        ["random explanation", "0.25\n0.20 to 0.30"],
        ["top tokens", "0.50"],
    ]


def test_a_refusal_and_a_feature_without_label(browser: Browser) -> None:
    go(browser, pair_of(browser, 6))
    assert "No explanation: refused." in browser.run("document.querySelector('.side').innerText")
    go(browser, pair_of(browser, 5))
    assert browser.run("document.querySelector('.side .explained')") is None


def test_words_of_a_label_find_its_pair(browser: Browser) -> None:
    go(browser, "#explore/pairs?q=RHYME%207%20of%20a")
    browser.until("document.querySelector('#found').textContent === '1 of 23 pairs'")
    line = browser.run("document.querySelector('#explorer tr[data-k]').innerText")
    assert "rhyme 7 of A 24" in line
    assert "0.57 floor 0.50" in " ".join(line.split())
    go(browser, "#explore/pairs?q=rhyme%20777")
    browser.until("document.querySelector('#found').textContent === '0 of 23 pairs'")


def test_a_family_shows_labels_of_parent_and_children_and_is_found_by_them(browser: Browser) -> None:
    go(browser, "#family/A/0/8")
    browser.until("document.querySelectorAll('#explorer .tree li').length > 1")
    shown = browser.run(LABELS)
    assert shown[0] == "rhyme 8 of A 16"
    assert any("of A 24" in text for text in shown[1:])
    go(browser, "#explore/families")
    before = browser.until("document.querySelectorAll('.families li').length")
    browser.run("document.querySelector('#search').focus(); 0")
    browser.call("Input.insertText", text="rhyme 8 of a 16")
    browser.until("document.querySelectorAll('.families li').length === 1")
    assert before > 1


def test_a_split_shows_the_scores_of_the_children_beside_the_parent(browser: Browser) -> None:
    go(browser, "#explore/pairs")
    go(browser, "#explore/families")
    browser.until("document.querySelectorAll('.families li').length > 1")
    lines = browser.run("[...document.querySelectorAll('.families .split')].map(line => line.innerText)")
    # the child with the parent's number scores as the parent does, the other, 15 further, 0.15 more
    split = [line for line in lines if "(2 of 2 scored)" in line]
    assert split
    assert all(re.search(r"detection 0\.\d\d on average .*, 0\.0[78] above this one's$", line) for line in split)
    go(browser, "#family/A/0/8")
    browser.until("document.querySelectorAll('#explorer .tree li').length > 1")
    line = browser.run("document.querySelector('.tree .split').innerText")
    assert line == "children's explanations: detection 0.58 on average (1 of 1 scored), 0.00 above this one's"


def test_pairs_have_the_score_of_an_explanation_on_both_features(browser: Browser) -> None:
    go(browser, "#explore/pairs?sort=label_loss")
    browser.until(f"{ROWS} > 0")
    heads = browser.run("[...document.querySelectorAll('#explorer thead th')].map(th => th.innerText)")
    at = heads.index("A's label on B")
    assert heads[at + 1] == "loss on B"
    shown = browser.run(
        f"[...document.querySelectorAll('#explorer tr[data-k]')].map(r => [...r.cells].slice({at}, {at + 2}).map(c => c.innerText))"
    )
    losses = [float(loss.replace("−", "-")) for _, loss in shown if loss != "–"]
    assert losses == sorted(losses, reverse=True)
    assert len(losses) > 5
    go(browser, pair_of(browser, 7))
    cells = browser.run(
        "[...document.querySelectorAll('.carried tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    )
    ((name, own, partner, loss, others),) = cells
    assert (name, own, others) == ("detection", "0.57", "0.90")
    assert float(own) - float(partner.split("\n")[0]) == pytest.approx(float(loss), abs=0.011)
    assert "judged to describe the same thing" in browser.run("document.querySelector('.carried').innerText")
    assert f"detection score of A's label {own} → " in browser.run("document.querySelector('.scores').innerText")


@pytest.mark.parametrize("feature", range(len(HOSTILE)))
def test_hostile_labels_are_inert(browser: Browser, feature: int) -> None:
    for view in (pair_of(browser, feature), "#explore/pairs", f"#family/A/1/{feature}", "#explore/families"):
        go(browser, view)
        assert browser.run(MARKUP) == 0, view
        text = browser.run(TEXT)
        assert "x" * 1001 not in text
        assert not {"\x00", "\u202e"} & set(text)
    go(browser, pair_of(browser, feature))
    shown = browser.run(LABELS)
    assert shown[0][:8] == HOSTILE[feature][:8]  # it is there, as text
    assert max(map(len, shown)) <= 1000


def test_the_static_report_shows_hostile_labels_as_text(explored_labels: Path) -> None:
    page = explored_labels.read_text(encoding="utf-8")
    body = page[page.index("</style>") : page.index("<script>", page.index("</style>"))]
    assert "Explanations by a language model" in body
    assert (
        "explanations beat chance, all floors and baselines, the best of which is top tokens (advantage 0.12, 0.09"
        in body
    )
    assert "<img src=x" not in body
    assert "Do explanations carry over?" in body
    assert "Reported in the literature, found here?" in body
    assert "x" * 201 not in body


def test_labelled_pages_are_accessible_and_fit_a_phone(explored_labels: Path, tmp_path: Path) -> None:
    with Browser(tmp_path / "profile") as browser:
        browser.open(explored_labels.as_uri())
        browser.run(f"{AXE};0")
        for view in ("#transfer", "#explore/pairs", "#pair/3", "#pair/7", "#family/A/0/8", "#explore/families"):
            if view != "#transfer":  # of the report, which is open
                go(browser, view)
            faults = browser.run(
                "axe.run({resultTypes: ['violations']}).then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact)).map(v => [v.id, v.nodes[0].html, v.nodes[0].failureSummary]))"
            )
            assert faults == [], view
            browser.resize(360, 740)
            assert browser.run("document.documentElement.scrollWidth") <= 360, view
            browser.resize(1280, 900)
