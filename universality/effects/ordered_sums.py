"""Sums of rows in a fixed order on every device, so that the same card gives the same bytes twice."""

from torch import Tensor


def add_rows(total: Tensor, row: Tensor, values: Tensor) -> Tensor:
    """Add each of some values to a row of a total, in place; those of one row always in the order given.

    Parameters
    ----------
    total : [n_rows, …]
        Changed and returned.
    row : int64 [n]
        Row to which each value is added; rows may recur, in any order.
    values : [n, …]

    Examples
    --------
    >>> import torch
    >>> add_rows(torch.zeros(2, 1), torch.tensor([1, 0, 1]), torch.tensor([[1.0], [2.0], [3.0]])).tolist()
    [[2.0], [4.0]]
    """
    if total.device.type == "cpu":
        return total.index_add_(0, row, values)  # one value after the other
    return add_rows_sorted(total, row, values)


def add_rows_sorted(total: Tensor, row: Tensor, values: Tensor) -> Tensor:
    """Add as `add_rows` does, by sorting the rows.

    On a card ``index_add_`` adds by atomics, in whichever order its threads finish. ``index_put_`` sorts the rows
    stably and adds each run by itself; torch puts it in place of ``index_add_`` where deterministic algorithms are
    asked for (``torch.use_deterministic_algorithms``). On the CPU it would take several times as long.
    """
    return total.index_put_((row,), values, accumulate=True)
