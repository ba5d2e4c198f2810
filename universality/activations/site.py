"""One model at one hook, as those see it who only want its activations."""

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
"""Token blocks that are harvested or read at a time."""


@dataclass(frozen=True)
class Rows:
    """The tokens that a batch of activations belongs to: arrays [n_tokens], BOS and padding left out."""

    token: NDArray[np.int32]
    """Id in the vocabulary."""
    document: NDArray[np.int32]
    """Row of the blocks' document table."""
    position: NDArray[np.int32]
    """Column in the block."""

    def __len__(self) -> int:
        return len(self.token)


def rows_of(blocks: TokenBlocks) -> Rows:
    """The tokens of text of these blocks, block after block."""
    block, position = np.nonzero(blocks.valid)
    return Rows(blocks.tokens[block, position], blocks.document[block], position.astype(np.int32))


class Site(Protocol):
    """One model at one hook: run when asked (`ModelSite`), or read from disk (`CachedSite`)."""

    @property
    def name(self) -> str:
        """What the model is called in this study."""

    @property
    def model_hash(self) -> str:
        """``LanguageModel.hash``."""

    @property
    def hook(self) -> str:
        """The hook's canonical name."""

    @property
    def d_in(self) -> int:
        """Activations a token."""

    @property
    def device(self) -> torch.device:
        """Where `read` leaves them."""

    @property
    def cost(self) -> int:
        """Multiply-adds that a token's activations take, roughly: what several processes share work out by."""

    def read(self, blocks: TokenBlocks) -> Tensor:
        """Activations [n_tokens, d_in] of these blocks, float32, BOS and padding left out."""

    def residual(self, decoder: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """What decoder rows write into the residual stream; see `models.directions.residual_directions`."""

    def unembedding(self, train: TokenBlocks, min_count: int) -> Unembedding:
        """What logit weights need; see `models.directions.read_unembedding`."""

    def spliced_loss(self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor]) -> float:
        """The model's loss in nats with these activations replaced; NaN where the model is not at hand."""


@runtime_checkable
class SharedPass(Protocol):
    """A site whose forward pass may serve other sites: those of the same model in memory."""

    def read_with(self, sites: Mapping[str, Site], blocks: TokenBlocks) -> dict[str, Tensor]:
        """What `Site.read` gives of those among ``sites`` (itself too) that one pass serves, by name."""


def read_together(sites: Mapping[str, Site], blocks: TokenBlocks) -> dict[str, Tensor]:
    """What `Site.read` of each site gives, by name; sites of one model in memory take one forward pass."""
    found: dict[str, Tensor] = {}
    for name, site in sites.items():
        if name not in found:
            found |= site.read_with(sites, blocks) if isinstance(site, SharedPass) else {name: site.read(blocks)}
    return {name: found[name] for name in sites}


def harvest(
    sites: Mapping[str, Site], blocks: TokenBlocks, batch_blocks: int = BATCH_BLOCKS
) -> Iterator[tuple[Rows, dict[str, Tensor]]]:
    """Activations of every model on the same tokens, in the order of the blocks; see `read_together`.

    Parameters
    ----------
    sites
        Models at their hooks, by name.
    blocks
        What they read, ``batch_blocks`` at a time.

    Yields
    ------
    Rows
        Which tokens.
    dict of Tensor [n_tokens, d_in]
        One float32 array a model, on the site's device.
    """
    for start in range(0, len(blocks), batch_blocks):
        part = blocks.take(np.arange(start, min(start + batch_blocks, len(blocks))))
        yield rows_of(part), read_together(sites, part)
