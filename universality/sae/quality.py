"""Quality of an SAE on held-out tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from universality.errors import ModelError
from universality.sae.sae import SAE
from universality.sae.typical_token import Typical, TypicalToken

Replacement = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class QualityReport:
    """Result of `Quality.compute`."""

    n_tokens: int
    """Number of tokens."""
    explained_variance: float
    """1 − Σ‖x − x̂‖² / Σ‖x − mean‖²."""
    typical: Typical
    """Explained variance of the median token, and the share of the variance that outlying tokens have."""
    mse: float
    """Mean squared error over tokens and d_in, in the activations' units squared."""
    l0: float
    """Mean number of features that fire on a token."""
    alive_share: float
    """Share of features that fired at least once."""
    density: NDArray[np.float64]
    """Share of tokens on which each feature fires [d_sae]."""

    def density_histogram(self, bins_a_decade: int = 4) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Histogram of log10 density over living features: counts [n_bins] and edges [n_bins + 1], up to 0."""
        lowest = math.floor(-math.log10(self.n_tokens))
        edges = np.linspace(lowest, 0, -lowest * bins_a_decade + 1) if lowest else np.array([-1.0, 0.0])
        counts, _ = np.histogram(np.log10(self.density[self.density > 0]), edges)
        return counts, edges

    def as_dict(self) -> dict[str, Any]:
        """Values for JSON, with the histogram in place of the densities."""
        counts, edges = self.density_histogram()
        return {
            "n_tokens": self.n_tokens,
            "explained_variance": self.explained_variance,
            "typical_explained_variance": self.typical.explained_variance,
            "outlying_tokens": {"share": self.typical.outlying_share, "variance": self.typical.outlying_variance},
            "mse": self.mse,
            "l0": self.l0,
            "alive_share": self.alive_share,
            "log10_density": {"counts": counts.tolist(), "edges": edges.tolist()},
        }


class Quality:
    """Streaming quality of an SAE: `update` with activations, then `compute`.

    Parameters
    ----------
    sae
        The SAE to measure.

    Examples
    --------
    >>> import torch
    >>> from universality.sae import SAE, Quality
    >>> sae = SAE(torch.eye(2), torch.zeros(2), torch.eye(2), torch.zeros(2), architecture="topk", k=1)
    >>> quality = Quality(sae)
    >>> quality.update(torch.tensor([[2.0, 0.0], [0.0, 2.0], [2.0, 1.0]]))
    >>> report = quality.compute()
    >>> report.l0, report.alive_share, round(report.mse, 3)
    (1.0, 1.0, 0.167)
    """

    def __init__(self, sae: SAE) -> None:
        self.sae = sae
        self._n_tokens = 0
        self._squared_error = 0.0
        self._sum = np.zeros(sae.d_in)
        self._sum_of_squares = 0.0
        self._firings = np.zeros(sae.d_sae, np.int64)
        self._typical = TypicalToken()
        self._origin = sae.b_dec.cpu().numpy()  # sums about 0 would cancel where the mean is large

    def update(self, x: Tensor, features: sparse.csr_matrix | None = None) -> None:
        """Add tokens.

        Parameters
        ----------
        x : [n_tokens, d_in]
            Activations.
        features
            Their encoding, if it is already known.
        """
        features = self.sae.encode(x) if features is None else features
        rows = x.detach().to("cpu", torch.float32).numpy()
        error = self.sae.decode(features, like=x) - rows
        centred = rows - self._origin
        self._n_tokens += len(rows)
        self._squared_error += float(np.square(error, out=error).sum(dtype=np.float64))
        self._typical.update(rows, error.sum(axis=1, dtype=np.float64))
        self._sum += centred.sum(axis=0, dtype=np.float64)
        self._sum_of_squares += float(np.square(centred, out=centred).sum(dtype=np.float64))
        self._firings += np.bincount(features.indices[features.data > 0], minlength=self.sae.d_sae)

    @property
    def mean(self) -> Tensor:
        """Mean activation [d_in] of the tokens so far, float32."""
        return torch.from_numpy((self._sum / max(self._n_tokens, 1) + self._origin).astype(np.float32))

    def compute(self) -> QualityReport:
        """Compute the quality on the tokens so far.

        Raises
        ------
        ModelError
            If there were no tokens, or their activations are all equal.
        """
        n = self._n_tokens
        total = self._sum_of_squares - float(self._sum @ self._sum) / n if n else 0.0
        if total <= 1e-6 * self._sum_of_squares:  # rounding alone, of equal tokens
            raise ModelError(f"the quality of an SAE needs activations that vary; found {n} tokens without variance")
        return QualityReport(
            n_tokens=n,
            explained_variance=1 - self._squared_error / total,
            typical=self._typical.compute(),
            mse=self._squared_error / (n * self.sae.d_in),
            l0=float(self._firings.sum()) / n,
            alive_share=float(np.mean(self._firings > 0)),
            density=self._firings / n,
        )


@dataclass(frozen=True)
class LossRecovered:
    """A model's loss, in nats, with its activations unchanged, reconstructed and ablated."""

    clean: float
    """Loss with unchanged activations."""
    spliced: float
    """Loss with activations reconstructed by the SAE."""
    zero: float
    """Loss with activations replaced by 0."""
    mean: float
    """Loss with activations replaced by their mean."""

    @property
    def over_zero(self) -> float:
        """(zero − spliced) / (zero − clean): 1 is lossless, 0 no better than zeros; NaN if zeros do no harm."""
        return _recovered(self.zero, self.spliced, self.clean)

    @property
    def over_mean(self) -> float:
        """(mean − spliced) / (mean − clean): the same against the mean, a harder baseline."""
        return _recovered(self.mean, self.spliced, self.clean)

    def as_dict(self) -> dict[str, float | None]:
        """Values for JSON, with None for NaN."""
        numbers = {
            "clean": self.clean,
            "spliced": self.spliced,
            "zero": self.zero,
            "mean": self.mean,
            "recovered_over_zero": self.over_zero,
            "recovered_over_mean": self.over_mean,
        }
        return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _recovered(ablated: float, spliced: float, clean: float) -> float:
    return (ablated - spliced) / (ablated - clean) if ablated > clean else math.nan


def loss_recovered(sae: SAE, loss_with: Callable[[Replacement], float], mean: Tensor) -> LossRecovered:
    """Measure how much of the model's loss the reconstruction keeps.

    Parameters
    ----------
    sae
        The SAE that reconstructs activations.
    loss_with
        Returns the model's mean loss when a function is applied to its activations [n_tokens, d_in].
    mean : [d_in]
        Mean activation, as `Quality.mean` gives it.
    """
    return LossRecovered(
        clean=loss_with(lambda x: x),
        spliced=loss_with(sae.reconstruct),
        zero=loss_with(torch.zeros_like),
        mean=loss_with(lambda x: mean.to(x.device, x.dtype).expand_as(x)),
    )
