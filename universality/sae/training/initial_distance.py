"""Distance between initial dictionaries: features that started equal may end equal for that reason alone.

The initial weights of SAEs trained here are drawn again from their seeds. For SAEs from elsewhere they are unknown:
`universality.matching.common_start` tells whether two began from the same weights.
"""

from __future__ import annotations

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
