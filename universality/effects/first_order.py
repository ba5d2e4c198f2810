"""First-order effects: what ablating a feature at one token would change the loss by, for every firing.

    e_i(t) = −f_i(t) ⟨d_i, ∂L/∂x_t⟩

with f the code, d_i the decoder row in the activations' own units, and L the summed loss of the block, in nats. This is
the change of the loss from t on when f_i(t) alone is set to 0, to first order: **positive where ablating the feature
raises the loss**, so that the feature helps there. Attribution patching (Nanda 2023; Syed et al. 2023) is the same
estimate. It is not exact where the model is not linear: `universality.effects.exact` measures by how much, on a sample.

Effects are kept in feature stores over the same tokens as the activations', whose provenance has ``quantity`` "effect".
A token that no token follows in its block has no effect, and an effect that is exactly 0 is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from universality.extras import naming_extra

with naming_extra("the collection of effects"):
    import torch
    from torch import Tensor

from universality.activations import ModelSite, Site
from universality.corpus.blocks import TokenBlocks
from universality.effects.interventions import check_effect, check_sae
from universality.effects.loss_gradients import loss_gradients
from universality.effects.model_features import ModelFeatures
from universality.errors import MismatchError, ModelError
from universality.features.collection import Padded, PaddedRows, store_contents, written_site
from universality.features.recording import Recorded, Tokens, record
from universality.features.storage.header import MANTISSA
from universality.features.storage.store import FeatureStore
from universality.models.unembedding import Unembedding
from universality.sae import SAE


def collect_effects(
    site: Site,
    stores: Mapping[str | Path, SAE | None],
    blocks: TokenBlocks,
    *,
    gradient_norms: str | Path | None = None,
    activations: Mapping[str | Path, FeatureStore] | None = None,
    unembedding: Unembedding | None = None,
    overwrite: bool = False,
    resume: bool = False,
    mantissa_bits: int = MANTISSA,
    batch_blocks: int = 64,
    part: range | None = None,
    common: TokenBlocks | None = None,
    basis: str | None = None,
    site_out: Site | None = None,
) -> None:
    """Write the first-order effect of every firing, for all SAEs of a model in one forward and one backward pass.

    Parameters
    ----------
    site
        The loaded model at the hook where the SAEs read.
    stores
        Path of each store of effects → the SAE, or None for the neurons, whose effect is −x_j(t) ∂L/∂x_j(t).
    blocks
        The tokens; BOS and padding are left out.
    gradient_norms
        Path of a store of one column, the norm of ∂L/∂x_t where the SAEs write: the size that the effects of all
        features at a token share. `read_gradient_norms` reads it.
    activations
        Path of a store of effects → store of the SAE's activations on these tokens. Codes are read from it instead of
        encoded anew, which is faster, and both stores then hold the same firings whatever the batches.
    unembedding, overwrite, resume, mantissa_bits, batch_blocks, part, basis, site_out
        As for `universality.features.collection.collect`. The same blocks in equal batches give effects of exactly the
        codes that it writes.
    common
        The same blocks in segments: the effects of a segment's tokens are summed, and so are the norms.

    Raises
    ------
    ModelError
        If the site is not a loaded model, or nothing that the model predicts depends on the hook.
    MismatchError, FileExistsError
        If an SAE does not belong to the site, a store of activations is of another SAE or other tokens; and as for
        `collect`.
    """
    model = _loaded(site)
    out = None if site_out is None else _loaded(site_out)
    tokens = Tokens(blocks, common, "sum")
    written = {path: written_site(path, model, sae, out) for path, sae in stores.items()}
    for sae in stores.values():
        if sae is not None:
            check_sae(model, sae, out if sae.transcoder else None)
    contents = {}
    for path, sae in stores.items():
        known = (activations or {}).get(path)
        if known is not None:
            _check_codes(known, model, sae, out if sae is not None and sae.transcoder else None, tokens, part)
        values = partial(_effects, sae, written[path].hook, known)
        contents[path] = _as("effect", store_contents(path, model, sae, tokens, values, out, unembedding, basis))
    if gradient_norms is not None:
        contents[gradient_norms] = _norms(model, out or model, tokens)
    places = {place.hook: place for place in [*written.values(), *([] if gradient_norms is None else [out or model])]}
    for place in places.values():
        check_effect(place)
    padded = PaddedRows(batch_blocks * (blocks.n_ctx - 1))

    def read(batch: TokenBlocks, rows: slice) -> _Batch:
        x, gradients = loss_gradients(model, batch, list(places))
        return _Batch(padded(x), gradients, rows)

    record(
        contents, read, tokens, name=site.name, overwrite=overwrite, resume=resume, mantissa_bits=mantissa_bits,
        batch_blocks=batch_blocks, part=part,
    )  # fmt: skip


@dataclass(frozen=True)
class _Batch:
    """Activations of a batch, and gradients [n_tokens, d] by hook."""

    activations: Padded
    gradients: Mapping[str, Tensor]
    rows: slice
    """Rows of the stores."""


def _effects(sae: SAE | None, hook: str, known: FeatureStore | None, batch: _Batch) -> csr_matrix:
    x, gradient = batch.activations.rows, batch.gradients[hook]
    codes = None if known is None else known.rows(batch.rows)
    if sae is None:
        if codes is not None:
            return codes.multiply(-gradient.float().cpu().numpy()).tocsr()
        return csr_matrix((-x * gradient).float().cpu().numpy())
    return -sae.contribution_along(batch.activations.encode(sae) if codes is None else codes, gradient, like=x)


def _check_codes(
    known: FeatureStore,
    site: ModelSite,
    sae: SAE | None,
    site_out: ModelSite | None,
    tokens: Tokens,
    part: range | None,
) -> None:
    """Refuse a store of activations whose rows are not the codes of these tokens."""
    if tokens.common is not None or part is not None:
        raise MismatchError(f"{known.path}: activations can be given for whole blocks of tokens alone")
    ModelFeatures(site, sae, known, tokens.blocks, site_out)


def _norms(site: ModelSite, written: ModelSite, tokens: Tokens) -> Recorded[_Batch]:
    provenance = {
        "model": {"name": site.name, "hash": site.model_hash},
        "sae": None,
        "site": written.hook,
        **tokens.provenance,
        "quantity": "gradient_norm",
    }
    return Recorded(1, provenance, lambda batch: csr_matrix(_norm(batch.gradients[written.hook])))


def _norm(gradient: Tensor) -> NDArray[np.float32]:
    norm: NDArray[np.float32] = torch.linalg.vector_norm(gradient, dim=1, keepdim=True).float().cpu().numpy()
    return norm


def _as(quantity: str, contents: Recorded[_Batch]) -> Recorded[_Batch]:
    return replace(contents, provenance={**contents.provenance, "quantity": quantity})


def _loaded(site: Site) -> ModelSite:
    if not isinstance(site, ModelSite):
        raise ModelError(
            f"effects of model {site.name!r} need the model itself, since gradients pass through it; a "
            f"{type(site).__name__} only holds activations"
        )
    return site
