"""The activations of several models on the same tokens, side by side: what a crosscoder reads.

Each model's are multiplied by a number of its own, so that all have the same total variance and weigh the same in a
squared error, whatever their widths and units.
"""

import hashlib
import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.activations.site import Site, harvest, read_together
from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError, ModelError
from universality.models.unembedding import Unembedding


def joined(activations: Mapping[str, Tensor], scales: Mapping[str, float]) -> Tensor:
    """Scaled activations side by side, [n_tokens, sum of d_in], in the order of ``scales``.

    Parameters
    ----------
    activations
        Model → [n_tokens, d_in], float32, on one device.
    scales
        Model → what its activations are multiplied by.

    Raises
    ------
    MismatchError
        If a model is missing, or the models' numbers of tokens differ.
    """
    if missing := set(scales) - set(activations):
        raise MismatchError(f"activations of {sorted(missing)} are missing; there are {sorted(activations)}")
    counts = {name: len(activations[name]) for name in scales}
    if len(set(counts.values())) > 1:
        raise MismatchError(f"the models must be read on the same tokens, found {counts}")
    return torch.cat([activations[name] * scale for name, scale in scales.items()], dim=1)


def balancing_scales(sites: Mapping[str, Site], blocks: TokenBlocks) -> dict[str, float]:
    """Model → 1 / √(total variance of its activations on these blocks).

    Raises
    ------
    ModelError
        If a model's activations are not finite, or do not vary.
    """
    rows: dict[str, list[Tensor]] = {name: [] for name in sites}
    for _, activations in harvest(sites, blocks):
        for name, found in activations.items():
            rows[name].append(found.double())
    variance = {
        name: float(torch.cat(parts).var(dim=0, correction=0).sum()) if parts else 0.0 for name, parts in rows.items()
    }
    for name, value in variance.items():
        if not 0 < value < math.inf:
            raise ModelError(
                f"model {name!r}: the variance of its activations on {blocks.n_tokens:,} tokens is {value}; "
                "check the model and the hook"
            )
    return {name: 1 / math.sqrt(value) for name, value in variance.items()}


class JointSite:
    """Several sites as one, whose activations are `joined`; a `Site`.

    Parameters
    ----------
    sites
        Two models or more, which read the same tokens.
    scales
        As for `joined`, one a site and in their order.
    """

    def __init__(self, sites: Mapping[str, Site], scales: Mapping[str, float]) -> None:
        self.sites, self.scales = dict(sites), {name: scales[name] for name in sites}

    @property
    def name(self) -> str:
        """The models' names with a plus between, as in ``A+B``."""
        return "+".join(self.sites)

    @property
    def model_hash(self) -> str:
        """Of the models' hashes, in their order."""
        return hashlib.sha256(" ".join(site.model_hash for site in self.sites.values()).encode()).hexdigest()

    @property
    def hook(self) -> str:
        """Each hook once, with a plus between."""
        return "+".join(dict.fromkeys(site.hook for site in self.sites.values()))

    @property
    def d_in(self) -> int:
        """Activations a token, of all models together."""
        return sum(site.d_in for site in self.sites.values())

    @property
    def device(self) -> torch.device:
        """Where `read` leaves them: where the first model does."""
        return next(iter(self.sites.values())).device

    @property
    def cost(self) -> int:
        """Of all models together."""
        return sum(site.cost for site in self.sites.values())

    def read(self, blocks: TokenBlocks) -> Tensor:
        """Activations [n_tokens, d_in] of these blocks, BOS and padding left out."""
        activations = read_together(self.sites, blocks)
        return joined({name: found.to(self.device) for name, found in activations.items()}, self.scales)

    def residual(self, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """None: the rows write into several residual streams."""
        return None

    def unembedding(self, train: TokenBlocks, min_count: int) -> Unembedding:
        """There is none for several models.

        Raises
        ------
        ModelError
            Always.
        """
        raise ModelError(f"{self.name} are several models, which share no unembedding; ask one of {list(self.sites)}")

    def spliced_loss(self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor]) -> float:
        """NaN: there is no one loss of several models."""
        return math.nan
