"""Threads that share work out: each on one core, whoever made them."""

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
