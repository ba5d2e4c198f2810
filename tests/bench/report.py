"""How soon the explorer shows something, and what it takes, for 16,384 and 131,072 pairs.

    python tests/bench/report.py [PAGE] [--sizes 16384 131072] [--labels] [--screenshots FOLDER]

Makes pages of random pairs and opens them in headless Chromium: seconds until the report's first paint, until the table
of all pairs stands, until a search through it, a sort and a pair are shown. Then, in a browser of its own: seconds
until the map of both models stands; milliseconds between two frames while the wheel zooms, the mouse drags and the
mouse only moves, as median and 95% quantile; processor milliseconds of the browser for each of these frames, which
other programs change less; seconds until another colour, and a lasso around a quarter of the map, are shown. With PAGE
(a run's report/index.html) that page is measured too. With --labels every feature has an explanation.

Memory is that of the page's process, beside an empty page's: megabytes of its own and its share of what several
processes use (PSS), and all megabytes that it has in memory (RSS). Targets: a run's first paint below 1 s, that of
16,384 pairs below 2 s, tables below 200 MB, the map below 250 MB of RSS.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1] / "report"))

from chromium import CHROMIUM, Browser

from universality.pipeline.reporting.explorer_data import CHUNK, SHOWN
from universality.report import FamilyTable, Headline, Report, write_report
from universality.report.explorer import packed, packed_whole, write_data

VIEW = "document.querySelector('#explorer').dataset.shows === {!r}"


def random_map(n: int, draw: np.random.Generator) -> dict[str, object]:
    """The file of a joint map: 300 clusters of features of both dictionaries, a twentieth of which is alone."""
    middles = draw.normal(0, 12_000, (300, 2))
    clusters = [draw.integers(-1, 300, n) for _ in range(2)]
    places = [np.clip(middles[cluster] + draw.normal(0, 700, (n, 2)), -32_000, 32_000) for cluster in clusters]

    def of_sides(columns: Iterable[NDArray[Any]]) -> dict[str, object]:
        return {str(k): packed_whole(column) for k, column in enumerate(columns)}

    rank = {"n": 2_000, "near": 0.5, "chance": 0.001, "share": 0.01}
    return {
        "xy": of_sides(np.rint(place) for place in places), "cluster": of_sides(clusters),
        "alone": of_sides(draw.random(n) < 0.05 for _ in range(2)), "middle": [0.0, 0.0], "unit": 1e-3,
        "names": [f"kind: token{k}, word{k}" for k in range(300)],
        "trust": [[0.9, n]] * 2, "within": "decoder", "n_edges": 10 * n, "n_null_edges": n, "near": 10,
        "ranks": dict.fromkeys(("partners", "held_out", "by_chance"), rank),
    }  # fmt: skip


def random_labels(n: int, draw: np.random.Generator) -> dict[str, object]:
    """The file of a dictionary's explanations, of 60 characters each."""
    text = [f"fires on token {k} where a sentence of some length ends here" for k in draw.permutation(n).tolist()]
    return {"text": text, "score": packed(draw.random(n), "f4"), "floor": packed(draw.random(n), "f4")}


def make(folder: Path, n: int, labels: bool = False, comparison: str = "A-B", d_vocab: int = 50_000) -> Path:
    """A page of ``n`` random pairs; of the views only the first file."""
    draw = np.random.default_rng(0)
    of_pairs, of_side = f"comparisons/{comparison}", ("sides/A", "sides/B")
    whole_numbers, numbers = ("count_a", "count_b"), ("score", "ci_low", "ci_high", "q", "q_kind", "logit")
    matched = {name: packed(draw.permutation(n), "i4") for name in ("row", "col")}
    write_data(folder, f"{of_pairs}/matched", matched | {"held_out": packed(draw.random(n), "f4")})
    columns = {name: packed(draw.permutation(n), "i4") for name in whole_numbers}
    write_data(folder, f"{of_pairs}/pairs", columns | {name: packed(draw.random(n), "f4") for name in numbers})
    for side in of_side:
        tokens = packed(draw.integers(0, d_vocab, (n, SHOWN)), "i4")
        about = {"kind": packed(draw.integers(0, 30, n), "i2"), "tokens": tokens}
        write_data(folder, f"{side}/about", about | {"density": packed(draw.random(n) ** 4, "f4")})
        if labels:
            write_data(folder, f"{side}/labels", random_labels(n, draw))
    write_data(folder, f"{of_pairs}/map", random_map(n, draw))
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
        "sides": [{"name": name, "folder": name, "width": n, "files": ["about", *["labels"] * labels]}
                  for name in "AB"],
        "comparisons": [{
            "name": comparison, "sides": [0, 1], "n_pairs": n, "nulls": ["global", "kind"], "effects": [],
            "ceilings": [False] * 2, "logit_chance": "", "transfer": False, "map": True,
        }],
    }  # fmt: skip
    write_data(folder, "index", index)
    headline = Headline("A", "B", n, 1_000_000, ())
    report = Report("bench", headline, families=(FamilyTable("A", ()),), explorer=True)
    return write_report(report, folder / "index.html")


def page_process(browser: Browser) -> psutil.Process:
    """The page's process; the other is a spare that the browser keeps ready."""
    family = psutil.Process(browser.pid).children(recursive=True)
    pages = [one for one in family if "--type=renderer" in " ".join(one.cmdline())]
    return max(pages, key=lambda one: one.memory_full_info().pss)


def memory(browser: Browser) -> float:
    """MB of the page's process: its own and its share of what several use."""
    return float(page_process(browser).memory_full_info().pss / 1e6)


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


