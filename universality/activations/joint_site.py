"""Concatenated activations of several models on the same tokens, as a crosscoder reads them.

The activations of each model are multiplied by a scale, so that all models have the same total variance and the same
weight in a squared error, whatever their widths and units.
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
    """Concatenate scaled activations, [n_tokens, sum of d_in], in the order of ``scales``.

    Parameters
    ----------
    activations
        Model → [n_tokens, d_in], float32, on one device.
    scales
        Model → factor of its activations.

    Raises
    ------
    MismatchError
        If a model is missing, or the models' numbers of tokens differ.

    Examples
    --------
    >>> joined({"A": torch.ones(2, 1), "B": torch.ones(2, 2)}, {"A": 1.0, "B": 0.5}).tolist()
    [[1.0, 0.5, 0.5], [1.0, 0.5, 0.5]]
    """
    if missing := set(scales) - set(activations):
        raise MismatchError(f"activations of {sorted(missing)} are missing; there are {sorted(activations)}")
    counts = {name: len(activations[name]) for name in scales}
    if len(set(counts.values())) > 1:
        raise MismatchError(f"the models must be read on the same tokens, found {counts}")
    return torch.cat([activations[name] * scale for name, scale in scales.items()], dim=1)


def balancing_scales(sites: Mapping[str, Site], blocks: TokenBlocks) -> dict[str, float]:
    """Compute for each model 1 / √(total variance of its activations on these blocks).

    Raises
    ------
    ModelError
        If a model's activations are not finite, or do not vary.
    """
    rows: dict[str, list[Tensor]] = {name: [] for name in sites}
    for _, activations in harvest(sites, blocks):
        for name, part in activations.items():
            rows[name].append(part.double())
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
    """Several sites as one site, whose activations are `joined`.

    Parameters
    ----------
    sites
        Two or more models that read the same tokens.
    scales
        Model → factor of its activations; see `balancing_scales`.
    """

    def __init__(self, sites: Mapping[str, Site], scales: Mapping[str, float]) -> None:
        self.sites, self.scales = dict(sites), {name: scales[name] for name in sites}

    @property
    def name(self) -> str:
        """Names of the models joined by a plus, as in ``A+B``."""
        return "+".join(self.sites)

    @property
    def model_hash(self) -> str:
        """Hash of the models' hashes in their order."""
        return hashlib.sha256(" ".join(site.model_hash for site in self.sites.values()).encode()).hexdigest()

    @property
    def hook(self) -> str:
        """Distinct hooks joined by a plus."""
        return "+".join(dict.fromkeys(site.hook for site in self.sites.values()))

    @property
    def d_in(self) -> int:
        """Number of activations per token, summed over models."""
        return sum(site.d_in for site in self.sites.values())

    @property
    def device(self) -> torch.device:
        """Device of activations: that of the first model."""
        return next(iter(self.sites.values())).device

    @property
    def cost(self) -> int:
        """Cost per token, summed over models."""
        return sum(site.cost for site in self.sites.values())

    def read(self, blocks: TokenBlocks) -> Tensor:
        """Read the activations [n_tokens, d_in] of these blocks, without BOS and padding."""
        activations = read_together(self.sites, blocks)
        return joined({name: part.to(self.device) for name, part in activations.items()}, self.scales)

    def residual(self, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Return None: the rows write into several residual streams."""
        return None

    def unembedding(self, train: TokenBlocks, min_count: int) -> Unembedding:
        """Raise: several models share no unembedding.

        Raises
        ------
        ModelError
            Always.
        """
        raise ModelError(f"{self.name} are several models, which share no unembedding; ask one of {list(self.sites)}")

    def spliced_loss(
        self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor], reads: Site | None = None
    ) -> float:
        """Return NaN: several models have no common loss."""
        return math.nan
