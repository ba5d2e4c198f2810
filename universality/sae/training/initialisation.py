"""Where training starts: the scale and centre of the activations, random decoder rows.

Terms: a token's *distance* is that of its activations from the centre, their geometric median, which few tokens cannot
move; a token is *outlying* if its distance exceeds `OUTLYING` times the median one.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from torch import Tensor

from universality.errors import ModelError
from universality.sae.compute.weights import Weights
from universality.sae.normalisation import normalised

SAMPLE_ROWS = 8192  # the geometric median of more is the same to 1%
SAME_ROWS = 1e-11
"""Mean squared difference of rows, relative to their mean square, that is float32's rounding alone."""
LEAST_SQUARE = 1e-24
"""The least and, inverted, the largest mean squared norm of activations whose squares float32 holds."""


OUTLYING = 10.0
"""Times the median distance. dictionary_learning leaves tokens above the same multiple out by default."""
MOST_OUTLYING = 0.5
"""Share of the activations' squared distances: where few outlying tokens have more, the scale is that of the others.
Otherwise one token in 500 of 300 times the norm makes the others so small that 5 of 6 features die."""
FEW = 0.05
"""Share of the tokens: were more of them outlying, they would be what there is to learn."""
FAR_CENTRE = 5.0
"""Times the median distance. Training on activations whose centre is farther from 0 subtracts it first: the scale would
make what differs between tokens small beside one step of Adam. At 15 times a planted dictionary is learnt a little
worse, at 50 times half of its features die."""


@dataclass(frozen=True)
class ActivationSummary:
    """What training needs to know of the activations beforehand; share one among the SAEs of a model."""

    scale: float
    """Activations times this have mean squared norm d_in, so that learning rates and penalties carry over; without
    outlying tokens where they are `dominant`."""
    centre: Tensor
    """Geometric median [d_in] in the activations' own units: the first decoder bias."""
    far: bool = False
    """Whether the centre is `FAR_CENTRE` median distances from 0. Then it is subtracted first: the scale is that of the
    difference."""
    longest: float | None = None
    """Tokens of a larger distance are left out of training; None: none is."""
    outlying_share: float = 0.0
    """Share of the sample's tokens that are outlying."""
    outlying_variance: float = 0.0
    """Their share of the sample's squared distances."""
    normalize_activations: str = "none"
    """What was done to each token beforehand, as `summarise` was told."""
    max_norm_ratio: float | None = None
    """As `summarise` was told."""

    def to(self, device: torch.device | str) -> ActivationSummary:
        """The same with its centre on another device."""
        return replace(self, centre=self.centre.to(device))

    @property
    def dominant(self) -> bool:
        """Whether few outlying tokens have most of the variance of what is learnt from."""
        few = self.outlying_share <= FEW and self.outlying_variance > MOST_OUTLYING
        return few and self.longest is None

    @property
    def caution(self) -> str | None:
        """One sentence where they have."""
        if not self.dominant:
            return None
        return (
            f"{self.outlying_share:.2%} of the tokens are more than {OUTLYING:g} times the median distance from the "
            f"centre of the activations and have {self.outlying_variance:.1%} of their variance: the explained "
            "variance is mainly that of those tokens, typical_explained_variance that of the median token. Leave them "
            f"out of training with max_norm_ratio: {OUTLYING:g}, or normalise each token with "
            "normalize_activations: layer_norm"
        )


def summarise(
    sample: Tensor | NDArray[np.floating], normalize_activations: str = "none", max_norm_ratio: float | None = None
) -> ActivationSummary:
    """Scale and centre of activations.

    Parameters
    ----------
    sample : [n_tokens, d_in]
        Some thousand tokens; of more than 8,192 evenly spaced ones are taken.
    normalize_activations
        What is done to each token first, as in `universality.sae.normalisation`.
    max_norm_ratio
        Tokens farther from the centre than this times the median distance are left out; None: none is.

    Raises
    ------
    ModelError
        If the sample is no matrix, holds NaN or infinity, its rows are the same but for rounding, or too large for
        float32; if tokens are to be left out by their distance, and half of them have none.

    Warns
    -----
    UserWarning
        If a few tokens of large norm have most of the activations' variance; see `ActivationSummary.caution`.
    """
    rows = normalised(_checked_rows(sample), normalize_activations)
    centre = geometric_median(rows)
    distance = torch.linalg.vector_norm((rows - centre).double(), dim=1)
    typical = float(distance.median())
    typical = 0.0 if typical**2 <= SAME_ROWS * float(distance.square().mean()) else typical
    outlying = (distance > OUTLYING * typical) & (typical > 0)
    summary = ActivationSummary(
        scale=1.0,
        centre=centre,
        far=0 < FAR_CENTRE * typical < float(torch.linalg.vector_norm(centre.double())),
        longest=_longest(typical, max_norm_ratio),
        outlying_share=float(outlying.double().mean()),
        outlying_variance=float((distance.square() * outlying).sum() / distance.square().sum()),
        normalize_activations=normalize_activations,
        max_norm_ratio=max_norm_ratio,
    )
    longest = OUTLYING * typical if summary.dominant else summary.longest
    kept = rows if longest is None else rows[distance <= longest]
    mean_square = _mean_square(kept - centre if summary.far else kept)
    if summary.caution:
        warnings.warn(summary.caution, stacklevel=2)
    return replace(summary, scale=math.sqrt(rows.shape[1] / mean_square))


