"""Memory of a torch device: copies of arrays, room for a tile, and tiles that are halved when memory runs out."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from universality.errors import DeviceWarning

Result = TypeVar("Result")
PAIR_BYTES = 40  # of a pair in a tile at most: its score, key and a copy by column, and two more where keys are equal
MOST_PAIRS = 1 << 28  # in a tile: ten milliseconds of work, beside which the launches of its kernels cost nothing
SHARE = 0.5  # of what is free that a tile may take; products that are formed at a time take as much again at most


class NoRoomError(Exception):
    """A device has no memory for the smallest tile."""


_copies: dict[tuple[int, torch.device], torch.Tensor] = {}


def sent(array: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """Copy an array to a device; unsigned integers become signed ones of the same size, as torch lacks most of them.

    Values must fit: features and positions do, since stores and NumPy count them in signed integers.
    """
    if array.dtype.kind == "u":
        array = array.view(array.dtype.str.replace("u", "i"))
    return torch.tensor(array, device=device)  # a copy on the CPU too, where `from_numpy` would share the memory


def copy_of(array: np.ndarray[Any, Any], device: torch.device) -> torch.Tensor:
    """Copy an array to a device once: the copy is kept for as long as the array is, which must not change.

    A null compares the same stores again and again, and halves of an evaluation are of one store.
    """
    key = id(array), device
    if key not in _copies:
        _copies[key] = sent(array, device)
        weakref.finalize(array, _copies.pop, key, None).atexit = False  # by then CUDA may be gone
    return _copies[key]


def pairs_in_tile(device: torch.device, memory_budget: int) -> int:
    """Return how many pairs a tile may have: by what is free on a card, and by the budget on torch's CPU."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch has reserved and does not use is free for it too.
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        memory_budget = int(SHARE * free)
    return max(1, min(MOST_PAIRS, memory_budget // PAIR_BYTES))


def over_tiles(n: int, step: int, work: Callable[[int, int], None]) -> None:
    """Call ``work(low, high)`` for ranges that cover n items; after a range that runs out of memory, for its halves.

    Parameters
    ----------
    n
        Number of items.
    step
        Items of the first range.
    work
        Must change nothing before its last allocation, so that a range can be begun again.

    Raises
    ------
    NoRoomError
        If one item alone runs out of memory.
    """
    low = 0
    while low < n:
        high = min(n, low + step)
        if _has_room(work, low, high):
            low = high
            continue
        # Here, and not where the error is caught: until then its traceback holds the tensors of the failed range.
        _release()
        if high - low == 1:
            raise NoRoomError
        step = (high - low) // 2


def _has_room(work: Callable[[int, int], None], low: int, high: int) -> bool:
    try:
        work(low, high)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return False
    return True


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error of torch, of its allocators or of CUDA's libraries says that memory ran out."""
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(
        sign in text for sign in ("CUBLAS_STATUS_ALLOC_FAILED", "CUDA error: out of memory", "can't allocate memory")
    )


def attempted(what: str, device: torch.device | None, compute: Callable[[], Result]) -> Result | None:
    """Return ``compute()``; or None, with a warning that names ``what``, where the device has no room for it."""
    try:
        return compute()
    except NoRoomError:
        pass
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    warnings.warn(
        f"{what}: {device} has no room for the two sides and one row of scores; this is computed on the CPU. Fewer "
        "tokens or features take less room",
        DeviceWarning,
        stacklevel=4,
    )
    return None


def _release() -> None:
    """Give memory that torch keeps for later back to the card, so that larger pieces of it are free."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
