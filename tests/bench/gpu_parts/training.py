"""Training steps: their rate beside what bounds it, beside other ways and tools, fed from the host, and as a curve."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from gpu_parts.device import Device, Limits
from gpu_parts.record import Rows
from peers.worker import TOOLS
from sae import dense_autograd
from torch import Tensor, nn

from universality.activations import shuffled_batches
from universality.activations.card_copies import copied_to, page_locked
from universality.corpus.blocks import TokenBlocks
from universality.corpus.documents import DocumentTable
from universality.sae import SAESpec, SAETrainer
from universality.sae.compute.products import linear
from universality.sae.compute.triton_choice import stock_operators, uses_kernels

NEVER = 10**9
PUBLISHED_DEAD_AFTER = 10_000_000
"""Silent tokens after which Gao et al. (2024) count a feature as dead."""
HEAD = (f"{'d_in':>5} {'d_sae':>8} {'batch':>6} {'':>27} {'tokens/s':>11} {'ms/step':>8} {'of roofline':>11} "
        f"{'encoder alone':>13} {'L0':>6} {'peak GB':>8} {'x published':>11}")  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """One size of SAE."""

    d_in: int
    d_sae: int
    k: int
    published: float = float("nan")
    """Tokens per second that others report for TopK of this size, model excluded."""


@dataclass(frozen=True)
class Case:
    """One row of the table of steps."""

    shape: Shape
    batch: int
    architecture: str = "topk"
    products: str = "float32"
    stock: bool = False


class World:
    """Activations of the law that SAEs are meant for: a few of many directions, their rates falling as Zipf's law."""

    def __init__(self, device: Device, d_in: int, n_directions: int, active: int, seed: int = 0) -> None:
        self.generator = torch.Generator(device.torch).manual_seed(seed)
        self.directions = nn.functional.normalize(self._normal(n_directions, d_in))
        rate = (torch.arange(n_directions, device=device.torch, dtype=torch.float64) + 20) ** -0.8
        self.cumulative = (rate.cumsum(0) / rate.sum()).float()
        self.active = active

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.generator.device)

    def tokens(self, n: int) -> Tensor:
        """New activations [n, d_in]."""
        draws = torch.rand(n, self.active, generator=self.generator, device=self.generator.device)
        chosen = torch.searchsorted(self.cumulative, draws).clamp_max(len(self.directions) - 1)
        strength = 0.5 + self._normal(n, self.active).abs()
        return nn.functional.embedding_bag(chosen, self.directions, mode="sum", per_sample_weights=strength)


def steps(device: Device, limits: Limits, cases: Iterable[Case], seconds: float) -> Rows:
    """A row for each case; none for a case of stock operators where no kernels replace them."""
    data: dict[int, Tensor] = {}
    for case in cases:
        if case.stock and not uses_kernels(torch.empty(1, device=device.torch)):
            continue
        if case.shape.d_in not in data or len(data[case.shape.d_in]) < case.batch:
            data[case.shape.d_in] = World(device, case.shape.d_in, 4 * case.shape.d_in, 32).tokens(
                max(4096, case.batch)
            )
        yield _step(device, limits, case, data[case.shape.d_in], seconds)


def _step(device: Device, limits: Limits, case: Case, x: Tensor, seconds: float) -> tuple[dict, str]:
    shape, batch = case.shape, x[: case.batch]
    trainer = _trainer(case, x[:4096])
    active = trainer.step(batch, report=True)["l0"]
    if case.stock:
        with stock_operators():
            spent, peak = _measured(device, trainer, batch, seconds)
    else:
        spent, peak = _measured(device, trainer, batch, seconds)
    rows, encoder = (tensor.to(getattr(torch, case.products)) for tensor in (batch, trainer.weights.W_enc))
    alone = _product(device, rows, encoder, seconds)
    bound = limits.roofline(case.batch, shape.d_in, shape.d_sae, active, case.products)
    better = case.batch / spent / shape.published if case.architecture == "topk" else float("nan")
    row = {**asdict(shape), **{key: value for key, value in asdict(case).items() if key != "shape"},
           "tokens_per_second": case.batch / spent, "ms_per_step": 1e3 * spent, "of_roofline": bound / spent,
           "encoder_alone": alone / spent, "l0": active, "peak_gb": peak, "times_published": better}  # fmt: skip
    return row, _line(row)


def _measured(device: Device, trainer: SAETrainer, batch: Tensor, seconds: float) -> tuple[float, float]:
    return device.seconds(lambda: trainer.step(batch), seconds), device.peak_gb(lambda: trainer.step(batch))


