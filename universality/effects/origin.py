"""Check that a store of activations was written from a model, an SAE and blocks that are given beside it."""

import numpy as np

from universality.activations import ModelSite, rows_of
from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError
from universality.features.storage.store import FeatureStore
from universality.sae import SAE


def check_origin(store: FeatureStore, site: ModelSite, sae: SAE | None, blocks: TokenBlocks) -> None:
    """Refuse a store of another model, SAE or text.

    Raises
    ------
    MismatchError
        Naming the store, and what differs.
    """
    if store.quantity != "activation":
        raise MismatchError(f"{store.path}: expected a store of quantity 'activation', found {store.quantity!r}")
    provenance, tokens, rows = store.provenance, store.tokens, rows_of(blocks)
    ours = {"model": site.model_hash, "sae": None if sae is None else sae.hash}
    for key, expected in ours.items():
        recorded = provenance.get(key)
        theirs = recorded.get("hash") if isinstance(recorded, dict) else None
        if theirs != expected:
            raise MismatchError(
                f"{store.path}: written from the {key} {str(theirs)[:12]}, expected {str(expected)[:12]}, the one given"
            )
    if not (np.array_equal(tokens.token, rows.token) and np.array_equal(tokens.position, rows.position)):
        raise MismatchError(
            f"{store.path}: its rows are not the {blocks.n_tokens} tokens of these blocks; give the blocks that it was "
            "collected from (a store of segments holds no codes of tokens)"
        )
