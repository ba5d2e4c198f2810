"""The features that are dead, counted on a card while it computes."""

from __future__ import annotations

import torch
from torch import Tensor


class DeadFeatures:
    """Dead features as a mask, whose number a card sends to the CPU as soon as it is known.

    The number of dead features is the size of arrays of the next step, so the CPU must know it before it can queue
    that step. Asked for only then, it would arrive after all that the card has queued, which would then lie idle while
    the next step is queued. A trainer marks dead features before it queues the update of the weights.

    Parameters
    ----------
    device
        Device of the masks.
    """

    def __init__(self, device: torch.device) -> None:
        self._mask = torch.zeros(0, dtype=torch.bool, device=device)
        self._known: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._known = torch.cuda.Event()
            self._count = torch.zeros((), dtype=torch.int64, pin_memory=True)

    def mark(self, mask: Tensor) -> None:
        """Keep a mask [d_sae] of the features that are dead from now on."""
        self._mask = mask
        if self._known is not None:
            self._known.synchronize()  # a count that nobody asked for may still be on its way to the same place
            self._count.copy_(mask.sum(), non_blocking=True)
            self._known.record(torch.cuda.current_stream(mask.device))

    def positions(self) -> Tensor:
        """The dead features, int64 [n_dead], rising."""
        if self._known is None:
            return self._mask.nonzero().squeeze(1)
        self._known.synchronize()
        return first_true(self._mask, int(self._count))


def first_true(mask: Tensor, n: int) -> Tensor:
    """Positions of a mask's first ``n`` true entries, int64 [n], rising, for which the CPU need not wait for a card."""
    return (~mask).to(torch.uint8).argsort(stable=True)[:n]
