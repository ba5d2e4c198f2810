"""Collecting features: a model's activations, encoded by its SAEs and written to feature stores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from scipy.sparse import csr_matrix

from universality.extras import naming_extra

with naming_extra("the collection of features"):
    import torch
    from torch import Tensor

from universality.activations import Site
from universality.corpus.blocks import TokenBlocks
from universality.errors import MismatchError
from universality.features.recording import Batch, Recorded, Tokens, record
from universality.features.storage.header import MANTISSA
from universality.features.storage.token_table import Dictionary
from universality.features.token_pooling import Pool
from universality.models.unembedding import LEFT_OUT, Unembedding
from universality.sae import SAE

S = TypeVar("S", bound=Site)


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
    tokens = Tokens(blocks, common, pool)
    padded = PaddedRows(batch_blocks * (blocks.n_ctx - 1))
    record(
        {
            path: store_contents(path, site, sae, tokens, partial(_activations, sae), site_out, unembedding, basis)
            for path, sae in stores.items()
        },
        lambda batch, rows: padded(site.read(batch)),
        tokens,
        name=site.name,
        overwrite=overwrite,
        resume=resume,
        mantissa_bits=mantissa_bits,
        batch_blocks=batch_blocks,
        part=part,
    )


@dataclass(frozen=True)
class Padded:
    """Rows of one batch [n, d], and the same followed by leftovers of earlier batches, of one shape in all batches."""

    rows: Tensor
    whole: Tensor

    def encode(self, sae: SAE) -> csr_matrix:
        """Encode the rows, CSR [n, d_sae]; the same values whatever the number of rows."""
        return sae.encode(self.whole)[: len(self.rows)]


@dataclass
class PaddedRows:
    """A buffer that gives batches of many sizes one shape: otherwise they would fragment the heap."""

    n_rows: int
    _buffer: Tensor | None = field(default=None, init=False)

    def __call__(self, rows: Tensor) -> Padded:
        """Put the rows of a batch [n, d] into the buffer."""
        if self._buffer is None:
            self._buffer = torch.zeros((self.n_rows, rows.shape[1]), device=rows.device)
        self._buffer[: len(rows)] = rows
        return Padded(rows, self._buffer)


def _activations(sae: SAE | None, batch: Padded) -> csr_matrix:
    """Activations of an SAE's features; of the site itself without one."""
    return csr_matrix(batch.rows.cpu().numpy()) if sae is None else batch.encode(sae)


def store_contents(
    path: str | Path,
    site: Site,
    sae: SAE | None,
    tokens: Tokens,
    values: Callable[[Batch], csr_matrix],
    site_out: Site | None = None,
    unembedding: Unembedding | None = None,
    basis: str | None = None,
) -> Recorded[Batch]:
    """Describe a store of an SAE's features, or of the site's neurons, by `record`'s terms.

    Parameters and errors as for `collect`; ``path`` is for messages.
    """
    written = written_site(path, site, sae, site_out)
    return Recorded(
        site.d_in if sae is None else sae.d_sae,
        {
            "model": {"name": site.name, "hash": site.model_hash},
            "sae": None if sae is None else _describe(sae),
            "site": site.hook,
            **tokens.provenance,
            **({} if basis is None else {"basis": basis}),
            **_at(written, site, unembedding),
        },
        values,
        partial(_dictionary, written, sae),
        unembedding,
    )


def written_site(path: str | Path, site: S, sae: SAE | None, site_out: S | None) -> S:
    """Return the site whose activations a store's decoder rows make up; errors as for `collect`."""
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


def _describe(sae: SAE) -> dict[str, Any]:
    training = sae.metadata.get("training")
    seed = training.get("seed") if isinstance(training, Mapping) else None  # metadata of another tool may hold anything
    loaded = {"loaded": sae.metadata["loaded"]} if "loaded" in sae.metadata else {}
    return {"hash": sae.hash, "architecture": sae.architecture, "width": sae.d_sae, "seed": seed, **loaded}
