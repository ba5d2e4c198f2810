"""Best partners and exact assignment of two stores, on the device and on the CPU."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_parts.device import Device
from gpu_parts.record import Rows
from similarity import stores

from universality.errors import DeviceWarning
from universality.matching import match
from universality.similarity import Similarity

HERE = Path(__file__).parents[1]
BUDGET = 32 << 30  # on a device both stores must fit into memory
Pair = tuple[int, int, int]
"""Tokens, features, active features of a token."""


@dataclass
class Stores:
    """Pairs of stores in a folder, which another process may write while the device trains."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def write_aside(self, pairs: list[Pair]) -> None:
        """Begin to write them."""
        code = "import sys; from pathlib import Path; from similarity import stores\n"
        code += f"for pair in {pairs!r}: stores(Path(sys.argv[1]), *pair)[0].close()"
        self.process = subprocess.Popen([sys.executable, "-c", code, str(self.folder)], cwd=HERE)

    def similarity(self, pair: Pair) -> Similarity:
        """The correlations of a pair, once it is written."""
        name = "-".join(map(str, pair))
        while self.process is not None and self.process.poll() is None and not self._written(name):
            time.sleep(0.1)
        a, b, _ = stores(self.folder, *pair)
        return Similarity.activation(a, b, memory_budget=BUDGET)

    def _written(self, name: str) -> bool:
        return (self.folder / f"{name}.order.npy").exists()

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def comparison(device: Device, made: Stores, pairs: list[Pair]) -> Rows:
    """Best partners of every feature and the exact assignment, on the device and on the CPU."""
    for pair in pairs:
        here = made.similarity(pair)
        here.topk(1, axis=None)  # reads both stores and compiles
        there = here.on(device.torch)
        there.topk(1, axis=None)
        for what, action in (("best 16 of rows and columns", lambda s: s.topk(16, axis=None)), ("assignment", match)):
            yield _compared(device, pair, what, action, here, there)


def _compared(
    device: Device, pair: Pair, what: str, action: Callable[[Similarity], Any], here: Similarity, there: Similarity
) -> tuple[dict, str]:
    processor, begin = time.process_time(), time.perf_counter()
    expected = action(here)
    cpu, processors = time.perf_counter() - begin, time.process_time() - processor
    _forget_peak(device)
    begin = time.perf_counter()
    with never_by_cpu():
        found = action(there)
    spent = time.perf_counter() - begin
    scores = [(r.scores if what == "assignment" else r[0][1]) for r in (expected, found)]
    partners = [(r.cols if what == "assignment" else r[0][0]) for r in (expected, found)]
    row = {"pair": pair, "what": what, "device_s": spent, "cpu_s": cpu, "cpu_processor_s": processors,
           "times_faster": cpu / spent, "peak_gb": _peak(device),
           "largest_difference": float(np.abs(np.subtract(*scores)[np.isfinite(scores[0])]).max()),
           "same_partners": float(np.mean(np.equal(*partners)))}  # fmt: skip
    return row, (f"{pair[0]:>9,} {pair[1]:>9,} {what:>28} {spent:>9.2f} s; CPU {cpu:>8.2f} s, {processors:>8.2f} s of "
                 f"processors: {row['times_faster']:.1f} x; largest difference {row['largest_difference']:.1e}, "
                 f"same partners {row['same_partners']:.2%}, peak {row['peak_gb']:.1f} GB")  # fmt: skip


def correlation(device: Device, made: Stores, pair: Pair) -> Rows:
    """Best partners of every feature of one large pair, on the device alone."""
    begin = time.perf_counter()
    there = made.similarity(pair).on(device.torch)
    opened = time.perf_counter() - begin
    _forget_peak(device)
    begin = time.perf_counter()
    with never_by_cpu():
        (_, scores), _ = there.topk(1, axis=None)
    spent = time.perf_counter() - begin
    products = pair[0] * pair[2] ** 2
    row = {"pair": pair, "device_s": spent, "waiting_for_stores_s": opened, "peak_gb": _peak(device),
           "ns_per_product": 1e9 * spent / products, "mean_best": float(np.nanmean(scores))}  # fmt: skip
    yield row, (f"{pair[0]:>9,} tokens x {pair[1]:,}²: best partners of rows and columns in {spent:.2f} s, reading "
                f"included; {row['ns_per_product']:.2f} ns a product, mean best r {row['mean_best']:.3f}, "
                f"peak {row['peak_gb']:.1f} GB")  # fmt: skip


@contextmanager
def never_by_cpu() -> Iterator[None]:
    """Raise where the CPU would compute instead of a card that has no room, which would be timed as the card."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeviceWarning)
        yield


def _forget_peak(device: Device) -> None:
    if device.cuda:
        torch.cuda.reset_peak_memory_stats(device.torch)


def _peak(device: Device) -> float:
    return torch.cuda.max_memory_allocated(device.torch) / 1e9 if device.cuda else float("nan")
