"""Three models: every two have a page, one explorer shows them all, and what all three share is counted."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import CHROMIUM, Browser
from planted_run import plant, read_data, unpacked

from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import pair_pages, report_rows
from universality.pipeline.reporting.explorer_data import write_explorer
from universality.pipeline.reporting.report_pages import write_summary
from universality.pipeline.reporting.run_results import RunResults, open_results
from universality.pipeline.reporting.shared_groups import shared_rows
from universality.pipeline.reporting.terminal_summary import print_summary
from universality.pipeline.stages.match_features import make_match
from universality.pipeline.study import comparisons
from universality.report import Report, write_report
from universality.report.narrative import answer
from universality.statistics.null_settings import NullSettings

AXE = (Path(__file__).parents[2] / "report" / "axe" / "axe.min.js").read_text(encoding="utf-8")
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunResults]:
    with open_results(*plant(tmp_path_factory.mktemp("three") / "run", 60, "ABC")) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(found: RunResults) -> Path:
    """The report of A and B, and the pages beside it."""
    head, report = found.headline, found.folder.report
    assert head is not None
    grown = report_rows.saved_families(found)
    write_explorer(found, report.parent, grown)
    pair_pages.write_pages(found, grown, (("Hook", "planted"),))
    drawn = report_rows.headline(found, head, report_rows.samples(found, head))
    two, three = pair_pages.pairings(found, head), shared_rows(found)
    return write_report(Report("Three", drawn, pairings=two, shared=three, explorer=True), report)


def test_features_of_all_three_are_counted_and_chance_is_not(found: RunResults) -> None:
    low, high = shared_rows(found)
    assert (low.least, high.least) == (0.5, 0.7)
    assert high.in_models == (16, 0)  # the shared atoms, in three models; none in two only
    assert (high.agreeing, high.cycles_tried, high.cycles_closed) == (16, 16, 1.0)
    assert high.alone == 3 * (23 - 16)  # the control: features that only one model has


def test_the_headline_has_intervals_over_features_and_over_works_and_the_terminal_says_which(
    found: RunResults, capsys: pytest.CaptureFixture[str]
) -> None:
    head = found.headline
    assert head is not None
    drawn = report_rows.headline(found, head, report_rows.samples(found, head))
    features = drawn.of("features")
    assert features is not None
    assert features.low_works == pytest.approx(features.high_works) == pytest.approx(features.median)  # all the same
    assert features.n_works == head.calibration.n_groups > 3
    written = found.folder.report.with_name("summary.json")
    write_summary(Report("Three", drawn), written)
    print_summary(found.folder)
    written.unlink()
    lines = capsys.readouterr().out.splitlines()
    (said,) = (line for line in lines if "SAE features" in line)
    assert f"{features.low:.3f} to {features.high:.3f} over features" in said
    works = f"{features.low_works:.3f} to {features.high_works:.3f} over {features.n_works} works"
    assert said.endswith(works)
    (null,) = (line for line in lines if "null" in line)
    assert "over" not in null


def test_the_statistics_of_the_configuration_reach_the_calibration_and_the_page(
    found: RunResults, tmp_path: Path
) -> None:
    asked = NullSettings(nulls=["kind"], replicates=1, bootstrap=7, alpha=0.2, min_firings=40, n_strata=3, seed=5)
    config = found.config.model_copy(update={"statistics": asked})
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(found.folder.root, folder.root)
    make_match(config, folder, comparisons(config, folder)[0])
    with open_results(config, folder) as again:
        settings = again.compared[0].calibration.settings
        assert {name: settings[name] for name in asked.for_calibrate()} == asked.for_calibrate()
        assert (settings["alpha"], settings["min_firings"], settings["n_strata"]) == (0.2, 40, 3)
        drawn = report_rows.headline(again, again.compared[0], [])
        assert drawn.summary.q_level == 0.2
        assert (
            drawn.summary.null.share_significant
            == (again.compared[0].calibration.q <= 0.2).sum() / drawn.summary.n_living
        )


def test_two_models_have_neither_other_pages_nor_groups(planted: Any) -> None:
    with open_results(*planted) as two:
        assert pair_pages.pairings(two, two.headline) == shared_rows(two) == ()
        assert pair_pages.write_pages(two, {}, ()) == []


def test_a_run_that_lacks_a_matching_counts_no_groups(found: RunResults) -> None:
    with open_results(found.config, found.folder) as stopped:
        stopped.compared = [c for c in stopped.compared if c.comparison.name != "B-C.w24"]
        assert shared_rows(stopped) == ()
        assert [two.page for two in pair_pages.pairings(stopped, stopped.headline)] == [None, "A-C.w24/index.html"]


def test_pages_link_to_each_other(found: RunResults, page: Path) -> None:
    a_b, _, b_c = found.headline_peers
    assert [two.page for two in pair_pages.pairings(found, a_b)] == [None, "A-C.w24/index.html", "B-C.w24/index.html"]
    links = [two.page for two in pair_pages.pairings(found, b_c)]
    assert links == ["../index.html", "../A-C.w24/index.html", None]
    other = pair_pages.page_of(found, b_c)
    assert all((other.parent / link).resolve().is_file() for link in links if link)
    text = other.read_text(encoding="utf-8")
    assert 'href="../index.html#explore/pairs?comparison=B-C.w24"' in text
    assert 'href="../index.html#comparisons"' in text


def test_every_dictionary_is_written_once_and_every_comparison_apart(page: Path) -> None:
    data = page.parent / "data"
    assert {path.name for path in (data / "sides").iterdir()} == {"A.w24-s0", "B.w24-s0", "C.w24-s0"}
    assert {path.name for path in (data / "comparisons").iterdir()} == {"A-B.w24", "A-C.w24", "B-C.w24"}
    assert not list(page.parent.glob("*/data"))
    index, groups = read_data(page, "index"), read_data(page, "groups")
    assert [one["sides"] for one in index["comparisons"]] == [[0, 1], [0, 2], [1, 2]]
    members = unpacked(groups["members"]).reshape(-1, 3)
    assert (members >= 0).all(axis=1).sum() == 16 == len(members)  # the shared atoms, and no chance partners


def test_three_seeds_of_one_model_are_grouped_alike(found: RunResults, tmp_path: Path) -> None:
    names = dict(list(found.config.models.load.items())[:1])
    models = found.config.models.model_copy(update={"load": names})
    saes = found.config.saes.model_copy(update={"seeds": [0, 1, 2], "widths": [24]})
    config, folder = found.config.model_copy(update={"models": models, "saes": saes}), RunFolder(tmp_path / "run")
    for seed, model in enumerate("ABC"):  # the other models' dictionaries stand for other seeds
        folder.store("A", 24, seed).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(found.folder.store(model, 24, 0), folder.store("A", 24, seed))
    for beside in found.folder.store("A", 24, 0).parent.glob("unembedding-*"):
        shutil.copy(beside, folder.store("A", 24, 0).parent)
    for comparison in comparisons(config, folder):
        if comparison.of == "seeds":
            make_match(config, folder, comparison)
    with open_results(config, folder) as seeds:
        _, high = shared_rows(seeds)
        assert (high.in_models, high.alone) == ((16, 0), 3 * (23 - 16))
        write_explorer(seeds, tmp_path, {})
    index = read_data(tmp_path / "index.html", "index")
    assert [side["name"] for side in index["sides"]] == ["A seed 0", "A seed 1", "A seed 2"]
    assert index["groups"] is True


def test_a_page_of_two_others_says_whose_the_ceiling_is(found: RunResults) -> None:
    config = found.config.model_copy(update={"saes": found.config.saes.model_copy(update={"ceiling_seed": 1})})
    a_b, _, b_c = found.headline_peers
    of_a, of_b, _ = (replace(a_b, comparison=c) for c in comparisons(config, found.folder) if c.of == "ceiling")
    with open_results(found.config, found.folder) as opened:
        opened.compared += [of_a, of_b]
        for compared, whose in ((a_b, "AB"), (b_c, "B")):  # C has none, and A's is no ceiling of B and C
            populations = report_rows.samples(opened, compared)
            assert [s.label for s in populations if s.role == "ceiling"] == [f"two SAE seeds of {x}" for x in whose]
            said = " ".join(answer(report_rows.headline(opened, compared, populations)))
            assert [f"two SAEs of {x} with a median" in said for x in "ABC"] == [x in whose for x in "ABC"]


def test_pages_of_a_model_that_left_the_study_are_removed_and_nothing_else(
    found: RunResults, page: Path, tmp_path: Path
) -> None:
    run = RunFolder(Path(shutil.copytree(found.folder.root, tmp_path / "run")))
    home, summary = run.report.parent, run.report.with_name("summary.json")
    told = [{"page": two.page} for two in pair_pages.pairings(found, found.headline)]
    summary.write_text(json.dumps({"pairings": [*told, {"page": "../elsewhere/index.html"}]}), encoding="utf-8")
    for mine in ("A-C.w24/data/views-0.js", "B-C.w24/notes.txt", "mine/index.html", "../elsewhere/index.html"):
        (home / mine).parent.mkdir(exist_ok=True, parents=True)
        (home / mine).write_text("kept", encoding="utf-8")

    def left() -> set[str]:
        return {file.relative_to(home).as_posix() for file in home.rglob("*") if home / "data" not in file.parents}

    before = left()
    with open_results(found.config, run) as same:
        pair_pages.remove_old_pages(same, summary)
        assert left() == before
        stopped, fewer = same.config.models, dict(list(same.config.models.load.items())[:2])
    config = found.config.model_copy(update={"models": stopped.model_copy(update={"load": fewer})})
    with open_results(config, run) as two:
        there, two.compared = two.compared, two.compared[:-1]
        pair_pages.remove_old_pages(two, summary)
        assert left() == before  # a matching is missing
        two.compared = there
        pair_pages.remove_old_pages(two, summary)
    gone = before - left()
    assert {"A-C.w24", "A-C.w24/index.html", "A-C.w24/data", "B-C.w24/index.html"} <= gone
    assert left() == {"data", "index.html", "summary.json", "B-C.w24", "B-C.w24/notes.txt", "mine", "mine/index.html"}
    assert (home / "../elsewhere/index.html").is_file()


@pytest.fixture(scope="module")
def browser(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        opened.open(page.as_uri())
        opened.run(f"{AXE};0")
        yield opened
        assert opened.complaints == []
        assert [r for r in opened.requests if not r.startswith((page.parent.as_uri(), "data:", "about:"))] == []


def go(browser: Browser, view: str) -> None:
    browser.run(f"location.hash = {view!r}; 0")
    browser.until(f"document.querySelector('#explorer').dataset.shows === {view!r}")


@in_browser
def test_another_comparison_opens_at_the_same_view_and_stays_chosen(browser: Browser) -> None:
    go(browser, "#explore/heatmap")
    choose = (
        "(s => { s.value = 'B-C.w24'; s.dispatchEvent(new Event('change')); })(document.querySelector('#comparison'))"
    )
    browser.run(choose)
    browser.until("document.querySelector('#explorer').dataset.shows === '#explore/heatmap?comparison=B-C.w24'")
    assert not [r for r in browser.requests if "A-C" in r]  # nothing is loaded that was not asked for
    browser.run("document.querySelector('.views a[data-view=pairs]').click(); 0")
    browser.until("document.querySelector('#explorer h1').textContent === 'Matched pairs of B and C'")
    browser.run("document.querySelector('#explorer tr[data-k] a').click(); 0")
    browser.until("document.querySelectorAll('#explorer .side').length === 2")
    assert [text[:1] for text in browser.run("[...document.querySelectorAll('.side h2')].map(h => h.innerText)")] == [
        "B", "C",
    ]  # fmt: skip
    assert browser.run("location.hash").endswith("?comparison=B-C.w24")


@in_browser
def test_groups_are_found_by_presence_and_opened_side_by_side(browser: Browser) -> None:
    go(browser, "#explore/compare")
    browser.until("document.querySelector('#found').textContent === '16 of 16 groups'")
    shares = browser.run("[...document.querySelectorAll('.matrix td.likeness')].map(c => c.innerText)")
    assert len(shares) == 6
    assert set(shares) == {"70%"}  # 16 of 23 living features
    go(browser, "#explore/compare?in=++-")
    browser.until("document.querySelector('#found').textContent === '0 of 16 groups'")
    assert browser.run("[...document.querySelectorAll('.condition select')].map(s => s.value)") == ["+", "+", "-"]
    go(browser, "#group/3")
    assert browser.run("document.querySelectorAll('#explorer .side').length") == 3
    r = browser.run("[...document.querySelectorAll('.matrix td.likeness')].map(c => Number(c.innerText))")
    assert len(r) == 6
    assert min(r) > 0.99
    browser.run("document.querySelector('.side h2 a').click(); 0")
    browser.until("location.hash.startsWith('#feature/A/')")
    browser.until("document.querySelectorAll('.partners tbody tr').length === 2")


@in_browser
@pytest.mark.parametrize("view", ["#explore/compare", "#group/0", "#feature/C/23", "#explore/pairs?comparison=B-C.w24"])
def test_views_of_several_models_are_accessible_and_fit_a_phone(browser: Browser, view: str) -> None:
    go(browser, view)
    faults = browser.run(
        "axe.run({resultTypes: ['violations']}).then(r => r.violations.map(v => [v.id, v.nodes[0].html]))"
    )
    assert faults == []
    browser.resize(360, 740)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.resize(1280, 900)


@in_browser
@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("#explore/pairs?comparison=A-Z.w1", "no comparison A-Z.w1"),
        ("#group/99", "no group 99"),
        ("#feature/Z/1", "no dictionary Z"),
        ("#feature/A/24", "no feature 24 of A"),
    ],
)
def test_an_address_of_something_that_is_not_there_says_so(browser: Browser, view: str, said: str) -> None:
    go(browser, view)
    assert said in browser.run("document.querySelector('#explorer .warnings')?.innerText")
