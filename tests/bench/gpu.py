"""Training speed of SAEs and matching on a CUDA card, each beside an alternative in the same run.

    python tests/bench/gpu.py [--out FOLDER] [--device cuda | cpu] [--toy]

Prints three tables and writes them to FOLDER as ``<card>.txt`` and ``<card>.json``, named for the card. The training
table gives the time of a whole step (forward, backward, Adam) beside two others on the same batch: the encoder's
product alone, which every step contains, and the formulation one writes first (torch.topk, scatter, two dense products,
autograd). The matching table gives the best partners of every feature of two stores on the device and on the CPU, and
how far the scores differ. Where Triton's kernels run, each step is timed with them and with PyTorch's own operators
alone ("stock"). ``--toy`` takes sizes that a CPU finishes in seconds. Tests of the card: `tests/gpu/run.sh`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sae import ARCHITECTURES, dense_autograd
from similarity import stores
from torch import Tensor

from universality.matching import match
from universality.sae import SAESpec, SAETrainer
from universality.sae.compute.products import linear
from universality.sae.compute.triton_choice import stock_operators, uses_kernels
from universality.similarity import Similarity


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    d_in: int = 768
    k: int = 32
    batch: int = 4096
    widths: tuple[int, ...] = (4096, 16_384, 65_536)
    product: int = 8192
    stores: tuple[tuple[int, int], ...] = ((250_000, 16_384), (100_000, 65_536))
    seconds: float = 0.5


TOY = Sizes(d_in=32, k=4, batch=256, widths=(128,), product=256, stores=((4000, 96),), seconds=0.05)


class Device:
    """Where the work runs, and how it is timed there."""

    def __init__(self, name: str) -> None:
        self.torch = torch.device(name)
        self.cuda = self.torch.type == "cuda"

    @property
    def name(self) -> str:
        """Of the card, or "CPU"."""
        return torch.cuda.get_device_name(self.torch) if self.cuda else "CPU"

    def seconds(self, action: Callable[[], object], at_most: float) -> float:
        """Median wall time of a call that has finished on the device, after two calls that warm up."""
        spent: list[float] = []
        for call in range(2 + 15):
            begin = time.perf_counter()
            action()
            if self.cuda:
                torch.cuda.synchronize(self.torch)
            if call >= 2:
                spent.append(time.perf_counter() - begin)
            if len(spent) >= 3 and sum(spent) > at_most:
                break
        return float(np.median(spent))

    def peak_gb(self, action: Callable[[], object]) -> float:
        """Largest memory that the allocator held during a call, in 10⁹ bytes; NaN on a CPU."""
        if not self.cuda:
            return float("nan")
        torch.cuda.reset_peak_memory_stats(self.torch)
        action()
        return torch.cuda.max_memory_allocated(self.torch) / 1e9


def limits(device: Device, sizes: Sizes) -> dict[str, float]:
    """What the card does at best: matrix products in TFLOP/s, a copy within its memory in GB/s (read and written)."""
    n, found = sizes.product, {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = (torch.randn(n, n, device=device.torch).to(dtype) for _ in range(2))
        spent = device.seconds(lambda a=a, b=b: a @ b, sizes.seconds)  # type: ignore[misc]
        found[str(dtype).removeprefix("torch.")] = 2 * n**3 / spent / 1e12
    source = torch.empty(n * n * 4, device=device.torch)
    target = torch.empty_like(source)
    found["copy"] = 2 * 4 * source.numel() / device.seconds(lambda: target.copy_(source), sizes.seconds) / 1e9
    return found


def training(device: Device, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """A row for every width, architecture and number format of the encoder's product."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2 * sizes.batch, sizes.d_in, generator=generator).relu().to(device.torch)
    batch = x[: sizes.batch]
    for width in sizes.widths:
        autograd = dense_autograd(width, x, sizes.k)
        dense = device.seconds(lambda step=autograd: step(batch), sizes.seconds)  # type: ignore[misc]
        yield {"width": width, "architecture": "topk by dense autograd", "products": "float32",
               "us_per_token": dense / sizes.batch * 1e6, "tokens_per_second": sizes.batch / dense,
               "peak_gb": device.peak_gb(lambda step=autograd: step(batch))}  # type: ignore[misc] # fmt: skip
        del autograd
        for architecture in ARCHITECTURES:
            for products in ("float32", "bfloat16"):
                if uses_kernels(x):
                    yield _step(device, sizes, x, width, architecture, products, dense) | {"kernels": True}
                with stock_operators():
                    stock = _step(device, sizes, x, width, architecture, products, dense)
                yield stock | {"kernels": False}


