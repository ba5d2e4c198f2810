"""Adam, applied to a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from universality.sae.compute.sparse_sums import SparseSum

Update = Callable[[Tensor, Tensor, Tensor, Tensor, float, int, tuple[float, float], float], None]
"""Changes a parameter and both moments; (parameter, gradient, first, second, rate, steps before, betas, epsilon)."""


def fused(
    parameter: Tensor, grad: Tensor, first: Tensor, second: Tensor,
    rate: float, step: int, betas: tuple[float, float], epsilon: float,
) -> None:  # fmt: skip
    """Adam by PyTorch's fused operator, in one pass over memory."""
    # torch.optim offers no way to update some rows of a parameter; its undocumented function takes any tensors.
    from torch.optim.adam import adam

    adam(
        [parameter], [grad], [first], [second], [], [torch.full((), float(step), device=grad.device)],
        fused=grad.device.type in ("cpu", "cuda"), amsgrad=False, lr=rate,
        beta1=betas[0], beta2=betas[1], eps=epsilon, weight_decay=0.0, maximize=False,
    )  # fmt: skip


def plain(
    parameter: Tensor, grad: Tensor, first: Tensor, second: Tensor,
    rate: float, step: int, betas: tuple[float, float], epsilon: float,
) -> None:  # fmt: skip
    """Adam by elementary operators, equal to `fused` up to rounding; for a PyTorch whose function differs."""
    first.lerp_(grad, 1 - betas[0])
    second.mul_(betas[1]).addcmul_(grad, grad, value=1 - betas[1])
    size = second.sqrt().div_(math.sqrt(1 - betas[1] ** (step + 1))).add_(epsilon)
    parameter.addcdiv_(first, size, value=-rate / (1 - betas[0] ** (step + 1)))


def gives_adam(update: Update) -> bool:
    """Whether an undocumented function of this PyTorch can be called like `plain` and gives the same, as tried here."""
    grad, results = torch.tensor([1.0, -2.0, 0.5]), []
    try:
        for function in (update, plain):
            state = [torch.zeros(3) for _ in range(3)]
            for step in range(2):
                function(state[0], grad * (1 + step), state[1], state[2], 0.1, step, (0.9, 0.99), 1e-8)
            results.append(torch.cat(state))
    except (AttributeError, ImportError, RuntimeError, TypeError, ValueError):
        return False
    return torch.allclose(results[0], results[1])


_UPDATE = fused if gives_adam(fused) else plain


class Adam:
    """Adam (Kingma & Ba 2015) whose parameters may be updated in parts, each part once a step.

    Uses PyTorch's fused arithmetic. Gradient rows are used while they are in the cache, and the gradient of a whole
    matrix need never exist.

    Parameters
    ----------
    parameters
        Name → tensor, which `update` changes in place.
    """

    def __init__(self, parameters: Mapping[str, Tensor], beta1: float, beta2: float, epsilon: float) -> None:
        self._parameters = dict(parameters)
        self._beta1, self._beta2, self._epsilon = beta1, beta2, epsilon
        self.first = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
        self.second = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}

    def update(self, name: str, grad: Tensor, rate: float, step: int, part: slice = slice(None)) -> None:
        """Take one step with some rows of a parameter.

        Parameters
        ----------
        grad
            Gradient of the rows in ``part``.
        rate
            Learning rate.
        step
            Steps before this one.
        """
        state = self._parameters[name][part], grad, self.first[name][part], self.second[name][part]
        _UPDATE(*state, rate, step, (self._beta1, self._beta2), self._epsilon)

    def update_rows(
        self, name: str, dense: Tensor | None, entries: SparseSum | None, scale: Tensor, rate: float, step: int,
        unit: bool, decay: float = 0.0,
    ) -> None:  # fmt: skip
        """Take one step with all rows of a matrix by Triton's kernel, in one pass over it and its moments.

        Parameters
        ----------
        dense, entries
            Two parts of the gradient; None for 0.
        scale : []
            Factor of the gradient.
        rate, step
            As `update` takes them.
        unit
            Whether rows are unit vectors: the gradient along a row is left out, and the row's norm restored.
        decay
            Multiple of the matrix that is added to its gradient.
        """
        from universality.sae.compute import triton_kernels

        weight, first, second = self._parameters[name], self.first[name], self.second[name]
        betas = self._beta1, self._beta2
        triton_kernels.adam_rows(
            weight, first, second, dense, entries, scale, rate, step, betas, self._epsilon, unit=unit, decay=decay
        )

    def forget(self, rows: Tensor) -> None:
        """Set the moments of features to 0, as if their training began now."""
        for moments in (self.first, self.second):
            for name in moments:
                if name != "b_dec":  # the only parameter without a row for each feature
                    moments[name][rows] = 0

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Both moments of every parameter."""
        return {"first": self.first, "second": self.second}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Restore moments; raises KeyError if one is missing."""
        for moments, name in ((self.first, "first"), (self.second, "second")):
            for parameter, tensor in moments.items():
                tensor.copy_(state[name][parameter])
