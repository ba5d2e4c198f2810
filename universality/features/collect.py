"""From a model, its SAEs and tokens to feature stores."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from tqdm import tqdm

from universality.activations import harvest, resolve_hook, width_at
from universality.corpus.blocks import TokenBlocks
from universality.features.store import FeatureStore
from universality.features.tables import Dictionary
from universality.models.directions import residual_directions
from universality.models.language_model import LanguageModel
from universality.models.unembedding import Unembedding
from universality.sae import SAE


def collect(
    model: LanguageModel,
    stores: Mapping[str | Path, SAE | None],
    blocks: TokenBlocks,
    hook: str,
    *,
    unembedding: Unembedding | None = None,
    overwrite: bool = False,
    batch_blocks: int = 64,
) -> None:
    """Write which features fire on which tokens, for all SAEs of a model in one pass over the tokens.

    Parameters
    ----------
    stores
        Path of each store → the SAE whose features it holds, or None for the activations themselves (the
        neurons, or the axes of the residual stream).
    blocks
        The tokens; BOS and padding are left out.
    hook
        Where the SAEs read.
    unembedding
        What logit weights need; see :func:`universality.models.directions.read_unembedding`.

    Raises
    ------
    MismatchError, FileExistsError
        As :class:`FeatureWriter` does.
    """
    canonical = resolve_hook(model, hook)
    d_in = width_at(model, hook)
    kinds = np.array(blocks.documents.kind)
    with ExitStack() as stack:
        writers = {
            path: stack.enter_context(
                FeatureStore.create(
                    path,
                    d_in if sae is None else sae.d_sae,
                    provenance=_provenance(model, sae, blocks, canonical),
                    documents=blocks.documents,
                    overwrite=overwrite,
                )
            )
            for path, sae in stores.items()
        }
        bar = tqdm(total=blocks.n_tokens, desc=f"collect {model.name}", unit="token", unit_scale=True, disable=None)
        with bar:
            for rows, activations in harvest({model.name: model}, blocks, hook, batch_blocks):
                acts = activations[model.name]
                for path, sae in stores.items():
                    features = csr_matrix(acts.cpu().numpy()) if sae is None else sae.encode(acts)
                    writers[path].append(
                        features,
                        token=rows.token,
                        document=rows.document,
                        position=rows.position,
                        kind=kinds[rows.document],
                    )
                bar.update(len(rows))
        for path, sae in stores.items():
            dictionary = _dictionary(model, sae, canonical, d_in)
            writers[path].finish(dictionary, None if dictionary.residual is None else unembedding).close()


def _dictionary(model: LanguageModel, sae: SAE | None, hook: str, d_in: int) -> Dictionary:
    if sae is None:
        decoder = np.eye(d_in, dtype=np.float32)
        return Dictionary(decoder=decoder, residual=residual_directions(model, hook, decoder))
    decoder = sae.W_dec.detach().cpu().numpy()
    return Dictionary(
        decoder=decoder,
        encoder=sae.W_enc.detach().cpu().numpy().T,
        bias=sae.b_enc.detach().cpu().numpy(),
        residual=residual_directions(model, hook, decoder),
    )


def _provenance(model: LanguageModel, sae: SAE | None, blocks: TokenBlocks, hook: str) -> dict[str, Any]:
    return {
        "model": {"name": model.name, "hash": model.hash},
        "sae": None if sae is None else _describe(sae),
        "site": hook,
        "tokenizer_hash": blocks.tokenizer_hash,
        "blocks_hash": blocks.hash,
    }


def _describe(sae: SAE) -> dict[str, Any]:
    training = sae.metadata.get("training", {})
    return {"hash": sae.hash, "architecture": sae.architecture, "width": sae.d_sae, "seed": training.get("seed")}
