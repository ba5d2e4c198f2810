"""Threads that work on a stream of items: bounded in number, results in the order of completion.

Threads wait for a server's replies at about 1.0 ms of processor a request, an event loop at 1.5 (the ``openai``
package, 16 requests at a time), and they need nothing of a caller whose own thread runs an event loop, as a notebook's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from threading import Event, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def as_completed(work: Callable[[T], R], items: Iterable[T], at_once: int) -> Iterator[tuple[int, R]]:
    """Work on items in threads; yield the place of each item and its result, in the order of completion.

    Once the iteration ends, also early or by an error, no item is begun any more. Items that are being worked on are
    left to finish unheard, by threads that do not keep the process alive.

    Parameters
    ----------
    work
        Called with an item in one of the threads. An error that it raises ends the iteration.
    items
        Drawn by the caller's thread when needed: at most ``2 * at_once`` items have been drawn and are not yet yielded.
    at_once
        Number of threads.

    Examples
    --------
    >>> sorted(as_completed(str.upper, iter("abc"), at_once=2))
    [(0, 'A'), (1, 'B'), (2, 'C')]
    """
    crew = _Crew(work, at_once)
    waiting = 0
    try:
        for index, item in enumerate(items):
            crew.add(index, item)
            waiting += 1
            # The second half of the waiting items is ready to begin while the caller uses a result. One result an item
            # at most: a slow caller, for whom there always is one, would let the threads run out of items.
            if waiting == 2 * at_once or crew.has_result():
                waiting -= 1
                yield crew.result()
        for _ in range(waiting):
            yield crew.result()
    finally:
        crew.dismiss()


class _Crew(Generic[T, R]):
    """Threads that start as items come."""

    def __init__(self, work: Callable[[T], R], size: int) -> None:
        self._work, self._size, self._hired = work, size, 0
        self._items: SimpleQueue[tuple[int, T] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[int, R | None, BaseException | None]] = SimpleQueue()
        self._over = Event()

    def add(self, index: int, item: T) -> None:
        self._items.put((index, item))
        if self._hired < self._size:
            self._hired += 1
            Thread(target=self._run, name=f"request-{self._hired}", daemon=True).start()

    def has_result(self) -> bool:
        return not self._results.empty()

    def result(self) -> tuple[int, R]:
        index, result, error = self._results.get()
        if error is not None:
            raise error
        return index, result  # type: ignore[return-value]

    def dismiss(self) -> None:
        self._over.set()
        for _ in range(self._hired):
            self._items.put(None)

    def _run(self) -> None:
        while (numbered := self._items.get()) is not None and not self._over.is_set():
            index, item = numbered
            try:
                self._results.put((index, self._work(item), None))
            except BaseException as error:  # raised again in the caller's thread
                self._results.put((index, None, error))
