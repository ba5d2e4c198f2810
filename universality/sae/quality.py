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

from universality.errors import MismatchError, ModelError
from universality.sae.sae import SAE
from universality.sae.typical_token import Typical, TypicalToken

Replacement = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class QualityReport:
    """Result of `Quality.compute`."""

    n_tokens: int
    """Number of tokens."""
    explained_variance: float
    """1 − Σ‖y − ŷ‖² / Σ‖y − mean‖² of the activations y that the SAE reconstructs: its input, a transcoder's target."""
    typical: Typical
    """Explained variance of the median token, and the share of the variance that outlying tokens have."""
    mse: float
    """Mean squared error over tokens and d_out, in the activations' units squared."""
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
    """Streaming quality of an SAE or a transcoder: `update` with activations, then `compute`.

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
        self._sum = np.zeros(sae.d_out)
        self._sum_of_squares = 0.0
        self._firings = np.zeros(sae.d_sae, np.int64)
        self._typical = TypicalToken()
        self._origin = sae.b_dec.cpu().numpy()  # sums about 0 would cancel where the mean is large

    def update(self, x: Tensor, features: sparse.csr_matrix | None = None, target: Tensor | None = None) -> None:
        """Add tokens.

        Parameters
        ----------
        x : [n_tokens, d_in]
            Activations that are encoded.
        features
            Their encoding, if it is already known.
        target : [n_tokens, d_out]
            Activations of the same tokens at the hook where a transcoder writes; those of an SAE are ``x``.

        Raises
        ------
        MismatchError
            If the target of a transcoder is missing or of another shape, or an SAE is given one.
        """
        features = self.sae.encode(x) if features is None else features
        rows = self._target(x, target).detach().to("cpu", torch.float32).numpy()
        error = self.sae.decode(features, like=x) - rows
        centred = rows - self._origin
        self._n_tokens += len(rows)
        self._squared_error += float(np.square(error, out=error).sum(dtype=np.float64))
        self._typical.update(rows, error.sum(axis=1, dtype=np.float64))
        self._sum += centred.sum(axis=0, dtype=np.float64)
        self._sum_of_squares += float(np.square(centred, out=centred).sum(dtype=np.float64))
        self._firings += np.bincount(features.indices[features.data > 0], minlength=self.sae.d_sae)

    def _target(self, x: Tensor, target: Tensor | None) -> Tensor:
        if self.sae.transcoder != (target is not None):
            raise MismatchError(
                "the quality of a transcoder needs the activations at the hook where it writes, update(x, target=y)"
                if self.sae.transcoder
                else "an SAE reconstructs the activations that it reads: give no target beside them"
            )
        if target is None:
            return x
        if target.shape != (len(x), self.sae.d_out):
            raise MismatchError(f"expected target [{len(x)}, {self.sae.d_out}], found shape {list(target.shape)}")
        return target

    @property
    def mean(self) -> Tensor:
        """Mean [d_out] of the activations to reconstruct on the tokens so far, float32."""
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
            mse=self._squared_error / (n * self.sae.d_out),
            l0=float(self._firings.sum()) / n,
            alive_share=float(np.mean(self._firings > 0)),
            density=self._firings / n,
        )


@dataclass(frozen=True)
class LossRecovered:
    """A model's loss, in nats, with its activations unchanged, reconstructed and ablated.

    All four are of one hook: the one whose activations the SAE reconstructs, which is where a transcoder writes.
    """

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


def loss_recovered(
    sae: SAE,
    loss_with: Callable[[Replacement], float],
    mean: Tensor,
    loss_through: Callable[[Replacement], float] | None = None,
) -> LossRecovered:
    """Measure how much of the model's loss the reconstruction keeps.

    Parameters
    ----------
    sae
        The SAE that reconstructs activations.
    loss_with
        Returns the model's mean loss when a function is applied to the activations [n_tokens, d_out] that the SAE
        reconstructs.
    mean : [d_out]
        Mean of these activations, as `Quality.mean` gives it.
    loss_through
        For a transcoder: returns the model's mean loss when a function of the activations [n_tokens, d_in] at the hook
        where it reads replaces, in the same forward pass, those at the hook where it writes.

    Raises
    ------
    MismatchError
        If ``loss_through`` is missing for a transcoder, or given for an SAE.

    Examples
    --------
    With a model at two hooks, a transcoder from the first to the second::

        reads, writes = ModelSite(model, "blocks.0.mlp.hook_in"), ModelSite(model, "blocks.0.hook_mlp_out")
        loss_recovered(
            transcoder,
            lambda replace: writes.spliced_loss(blocks, replace),
            mean,
            loss_through=lambda replace: writes.spliced_loss(blocks, replace, reads=reads),
        )
    """
    if sae.transcoder != (loss_through is not None):
        raise MismatchError(
            "a transcoder needs loss_through, the loss of the model with a function from one hook to another spliced in"
            if sae.transcoder
            else "loss_through is for transcoders; an SAE writes where it reads"
        )
    return LossRecovered(
        clean=loss_with(lambda y: y),
        spliced=(loss_through or loss_with)(sae.reconstruct),
        zero=loss_with(torch.zeros_like),
        mean=loss_with(lambda x: mean.to(x.device, x.dtype).expand_as(x)),
    )
