"""Explained variance of the typical token, which few tokens of large norm cannot raise.

    1 − ‖x − x̂‖² / ‖x − centre‖²,  the median over tokens

Explained variance pooled over tokens weighs each by its squared distance from the mean: one token in 500 of 300 times
the norm has 99% of it. The centre is the geometric median of the first tokens, which those cannot move.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from universality.sae.activation_summary import OUTLYING, geometric_median

CENTRE_TOKENS = 4096


@dataclass(frozen=True)
class Typical:
    """What `TypicalToken.compute` returns."""

    explained_variance: float
    """Median over tokens."""
    outlying_share: float
    """Share of tokens farther from the centre than `OUTLYING` times the median distance."""
    outlying_variance: float
    """Their share of the squared distances of all tokens."""


class TypicalToken:
    """Streaming: `update` with tokens, then `compute`. Two numbers a token are kept."""

    def __init__(self) -> None:
        self._centre: NDArray[np.float32] | None = None
        self._waiting: list[NDArray[np.float32]] = []
        self._errors: list[NDArray[np.float64]] = []
        self._squares: list[NDArray[np.float64]] = []

    def update(self, rows: NDArray[np.float32], squared_errors: NDArray[np.float64]) -> None:
        """Add tokens [n_tokens, d_in] and ‖x − x̂‖² of each [n_tokens]."""
        self._errors.append(squared_errors)
        self._waiting.append(rows.copy() if self._centre is None else rows)  # the caller may write to them
        if self._centre is not None or sum(map(len, self._waiting)) >= CENTRE_TOKENS:
            self._measure()

    def compute(self) -> Typical:
        """The numbers so far; there must be a token that differs from the others."""
        self._measure()
        errors, squares = np.concatenate(self._errors), np.concatenate(self._squares)
        explained = 1 - errors / np.maximum(squares, np.finfo(np.float32).tiny)
        limit = OUTLYING**2 * np.median(squares)
        outlying = (squares > limit) & (limit > 0)
        return Typical(
            explained_variance=float(np.median(explained)),
            outlying_share=float(outlying.mean()),
            outlying_variance=float(squares[outlying].sum() / squares.sum()),
        )

    def _measure(self) -> None:
        """Distances of the waiting tokens; the first of them decide the centre."""
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting)
        self._waiting.clear()
        if self._centre is None:
            self._centre = geometric_median(torch.from_numpy(rows[:CENTRE_TOKENS])).numpy()
        self._squares.append(np.square(rows - self._centre).sum(axis=1, dtype=np.float64))
