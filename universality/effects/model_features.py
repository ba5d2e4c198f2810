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
from universality.features.storage.elements import ACTIVATION
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
        The SAE, or a transcoder; None for the neurons of the site.
    store
        The SAE's features on these blocks.
    blocks
        The text from which the store was collected, in the model's own tokens.
    site_out
        The same model at the hook where a transcoder writes.

    Raises
    ------
    MismatchError
        If the SAE does not belong to the site, or the store to the model, the SAE or the blocks, or if the store holds
        another quantity than activations.
    """

    site: ModelSite
    sae: SAE | None
    store: FeatureStore
    blocks: TokenBlocks
    site_out: ModelSite | None = None

    def __post_init__(self) -> None:
        if self.sae is not None:
            check_sae(self.site, self.sae, self.site_out)
        if self.store.quantity != ACTIVATION:
            raise MismatchError(
                f"{self.store.path}: expected a store of activations, found one of quantity {self.store.quantity!r}"
            )
        n_features = self.site.d_in if self.sae is None else self.sae.d_sae
        self._check_origin("model", self.site.model_hash)
        self._check_origin("sae", None if self.sae is None else self.sae.hash)
        if self.store.n_features != n_features:
            raise MismatchError(f"{self.store.path}: expected {n_features} features, found {self.store.n_features}")
        if not self._same_text():
            raise MismatchError(
                f"{self.store.path}: has {self.store.n_tokens:,} tokens, which are not the {self.first_token.size:,} "
                "of the given blocks; give the blocks from which the store was collected"
            )

    def _check_origin(self, of: str, expected: str | None) -> None:
        """Refuse a store that records another model or SAE."""
        recorded = self.store.provenance.get(of)
        found = recorded.get("hash") if isinstance(recorded, Mapping) else None
        if found != expected:
            raise MismatchError(
                f"{self.store.path}: collected from the {of} {str(found)[:12]}, and {str(expected)[:12]} is given; "
                f"give the {of} from which the store was collected"
            )

    def _same_text(self) -> bool:
        """Tell whether the rows of the store are the text of the blocks."""
        rows, blocks = self.store.tokens, self.blocks
        if self.store.n_tokens != self.first_token.size or self.store.documents != blocks.documents:
            return False
        if blocks.segment is not None:
            return True
        document = np.repeat(blocks.document, blocks.length - 1)
        return np.array_equal(rows.token, blocks.tokens[blocks.valid]) and np.array_equal(rows.document, document)

    def require_sae(self) -> SAE:
        """Return the SAE.

        Raises
        ------
        MismatchError
            If the features are neurons.
        """
        if self.sae is None:
            raise MismatchError(f"{self.store.path}: its features are neurons; this needs features of an SAE")
        return self.sae

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
        return Intervention(self.site, self.require_sae(), change, self.site_out)
