"""A torch device whose memory is short: calls that make a tensor above a limit run out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class LimitedMemory(TorchFunctionMode):
    """Every function of torch computes as ever; one that has made a tensor of more than ``n_bytes`` then fails."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self.n_bytes, self.failures = n_bytes, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage().data_ptr() for tensor in tensors(args)}
        for tensor in tensors(made):
            if tensor.nbytes > self.n_bytes and tensor.untyped_storage().data_ptr() not in given:  # not a view
                self.failures += 1
                raise torch.OutOfMemoryError(f"{tensor.nbytes} bytes by {func}, over {self.n_bytes}")
        return made


def tensors(values: Any) -> Iterator[torch.Tensor]:
    """Tensors among arguments or results."""
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors(value)