FRAMES = """(async () => {
  const over = document.querySelector("canvas.over"), box = over.getBoundingClientRect();
  const times = [], begun = performance.now();
  const place = (u, v) => ({clientX: box.left + u * box.width, clientY: box.top + v * box.height});
  const at = (u, v) => ({...place(u, v), bubbles: true, cancelable: true});
  let last = performance.now();
  for (let k = 0; k < 40 && (k < 20 || last - begun < 20000); k++) {
    MOVE
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    times.push(now - last);
    last = now;
  }
  return times.sort((x, y) => x - y);
})()"""
"""Milliseconds between two frames, sorted."""
MOVES = {
    "zoom": 'over.dispatchEvent(new WheelEvent("wheel", {deltaY: k < 20 ? -25 : 25, ...at(0.4, 0.6)}));',
    "drag": """if (!k) over.dispatchEvent(new PointerEvent("pointerdown", {buttons: 1, ...at(0.5, 0.5)}));
    over.dispatchEvent(new PointerEvent("pointermove", {buttons: 1, ...at(0.5 + 0.2 * Math.sin(k / 6), 0.5)}));""",
    "hover": 'over.dispatchEvent(new PointerEvent("pointermove", at(0.2 + k / 100, 0.5)));',
}
LASSO = """(() => {
  document.querySelector("#explorer .tools button[aria-pressed=false]").click();
  const over = document.querySelector("canvas.over"), box = over.getBoundingClientRect();
  over.setPointerCapture = () => {};  // no pointer is down
  const send = (kind, u, v) => over.dispatchEvent(new PointerEvent(kind, {buttons: 1, bubbles: true, cancelable: true,
    clientX: box.left + u * box.width, clientY: box.top + v * box.height}));
  send("pointerdown", 0.5, 0.02);
  for (const [u, v] of [[0.98, 0.02], [0.98, 0.5], [0.5, 0.5]]) send("pointermove", u, v);
  send("pointerup", 0.5, 0.02);
})()"""
"""A line around the upper right quarter."""


def processor_seconds(tree: Iterable[psutil.Process]) -> float:
    return sum(sum(one.cpu_times()[:2]) for one in tree if one.is_running())


def measure_map(page: Path, picture: Path | None) -> list[str]:
    """Map in seconds, frames in milliseconds, colour and lasso in seconds; MB, with an empty page first."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(Path(profile)) as browser:
        empty = page_process(browser).memory_full_info()
        browser.run("0")

        def shown() -> None:
            browser.open(f"{page.as_uri()}#explore/map")
            browser.until(VIEW.format("#explore/map"))
            browser.run("new Promise(requestAnimationFrame)")

        opened = timed(shown)
        tree = [psutil.Process(browser.pid), *psutil.Process(browser.pid).children(recursive=True)]
        stood = page_process(browser).memory_full_info()
        frames = []
        for move in MOVES.values():
            before = processor_seconds(tree)
            times = browser.run(FRAMES.replace("MOVE", move))
            used = 1000 * (processor_seconds(tree) - before) / len(times)
            frames.append(f"{np.median(times):.0f}/{np.quantile(times, 0.95):.0f} ({used:.0f})")
        pick = (
            "const s = document.querySelector('#map-colour'); s.value = 'cluster'; s.dispatchEvent(new Event('change'))"
        )
        colour = timed(lambda: browser.run(f"(() => {{ {pick} }})()"))
        if picture is not None:
            browser.screenshot(picture)
        lasso = timed(lambda: browser.run(LASSO))
        count = browser.run("document.querySelector('#explorer output:not(.readout)').textContent")
        assert "chosen" in count, count
        end = page_process(browser).memory_full_info()
        assert browser.complaints == []
    sizes = [f"{one.pss / 1e6:.0f}/{one.rss / 1e6:.0f}" for one in (empty, stood, end)]
    return [f"{opened:.2f}", *frames, f"{colour:.2f}", f"{lasso:.2f}", *sizes]


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("page", type=Path, nargs="?")
    options.add_argument("--sizes", type=int, nargs="+", default=[16_384, 131_072])
    options.add_argument("--labels", action="store_true", help="an explanation of every feature")
    options.add_argument("--screenshots", type=Path, help="folder for pictures of the maps")
    given = options.parse_args()
    if CHROMIUM is None:
        sys.exit("needs chromium (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as folder:
        pages = {f"{n:,}": make(Path(folder) / str(n), n, given.labels) for n in given.sizes}
        if given.page is not None:
            pages["given"] = given.page.resolve()
        print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores\n")
        print(f"{'pairs':>10} {'paint s':>8} {'table s':>8} {'search s':>8} {'sort s':>8} {'pair s':>8}"
              f" {'empty MB':>9} {'table MB':>9} {'end MB':>8}")  # fmt: skip
        for name, page in pages.items():
            numbers = measure(page)
            print(f"{name:>10} " + " ".join(f"{value:8.2f}" for value in numbers[:5]), end=" ")
            print(f"{numbers[5]:9.0f} {numbers[6]:9.0f} {numbers[7]:8.0f}")
        heads = ("map s", *(f"{move} ms" for move in MOVES), "colour s", "lasso s", "empty MB", "map MB", "end MB")
        print(f"\n{'a model':>10} " + " ".join(f"{head:>13}" for head in heads))
        for name, page in pages.items():
            picture = None if given.screenshots is None else given.screenshots / f"map-{name.replace(',', '')}.png"
            print(f"{name:>10} " + " ".join(f"{text:>13}" for text in measure_map(page, picture)))
    print("frames: median/95% (processor ms); MB: PSS/RSS")
    print("targets: paint of a run 1 s, of 16,384 pairs 2 s; tables 200 MB, the map 250 MB")


if __name__ == "__main__":
    main()
