"""How far apart the dictionaries of a grid began: features that started equal may end equal for that reason alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from universality.sae.initialise import ActivationSummary, initial_weights
from universality.sae.spec import SAESpec

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
