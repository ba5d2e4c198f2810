"""Small passes of a model run on one core, large ones on as many as before."""

import torch

from universality.serve.few_cores import ONE_CORE, cores_for


def test_small_passes_run_on_one_core_and_large_ones_on_all() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with cores_for(ONE_CORE / 2):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
        with cores_for(2 * ONE_CORE):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
