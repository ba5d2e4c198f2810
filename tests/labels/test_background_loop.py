"""Coroutines run while the caller works, in bounded number, and end with the block."""

import asyncio
import threading
import time

import pytest

from universality.labels.background_loop import as_completed, background_loop


async def slow(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def test_results_come_in_the_order_of_completion_with_their_places() -> None:
    with background_loop() as run:
        assert list(as_completed(run, slow, [0.3, 0.0, 0.1], at_once=3)) == [(1, 0.0), (2, 0.1), (0, 0.3)]
        assert list(as_completed(run, slow, [0.1, 0.0], at_once=1)) == [(0, 0.1), (1, 0.0)]
        assert list(as_completed(run, slow, [], at_once=1)) == []


def test_work_goes_on_while_the_caller_uses_a_result() -> None:
    finished = []

    async def work(item: int) -> int:
        await asyncio.sleep(0.01)
        finished.append(item)
        return item

    with background_loop() as run:
        results = as_completed(run, work, range(4), at_once=2)
        next(results)
        end = time.monotonic() + 10
        while len(finished) < 4 and time.monotonic() < end:
            time.sleep(0.01)
        assert sorted(finished) == [0, 1, 2, 3]  # the second pair began without a call of next
        assert len(list(results)) == 3


def test_an_error_ends_the_iteration_and_cancels_the_rest() -> None:
    cancelled = []

    async def work(item: int) -> int:
        if item == 0:
            raise ValueError("no")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        return item

    with background_loop() as run, pytest.raises(ValueError, match="no"):
        list(as_completed(run, work, [1, 0], at_once=2))
    assert cancelled == [1]
    assert "requests" not in {thread.name for thread in threading.enumerate()}


def test_it_works_where_a_loop_is_running_as_in_a_notebook() -> None:
    async def cell() -> list[tuple[int, float]]:
        with background_loop() as run:
            return list(as_completed(run, slow, [0.0], at_once=1))

    assert asyncio.run(cell()) == [(0, 0.0)]