def _checked_rows(sample: Tensor | NDArray[np.floating]) -> Tensor:
    """Rows [n_tokens, d_in] of a sample from which something can be learnt, float32."""
    sample = torch.as_tensor(sample)
    if sample.ndim != 2 or sample.shape[0] < 2 or sample.shape[1] < 1:
        raise ModelError(
            f"expected a sample of activations [n_tokens ≥ 2, d_in ≥ 1], found shape {tuple(sample.shape)}"
        )
    n_rows = min(sample.shape[0], SAMPLE_ROWS)
    taken = torch.arange(n_rows) * sample.shape[0] // n_rows
    rows = sample[taken.to(sample.device)].to(torch.float32)
    finite = torch.isfinite(rows)
    if not bool(finite.all()):
        token, column = (~finite).nonzero()[0].tolist()
        raise ModelError(
            f"the sample of activations holds NaN or infinity, first at row {taken[token]}, column {column}; "
            "check the model and the hook that the activations come from"
        )
    mean_square = _mean_square(rows)
    spread = float((rows - rows[0]).double().square().sum(dim=1).mean())
    if spread <= SAME_ROWS * mean_square:
        raise ModelError(
            f"all {rows.shape[0]} rows of the sample of activations are the same; nothing can be learnt from them. "
            "Check the hook that they come from"
        )
    if not LEAST_SQUARE <= mean_square <= 1 / LEAST_SQUARE:
        raise ModelError(
            f"the mean squared norm of the sample of activations is {mean_square:.3g}, beyond what float32 can square; "
            "check the model and the hook that they come from"
        )
    return rows


def _mean_square(rows: Tensor) -> float:
    return float(rows.double().square().sum(dim=1).mean())


def _longest(typical: float, max_norm_ratio: float | None) -> float | None:
    """The largest distance that is learnt from; ``typical`` is the median one."""
    if max_norm_ratio is None:
        return None
    if typical == 0:
        raise ModelError(
            f"max_norm_ratio is {max_norm_ratio:g}, but half of the sample's tokens have the same activations: their "
            "median distance from the centre is 0. Leave max_norm_ratio out"
        )
    return max_norm_ratio * typical


def geometric_median(rows: Tensor, tolerance: float = 1e-5, max_iterations: int = 200) -> Tensor:
    """The point whose distances to all rows have the least sum.

    Weiszfeld's iteration from the mean: each step is the mean weighted by inverse distance. Stops when a step is
    shorter than ``tolerance`` times the point's norm, or after ``max_iterations``.

    Parameters
    ----------
    rows : [n_tokens, d_in]

    Returns
    -------
    Tensor [d_in]
        The point.

    References
    ----------
    Weiszfeld 1937; Vardi & Zhang 2000 (a point that meets a row: here its distance is bounded from below).
    """
    point = rows.mean(dim=0)
    floor = torch.finfo(rows.dtype).eps * rows.abs().max().clamp_min(torch.finfo(rows.dtype).tiny)
    for _ in range(max_iterations):
        weight = 1 / torch.linalg.vector_norm(rows - point, dim=1).clamp_min(floor)
        following = weight @ rows / weight.sum()
        moved = torch.linalg.vector_norm(following - point)
        point = following
        if moved <= tolerance * torch.linalg.vector_norm(point).clamp_min(floor):
            break
    return point


def encoder_norm(d_sae: int, d_in: int, threshold: float) -> float:
    """Norm of encoder rows, at most 1, with which the first reconstruction is as large as its input.

    Rows of norm m in uniform directions give pre-activations m·g with g standard normal, and on average
    Σ_f a_f w_f = d_sae / d_in · m · E[g²; m·g > θ] · x. Larger ones overshoot in a wide dictionary; with smaller ones
    nothing reaches the threshold θ there, and a feature that never fires does not learn.
    """

    def excess(norm: float) -> float:
        least = threshold / norm
        upper = math.erfc(least / math.sqrt(2)) / 2 + least * math.exp(-(least**2) / 2) / math.sqrt(2 * math.pi)
        return d_sae / d_in * norm * upper - 1

    return 1.0 if excess(1.0) <= 0 else float(brentq(excess, 1e-9, 1.0))


def initial_weights(
    d_sae: int, summary: ActivationSummary, seed: int, threshold: float | None = None, match_size: bool = False
) -> Weights:
    """Random unit decoder rows, the encoder a multiple, biases 0 and the scaled geometric median (0 once subtracted).

    Numbers are drawn on the CPU, so a seed means the same weights on every device. Width and seed together decide
    them: were a larger dictionary to start with the rows of a smaller one, its features would seem to be the same.

    Parameters
    ----------
    seed
        Of the decoder's directions, which are uniform on the sphere.
    threshold
        Of every feature, where thresholds are learnt.
    match_size
        Whether the encoder's rows have `encoder_norm`, for kinds whose number of firing features is free. Otherwise
        the encoder is the decoder's copy.
    """
    d_in, device = summary.centre.numel(), summary.centre.device
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
    )
