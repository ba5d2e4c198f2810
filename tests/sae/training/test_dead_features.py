"""Dead features, and the way to list them that a card takes."""

from __future__ import annotations

import pytest
import torch

from universality.sae.training.dead_features import DeadFeatures, first_true


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_true_entries_are_listed_as_by_nonzero(share: float) -> None:
    mask = torch.rand(1000, generator=torch.Generator().manual_seed(0)) < share
    listed = first_true(mask, int(mask.sum()))
    assert torch.equal(listed, mask.nonzero().squeeze(1))
    assert listed.dtype == torch.int64


def test_the_last_mask_counts() -> None:
    dead = DeadFeatures(torch.device("cpu"))
    assert dead.positions().shape == (0,)
    for mask in ([True, False, True], [False, True, False]):
        dead.mark(torch.tensor(mask))
    assert dead.positions().tolist() == [1]
