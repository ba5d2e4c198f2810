"""How soon the explorer shows something, and what it takes, for 16,384 and 131,072 pairs.

    python tests/bench/report.py [PAGE]

Makes pages of random pairs and opens them in headless Chromium: seconds until the report's first paint, until the table
of all pairs stands, until a search through it, a sort and a pair are shown; megabytes of the page's process, beside an
empty page's. With PAGE (a run's report/index.html) that page is measured too. Targets: a run's first paint below 1 s,
that of 16,384 pairs below 2 s, and below 200 MB.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "report"))

from chromium import CHROMIUM, Browser

from universality.pipeline.reporting.explorer_data import CHUNK, SHOWN
from universality.report import FamilyTable, Headline, Report, write_report
from universality.report.explorer import packed, write_data

VIEW = "document.querySelector('#explorer').dataset.shows === {!r}"


def make(folder: Path, n: int, d_vocab: int = 50_000) -> Path:
    """A page of ``n`` random pairs; of the views only the first file."""
    draw = np.random.default_rng(0)
    of_pairs, of_side = "comparisons/A-B", ("sides/A", "sides/B")
    columns = {name: packed(draw.permutation(n), "i4") for name in ("row", "col", "count_a", "count_b")}
    for name in ("score", "held_out", "ci_low", "ci_high", "q", "q_kind", "logit"):
        columns[name] = packed(draw.random(n), "f4")
    write_data(folder, f"{of_pairs}/pairs", columns)
    for side in of_side:
        tokens = packed(draw.integers(0, d_vocab, (n, SHOWN)), "i4")
        write_data(folder, f"{side}/about", {"kind": packed(draw.integers(0, 30, n), "i2"), "tokens": tokens})
    write_data(folder, "words", [f" token{i}" for i in range(d_vocab)])
    example = [list(range(13)), [0] * 8 + [100, 0, 0, 5, 0], 8, 1]
    feature = {
        "density": 0.01, "purity": 0.5, "strongest": 3.0, "histogram": list(range(20)), "top": [example] * 4,
        "range": [example] * 3, "up": [[i, 1.0] for i in range(8)], "down": [[i, -1.0] for i in range(8)],
    }  # fmt: skip
    for side in of_side:
        for chunk in range(-(-n // CHUNK)):  # either feature of the pair that is opened may be in any
            write_data(folder, f"{side}/features-{chunk}", [feature] * CHUNK)
    near = {"n_near": 5, "near": packed([*range(5)] * CHUNK, "i4"), "near_r": packed([50] * 5 * CHUNK, "i1")}
    partners = near | {
        "start": packed(range(CHUNK + 1), "i4"), "at": packed([8] * CHUNK, "i2"), "share": packed([80] * CHUNK, "u1")
    }  # fmt: skip
    write_data(folder, f"{of_pairs}/partners-0", {"a": partners, "b": partners})
    index = {
        "title": "bench", "chunk": CHUNK, "tokens_shown": SHOWN, "examples": 7, "window": 13, "groups": False,
        "kinds": [f"kind{i}" for i in range(30)], "label_score": "detection",
        "sides": [{"name": name, "folder": name, "width": n, "files": ["about"]} for name in "AB"],
        "comparisons": [{
            "name": "A-B", "sides": [0, 1], "n_pairs": n, "nulls": ["global", "kind"], "effects": [],
            "ceilings": [False] * 2, "logit_chance": "", "transfer": False,
        }],
    }  # fmt: skip
    write_data(folder, "index", index)
    headline = Headline("A", "B", n, 1_000_000, ())
    report = Report("bench", headline, families=(FamilyTable("A", ()),), explorer=True)
    return write_report(report, folder / "index.html")


def memory(browser: Browser) -> float:
    """MB of the page's process: its own and its share of what several use."""
    tree = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in tree.splitlines()[1:]]
    family, grown = {browser.pid}, True
    while grown:
        more = {int(pid) for pid, parent, _ in rows if int(parent) in family} - family
        family, grown = family | more, bool(more)
    pages = [int(pid) for pid, _, command in rows if int(pid) in family and "--type=renderer" in command]
    maps = [Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines() for pid in pages]
    pss = [int(line.split()[1]) for lines in maps for line in lines if line.startswith("Pss:")]
    return max(pss) / 1000  # the other is a spare that the browser keeps ready


def timed(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def measure(page: Path) -> list[float]:
    """First paint, table, search, sort and pair in seconds; MB with an empty page, with the table, and at the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(Path(profile)) as browser:
        empty = memory(browser)
        browser.open(page.as_uri())
        paint = browser.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime") / 1000

        def go(view: str) -> None:
            browser.run(f"location.hash = {view!r}; 0")
            browser.until(VIEW.format(view))

        table = timed(lambda: go("#explore/pairs"))
        after_table = memory(browser)
        box = "const b = document.querySelector('#search'); b.value = 'token77'; b.dispatchEvent(new Event('input'))"
        search = timed(lambda: browser.run(f"(() => {{ {box} }})()"))
        order = timed(lambda: browser.run("document.querySelector('#explorer thead th:nth-child(8) button').click()"))
        pair = timed(lambda: go("#pair/7"))
        assert browser.complaints == []
        return [paint, table, search, order, pair, empty, after_table, memory(browser)]


def main() -> None:
    if CHROMIUM is None:
        sys.exit("needs chromium (Debian: apt-get install chromium)")
    print(f"{'pairs':>10} {'paint s':>8} {'table s':>8} {'search s':>8} {'sort s':>8} {'pair s':>8}"
          f" {'empty MB':>9} {'table MB':>9} {'end MB':>8}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        pages = {f"{n:,}": make(Path(folder) / str(n), n) for n in (16_384, 131_072)}
        if len(sys.argv) > 1:
            pages["given"] = Path(sys.argv[1]).resolve()
        for name, page in pages.items():
            numbers = measure(page)
            print(f"{name:>10} " + " ".join(f"{value:8.2f}" for value in numbers[:5]), end=" ")
            print(f"{numbers[5]:9.0f} {numbers[6]:9.0f} {numbers[7]:8.0f}")
    print("targets: paint of a run 1 s, of 16,384 pairs 2 s; 200 MB")


if __name__ == "__main__":
    main()
