"""Copies from the host's memory to a CUDA card that do not wait for what the card computes."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor


def copied_to(device: torch.device, rows: Tensor) -> Tensor:
    """Copy an array of the host to a device.

    To a card it goes from page-locked memory on a stream of its own. Without either, the copy would wait for all
    kernels that a training thread has queued, and the calling thread with it.

    Parameters
    ----------
    rows
        On the CPU. Page-locked memory (`page_locked`) must not be written again.

    Returns
    -------
    Tensor
        On the device, ready for kernels of the calling thread's current stream. On a CPU ``rows`` itself.
    """
    if device.type != "cuda":
        return rows.to(device)
    with torch.cuda.device(device):
        user, aside = torch.cuda.current_stream(), _stream(torch.cuda.current_device())
        # PyTorch's allocator of page-locked memory notes the copy's stream, and reuses the memory only after the copy.
        locked = rows if rows.is_pinned() else rows.pin_memory()
        with torch.cuda.stream(aside):
            copied = locked.to(device, non_blocking=True)
        user.wait_stream(aside)
        copied.record_stream(user)  # its memory may be reused once that stream, not only the copy's, is done with it
        return copied


def page_locked(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Allocate an array of the host from which `copied_to` copies to a device directly; on a CPU, ordinary memory."""
    return torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda")


@cache
def _stream(card: int) -> torch.cuda.Stream:
    """The stream of a card's copies."""
    return torch.cuda.Stream(card)
