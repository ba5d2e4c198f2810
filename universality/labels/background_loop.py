"""Coroutines from synchronous code: an event loop in a thread of its own, and results in the order of completion.

The loop keeps running while the caller uses a result, so that requests are sent and received meanwhile. A thread of its
own also works where the caller's thread has a running loop already, as in a notebook.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Run = Callable[[Coroutine[Any, Any, R]], "Future[R]"]


@contextmanager
def background_loop() -> Iterator[Run[Any]]:
    """Run an event loop in a thread; yield the function that starts a coroutine there and returns its future.

    Coroutines that still run when the block ends are cancelled.

    Examples
    --------
    >>> with background_loop() as run:
    ...     run(asyncio.sleep(0, "done")).result()
    'done'
    """
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="requests", daemon=True)
    thread.start()
    try:
        yield lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop)
    finally:
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def as_completed(
    run: Run[R], work: Callable[[T], Coroutine[Any, Any, R]], items: Iterable[T], at_once: int
) -> Iterator[tuple[int, R]]:
    """Work on items concurrently; yield the place of each item and its result, in the order of completion.

    Parameters
    ----------
    run
        Starts a coroutine, as `background_loop` yields it.
    work
        Makes the coroutine of an item. An exception in it ends the iteration.
    items
        Drawn when needed: at most ``2 * at_once`` items have been drawn and are not yet yielded.
    at_once
        Number of coroutines that work at the same time.
    """
    finished: SimpleQueue[Future[Any]] = SimpleQueue()
    permits = asyncio.Semaphore(at_once)
    waiting: set[Future[Any]] = set()

    async def permitted(index: int, item: T) -> tuple[int, R]:
        async with permits:
            return index, await work(item)

    def next_result() -> tuple[int, R]:
        future = finished.get()
        waiting.remove(future)
        return future.result()

    try:
        for index, item in enumerate(items):
            future: Future[Any] = run(permitted(index, item))  # type: ignore[arg-type]
            waiting.add(future)
            future.add_done_callback(finished.put)
            # The second half of the waiting items is ready to start while the caller uses a result.
            while len(waiting) >= 2 * at_once or not finished.empty():
                yield next_result()
        while waiting:
            yield next_result()
    finally:
        for future in waiting:
            future.cancel()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
