"""From a model's activations, its SAEs and tokens to feature stores."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from tqdm import tqdm

from universality.activations import Site, harvest
from universality.corpus.blocks import TokenBlocks
from universality.features.store import FeatureStore
from universality.features.tables import Dictionary
from universality.models.unembedding import Unembedding
from universality.sae import SAE


def collect(
    site: Site,
    stores: Mapping[str | Path, SAE | None],
    blocks: TokenBlocks,
    *,
    unembedding: Unembedding | None = None,
    overwrite: bool = False,
    batch_blocks: int = 64,
    part: range | None = None,
) -> None:
    """Write which features fire on which tokens, for all SAEs of a model in one pass over the tokens.

    Parameters
    ----------
    site
        The model at the hook where the SAEs read, or its cached activations.
    stores
        Path of each store → the SAE whose features it holds, or None for the activations themselves (the
        neurons, or the axes of the residual stream).
    blocks
        The tokens; BOS and padding are left out.
    unembedding
        What logit weights need, as ``site.unembedding`` gives it.
    part
        Which of the blocks to collect, where another process collects the others; all by default.

    Raises
    ------
    MismatchError, FileExistsError
        As :class:`FeatureWriter` does.
    """
    d_in = site.d_in
    kinds = np.array(blocks.documents.kind)
    with ExitStack() as stack:
        writers = {
            path: stack.enter_context(
                FeatureStore.create(
                    path,
                    d_in if sae is None else sae.d_sae,
                    provenance=_provenance(site, sae, blocks),
                    documents=blocks.documents,
                    overwrite=overwrite,
                )
            )
            for path, sae in stores.items()
        }
        chosen = blocks if part is None else blocks.take(np.arange(part.start, part.stop))
        bar = tqdm(total=chosen.n_tokens, desc=f"collect {site.name}", unit="token", unit_scale=True, disable=None)
        with bar:
            for rows, activations in harvest({site.name: site}, chosen, batch_blocks):
                acts = activations[site.name]
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
            dictionary = _dictionary(site, sae)
            writers[path].finish(dictionary, None if dictionary.residual is None else unembedding).close()


def _dictionary(site: Site, sae: SAE | None) -> Dictionary:
    if sae is None:
        decoder = np.eye(site.d_in, dtype=np.float32)
        return Dictionary(decoder=decoder, residual=site.residual(decoder))
    decoder = sae.W_dec.detach().cpu().numpy()
    return Dictionary(
        decoder=decoder,
        encoder=sae.W_enc.detach().cpu().numpy().T,
        bias=sae.b_enc.detach().cpu().numpy(),
        residual=site.residual(decoder),
    )


def _provenance(site: Site, sae: SAE | None, blocks: TokenBlocks) -> dict[str, Any]:
    return {
        "model": {"name": site.name, "hash": site.model_hash},
        "sae": None if sae is None else _describe(sae),
        "site": site.hook,
        "tokenizer_hash": blocks.tokenizer_hash,
        "blocks_hash": blocks.hash,
    }


def _describe(sae: SAE) -> dict[str, Any]:
    training = sae.metadata.get("training", {})
    return {"hash": sae.hash, "architecture": sae.architecture, "width": sae.d_sae, "seed": training.get("seed")}
