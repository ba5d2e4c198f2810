"""From a model's activations, its SAEs and tokens to feature stores."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from torch import Tensor
from tqdm import tqdm

from universality.activations import Site, harvest
from universality.corpus.blocks import TokenBlocks
from universality.features.header import MANTISSA
from universality.features.store import FeatureStore
from universality.features.tables import Dictionary
from universality.features.writer import FeatureWriter
from universality.models.unembedding import Unembedding
from universality.sae import SAE


def collect(
    site: Site,
    stores: Mapping[str | Path, SAE | None],
    blocks: TokenBlocks,
    *,
    unembedding: Unembedding | None = None,
    overwrite: bool = False,
    resume: bool = False,
    mantissa_bits: int = MANTISSA,
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
    resume
        Go on from what a stopped run of the same collection committed, and leave what is committed if stopped.
    overwrite, mantissa_bits
        As :class:`FeatureWriter` takes them.
    part
        Which of the blocks to collect, where another process collects the others; all by default.

    Raises
    ------
    MismatchError, FileExistsError
        As :class:`FeatureWriter` does.
    """
    d_in = site.d_in
    with ExitStack() as stack:
        writers = {
            path: stack.enter_context(
                FeatureStore.create(
                    path,
                    d_in if sae is None else sae.d_sae,
                    provenance=_provenance(site, sae, blocks),
                    documents=blocks.documents,
                    overwrite=overwrite,
                    resume=resume,
                    mantissa_bits=mantissa_bits,
                )
            )
            for path, sae in stores.items()
        }
        chosen = blocks if part is None else blocks.take(np.arange(part.start, part.stop))
        _fill(site, [(writers[path], sae) for path, sae in stores.items()], chosen, batch_blocks)
        for path, sae in stores.items():
            dictionary = _dictionary(site, sae)
            writers[path].finish(dictionary, None if dictionary.residual is None else unembedding).close()


def _fill(
    site: Site, writers: Sequence[tuple[FeatureWriter, SAE | None]], blocks: TokenBlocks, batch_blocks: int
) -> None:
    """Append what the writers do not have yet, in the batches of a run that was never stopped."""
    kinds = np.array(blocks.documents.kind)
    ends = np.cumsum(blocks.length - 1)
    block = int(np.searchsorted(ends, min((w.n_tokens for w, _ in writers), default=0), side="right"))
    block -= block % batch_blocks
    at = int(ends[block - 1]) if block else 0
    padded: Tensor | None = None
    bar = tqdm(
        total=blocks.n_tokens, initial=at, desc=f"collect {site.name}", unit="token", unit_scale=True, disable=None
    )
    with bar:
        for rows, acts in harvest({site.name: site}, blocks.take(np.arange(block, len(blocks))), batch_blocks):
            n = len(rows)
            if padded is None:
                shape = (batch_blocks * (blocks.n_ctx - 1), acts[site.name].shape[1])
                padded = torch.zeros(shape, device=acts[site.name].device)
            # Always one shape: batches of many sizes would leave the heap in pieces.
            padded[:n] = acts[site.name]
            for writer, sae in writers:
                new = slice(min(n, writer.n_tokens - at), n)  # the rows before have been committed
                if new.start < n:
                    features = csr_matrix(padded[:n].cpu().numpy()) if sae is None else sae.encode(padded)
                    writer.append(
                        features[new],
                        token=rows.token[new],
                        document=rows.document[new],
                        position=rows.position[new],
                        kind=kinds[rows.document[new]],
                    )
            at += n
            bar.update(n)


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
    training = sae.metadata.get("training")
    seed = training.get("seed") if isinstance(training, Mapping) else None  # another tool's may be anything
    loaded = {"loaded": sae.metadata["loaded"]} if "loaded" in sae.metadata else {}
    return {"hash": sae.hash, "architecture": sae.architecture, "width": sae.d_sae, "seed": seed, **loaded}
