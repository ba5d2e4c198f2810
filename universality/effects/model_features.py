"""Features of one model, as measurements of effects take them: the SAE at its site and the store of its firings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from universality.activations import ModelSite
from universality.arrays import IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.changes import Change
from universality.effects.interventions import Intervention, check_sae
from universality.errors import MismatchError
from universality.features.storage.store import FeatureStore
from universality.sae import SAE


@dataclass(frozen=True, eq=False)
class ModelFeatures:
    """An SAE at its site, and the store that says on which tokens its features fire.

    Parameters
    ----------
    site
        The model at the hook where the SAE reads.
    sae
        The SAE, or a transcoder.
    store
        The SAE's features on these blocks.
    blocks
        The text from which the store was collected, in the model's own tokens.
    site_out
        The same model at the hook where a transcoder writes.

    Raises
    ------
    MismatchError
        If the SAE does not belong to the site, or the store to the SAE or to the blocks.
    """

    site: ModelSite
    sae: SAE
    store: FeatureStore
    blocks: TokenBlocks
    site_out: ModelSite | None = None

    def __post_init__(self) -> None:
        check_sae(self.site, self.sae, self.site_out)
        recorded = self.store.provenance.get("sae")
        theirs = recorded.get("hash") if isinstance(recorded, Mapping) else None
        if self.store.n_features != self.sae.d_sae or (theirs and theirs != self.sae.hash):
            raise MismatchError(
                f"{self.store.path}: holds {self.store.n_features} features of SAE {str(theirs)[:12]}, the given SAE "
                f"has {self.sae.d_sae} and is {self.sae.hash[:12]}; give the SAE from which the store was collected"
            )
        n_rows = self.first_token.size
        same = self.store.n_tokens == n_rows
        if same and self.blocks.segment is None:
            same = np.array_equal(self.store.tokens.token, self.blocks.tokens[self.blocks.valid])
        if not same:
            raise MismatchError(
                f"{self.store.path}: has {self.store.n_tokens:,} tokens, which are not the {n_rows:,} of the given "
                "blocks; give the blocks from which the store was collected"
            )

    @property
    def written(self) -> ModelSite:
        """The model at the hook where the features write."""
        return self.site_out or self.site

    @cached_property
    def first_token(self) -> IntArray:
        """int64 [n_rows], the first text token of each row of the store.

        Rows are tokens, or segments where models with different tokenizers are compared.
        """
        if self.blocks.segment is None:
            return np.arange(self.blocks.n_tokens)
        block, column = self.token_place
        segment = self.blocks.segment[block, column]
        return np.flatnonzero(np.diff(block, prepend=-1) | np.diff(segment, prepend=-1))

    @cached_property
    def token_place(self) -> tuple[IntArray, IntArray]:
        """Block and column of each text token, both int64 [n_tokens]."""
        block, column = np.nonzero(self.blocks.valid)
        return block, column

    def intervention(self, change: Change) -> Intervention:
        """Build an intervention on these features."""
        return Intervention(self.site, self.sae, change, self.site_out)
