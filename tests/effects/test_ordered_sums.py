from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from universality.effects.ordered_sums import add_rows, add_rows_sorted


@pytest.mark.parametrize("add", [add_rows, add_rows_sorted])
@pytest.mark.parametrize("shape", [(5,), (2, 5)])
def test_values_of_a_row_are_added_in_their_order_wherever_other_rows_stand(
    add: Callable[[Tensor, Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(0)
    row = torch.randint(0, 9, (300,), generator=generator)
    values = torch.randn((300, *shape), generator=generator) * 10.0 ** torch.randint(-3, 4, (300,) + (1,) * len(shape))
    start = torch.randn((10, *shape), generator=generator)
    expected = start.clone()
    for i in range(300):
        expected[row[i]] += values[i]
    grouped = torch.argsort(row, stable=True)  # other rows stand elsewhere, and each keeps its order
    for order in (slice(None), grouped):
        assert torch.equal(add(start.clone(), row[order], values[order]), expected)
    assert not torch.equal(add(start.clone(), row.flip(0), values.flip(0)), expected)  # the order counts
    assert torch.equal(expected[9], start[9])
