"""A torch device whose memory is short: operators that make a tensor above a limit run out of memory."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LimitedMemory(TorchDispatchMode):
    """Every operator computes as ever; one that has made a tensor of more than ``n_bytes`` then fails."""

    def __init__(self, n_bytes: int) -> None:
        super().__init__()
        self.n_bytes, self.failures = n_bytes, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if not (func.is_view or func._schema.is_mutable):  # those allocate nothing
            for tensor in tree_leaves(made):
                if isinstance(tensor, torch.Tensor) and tensor.nbytes > self.n_bytes:
                    self.failures += 1
                    raise torch.OutOfMemoryError(f"{tensor.nbytes} bytes by {func}, over {self.n_bytes}")
        return made
