"""Interface of a site (one model at one hook), and harvesting of several sites on the same tokens."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.corpus.blocks import TokenBlocks
from universality.models.unembedding import Unembedding

BATCH_BLOCKS = 64
"""Number of token blocks per forward pass or read."""


@dataclass(frozen=True)
class Rows:
    """Tokens of a batch of activations: arrays [n_tokens], without BOS and padding."""

    token: NDArray[np.int32]
    """Ids in the vocabulary."""
    document: NDArray[np.int32]
    """Rows of the document table."""
    position: NDArray[np.int32]
    """Columns in the block."""

    def __len__(self) -> int:
        return len(self.token)


def rows_of(blocks: TokenBlocks) -> Rows:
    """List the text tokens of these blocks, block after block."""
    block, position = np.nonzero(blocks.valid)
    return Rows(blocks.tokens[block, position], blocks.document[block], position.astype(np.int32))


class Site(Protocol):
    """One model at one hook: run on demand (`ModelSite`) or read from disk (`CachedSite`)."""

    @property
    def name(self) -> str:
        """Name of the model in this study."""

    @property
    def model_hash(self) -> str:
        """``LanguageModel.hash``."""

    @property
    def hook(self) -> str:
        """Canonical name of the hook."""

    @property
    def d_in(self) -> int:
        """Number of activations per token."""

    @property
    def device(self) -> torch.device:
        """Device of the activations that `read` returns."""

    @property
    def cost(self) -> int:
        """Approximate multiply-adds per token, by which several processes divide the work."""

    def read(self, blocks: TokenBlocks) -> Tensor:
        """Return the activations [n_tokens, d_in] of these blocks, float32, without BOS and padding."""

    def residual(self, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Map decoder rows to residual directions; see `universality.models.directions.residual_directions`."""

    def unembedding(self, train: TokenBlocks, min_count: int) -> Unembedding:
        """Return the unembedding; see `universality.models.directions.read_unembedding`."""

    def spliced_loss(
        self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor], reads: "Site | None" = None
    ) -> float:
        """Compute the model's loss in nats with these activations replaced; NaN without a loaded model.

        Parameters
        ----------
        replace
            Function of the activations at ``reads``, in the same forward pass, or of these by default.
        reads
            The same model at an earlier hook.
        """


@runtime_checkable
class SharedPass(Protocol):
    """Site whose forward pass can serve other sites of the same loaded model."""

    def read_with(self, sites: Mapping[str, Site], blocks: TokenBlocks) -> dict[str, Tensor]:
        """Read those of ``sites`` that one pass serves, itself included; activations by name."""


def read_together(sites: Mapping[str, Site], blocks: TokenBlocks) -> dict[str, Tensor]:
    """Read all sites, with one forward pass for sites of the same loaded model; activations by name."""
    activations: dict[str, Tensor] = {}
    for name, site in sites.items():
        if name not in activations:
            read = site.read_with(sites, blocks) if isinstance(site, SharedPass) else {name: site.read(blocks)}
            activations |= read
    return {name: activations[name] for name in sites}


def harvest(
    sites: Mapping[str, Site], blocks: TokenBlocks, batch_blocks: int = BATCH_BLOCKS
) -> Iterator[tuple[Rows, dict[str, Tensor]]]:
    """Yield the activations of all models on the same tokens, in the order of the blocks.

    Parameters
    ----------
    sites
        Models at their hooks, by name.
    blocks
        Token blocks, read ``batch_blocks`` at a time.

    Yields
    ------
    Rows
        Tokens of the batch.
    dict of Tensor [n_tokens, d_in]
        One float32 array per model, on the site's device.
    """
    for start in range(0, len(blocks), batch_blocks):
        part = blocks.take(np.arange(start, min(start + batch_blocks, len(blocks))))
        yield rows_of(part), read_together(sites, part)
