"""Is a feature that a crosscoder calls exclusive really absent from the other model? Its rows, fitted once more.

    r_m(t) = s_m x_m(t) − s_m x̂_m(t) + a(t) d_m,    d*_m = argmin_d Σ_t ‖a(t) d − r_m(t)‖² = d_m + Σ_t a ε_m / Σ_t a²

r_m is what the other features leave for this one, ε_m the error of model m. d*_m is the row that least squares alone
would give on text that trained nothing: where training had shrunk ‖d_B‖ to 0 though B moves with the feature, d*_B is
not 0. ‖d*_m‖² is estimated by ⟨d*_m, d*_m'⟩ of two halves of the text, which noise does not raise on average.

It is Minder et al.'s (2025) latent scaling of the error, their test of *complete shrinkage*, without a shared basis:
they scale the chat model's row, β d, and fit β in both models, which needs the base model's axes to be the same. Their
second fit, of the reconstruction (*latent decoupling*), has no such form: every feature that fires together with this
one would count. Decoupled features show as twins instead (`universality.statistics.crosscoder_classes`).
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
    """Streaming: `update` with activations of either half, then `compute`. Holds 16 bytes a weight of the decoder.

    Parameters
    ----------
    crosscoder
        What to check.
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
            Whether each is of the second half.
        """
        made = self.crosscoder.decode(features)
        errors = {name: activations[name].detach().to("cpu", torch.float32).numpy() - made[name] for name in made}
        for half, rows in enumerate((~second, second)):
            here = features[rows]
            order = FeatureOrder.of(Codes.of(here))
            self._squares[half] += order.sums(torch.from_numpy(np.square(here.data))).numpy()
            for name, error in errors.items():
                self._products[name][half] += _products(order, here.data, error[rows])

    def compute(self) -> NDArray[np.float64]:
        """Relative norms of the rows fitted anew [n_models, d_sae]; NaN where a feature is silent in a half."""
        fires = (self._squares > 0).all(axis=0)
        safe = np.where(self._squares > 0, self._squares, 1)
        norms = []
        for name, scale in zip(self.crosscoder.models, self.crosscoder.scales, strict=True):
            rows = self.crosscoder.of(name).W_dec.double().cpu().numpy()
            first, second = (rows + self._products[name][half] / safe[half][:, None] for half in (0, 1))
            norms.append(scale * np.sqrt(np.maximum(np.einsum("fi,fi->f", first, second), 0)))
        total = np.sum(norms, axis=0)
        known = fires & (total > 0)
        return np.where(known, np.stack(norms) / np.where(known, total, 1), np.nan)


def _products(order: FeatureOrder, values: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Per feature the sum over its tokens of activation · row, [d_sae, d_in]."""
    out = np.zeros((len(order.first) - 1, rows.shape[1]), np.float32)

    def fill(part: slice) -> None:
        kernels.weighted_sums(
            part.start, part.stop, order.first, order.token, order.entry, values, rows, out[part]
        )  # fmt: skip

    share_out(fill, ranges(len(out), FEATURES_A_TASK))
    return out
