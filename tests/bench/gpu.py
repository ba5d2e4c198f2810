"""What a CUDA card does: training steps beside a roofline and other tools, a wide SAE, and matching.

    python tests/bench/gpu.py [--out FOLDER] [--seconds 480] [--device cuda | cpu] [--toy] [--only PART ...]

Parts are ordered by worth. Each result is on the disk as soon as it is measured, in FOLDER as ``<card>.txt`` and
``<card>.json``; a part that fails is recorded with its error and the next goes on; a part whose time is over ends with
what it has, and none begins after ``--seconds``. ``--toy`` takes sizes that a CPU finishes in seconds. Tests of the
card: `tests/gpu/run.sh`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import torch
from gpu_parts.device import ROOFLINE, Device, Limits
from gpu_parts.matching import Pair, Stores, comparison, correlation
from gpu_parts.record import Part, Record, Rows
from gpu_parts.training import HEAD, Case, Shape, curve, encoder_tiles, feeding, others, steps

from universality.sae.compute.triton_choice import uses_kernels

ARCHITECTURES = ("topk", "batchtopk", "relu", "jumprelu")
PRODUCTS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Sizes:
    """What is measured."""

    published: tuple[Shape, ...] = (Shape(768, 6144, 50, 444_000), Shape(768, 24_576, 32, 192_000))
    """Sizes of which others report rates: OpenMOSS's guide to training (GPU not named), and on a T4."""
    widths: tuple[Shape, ...] = (Shape(512, 4096, 32), Shape(512, 16_384, 32), Shape(512, 131_072, 32))
    batches: tuple[int, ...] = (4096, 32_768)
    seconds: float = 0.3
    """Time of one measurement, about."""
    product: int = 8192
    curve_seconds: float = 110
    fed_tokens: int = 1 << 18
    fed_steps: int = 100
    pairs: tuple[Pair, ...] = ((250_000, 16_384, 32), (100_000, 65_536, 32))
    large: tuple[Pair, ...] = ((1_000_000, 131_072, 32), (1_000_000, 1_048_576, 64))
    aside: bool = True
    """Whether another process writes the large stores while the device trains."""
    patience: float = 1
    """Factor of the parts' times; a small size ends long before, but not always where many processes share a CPU."""


_TINY = Shape(32, 128, 4)
TOY = Sizes((replace(_TINY, published=1e3),), (_TINY,), (128, 256), 0.01, 128, 0.3, 2048, 2, ((1000, 48, 4),),
            ((1000, 48, 4),), aside=False, patience=5)  # fmt: skip


def parts(device: Device, limits: Limits, sizes: Sizes, made: Stores) -> Iterator[Part]:
    """All parts, those first that matter most."""
    first, widest = sizes.batches[0], sizes.widths[-1]
    ways = [(stock, products) for stock in (False, True) for products in PRODUCTS]
    main = [Case(shape, first, products=p, stock=s) for s, p in ways for shape in (*sizes.published, widest)]
    all_cases = [Case(shape, batch, architecture, products)
                 for batch, shape, architecture, products
                 in product(sizes.batches, (*sizes.published, *sizes.widths), ARCHITECTURES, PRODUCTS)]  # fmt: skip
    rest = [case for case in all_cases if case not in main]
    rates = partial(steps, device, limits, seconds=sizes.seconds)
    wide = Case(widest, first, products="bfloat16")
    large = [(pair, partial(correlation, device, made, pair)) for pair in sizes.large]

    def waiting() -> Rows:
        for case in (Case(sizes.widths[min(1, len(sizes.widths) - 1)], first), wide):
            yield from feeding(device, case, sizes.fed_tokens, sizes.fed_steps)

    def beside() -> Rows:
        for shape in sizes.published:
            yield from others(device, Case(shape, first), sizes.seconds)

    def train() -> Rows:
        if sizes.aside:
            made.write_aside(list(sizes.large))
        return curve(device, wide, sizes.curve_seconds, n_points=12)

    of_four = [case for case in rest if case.batch == first]
    yield Part("main", f"training steps of TopK\n{HEAD}", partial(rates, main), 60)
    yield Part("waiting", "batches shuffled from the host's memory; target: 5% at most", waiting, 30)
    yield Part("rates", f"training steps, batches of {first:,}\n{HEAD}", partial(rates, of_four), 80)
    yield Part("curve", f"TopK of width {widest.d_sae:,} on synthetic activations", train, sizes.curve_seconds + 20, 30)
    yield Part("correlation", "correlation of large stores", large[0][1], 60, 5)
    yield Part("others", "other ways to take a step of TopK, the same batch, float32", beside, 30)
    yield Part("tiles", f"encoder at width {widest.d_sae:,} by tiles", partial(encoder_tiles, device, widest, first,
               sizes.seconds / 3), 45)  # fmt: skip
    yield Part("matching", "two stores in memory", partial(comparison, device, made, list(sizes.pairs)), 90, 20)
    yield Part("large-batches", f"training steps, larger batches\n{HEAD}",
               partial(rates, [case for case in rest if case.batch != first]), 60)  # fmt: skip
    for pair, run in large[1:]:
        yield Part(f"correlation-{pair[1]}", "correlation of larger stores", run, 240, 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--seconds", type=float, default=480, help="time for all parts")
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="names of parts; all by default")
    parser.add_argument("--toy", action="store_true", help="sizes that a CPU finishes in seconds")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device: nothing measured; --device cpu --toy tries the script")
        return
    device, sizes = Device(options.device), TOY if options.toy else Sizes()
    record = Record(device, options.out, options.seconds)
    record.record["sizes"] = asdict(sizes)
    limits = Limits.measured(device, sizes.product, sizes.seconds)
    record.record["limits"] = asdict(limits)
    record.say(f"products {limits.float32:.1f} TFLOP/s in float32, {limits.tf32:.1f} in tf32, {limits.bfloat16:.1f} in "
               f"bfloat16; copy {limits.bandwidth:,.0f} GB/s\n{ROOFLINE}")  # fmt: skip
    record.say("in training steps no feature is dead; those marked stock use PyTorch's own operators"
               if uses_kernels(torch.empty(1, device=device.torch))
               else "in training steps no feature is dead; Triton's kernels do not run here")  # fmt: skip
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        made = Stores(Path(folder))
        try:
            for part in parts(device, limits, sizes, made):
                if not options.only or part.name in options.only:
                    record.run(replace(part, at_most=part.at_most * sizes.patience))
        finally:
            made.close()
    print(f"\n{record.path}.txt")
    if record.failed:
        sys.exit(f"failed: {', '.join(record.failed)}; {record.path}.json has the tracebacks")


if __name__ == "__main__":
    main()
