"""Threads that share work out: each on one core, whoever made them."""

import threading

import pytest
import torch

from universality.sae.compute.workers import available_cores, one_core, share_out


def cores_of_an_operator(_: int) -> int:
    torch.ones(2**20).sum()
    return torch.get_num_threads()


@pytest.mark.parametrize(("cores", "first_within_one_core"), [(5, False), (6, True)])  # pools no other test makes
def test_every_task_has_one_core(cores: int, first_within_one_core: bool) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        if first_within_one_core:
            with one_core():
                assert share_out(int, range(3)) == [0, 1, 2]
                assert available_cores() == cores
        assert share_out(cores_of_an_operator, range(20)) == [1] * 20
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)


def test_a_single_item_stays_in_the_callers_thread_which_has_one_core() -> None:
    """On a card another thread would queue its work on another stream."""

    def here(_: int) -> bool:
        return threading.current_thread() is threading.main_thread() and torch.get_num_threads() == 1

    with one_core():
        assert share_out(here, [0]) == [True]
        assert share_out(here, [0, 1]) == [False, False]
        assert share_out(here, []) == []
    assert share_out(here, [0]) == [False]
