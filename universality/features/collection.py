"""Collecting features: a model's activations, encoded by its SAEs and written to feature stores."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from universality.extras import naming_extra

with naming_extra("the collection of features"):
    import torch
    from torch import Tensor

from universality.activations import Site, rows_of
from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError
from universality.features.storage.header import MANTISSA
from universality.features.storage.store import FeatureStore
from universality.features.storage.token_table import Dictionary
from universality.features.storage.writer import FeatureWriter
from universality.features.token_pooling import Pool, pool_rows
from universality.models.unembedding import LEFT_OUT, Unembedding
from universality.progress import progress
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
    common: TokenBlocks | None = None,
    pool: Pool = "max",
    basis: str | None = None,
    site_out: Site | None = None,
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
        Unembedding of the model, which logit weights need: ``site.unembedding``.
    resume
        Resume a stopped run of the same collection from its committed rows, and keep committed rows if stopped.
    overwrite, mantissa_bits
        As `FeatureWriter` takes them.
    batch_blocks
        Number of blocks in a forward pass.
    part
        Range of blocks to collect, where other processes collect the others; all by default.
    common
        The same blocks in segments, where models of several tokenizers are compared
        (`universality.corpus.common_text`): a row of the store is then a segment, on which the features of its tokens
        are pooled. Logit weights of such stores compare over the strings that both vocabularies hold, so their
        ``unembedding`` needs its ``vocabulary``.
    pool
        How features are pooled: see `universality.features.token_pooling`.
    basis
        A name for the basis that the site's activations are in: the same for stores of models, or of layers, whose
        decoder rows may be compared.
    site_out
        The same model at the hook where transcoders write. Their stores record both hooks, and hold decoder rows and
        residual directions at this one.

    Raises
    ------
    MismatchError, FileExistsError
        As `FeatureWriter` does; MismatchError also if transcoders have no ``site_out`` or another width there, or one
        is given beside SAEs.
    """
    written = {path: _written(path, site, site_out, sae) for path, sae in stores.items()}
    rows = blocks if common is None else common
    if common is not None and (blocks.segment is None or len(blocks) != len(common)):
        raise MismatchError("common: expected the blocks of segments that these blocks of tokens were cut with")
    d_in = site.d_in
    with ExitStack() as stack:
        writers = {
            path: stack.enter_context(
                FeatureStore.create(
                    path,
                    d_in if sae is None else sae.d_sae,
                    provenance=_provenance(site, sae, blocks, common, pool, basis)
                    | _at(written[path], site, unembedding),
                    documents=blocks.documents,
                    overwrite=overwrite,
                    resume=resume,
                    mantissa_bits=mantissa_bits,
                )
            )
            for path, sae in stores.items()
        }
        if part is not None:
            blocks = blocks.take(np.arange(part.start, part.stop))
            rows = blocks if common is None else common.take(np.arange(part.start, part.stop))
        _fill(site, [(writers[path], sae) for path, sae in stores.items()], blocks, rows, pool, batch_blocks)
        for path, sae in stores.items():
            dictionary = _dictionary(written[path], sae)
            writers[path].finish(dictionary, None if dictionary.residual is None else unembedding).close()


