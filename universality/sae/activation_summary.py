"""Scale, centre and outlying tokens of a model's activations, measured before training.

Terms: a token's *distance* is the distance of its activations from the centre, their geometric median, which a few
tokens cannot move. A token is *outlying* if its distance exceeds `OUTLYING` times the median distance.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.errors import ModelError
from universality.sae.compute.workers import one_core
from universality.sae.normalisation import normalised

SAMPLE_ROWS = 8192  # the geometric median of more rows differs by less than 1%
SAME_ROWS = 1e-11
"""Mean squared difference of rows, relative to their mean square, that float32 rounding alone explains."""
LEAST_SQUARE = 1e-24
"""Smallest and, inverted, largest mean squared norm of activations that float32 can square."""
OUTLYING = 10.0
"""Multiple of the median distance. dictionary_learning excludes tokens above the same multiple by default."""
MOST_OUTLYING = 0.5
"""Share of the activations' squared distances. If few outlying tokens have more, they are left out of the scale:
one token in 500 with 300 times the norm would make the others so small that 5 of 6 features die."""
FEW = 0.05
"""Share of the tokens. If more than these are outlying, they are what there is to learn."""
FAR_CENTRE = 5.0
"""Multiple of the median distance. A centre that is farther from 0 is subtracted first, since otherwise the scale would
make differences between tokens small beside one step of Adam: at 15 times a planted dictionary is learnt slightly
worse, at 50 times half of its features die."""


@dataclass(frozen=True)
class ActivationSummary:
    """Scale, centre and outlying tokens of a model's activations; the SAEs of a model may share one."""

    scale: float
    """Factor that gives activations a mean squared norm of d_in, so that learning rates and penalties carry over
    between models. Outlying tokens are left out of it if they are `dominant`."""
    centre: Tensor
    """Geometric median [d_in] in the activations' own units: the initial decoder bias."""
    far: bool = False
    """Whether the centre is more than `FAR_CENTRE` median distances from 0. If so it is subtracted before scaling."""
    longest: float | None = None
    """Tokens of a larger distance are left out of training; None leaves out none."""
    outlying_share: float = 0.0
    """Share of the sample's tokens that are outlying."""
    outlying_variance: float = 0.0
    """Their share of the sample's squared distances."""
    normalize_activations: str = "none"
    """Normalisation of each token before all else, as passed to `summarise`."""
    max_norm_ratio: float | None = None
    """As passed to `summarise`."""

    def to(self, device: torch.device | str) -> ActivationSummary:
        """A copy with its centre on another device."""
        return replace(self, centre=self.centre.to(device))

    @property
    def dominant(self) -> bool:
        """Whether few outlying tokens have most of the variance of the activations in training."""
        few = self.outlying_share <= FEW and self.outlying_variance > MOST_OUTLYING
        return few and self.longest is None

    @property
    def caution(self) -> str | None:
        """A warning, if few outlying tokens dominate; otherwise None."""
        if not self.dominant:
            return None
        return (
            f"{self.outlying_share:.2%} of the tokens are more than {OUTLYING:g} times the median distance from the "
            f"centre of the activations and have {self.outlying_variance:.1%} of their variance: the explained "
            "variance is mainly that of those tokens, typical_explained_variance that of the median token. Leave them "
            f"out of training with max_norm_ratio: {OUTLYING:g}, or normalise each token with "
            "normalize_activations: layer_norm"
        )


@one_core()  # a sum of rows depends on how many threads divide it, in its last bits
def summarise(
    sample: Tensor | NDArray[np.floating], normalize_activations: str = "none", max_norm_ratio: float | None = None
) -> ActivationSummary:
    """Measure the scale and the centre of activations.

    Parameters
    ----------
    sample : [n_tokens, d_in]
        Some thousand tokens; if there are more than 8,192, evenly spaced ones are taken.
    normalize_activations
        Normalisation of each token, as in `universality.sae.normalisation`.
    max_norm_ratio
        Tokens farther from the centre than this multiple of the median distance are left out; None leaves out none.

    Raises
    ------
    ModelError
        If the sample is not a matrix, holds NaN or infinity, or its rows are equal up to rounding or too large for
        float32; if tokens are to be left out by their distance, but the median distance is 0.

    Warns
    -----
    UserWarning
        If a few tokens of large norm have most of the activations' variance; see `ActivationSummary.caution`.

    Examples
    --------
    >>> import torch
    >>> activations = 0.5 * torch.randn(1000, 16, generator=torch.Generator().manual_seed(0))
    >>> round(summarise(activations).scale)  # 0.5² · 16 · 2² = 16
    2
    """
    rows = normalised(_checked_rows(sample), normalize_activations)
    centre = geometric_median(rows)
    distance = torch.linalg.vector_norm((rows - centre).double(), dim=1)
    typical = float(distance.median())
    # below float32's rounding of the largest distances the median distance is noise
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
    ordinary = rows if longest is None else rows[distance <= longest]
    mean_square = _mean_square(ordinary - centre if summary.far else ordinary)
    if summary.caution:
        warnings.warn(summary.caution, stacklevel=2)
    return replace(summary, scale=math.sqrt(rows.shape[1] / mean_square))


def _checked_rows(sample: Tensor | NDArray[np.floating]) -> Tensor:
    """Check a sample and take at most `SAMPLE_ROWS` evenly spaced rows of it, float32."""
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
    """Largest distance of tokens in training; ``typical`` is the median distance."""
    if max_norm_ratio is None:
        return None
    if typical == 0:
        raise ModelError(
            f"max_norm_ratio is {max_norm_ratio:g}, but half of the sample's tokens have the same activations: their "
            "median distance from the centre is 0. Leave max_norm_ratio out"
        )
    return max_norm_ratio * typical


@one_core()
def geometric_median(rows: Tensor, tolerance: float = 1e-5, max_iterations: int = 200) -> Tensor:
    """Find the point whose distances to all rows have the least sum.

    Uses Weiszfeld's iteration from the mean: each step is the mean weighted by inverse distance. Stops when a step is
    shorter than ``tolerance`` times the point's norm, or after ``max_iterations``.

    Parameters
    ----------
    rows : [n_tokens, d_in]

    Returns
    -------
    Tensor [d_in]
        The geometric median.

    References
    ----------
    Weiszfeld 1937; Vardi & Zhang 2000 (a point that meets a row: here its distance is bounded from below).
    """
    point = rows.mean(dim=0)
    # An iterate that meets a row would give it infinite weight and stay there. At rounding distance its weight is
    # finite, and the other rows can still pull the point away.
    floor = torch.finfo(rows.dtype).eps * rows.abs().max().clamp_min(torch.finfo(rows.dtype).tiny)
    for _ in range(max_iterations):
        weight = 1 / torch.linalg.vector_norm(rows - point, dim=1).clamp_min(floor)
        following = weight @ rows / weight.sum()
        moved = torch.linalg.vector_norm(following - point)
        point = following
        if moved <= tolerance * torch.linalg.vector_norm(point).clamp_min(floor):
            break
    return point
