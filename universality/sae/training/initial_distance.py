"""Distance between initial dictionaries: features that started equal may end equal for that reason alone.

For SAEs trained here, the initial weights are drawn again from their seeds. For SAEs from elsewhere they are unknown,
but dictionaries that started equal still agree index by index, which others do only by chance.
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

Drawn = tuple[int, int, int]  # seed, width and d_in determine an initial decoder
ROWS = 256
"""Number of features compared: enough for a mean, and a dictionary of 131,072 takes a second."""


@dataclass(frozen=True)
class Beginning:
    """Two SAEs of equal width and d_in at step 0; numbers are means over ``ROWS`` evenly spaced features of a."""

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
    """Compare every two initial dictionaries of equal width and d_in.

    Parameters
    ----------
    specs
        (model, SAE) → settings.
    d_in
        Model → width of its activations.
    """
    pairs = []
    for a, b in combinations(specs, 2):
        first, second = ((specs[key].seed, specs[key].d_sae, d_in[key[0]]) for key in (a, b))
        if first[1:] == second[1:]:
            pairs.append(Beginning("/".join(a), "/".join(b), *_mean_cosines(first, second)))
    return pairs


LEAST_Z = 8.0
"""Threshold of `IndexAgreement.z`. If two dictionaries hold the same features in unrelated orders, the number of
features at equal indices is a Poisson variable of mean and deviation 1: z reaches 8 once in a million pairs."""
LARGEST_SAMPLE = 4096
"""Largest number of features of each dictionary that are compared."""


@dataclass(frozen=True)
class IndexAgreement:
    """Similarity of decoder rows of equal index in two SAEs, compared with rows of different index."""

    same_index: float
    """Mean cosine of the decoder rows of equal index."""
    other_index: float
    """Mean cosine of all rows of one SAE with all rows of the other."""
    z: float
    """Difference of the two, in standard deviations under random permutations of one dictionary's rows."""

    @property
    def began_alike(self) -> bool:
        """Whether the order of features agrees, as it does only if both started from the same weights."""
        return self.z >= LEAST_Z


def index_agreement(a: Tensor, b: Tensor) -> IndexAgreement:
    """Compare decoders [d_sae, d_in] of equal shape index by index; large ones at evenly spaced indices.

    The order of a decoder's rows has no meaning: if two decoders were initialised independently, every order of the
    rows of one is equally likely. The mean over a random permutation π of cosines c[i, π(i)] has the mean of all of c,
    and the variance Σ (c − row means − column means + mean)² / (n² (n − 1)) (Hoeffding 1951).
    """
    rows = torch.arange(min(LARGEST_SAMPLE, len(a))) * len(a) // min(LARGEST_SAMPLE, len(a))
    x, y = (torch.nn.functional.normalize(side[rows].double(), dim=1) for side in (a, b))
    n, same = len(rows), float((x * y).sum(dim=1).mean())
    mean = float(x.mean(dim=0) @ y.mean(dim=0))
    x, y = x - x.mean(dim=0), y - y.mean(dim=0)
    squares = float(((x.T @ x) * (y.T @ y)).sum())  # of the doubly centred cosines, without an n × n array
    deviation = math.sqrt(max(squares, 0.0) / (n**2 * max(1, n - 1)))
    return IndexAgreement(same, mean, (same - mean) / deviation if deviation > 0 else 0.0)


def record(specs: Mapping[tuple[str, str], SAESpec], order_seed: int, pairs: list[Beginning]) -> dict[str, Any]:
    """Values for JSON: every seed of every SAE, and the pairs with their distances."""
    return {
        "seeds": {
            "/".join(key): {"order": order_seed}
            | {name: value for name, value in spec.as_dict().items() if name.endswith("seed")}
            for key, spec in specs.items()
        },
        "pairs": [{**asdict(pair), "distance": pair.distance} for pair in pairs],
    }


@cache
def _mean_cosines(first: Drawn, second: Drawn) -> tuple[float, float]:
    """Mean cosine of one decoder's rows with the same rows of the other, and with their nearest rows."""
    # cached, since many pairs of a grid share their seeds
    a, b = _decoder(*first), _decoder(*second)
    rows = torch.arange(min(ROWS, len(a))) * len(a) // min(ROWS, len(a))
    cosines = a[rows] @ b.T
    return (
        round(float(cosines[torch.arange(len(rows)), rows].mean()), 6),
        round(float(cosines.max(dim=1).values.mean()), 6),
    )


def _decoder(seed: int, d_sae: int, d_in: int) -> Tensor:
    return initial_weights(d_sae, ActivationSummary(1.0, torch.zeros(d_in)), seed).W_dec
