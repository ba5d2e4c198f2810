"""How far apart dictionaries began: features that started equal may end equal for that reason alone.

Of what is trained here, the initial weights are drawn again. Of SAEs from elsewhere they are not known, but
dictionaries that began equal still agree index by index, which two that began apart do only by chance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from universality.sae.activation_summary import ActivationSummary
from universality.sae.training.initialisation import initial_weights
from universality.sae.training.spec import SAESpec

Drawn = tuple[int, int, int]  # seed, width and d_in decide a decoder
ROWS = 256
"""Features of a dictionary that are looked at: enough for a mean, and a dictionary of 131,072 takes a second."""


@dataclass(frozen=True)
class Beginning:
    """Two SAEs of equal width and d_in at step 0; both numbers are means over ``ROWS`` evenly spaced features of a."""

    a: str
    """Model and SAE."""
    b: str
    """Model and SAE of the other."""
    same_index: float
    """Cosine of the decoder rows of equal index: 1 where both were drawn from one seed, about 0 otherwise."""
    nearest: float
    """Cosine with the nearest decoder row of b, whatever its index."""

    @property
    def distance(self) -> float:
        """1 − nearest: 0 for dictionaries that began equal, in whatever order."""
        return 1 - self.nearest


def beginnings(specs: Mapping[tuple[str, str], SAESpec], d_in: Mapping[str, int]) -> list[Beginning]:
    """Every two SAEs of equal width, over all models whose activations have equal width.

    Parameters
    ----------
    specs
        (model, SAE) → what is trained.
    d_in
        Model → width of its activations.
    """
    found = []
    for a, b in combinations(specs, 2):
        one, other = ((specs[key].seed, specs[key].d_sae, d_in[key[0]]) for key in (a, b))
        if one[1:] == other[1:]:
            found.append(Beginning("/".join(a), "/".join(b), *_mean_cosines(one, other)))
    return found


LEAST_Z = 8.0
"""Of `IndexAgreement.z`. Two dictionaries that hold the same features in unrelated orders have as many of them at equal
places as a Poisson variable of mean 1 says, whose standard deviation is 1: z reaches 8 once in a million pairs."""
LARGEST_SAMPLE = 4096
"""Features of each dictionary that are compared with each other."""


@dataclass(frozen=True)
class IndexAgreement:
    """How alike the decoder rows of equal index are in two SAEs, beside rows of different index."""

    same_index: float
    """Mean cosine of the decoder rows of equal index."""
    other_index: float
    """Mean cosine of all rows of one with all rows of the other."""
    z: float
    """Their difference in standard deviations of what it is when one dictionary's rows are shuffled."""

    @property
    def began_alike(self) -> bool:
        """Whether the order of features agrees as it does only where both began from the same weights."""
        return self.z >= LEAST_Z


def index_agreement(a: Tensor, b: Tensor) -> IndexAgreement:
    """Compare decoders [d_sae, d_in] of equal shape index by index, at evenly spaced indices of large ones.

    A decoder's rows have no order of their own: where two were initialised apart, each order of the rows of one is as
    likely as any other. The mean over a random permutation π of cosines c[i, π(i)] has the mean of all of c, and the
    variance Σ (c − row means − column means + mean)² / (n² (n − 1)) (Hoeffding 1951).
    """
    rows = torch.arange(min(LARGEST_SAMPLE, len(a))) * len(a) // min(LARGEST_SAMPLE, len(a))
    x, y = (torch.nn.functional.normalize(side[rows].double(), dim=1) for side in (a, b))
    n, same = len(rows), float((x * y).sum(dim=1).mean())
    mean = float(x.mean(dim=0) @ y.mean(dim=0))
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    squares = float(((x.T @ x) * (y.T @ y)).sum())  # of the doubly centred cosines, without making them
    deviation = math.sqrt(max(squares, 0.0) / (n**2 * max(1, n - 1)))
    return IndexAgreement(same, mean, (same - mean) / deviation if deviation > 0 else 0.0)


def record(specs: Mapping[tuple[str, str], SAESpec], order_seed: int, found: list[Beginning]) -> dict[str, Any]:
    """What JSON holds: every seed of every SAE, and the pairs with their distances."""
    return {
        "seeds": {
            "/".join(key): {"order": order_seed}
            | {name: value for name, value in spec.as_dict().items() if name.endswith("seed")}
            for key, spec in specs.items()
        },
        "pairs": [{**asdict(pair), "distance": pair.distance} for pair in found],
    }


@cache
def _mean_cosines(one: Drawn, other: Drawn) -> tuple[float, float]:
    """Of rows of one decoder with the same rows of the other, and with its nearest. Many pairs share their seeds."""
    ours, theirs = _decoder(*one), _decoder(*other)
    rows = torch.arange(min(ROWS, len(ours))) * len(ours) // min(ROWS, len(ours))
    cosines = ours[rows] @ theirs.T
    return (
        round(float(cosines[torch.arange(len(rows)), rows].mean()), 6),
        round(float(cosines.max(dim=1).values.mean()), 6),
    )


def _decoder(seed: int, d_sae: int, d_in: int) -> Tensor:
    return initial_weights(d_sae, ActivationSummary(1.0, torch.zeros(d_in)), seed).W_dec
