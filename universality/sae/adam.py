"""Adam, a few rows at a time."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Adam (Kingma & Ba 2015) whose parameters may be updated in parts, each part once a step.

    The arithmetic is PyTorch's own, fused; rows handed over while they are in the cache are not fetched twice, and the
    gradient of a whole matrix never need exist.

    Parameters
    ----------
    parameters
        Name → tensor, which `update` changes.
    """

    def __init__(self, parameters: Mapping[str, Tensor], beta1: float, beta2: float, epsilon: float) -> None:
        self._parameters = dict(parameters)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self.first = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
        self.second = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}

    def update(self, name: str, grad: Tensor, rate: float, step: int, part: slice = slice(None)) -> None:
        """One step of some rows.

        Parameters
        ----------
        grad
            Of the rows in ``part``.
        rate
            Learning rate.
        step
            Steps before this one.
        """
        adam(
            [self._parameters[name][part]], [grad], [self.first[name][part]], [self.second[name][part]], [],
            [torch.tensor(float(step), device=grad.device)],
            fused=grad.device.type in ("cpu", "cuda"), amsgrad=False, lr=rate,
            beta1=self._beta1, beta2=self._beta2, eps=self._epsilon, weight_decay=0.0, maximize=False,
        )  # fmt: skip

    def forget(self, rows: Tensor) -> None:
        """Set the moments of these features to 0, as if their training began now."""
        for moments in (self.first, self.second):
            for name in moments:
                if name != "b_dec":
                    moments[name][rows] = 0

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """The moments."""
        return {"first": self.first, "second": self.second}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Copy moments; raises KeyError where one is missing."""
        for moments, name in ((self.first, "first"), (self.second, "second")):
            for parameter, tensor in moments.items():
                tensor.copy_(state[name][parameter])
