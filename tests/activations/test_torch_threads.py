"""A thread's number of cores is its own."""

import threading

import torch

from universality.activations.torch_threads import keep_threads


def first_operator(started: threading.Event, go: threading.Event, found: list[int]) -> None:
    keep_threads(3)
    started.set()
    go.wait()
    torch.ones(2**20).sum()
    found.append(torch.get_num_threads())


def test_what_another_thread_sets_before_the_first_operator_does_not_count() -> None:
    before, started, go, found = torch.get_num_threads(), threading.Event(), threading.Event(), []
    thread = threading.Thread(target=first_operator, args=(started, go, found))
    thread.start()
    started.wait()
    try:
        torch.set_num_threads(2)
        go.set()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert found == [3]
