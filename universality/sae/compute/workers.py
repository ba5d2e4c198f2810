"""Threads that each run PyTorch on one core.

PyTorch's and numba's own thread pools wait for each other by spinning, which on few cores costs more than it
gains. Here the tasks are whole (a range of tokens through encoder, selection and decoder; a step of one SAE of a
grid), each runs on one thread from end to end, and where the ranges are fixed the result does not depend on
the number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

import torch

from universality.activations.torch_threads import keep_threads

Item = TypeVar("Item")
Result = TypeVar("Result")

_here = threading.local()


def share_out(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """``[function(item) for item in items]`` on threads of one core each, the results in order.

    There are as many threads as PyTorch has in the caller (before `one_core`). Called from one of them it
    runs the items there, one after the other.
    """
    if getattr(_here, "in_pool", False):
        return [function(item) for item in items]
    return list(_pool(available_cores()).map(function, items))


def available_cores() -> int:
    """Threads that PyTorch would use here, were it not for `one_core`."""
    return getattr(_here, "cores", None) or torch.get_num_threads()


@contextmanager
def one_core() -> Iterator[None]:
    """PyTorch's own operators run on one thread in this block: how a sum is cut into parts shows in its last bits."""
    before = getattr(_here, "cores", None)
    if before is not None or getattr(_here, "in_pool", False):
        yield
        return
    _here.cores = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(_here.cores)
        _here.cores = None


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    """A pool whose threads all stand. PyTorch hands the number set last to threads started later: put it back."""
    before = torch.get_num_threads()
    ready = threading.Barrier(workers)

    def settle() -> None:
        keep_threads(1)
        _here.in_pool = True
        ready.wait()

    pool = ThreadPoolExecutor(workers, thread_name_prefix="sae", initializer=settle)
    list(pool.map(_nothing, range(workers)))
    torch.set_num_threads(before)
    return pool


def _nothing(_: int) -> None:
    return None


def ranges(n: int, size: int) -> list[slice]:
    """Slices of ``size`` that cover 0 … n; the last may be shorter."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