def _product(device: Device, rows: Tensor, encoder: Tensor, seconds: float) -> float:
    """Seconds of the encoder's product, by parts whose result takes at most 4 GB."""
    part = max(1, 2**30 // len(encoder))
    return device.seconds(lambda: [linear(rows[at : at + part], encoder) for at in range(0, len(rows), part)], seconds)


def _line(row: dict) -> str:
    label = f"{row['architecture']}, {row['products']}{', stock' if row['stock'] else ''}"
    better = "" if np.isnan(row["times_published"]) else f"{row['times_published']:.1f}"
    return (f"{row['d_in']:>5} {row['d_sae']:>8,} {row['batch']:>6,} {label:>27} {row['tokens_per_second']:>11,.0f} "
            f"{row['ms_per_step']:>8.2f} {row['of_roofline']:>11.0%} {row['encoder_alone']:>13.0%} {row['l0']:>6.1f} "
            f"{row['peak_gb']:>8.2f} {better:>11}")  # fmt: skip


def _trainer(case: Case, sample: Tensor) -> SAETrainer:
    """A trainer whose features fire as rarely as in a trained SAE, none of them dead."""
    shape = case.shape
    spec = SAESpec(shape.d_sae, case.architecture, k=shape.k, products=case.products, dead_after_tokens=NEVER)  # type: ignore[arg-type]
    trainer = SAETrainer(spec, sample, 10_000)
    if case.architecture in ("relu", "jumprelu"):
        weights = trainer.weights
        pre = (sample[:64] * trainer.scale - weights.b_dec) @ weights.W_enc.T
        bar = pre.flatten().topk(64 * shape.k).values.min()
        weights.b_enc.fill_(0.0 if weights.log_threshold is None else float(weights.log_threshold.exp().mean()))
        weights.b_enc.sub_(bar)
    return trainer


def others(device: Device, case: Case, seconds: float) -> Rows:
    """Other ways to take the same step of TopK: the one that is written first, and other tools where installed."""
    shape = case.shape
    x = World(device, shape.d_in, 4 * shape.d_in, 32).tokens(max(4096, case.batch))
    batch = x[: case.batch]

    def row(name: str, spent: float) -> tuple[dict, str]:
        found = {"name": name, **asdict(shape), "batch": case.batch, "tokens_per_second": case.batch / spent}
        return found, f"{name:>30} {case.batch / spent:>12,.0f} tokens/s {1e3 * spent:>9.2f} ms/step"

    trainer = _trainer(case, x[:4096])
    yield row("universality", device.seconds(lambda: trainer.step(batch), seconds))
    step = dense_autograd(shape.d_sae, x, shape.k)
    yield row("torch.topk, dense, autograd", device.seconds(lambda: step(batch), seconds))
    options = Namespace(width=shape.d_sae, architecture="topk", k=shape.k, rate=0.0, steps=1000, batch=case.batch,
                        dead_after=NEVER, penalty=0.0, products="float32", device=str(device.torch))  # fmt: skip
    for tool in ("dictionary_learning", "sae_lens"):
        if find_spec(tool) is None:
            yield {"name": tool, "error": "not installed"}, f"{tool:>30} is not installed"
            continue
        try:
            step_of_tool, _ = TOOLS[tool](options, x[:4096])
            yield row(tool, device.seconds(lambda step=step_of_tool: step(batch), seconds))  # type: ignore[misc]
        except Exception as error:  # of another version, for one
            yield {"name": tool, "error": f"{type(error).__name__}: {error}"}, f"{tool:>30} fails: {error}"


def encoder_tiles(device: Device, shape: Shape, batch: int, seconds: float) -> Rows:
    """The encoders' kernels by tile, beside the stock product alone, which writes all pre-activations."""
    if not uses_kernels(torch.empty(1, device=device.torch)):
        yield {"reason": "no kernels here"}, "Triton's kernels do not run here"
        return
    from universality.sae.compute.triton_encoders import EncoderTiles

    x = World(device, shape.d_in, 4 * shape.d_in, 32).tokens(batch)
    w = nn.functional.normalize(torch.randn(shape.d_sae, shape.d_in, device=device.torch))
    bar = float((x[:64] @ w.T).flatten().topk(64 * shape.k).values.min())
    kinds = (EncoderTiles(), EncoderTiles(tokens=128, features=64), EncoderTiles(features=64),
             EncoderTiles(tokens=128), EncoderTiles(inner=64), EncoderTiles(features=64, warps=4))  # fmt: skip
    for dtype in (torch.float32, torch.bfloat16):
        rows, encoder = x.to(dtype), w.to(dtype)
        alone = _product(device, rows, encoder, seconds)
        for tiles in kinds:
            yield _tile(device, rows, encoder, bar, shape.k, tiles, alone, seconds)


def _tile(
    device: Device, x: Tensor, w: Tensor, bar: float, k: int, tiles: Any, alone: float, seconds: float
) -> tuple[dict, str]:
    from universality.sae.compute.triton_encoders import encode_above, encode_topk

    bias = torch.zeros(len(w), device=device.torch)
    floor = torch.full_like(bias, bar)
    row = {"products": str(x.dtype).removeprefix("torch."), **asdict(tiles), "product_ms": 1e3 * alone}
    line = f"{row['products']:>9} {tiles.tokens:>4} x {tiles.features:>3} x {tiles.inner}, {tiles.warps} warps"
    actions = {
        "topk": lambda: encode_topk(x, w, bias, k, tiles),
        "above": lambda: encode_above(x, w, bias, floor, tiles),
    }
    for name, action in actions.items():
        try:
            row[f"{name}_ms"] = 1e3 * device.seconds(action, seconds)
            line += f" {name} {row[f'{name}_ms']:>8.2f} ms"
        except Exception as error:  # more shared memory than the card has, for one
            row[f"{name}_error"], line = f"{type(error).__name__}: {error}", f"{line} {name} fails"
    return row, f"{line}; the product alone {1e3 * alone:.2f} ms"


class HostSite:
    """Activations in the host's memory, read as a cache is."""

    name, model_hash, hook = "m", "", "here"

    def __init__(self, rows: np.ndarray, n_ctx: int, device: torch.device) -> None:
        self.rows, self.device, self.d_in = rows, device, rows.shape[1]
        self.cost, self.n_ctx = self.d_in, n_ctx

    def blocks(self) -> TokenBlocks:
        n = len(self.rows) // (self.n_ctx - 1)
        table = DocumentTable(id=("d",), kind=("en",), group=("d",), split=("train",))
        return TokenBlocks(np.zeros((n, self.n_ctx), np.int32), np.full(n, self.n_ctx, np.int32), np.zeros(n, np.int32),
                           table, 2, "", index=np.arange(n))  # fmt: skip

    def read(self, blocks: TokenBlocks) -> Tensor:
        assert blocks.index is not None
        n = self.n_ctx - 1
        read = page_locked((blocks.n_tokens, self.d_in), torch.float32, self.device)
        rows = read.numpy()
        for at, block in enumerate(blocks.index):
            rows[at * n : (at + 1) * n] = self.rows[block * n : (block + 1) * n]
        return copied_to(self.device, read)


def feeding(device: Device, case: Case, n_tokens: int, n_steps: int) -> Rows:
    """Steps whose batches come shuffled from the host, beside steps on a batch that lies on the device."""
    shape = case.shape
    x = World(device, shape.d_in, 4 * shape.d_in, 32).tokens(n_tokens)
    site = HostSite(x.cpu().numpy(), 128, device.torch)
    trainer = _trainer(case, x[:4096])
    fixed = x[: case.batch]
    for _ in range(3):
        trainer.step(fixed)
    device.finish()
    begin = time.perf_counter()
    for _ in range(n_steps):
        trainer.step(fixed)
    device.finish()
    alone = time.perf_counter() - begin
    stream = shuffled_batches({"m": site}, site.blocks(), batch_size=case.batch, seed=0)
    try:
        next(stream)  # the first buffer has nothing to overlap with
        begin = time.perf_counter()
        for _ in range(n_steps):
            trainer.step(next(stream)["m"])
        device.finish()
        fed = time.perf_counter() - begin
    finally:
        stream.close()
    row = {**asdict(case), "ms_alone": 1e3 * alone / n_steps, "ms_fed": 1e3 * fed / n_steps, "waiting": 1 - alone / fed}
    line = (f"{shape.d_in:>5} {shape.d_sae:>8,} {case.batch:>6,} {case.products:>9} {row['ms_alone']:>9.2f} ms alone "
            f"{row['ms_fed']:>9.2f} ms fed: {row['waiting']:.1%} waiting for data")  # fmt: skip
    yield row, line


def curve(device: Device, case: Case, seconds: float, n_points: int) -> Rows:
    """Explained variance over time of one SAE, on activations made anew for each step, so that none is seen twice."""
    shape = case.shape
    world = World(device, shape.d_in, shape.d_sae, shape.k)
    spec = SAESpec(shape.d_sae, case.architecture, k=shape.k, products=case.products,  # type: ignore[arg-type]
                   dead_after_tokens=PUBLISHED_DEAD_AFTER)  # fmt: skip
    sample = world.tokens(8192)
    trainer = SAETrainer(spec, sample, 1000)
    one = device.seconds(lambda: trainer.step(world.tokens(case.batch)), seconds / 20)
    making = device.seconds(lambda: world.tokens(case.batch), seconds / 50)
    total = max(n_points, int(0.85 * seconds / one))
    trainer = SAETrainer(spec, sample, total)  # its schedule needs the number of steps
    begin = time.perf_counter()
    for step in range(total):
        last = step == total - 1 or time.perf_counter() - begin > seconds
        report = last or step % max(1, total // n_points) == 0
        numbers = trainer.step(world.tokens(case.batch), report)
        if report:
            spent = time.perf_counter() - begin
            row = {"step": step, "steps": total, "seconds": spent, "tokens": trainer.tokens_seen, **numbers,
                   "tokens_per_second": trainer.tokens_seen / spent, "making_data": making / one}  # fmt: skip
            yield row, (f"{spent:>7.1f} s {trainer.tokens_seen:>13,} tokens, {row['tokens_per_second']:>9,.0f}/s, "
                        f"explained variance {numbers['explained_variance']:.4f}, L0 {numbers['l0']:.1f}, "
                        f"dead {numbers['dead_share']:.1%}; {making / one:.0%} of the time makes data")  # fmt: skip
        if last:
            return
