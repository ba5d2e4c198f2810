"""How fast the live page answers: one client, then 50 at once, each typing texts of its own.

    python tests/bench/serve.py RUN [--clients 50] [--texts 4]
    python tests/bench/serve.py --features 131072 [--keep FOLDER]

Starts `universality serve RUN` in a process of its own, and asks over the loopback: seconds until the page, a typed
sentence, a feature, a search; the same for 50 clients together, as medians and 95% quantiles; the server's processor
seconds per text and its memory. Every text is new, so that no kept answer is counted. With a browser, seconds until the
page's first paint and until the first text stands, and the megabytes of its process. Targets: first paint below 1 s, a
typed sentence below 0.5 s for one client.

With --features there is no run to name: SAEs with that many random features on the shipped models are recorded on a few
documents, every feature and its best partner, if that is mutual, are a pair, and the page is one of random pairs. What
the numbers are is of no interest here; how many there are is that of a real run. --keep keeps it, and serves it again.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import torch

sys.path.append(str(Path(__file__).parents[1] / "report"))

from chromium import CHROMIUM, Browser
from report import make, page_process

from universality.features import FeatureStore
from universality.pipeline.paths import RunFolder
from universality.sae import SAE
from universality.statistics import calibrate

WORDS = ("the", "cat", "sat", "on", "mat", "and", "def", "return", "list", "of", "value", "house", "river", "file")


def ask(address: str, path: str, question: object = None) -> float:
    """Seconds until a request is answered in full."""
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(address + path, body, {"Content-Type": "application/json"})
    began = time.perf_counter()
    with urllib.request.urlopen(request, timeout=600) as response:
        response.read()
    return time.perf_counter() - began


def sentence(draw: random.Random) -> dict[str, str]:
    return {"text": " ".join(draw.choice(WORDS) for _ in range(14)) + f" {draw.random()}"}


def report(what: str, seconds: list[float]) -> None:
    median, high = np.quantile(seconds, [0.5, 0.95])
    print(f"{what:<42}{median:8.3f} s median{high:8.3f} s of 95%   (n = {len(seconds)})")


def repeated(work: Callable[[int], float], n: int, clients: int) -> list[float]:
    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(work, range(n)))


def measure(address: str, server: psutil.Process, clients: int, texts: int) -> None:
    draw, live = random.Random(0), f"live/{comparison(address)}"
    ask(address, f"{live}/text", sentence(draw))  # waits until the models are loaded
    report("page, one client", [ask(address, "report/index.html") for _ in range(5)])
    report("typed sentence, one client", [ask(address, f"{live}/text", sentence(draw)) for _ in range(10)])
    report("feature, one client", [ask(address, f"{live}/near/0/{k}") for k in range(10)])
    report("search, one client", [ask(address, f"{live}/search?q={word}") for word in WORDS[:8]])
    report("steering, 20 tokens, one client", [ask(address, f"{live}/steer", {"side": 0, "feature": f, "tokens": 20})
                                               for f in living(address + live)])  # fmt: skip
    before = sum(server.cpu_times()[:2])
    began = time.perf_counter()
    questions = [sentence(draw) for _ in range(clients * texts)]
    report(f"typed sentence, {clients} clients at once",
           repeated(lambda k: ask(address, f"{live}/text", questions[k]), len(questions), clients))  # fmt: skip
    wall, used = time.perf_counter() - began, sum(server.cpu_times()[:2]) - before
    print(f"{'':<42}{len(questions) / wall:8.1f} texts a second; {used / len(questions):.3f} processor s each")
    features = [f"{live}/near/{k % 2}/{100 + k}" for k in range(clients * texts)]
    report(f"feature, {clients} clients at once",
           repeated(lambda k: ask(address, features[k]), len(features), clients))  # fmt: skip
    report(f"page, {clients} clients at once", repeated(lambda _: ask(address, "report/index.html"), clients, clients))
    print(f"{'server':<42}{server.memory_info().rss / 1e6:8.0f} MB")


def comparison(address: str) -> str:
    """Name of the first comparison that the page shows."""
    with urllib.request.urlopen(address + "report/data/index.js") as response:
        index = json.loads(response.read().decode().partition(",")[2].rpartition(")")[0])
    return str(index["comparisons"][0]["name"])


def living(address: str) -> list[int]:
    """Two features that fire on a sentence."""
    body = json.dumps({"text": "the cat sat"}).encode()
    request = urllib.request.Request(address + "/text", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as response:
        return list(json.load(response)["sides"][0]["features"][:2])


def in_browser(address: str) -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, Browser(Path(profile)) as page:
        began = time.perf_counter()
        page.open(address)
        paint = page.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime") / 1000
        page.until("document.querySelectorAll('.strip [data-piece]').length > 0")
        stands = time.perf_counter() - began
        typed = []
        for k in range(5):
            before = page.run("document.querySelector('#found').textContent")
            begun = time.perf_counter()
            more = f"b.value += ' and so {k}'; b.dispatchEvent(new Event('input'))"
            page.run(f"(b => {{ {more}; }})(document.querySelector('#typed'))")
            page.until(f"document.querySelector('#found').textContent !== {before!r}")
            typed.append(time.perf_counter() - begun)
        report("typed in a browser, which waits 0.3 s", typed)
        sizes = page_process(page).memory_full_info()
        print(f"{'browser':<42}first paint {paint:.2f} s; first text stands {stands:.2f} s; "
              f"{sizes.pss / 1e6:.0f} MB (RSS {sizes.rss / 1e6:.0f})")  # fmt: skip


def random_sae(n: int, hook: str, d_in: int, seed: int) -> SAE:
    """An SAE with directions at random, of which 64 fire on a token."""
    draw = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(n, d_in, generator=draw), dim=1)
    return SAE(
        W_enc=decoder.T.contiguous(),
        b_enc=torch.zeros(n),
        W_dec=decoder,
        b_dec=torch.zeros(d_in),
        architecture="topk",
        k=64,
        metadata={"hook": hook},
    )


def random_run(folder: Path, n: int) -> Path:
    """A run of the shipped models with SAEs of ``n`` random features, on 77 held-out documents, and a random page."""
    run, hook = folder / "run", "blocks.0.mlp.hook_post"
    if (run / "report").exists():
        return run
    folder.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate("AB"):
        random_sae(n, hook, 512, seed).save(folder / name)
    settings = {
        "name": "bench",
        "corpus": {"source": "starter", "tokenizer": "starter", "d_vocab": 4096, "n_ctx": 128, "max_documents": 400},
        "models": {"load": {"A": "starter/seed0", "B": "starter/seed1"}},
        "hook": hook,
        "saes": {"load": {name: str(folder / name) for name in "AB"}, "quality_blocks": 8},
        "features": {"neuron_documents": 0.0},
        "statistics": {"nulls": ["global"], "replicates": 1, "bootstrap": 20},
    }
    (folder / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")
    command = [sys.executable, "-m", "universality", "collect", str(folder / "config.yaml"), "--out", str(run)]
    subprocess.run(command, check=True)
    files, name = RunFolder(run), f"A-B.w{n}"
    with FeatureStore.open(files.store("A", n, 0)) as a, FeatureStore.open(files.store("B", n, 0)) as b:
        calibration = calibrate(a, b, method="mutual", null="global", replicates=1, bootstrap=2)
    for path in (files.calibration(name), files.similarity(name)):
        path.parent.mkdir(exist_ok=True)
    calibration.save(files.calibration(name))
    np.savez(files.similarity(name))
    make(run / "report", n, comparison=name)
    return run


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("run", type=Path, nargs="?")
    options.add_argument("--clients", type=int, default=50)
    options.add_argument("--texts", type=int, default=4)
    options.add_argument("--features", type=int, help="serve random SAEs of this width")
    options.add_argument("--keep", type=Path, help="folder for the run with random SAEs")
    given = options.parse_args()
    if (given.run is None) == (given.features is None):
        options.error("expected a run's folder or --features")
    with tempfile.TemporaryDirectory() as scratch:
        run = given.run or random_run(given.keep or Path(scratch), given.features)
        with subprocess.Popen(
            [sys.executable, "-m", "universality", "serve", str(run), "--port", "0"],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as served:  # fmt: skip
            try:
                assert served.stdout is not None
                (address,) = re.findall(r"http://\S+/", served.stdout.readline())
                print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
                measure(address, psutil.Process(served.pid), given.clients, given.texts)
                if CHROMIUM is not None:
                    in_browser(address)
            finally:
                served.terminate()


if __name__ == "__main__":
    main()
