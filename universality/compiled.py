"""numba's ``njit``, also where compiled code cannot be cached, and threads for functions compiled with it."""

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numba

Item = TypeVar("Item")
Result = TypeVar("Result")


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile as ``numba.njit(cache=cache, **options)``, without a cache where numba finds no folder for it.

    That is the case where neither the installed package nor the home directory is writable: numba then raises "cannot
    cache function" as soon as the decorator is applied, which would make the package impossible to import.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=cache, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):  # numba has no class of its own for this error
                raise
        _warn_once()
        return numba.njit(**options)(function)

    return compiled


def _warn_once() -> None:
    if not _warned:
        _warned.append(True)
        warnings.warn(
            "compiled code can be cached neither beside the package nor in the home directory, so every process "
            "compiles it again: set the environment variable NUMBA_CACHE_DIR to a writable folder",
            RuntimeWarning,
            stacklevel=4,
        )


_warned: list[bool] = []


def on_all_threads(function: Callable[..., None], *arguments: Any) -> None:
    """Call ``function(worker, workers, *arguments)`` for every worker, on as many threads as numba has.

    The function must release the GIL (``nogil=True``) and do the share of one worker. numba's own ``parallel=True``
    does the same, but takes up to three times as long to compile, and the first match of an installation waits for it.

    Examples
    --------
    >>> seen = []
    >>> on_all_threads(lambda worker, workers, text: seen.append(f"{text} {worker}"), "worker")
    >>> "worker 0" in seen
    True
    """
    workers = numba.get_num_threads()
    if workers == 1:
        function(0, 1, *arguments)
    else:
        share_out(lambda worker: function(worker, workers, *arguments), range(workers))


def share_out(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """Compute ``[function(item) for item in items]`` on as many threads as numba has.

    The functions must release the GIL (``nogil=True``) to run side by side.

    Examples
    --------
    >>> share_out(abs, [-2, 1])
    [2, 1]
    """
    with ThreadPoolExecutor(numba.get_num_threads()) as pool:
        return list(pool.map(function, items))


def share_out_lazily(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield the results of `share_out` one by one and in order, without holding all of them.

    Examples
    --------
    >>> next(share_out_lazily(abs, [-2, 1]))
    2
    """
    waiting: deque[Future[Result]] = deque()
    n_threads = numba.get_num_threads()
    with ThreadPoolExecutor(n_threads) as pool:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * n_threads:  # results ahead of the consumer: enough to keep every thread busy
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
