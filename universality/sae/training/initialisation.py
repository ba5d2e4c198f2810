"""Initial weights: random decoder rows, and an encoder whose first reconstruction has the right size."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from universality.sae.activation_summary import ActivationSummary
from universality.sae.compute.weights import Weights


def encoder_norm(d_sae: int, d_in: int, threshold: float) -> float:
    """Norm of encoder rows, at most 1, for which the first reconstruction is as large as its input.

    Rows of norm m in uniform directions give pre-activations m·g with g standard normal, and on average
    Σ_f a_f w_f = d_sae / d_in · m · E[g²; m·g > θ] · x. Longer rows overshoot in a wide dictionary; with shorter ones
    no pre-activation reaches the threshold θ, and a feature that never fires does not learn.
    """

    def excess(norm: float) -> float:
        least = threshold / norm
        # E[g²; g > t] = P(g > t) + t φ(t), by parts
        upper = math.erfc(least / math.sqrt(2)) / 2 + least * math.exp(-(least**2) / 2) / math.sqrt(2 * math.pi)
        return d_sae / d_in * norm * upper - 1

    return 1.0 if excess(1.0) <= 0 else float(brentq(excess, 1e-9, 1.0))


def initial_weights(
    d_sae: int,
    summary: ActivationSummary,
    seed: int,
    threshold: float | None = None,
    match_size: bool = False,
    parameters: Mapping[str, Tensor] | None = None,
) -> Weights:
    """Draw random unit decoder rows; the encoder is a multiple of them.

    b_enc is 0, b_dec the scaled geometric median (0 if that is subtracted beforehand). Numbers are drawn on the CPU, so
    a seed gives the same weights on every device. Width and seed together decide them: if a larger dictionary started
    with the rows of a smaller one, their features would look alike for that reason alone.

    Parameters
    ----------
    seed
        Seed for the decoder's directions, which are uniform on the sphere.
    threshold
        Initial threshold of every feature, where thresholds are learnt.
    match_size
        Whether encoder rows have `encoder_norm`, for architectures in which any number of features may fire. Otherwise
        the encoder is a copy of the decoder.
    parameters
        Initial values of an architecture's own parameters.
    """
    d_in, device = summary.centre.numel(), summary.centre.device
    # SeedSequence mixes seed and width, so that neighbouring seeds give unrelated streams; torch takes 63 bits.
    state = np.random.SeedSequence([seed, d_sae]).generate_state(1, np.uint64)[0]
    generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
    decoder = torch.randn(d_sae, d_in, generator=generator, dtype=torch.float32)
    decoder /= torch.linalg.vector_norm(decoder, dim=1, keepdim=True)
    decoder = decoder.to(device)
    norm = encoder_norm(d_sae, d_in, threshold or 0.0) if match_size else 1.0
    return Weights(
        W_enc=decoder * norm,
        b_enc=torch.zeros(d_sae, device=device),
        W_dec=decoder,
        b_dec=torch.zeros(d_in, device=device) if summary.far else summary.centre.to(torch.float32) * summary.scale,
        log_threshold=None if threshold is None else torch.full((d_sae,), math.log(threshold), device=device),
        parameters={name: value.to(device) for name, value in (parameters or {}).items()},
    )
