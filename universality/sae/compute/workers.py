"""Threads that each run PyTorch on one core.

PyTorch's and numba's own thread pools wait for each other by spinning, which on few cores costs more than it gains.
Here a task is large (a range of tokens through encoder, selection and decoder; a step of one SAE of a grid) and runs on
one thread from beginning to end. Where the ranges are fixed, the result does not depend on the number of threads.
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
    """Compute ``[function(item) for item in items]`` on threads of one core each.

    There are as many threads as PyTorch has in the caller (before `one_core`). Called from one of these threads, it
    runs the items there, one after the other. A single item within `one_core` runs in the caller's thread.
    """
    items = list(items)
    # A task that waited for tasks of its own pool could wait for ever, with all threads occupied by such tasks.
    if getattr(_here, "in_pool", False):
        return [function(item) for item in items]
    # A card gets all work as one item. Another thread would queue it on its own stream, which does not wait for the
    # caller's.
    if len(items) == 1 and getattr(_here, "cores", None) is not None:
        return [function(items[0])]
    return list(_pool(available_cores()).map(function, items))


def available_cores() -> int:
    """Number of threads that PyTorch would use here without `one_core`."""
    return getattr(_here, "cores", None) or torch.get_num_threads()


@contextmanager
def one_core() -> Iterator[None]:
    """Run PyTorch's own operators on one thread in this block."""
    # How an operator divides a sum among threads shows in its last bits, and must not depend on the machine.
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
    """A pool of threads that are all started, each with one PyTorch thread."""
    # PyTorch passes the number of threads set last to threads that start later, so it is restored at the end; the
    # barrier makes every thread of the pool start, since an executor starts a thread only if none is idle.
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
    """Slices of length ``size`` that cover 0 … n; the last one may be shorter."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
