"""Choice between Triton's kernels, on CUDA cards that can run them, and stock operators."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from universality.errors import DeviceWarning

SWITCH = "UNIVERSALITY_TRITON"
"""Environment variable; 0 leaves all work to PyTorch's own operators."""
OLDEST_CARD = (8, 0)
"""Compute capability with tensor cores for float32 inputs and bfloat16: Ampere."""

_stock = False


def uses_kernels(tensor: Tensor) -> bool:
    """Tell whether kernels compute on tensors such as this one.

    They do on a CUDA card with Triton, once a trial there has succeeded; and on a CPU in Triton's interpreter
    (``TRITON_INTERPRET=1``), which is for tests alone.
    """
    if _stock or tensor.dtype not in (torch.float32, torch.float64) or os.environ.get(SWITCH) == "0":
        return False
    if tensor.device.type == "cuda":
        return works_on(tensor.device)
    return tensor.device.type == "cpu" and os.environ.get("TRITON_INTERPRET") == "1" and _installed()


@contextmanager
def stock_operators() -> Iterator[None]:
    """Compute by PyTorch's own operators in this block, in all threads: for comparisons."""
    global _stock  # noqa: PLW0603
    before, _stock = _stock, True
    try:
        yield
    finally:
        _stock = before


@cache
def _installed() -> bool:
    return find_spec("triton") is not None


@cache
def works_on(card: torch.device) -> bool:
    """Tell whether Triton compiles and runs a kernel on a card, which it tries once.

    Warns
    -----
    DeviceWarning
        If Triton is installed, but fails; a frequent reason is a machine without a C compiler.
    """
    if not _installed() or torch.version.cuda is None or torch.cuda.get_device_capability(card) < OLDEST_CARD:
        return False
    problem = _trial(card)
    if problem:
        warnings.warn(
            f"Triton's kernels do not run on {card} ({problem}); PyTorch's own operators train SAEs there, with the "
            f"same result in more time. {SWITCH}=0 stops this trial",
            DeviceWarning,
            stacklevel=2,
        )
    return not problem


def _trial(card: torch.device) -> str:
    """Sum 3 numbers by a kernel; return what went wrong, or ""."""
    try:
        from universality.sae.compute import triton_kernels

        starts, order = torch.tensor([0, 2, 2, 3], device=card), torch.tensor([1, 0, 2], device=card)
        sums = triton_kernels.sum_values(starts, order, torch.tensor([1.0, 2.0, 4.0], device=card)).tolist()
    except Exception as error:  # whatever a compiler or a driver raises
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}"
    return "" if sums == [3.0, 0.0, 4.0] else f"a sum of 3, 0, 4 came out as {sums}"
