"""Work goes on while the caller works, in bounded number, and nothing begins after the end."""

import threading
import time
from collections.abc import Iterator

import pytest

from universality.labels.request_workers import as_completed


def slow(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def wait_until(true: object) -> None:
    end = time.monotonic() + 20
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
    assert true()


def test_results_come_in_the_order_of_completion_with_their_places() -> None:
    assert list(as_completed(slow, [0.6, 0.0, 0.3], at_once=3)) == [(1, 0.0), (2, 0.3), (0, 0.6)]
    assert list(as_completed(slow, [0.1, 0.0], at_once=1)) == [(0, 0.1), (1, 0.0)]
    assert list(as_completed(slow, [], at_once=1)) == []


def test_work_goes_on_while_the_caller_uses_a_result() -> None:
    finished = []

    def work(item: int) -> None:
        time.sleep(0.05)
        finished.append(item)

    results = as_completed(work, range(4), at_once=2)
    next(results)
    wait_until(lambda: len(finished) == 4)  # without another call of next
    assert len(list(results)) == 3


def test_a_slow_caller_does_not_leave_the_threads_without_items() -> None:
    gate, drawn, finished = threading.Event(), [], []

    def items() -> Iterator[int]:
        for number in range(40):
            if number == 6:
                gate.set()
            drawn.append(number)
            yield number

    def work(item: int) -> None:
        gate.wait(20)
        finished.append(item)

    ahead = []
    for done, _ in enumerate(as_completed(work, items(), at_once=4)):
        ahead.append(len(drawn) - done)
        wait_until(lambda: len(finished) == len(drawn))  # so slow that there always is a result
    assert min(ahead[:30]) >= 6


def test_the_number_of_threads_is_that_of_items_or_the_limit() -> None:
    names = set()

    def work(item: int) -> int:
        names.add(threading.current_thread().name)
        return item

    list(as_completed(work, [1], at_once=50))
    assert names == {"request-1"}
    gate = threading.Barrier(3)
    assert len(list(as_completed(lambda item: gate.wait(20), range(6), at_once=3))) == 6  # three work at the same time


def test_an_error_reaches_the_caller_and_nothing_more_begins() -> None:
    begun, before = [], set(threading.enumerate())

    def work(item: int) -> int:
        begun.append(item)
        if item == 0:
            raise ValueError("no")
        return item

    with pytest.raises(ValueError, match="no"):
        list(as_completed(work, range(100), at_once=2))
    assert len(begun) < 10
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_an_iteration_that_is_given_up_begins_nothing_more() -> None:
    gate, begun, before = threading.Event(), [], set(threading.enumerate())

    def work(item: int) -> int:
        begun.append(item)
        if item:
            gate.wait(20)
        return item

    results = as_completed(work, range(100), at_once=2)
    assert next(results) == (0, 0)
    results.close()
    gate.set()
    wait_until(lambda: set(threading.enumerate()) <= before)
    assert len(begun) <= 4