def _fill(
    site: Site,
    writers: Sequence[tuple[FeatureWriter, SAE | None]],
    blocks: TokenBlocks,
    rows: TokenBlocks,
    pool: Pool,
    batch_blocks: int,
) -> None:
    """Append the rows that the writers lack, in the batches of a run that was never stopped.

    Batches begin at multiples of ``batch_blocks`` whatever was committed, since an encoder's float32 results may depend
    on the shape of its input: a resumed store has the same contents to the byte. ``rows`` are the blocks that the
    stores are written over: the tokens themselves, or segments.
    """
    kinds = np.array(blocks.documents.kind)
    ends = np.cumsum(rows.length - 1)
    block = int(np.searchsorted(ends, min((w.n_tokens for w, _ in writers), default=0), side="right"))
    block -= block % batch_blocks
    n_done = int(ends[block - 1]) if block else 0
    padded: Tensor | None = None
    bar = progress(total=rows.n_tokens, initial=n_done, desc=f"collect {site.name}", unit="token", unit_scale=True)
    with bar:
        for start in range(block, len(blocks), batch_blocks):
            batch = np.arange(start, min(start + batch_blocks, len(blocks)))
            tokens, table = blocks.take(batch), rows_of(rows.take(batch))
            acts = site.read(tokens)
            n, n_read = len(table), len(acts)
            if padded is None:
                padded = torch.zeros((batch_blocks * (blocks.n_ctx - 1), acts.shape[1]), device=acts.device)
            # Always one shape: batches of many sizes would fragment the heap.
            padded[:n_read] = acts
            for writer, sae in writers:
                new = slice(min(n, writer.n_tokens - n_done), n)  # earlier rows are committed already
                if new.start < n:
                    features = csr_matrix(acts.cpu().numpy()) if sae is None else sae.encode(padded)[:n_read]
                    if rows is not blocks:
                        features = pool_rows(features, _first_tokens(tokens), pool)
                    writer.append(
                        features[new],
                        token=table.token[new],
                        document=table.document[new],
                        position=table.position[new],
                        kind=kinds[table.document[new]],
                    )
            n_done += n
            bar.update(n)


def _first_tokens(blocks: TokenBlocks) -> NDArray[np.int64]:
    """The first token of each segment, among the tokens of text of these blocks."""
    assert blocks.segment is not None
    block, position = np.nonzero(blocks.valid)
    segment = blocks.segment[block, position]
    new = np.ones(len(segment), bool)
    new[1:] = (np.diff(block) != 0) | (np.diff(segment) != 0)
    return np.flatnonzero(new)


def _written(path: str | Path, site: Site, site_out: Site | None, sae: SAE | None) -> Site:
    """Return the site whose activations a store's decoder rows make up."""
    if sae is None or not sae.transcoder:
        if sae is not None and site_out is not None:
            raise MismatchError(f"{path}: an SAE writes where it reads; give site_out for transcoders alone")
        return site
    if site_out is None:
        raise MismatchError(
            f"{path}: a transcoder reads at {site.hook} and writes elsewhere; give the model at that hook as site_out"
        )
    if (site_out.model_hash, site_out.d_in) != (site.model_hash, sae.d_out):
        raise MismatchError(
            f"{path}: the transcoder writes {sae.d_out} activations a token of model {site.name}, site_out has "
            f"{site_out.d_in} at {site_out.hook} of {site_out.name}"
        )
    return site_out


def _dictionary(site: Site, sae: SAE | None) -> Dictionary:
    """Return the weights of a store whose features write at ``site``."""
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


def _at(written: Site, site: Site, unembedding: Unembedding | None) -> dict[str, Any]:
    """Record where a store's features write, if not at ``site``, and what its logit weights, if any, leave out."""
    recorded: dict[str, Any] = {} if written is site else {"site_out": written.hook}
    if unembedding is None or written.residual(np.zeros((1, written.d_in), np.float32)) is None:
        return recorded
    return recorded | {"logit_weights": {"left_out": list(LEFT_OUT)}}


def _provenance(
    site: Site, sae: SAE | None, blocks: TokenBlocks, common: TokenBlocks | None, pool: Pool, basis: str | None
) -> dict[str, Any]:
    hashes = {"tokenizer_hash": blocks.tokenizer_hash, "blocks_hash": blocks.hash}
    segments = {} if common is None else {"segments": {"pool": pool, **hashes}}
    recorded = blocks if common is None else common
    return {
        "model": {"name": site.name, "hash": site.model_hash},
        "sae": None if sae is None else _describe(sae),
        "site": site.hook,
        "tokenizer_hash": recorded.tokenizer_hash,
        "blocks_hash": recorded.hash,
        **segments,
        **({} if basis is None else {"basis": basis}),
    }


def _describe(sae: SAE) -> dict[str, Any]:
    training = sae.metadata.get("training")
    seed = training.get("seed") if isinstance(training, Mapping) else None  # metadata of another tool may hold anything
    loaded = {"loaded": sae.metadata["loaded"]} if "loaded" in sae.metadata else {}
    return {"hash": sae.hash, "architecture": sae.architecture, "width": sae.d_sae, "seed": seed, **loaded}
