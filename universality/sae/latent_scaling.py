"""Latent scaling: a crosscoder's decoder rows fitted again, to test whether exclusive features are really absent.

    r_m(t) = s_m x_m(t) − s_m x̂_m(t) + a(t) d_m,    d*_m = argmin_d Σ_t ‖a(t) d − r_m(t)‖² = d_m + Σ_t a ε_m / Σ_t a²

r_m is the residual that the other features leave for this one, ε_m the error of model m. d*_m is the row that least
squares alone gives on held-out text: if training shrank ‖d_B‖ to 0 although B varies with the feature, d*_B is not 0.
‖d*_m‖² is estimated by ⟨d*_m, d*_m'⟩ from two halves of the text, since the noise of the halves is independent and does
not bias the product, as it would bias a square.

This is the latent scaling of Minder et al. (2025), their test of *complete shrinkage*, without a shared basis: they
scale the chat model's row, β d, and fit β in both models, which needs the models to share axes. Their second fit, of
the reconstruction (*latent decoupling*), has no such form: every feature that fires together with this one would count.
Decoupled features appear as twins instead (`universality.statistics.crosscoder_classes`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from universality.sae.compute import sparse_kernels as kernels
from universality.sae.compute.batch_gradients import FEATURES_A_TASK
from universality.sae.compute.codes import Codes
from universality.sae.compute.sparse_decoder import FeatureOrder
from universality.sae.compute.workers import ranges, share_out
from universality.sae.crosscoder import Crosscoder


class LatentScaling:
    """Streaming fit: `update` with activations of either half, then `compute`. Uses 16 bytes a weight of the decoder.

    Parameters
    ----------
    crosscoder
        The crosscoder to check.
    """

    def __init__(self, crosscoder: Crosscoder) -> None:
        self.crosscoder = crosscoder
        d_sae = crosscoder.sae.d_sae
        self._squares = np.zeros((2, d_sae))
        self._products = {
            name: np.zeros((2, d_sae, width)) for name, width in zip(crosscoder.models, crosscoder.widths, strict=True)
        }

    def update(self, activations: Mapping[str, Tensor], features: sparse.csr_matrix, second: NDArray[np.bool_]) -> None:
        """Add tokens.

        Parameters
        ----------
        activations
            Model → [n_tokens, d_in], in its own units.
        features : [n_tokens, d_sae]
            Their encoding.
        second : [n_tokens]
            Whether each token belongs to the second half.
        """
        errors = {
            name: activations[name].detach().to("cpu", torch.float32).numpy() - reconstruction
            for name, reconstruction in self.crosscoder.decode(features).items()
        }
        for half, tokens in enumerate((~second, second)):
            codes = features[tokens]
            order = FeatureOrder.of(Codes.of(codes))
            self._squares[half] += order.sums(torch.from_numpy(np.square(codes.data))).numpy()
            for name, error in errors.items():
                self._products[name][half] += _products(order, codes.data, error[tokens])

    def compute(self) -> NDArray[np.float64]:
        """Relative norms of the fitted rows [n_models, d_sae]; NaN where a feature is silent in a half."""
        fires = (self._squares > 0).all(axis=0)
        safe = np.where(self._squares > 0, self._squares, 1)
        norms = []
        for name, scale in zip(self.crosscoder.models, self.crosscoder.scales, strict=True):
            rows = self.crosscoder.of(name).W_dec.double().cpu().numpy()
            # d*_m = d_m + Σ a ε_m / Σ a²: only the correction is accumulated
            first, second = (rows + self._products[name][half] / safe[half][:, None] for half in (0, 1))
            norms.append(scale * np.sqrt(np.maximum(np.einsum("fi,fi->f", first, second), 0)))
        total = np.sum(norms, axis=0)
        measured = fires & (total > 0)
        return np.where(measured, np.stack(norms) / np.where(measured, total, 1), np.nan)


def _products(order: FeatureOrder, values: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of activation · row over each feature's tokens [d_sae, d_in]."""
    out = np.zeros((len(order.first) - 1, rows.shape[1]), np.float32)

    def fill(part: slice) -> None:
        kernels.weighted_sums(part.start, part.stop, order.first, order.token, order.entry, values, rows, out[part])

    share_out(fill, ranges(len(out), FEATURES_A_TASK))
    return out