def _step(
    device: Device, sizes: Sizes, x: Tensor, width: int, architecture: str, products: str, dense: float
) -> dict[str, Any]:
    nested = (width // 4, width // 2) if architecture == "matryoshka" else ()
    trainer = SAETrainer(SAESpec(width, architecture, k=sizes.k, nested=nested, products=products), x, 10_000)  # type: ignore[arg-type]
    trainer.weights.b_enc.sub_(2.0 if architecture in ("relu", "jumprelu") else 0.0)  # as if trained: sparse
    batch = x[: sizes.batch]
    spent = device.seconds(lambda: trainer.step(batch), sizes.seconds)
    peak = device.peak_gb(lambda: trainer.step(batch))
    rows, encoder = (tensor.to(getattr(torch, products)) for tensor in (batch, trainer.weights.W_enc))
    alone = device.seconds(lambda: linear(rows, encoder), sizes.seconds)
    return {"width": width, "architecture": architecture, "products": products,
            "us_per_token": spent / sizes.batch * 1e6, "tokens_per_second": sizes.batch / spent,
            "of_dense_autograd": dense / spent, "encoder_share": alone / spent, "peak_gb": peak}  # fmt: skip


def matching(device: Device, sizes: Sizes, folder: Path) -> Iterator[dict[str, Any]]:
    """Best partners of every feature and the exact assignment, on the device and on the CPU."""
    for n_tokens, n_features in sizes.stores:
        a, b, _ = stores(folder, n_tokens, n_features, sizes.k)
        here = Similarity.activation(a, b)
        here.topk(1, axis=None)  # reads both stores and compiles
        there = here.on(str(device.torch))
        there.topk(1, axis=None)
        for what, action in (("best 16 of rows and columns", lambda s: s.topk(16, axis=None)), ("assignment", match)):
            processor, begin = time.process_time(), time.perf_counter()
            expected = action(here)
            cpu, processors = time.perf_counter() - begin, time.process_time() - processor
            begin = time.perf_counter()
            found = action(there)
            spent = time.perf_counter() - begin
            scores = [(r.scores if what == "assignment" else r[0][1]) for r in (expected, found)]
            pairs = [(r.cols if what == "assignment" else r[0][0]) for r in (expected, found)]
            yield {"n_tokens": n_tokens, "n_features": n_features, "what": what, "device_s": spent, "cpu_s": cpu,
                   "cpu_processor_s": processors, "times_faster": cpu / spent,
                   "largest_difference": float(np.abs(np.subtract(*scores)[np.isfinite(scores[0])]).max()),
                   "same_partners": float(np.mean(np.equal(*pairs)))}  # fmt: skip


class Report:
    """Lines for people and a record for programs."""

    def __init__(self, device: Device, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / re.sub(r"[^a-z0-9]+", "-", device.name.lower()).strip("-")
        self.lines: list[str] = []
        versions = {"python": sys.version.split()[0], "torch": torch.__version__, "cuda": torch.version.cuda}
        self.record: dict[str, Any] = {"card": device.name, **versions}
        memory = f", {torch.cuda.get_device_properties(device.torch).total_memory / 1e9:.0f} GB" if device.cuda else ""
        self.say(f"{device.name}{memory}; torch {torch.__version__}, Python {versions['python']}")

    def say(self, line: str = "") -> None:
        """Print a line and keep it; what was measured so far is on the disk, should the time run out."""
        print(line, flush=True)
        self.lines.append(line)
        self.path.with_suffix(".txt").write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        text = json.dumps(self.record, indent=1, allow_nan=False) + "\n"
        self.path.with_suffix(".json").write_text(text, encoding="utf-8")


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and not np.isfinite(value) else value for key, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--toy", action="store_true", help="sizes that a CPU finishes in seconds")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device: nothing measured; --device cpu --toy tries the script")
        return
    device, sizes = Device(options.device), TOY if options.toy else Sizes()
    report = Report(device, options.out)
    report.record["sizes"] = asdict(sizes)
    report.record["limits"] = found = limits(device, sizes)
    report.say(f"products {found['float32']:.1f} TFLOP/s in float32, {found['bfloat16']:.1f} in bfloat16; "
               f"copy {found['copy']:,.0f} GB/s")  # fmt: skip
    report.say(f"\ntraining steps: d_in {sizes.d_in}, k {sizes.k}, batches of {sizes.batch:,} tokens")
    kernels = uses_kernels(torch.empty(1, device=device.torch))
    report.say("rows marked stock use PyTorch's own operators, others Triton's kernels" if kernels else
               "Triton's kernels do not run here: PyTorch's own operators")  # fmt: skip
    report.say(f"{'width':>7} {'architecture, products':>30} {'tokens/s':>12} {'us/token':>9} {'x dense':>8} "
               f"{'encoder alone':>14} {'peak GB':>8}")  # fmt: skip
    report.record["training"] = []
    for row in training(device, sizes):
        report.record["training"].append(_finite(row))
        ratio, share = row.get("of_dense_autograd"), row.get("encoder_share")
        label = f"{row['architecture']}, {row['products']}{'' if row.get('kernels', True) else ', stock'}"
        report.say(f"{row['width']:>7} {label:>30} "
                   f"{row['tokens_per_second']:>12,.0f} {row['us_per_token']:>9.3f} "
                   f"{'' if ratio is None else f'{ratio:.1f}':>8} {'' if share is None else f'{share:.0%}':>14} "
                   f"{row['peak_gb']:>8.2f}")  # fmt: skip
    report.say("\nmatching: two stores in memory, float64 on the device")
    report.say(f"{'tokens':>9} {'features':>9} {'':>28} {'device s':>9} {'CPU s':>8} {'CPU proc. s':>12} {'ratio':>7} "
               f"{'largest diff.':>14} {'same partner':>13}")  # fmt: skip
    report.record["matching"] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in matching(device, sizes, Path(folder)):
            report.record["matching"].append(_finite(row))
            report.say(f"{row['n_tokens']:>9,} {row['n_features']:>9,} {row['what']:>28} {row['device_s']:>9.2f} "
                       f"{row['cpu_s']:>8.2f} {row['cpu_processor_s']:>12.2f} {row['times_faster']:>6.1f}x "
                       f"{row['largest_difference']:>14.1e} {row['same_partners']:>12.2%}")  # fmt: skip
    print(f"\n{report.path}.txt")


if __name__ == "__main__":
    main()
