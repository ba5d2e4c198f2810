"""The device that is measured: how work is timed on it, and what it does at best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

OPTIMISER_BYTES = 2 * 6 * 4
"""Of W_enc and W_dec: parameter and two moments in float32, each read and written."""
ROWS_READ = 5
"""Rows of d_in float32 numbers that an active feature of a token reads: a decoder row in the forward pass; a decoder
row and an error row for the gradient of its activation; an error row and an input row for those of its decoder and
encoder row."""
ROOFLINE = (
    "roofline of a step = 2 · batch · d_in · d_sae / product rate + (48 · d_sae · d_in + 5 · 4 · batch · L0 · d_in) / "
    "bandwidth: the encoder's product, Adam's bytes, and the rows that active features read"
)


class Device:
    """Where the work runs, and how it is timed there."""

    def __init__(self, name: str) -> None:
        self.torch = torch.device(name)
        self.cuda = self.torch.type == "cuda"

    @property
    def name(self) -> str:
        """Name of the card, or "CPU"."""
        return torch.cuda.get_device_name(self.torch) if self.cuda else "CPU"

    def finish(self) -> None:
        """Wait until the device has done what it was given."""
        if self.cuda:
            torch.cuda.synchronize(self.torch)

    def seconds(self, action: Callable[[], object], at_most: float) -> float:
        """Median wall time of a call that has finished on the device, after two calls that warm up."""
        spent: list[float] = []
        for call in range(2 + 15):
            self.finish()
            begin = time.perf_counter()
            action()
            self.finish()
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
        self.finish()
        return torch.cuda.max_memory_allocated(self.torch) / 1e9


@dataclass(frozen=True)
class Limits:
    """What the device does at best, as measured."""

    float32: float
    """Products in float32, in TFLOP/s."""
    tf32: float
    """Products in tf32; three of them make one that is as accurate as float32."""
    bfloat16: float
    bandwidth: float
    """A copy within the memory, read and written, in GB/s."""

    @staticmethod
    def measured(device: Device, n: int, at_most: float) -> Limits:
        """Multiply n × n matrices and copy 4 n² numbers."""

        def rate(dtype: torch.dtype) -> float:
            a, b = (torch.randn(n, n, device=device.torch).to(dtype) for _ in range(2))
            return 2 * n**3 / device.seconds(lambda: a @ b, at_most) / 1e12

        float32, bfloat16 = rate(torch.float32), rate(torch.bfloat16)
        before = torch.get_float32_matmul_precision()
        try:
            torch.set_float32_matmul_precision("high")
            tf32 = rate(torch.float32)
        finally:
            torch.set_float32_matmul_precision(before)
        source = torch.empty(n * n * 4, device=device.torch)
        target = torch.empty_like(source)
        copy = 2 * 4 * source.numel() / device.seconds(lambda: target.copy_(source), at_most) / 1e9
        return Limits(float32, tf32, bfloat16, copy)

    def product_rate(self, products: str) -> float:
        """Operations per second of the encoder's product."""
        return 1e12 * (self.bfloat16 if products == "bfloat16" else max(self.float32, self.tf32 / 3))

    def roofline(self, batch: int, d_in: int, d_sae: int, active: float, products: str) -> float:
        """Seconds of a training step at these limits, see `ROOFLINE`."""
        n_bytes = OPTIMISER_BYTES * d_sae * d_in + ROWS_READ * 4 * batch * active * d_in
        return 2 * batch * d_in * d_sae / self.product_rate(products) + n_bytes / (1e9 * self.bandwidth)
