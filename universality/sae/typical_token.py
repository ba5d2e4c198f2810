"""Explained variance of the typical token, which a few tokens of large norm cannot raise.

    median over tokens of  1 − ‖x − x̂‖² / ‖x − centre‖²

Explained variance pooled over tokens weighs each token by its squared distance from the mean: one token in 500 with 300
times the norm has 99% of the weight. The centre is the geometric median of the first tokens, which such tokens cannot
move.
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
    """Result of `TypicalToken.compute`."""

    explained_variance: float
    """Median over tokens of the explained variance."""
    outlying_share: float
    """Share of tokens that are farther from the centre than `OUTLYING` times the median distance."""
    outlying_variance: float
    """Their share of the squared distances of all tokens."""


class TypicalToken:
    """Streaming statistic: `update` with tokens, then `compute`. Stores two numbers a token."""

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
        """Compute the statistic of the tokens so far, which must not all be equal."""
        self._measure()
        errors, squares = np.concatenate(self._errors), np.concatenate(self._squares)
        # a token at the centre has no variance to explain
        explained = 1 - errors / np.maximum(squares, np.finfo(np.float32).tiny)
        limit = OUTLYING**2 * np.median(squares)
        outlying = (squares > limit) & (limit > 0)
        return Typical(
            explained_variance=float(np.median(explained)),
            outlying_share=float(outlying.mean()),
            outlying_variance=float(squares[outlying].sum() / squares.sum()),
        )

    def _measure(self) -> None:
        """Measure the distances of the waiting tokens; the first ones determine the centre."""
        if not self._waiting:
            return
        rows = np.concatenate(self._waiting)
        self._waiting.clear()
        if self._centre is None:
            self._centre = geometric_median(torch.from_numpy(rows[:CENTRE_TOKENS])).numpy()
        self._squares.append(np.square(rows - self._centre).sum(axis=1, dtype=np.float64))
