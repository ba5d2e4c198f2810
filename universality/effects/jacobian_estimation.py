"""Estimation of the mean Jacobian from a hook to the end of the residual stream, and of its spread.

One backward pass gives a row of Jacobians for every source position at once, since a causal model's position t moves
positions s ≥ t alone: d_model backward passes over the text. vmap (``is_grads_batched``) is not faster on a CPU
(`tests/bench/jacobian.py`) and holds many gradients in memory. Where a feature fires, its direction through the
Jacobian there takes one forward and two backward passes, whatever d_model.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from universality.activations import ModelSite
from universality.arrays import IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.contexts import Contexts, firings, random_positions
from universality.effects.interventions import acts_on_later_positions
from universality.effects.jacobian import JacobianSpread, MeanJacobian
from universality.effects.model_features import ModelFeatures
from universality.errors import MismatchError, ModelError, UniversalityError
from universality.models.directions import stream_end
from universality.models.forward import hooked_pass, to_device
from universality.progress import progress

BATCH_BLOCKS = 16
"""Blocks whose activations are kept for the backward passes."""


def mean_jacobian(
    site: ModelSite,
    blocks: TokenBlocks,
    *,
    later: bool = True,
    seed: int = 0,
    batch_blocks: int = BATCH_BLOCKS,
    silent: bool = False,
) -> MeanJacobian:
    """Average the Jacobian from a hook to the end of the residual stream over text.

    Parameters
    ----------
    site
        The model at the hook where features write.
    blocks
        Held-out text. Its cost is d_model backward passes.
    later
        Sum effects on the source position and all later ones of its block; all text positions are sources. Otherwise
        effects on the source position alone, one random source a block, since a pass then sees one position a block.
    seed
        Seed of the source positions where ``later`` is False.
    batch_blocks
        Blocks of a pass.
    silent
        Report no progress.

    Raises
    ------
    ModelError
        If the end of the stream does not depend on the hook.
    UniversalityError
        If there are no blocks.
    """
    if not len(blocks):
        raise UniversalityError("mean Jacobian: expected blocks of text, found none")
    source = blocks.valid
    if not later and acts_on_later_positions(site):  # else a position moves itself alone, and all can be sources
        source = np.zeros(blocks.valid.shape, bool)
        source[random_positions(blocks, len(blocks), per_block=1, seed=seed)] = True
    total = np.zeros((site.d_in, int(site.model.bridge.cfg.d_model)))
    with progress(desc=f"Jacobian {site.name}", total=len(blocks), silent=silent, unit="block") as bar:
        for low in range(0, len(blocks), batch_blocks):
            part = np.arange(low, min(low + batch_blocks, len(blocks)))
            total += _summed(site, blocks.take(part), source[part], later)
            bar.update(part.size)
    if not total.any():
        raise _independent(site)
    n = int(source.sum())
    return MeanJacobian((total / n).astype(np.float32), site.model_hash, site.hook, later, n, blocks.hash)


def jacobian_spread(
    jacobian: MeanJacobian,
    features: ModelFeatures,
    *,
    n_features: int = 200,
    n_firings: int = 8,
    chosen: npt.ArrayLike | None = None,
    documents: npt.ArrayLike | None = None,
    seed: int = 0,
    batch_blocks: int = BATCH_BLOCKS,
) -> JacobianSpread:
    """Compare a mean Jacobian with the Jacobians where features fire, by the cosine of each feature's direction.

    Parameters
    ----------
    jacobian
        The mean Jacobian.
    features
        Features that write at its hook.
    n_features
        Size of the random sample of living features.
    n_firings
        Firings of each, of as many blocks as possible.
    chosen
        Features to examine instead of a random sample.
    documents
        Indices of the documents whose tokens may be taken; all by default.
    seed
        Seed of both samples.
    batch_blocks
        Firings of a pass.

    Raises
    ------
    MismatchError
        If the Jacobian is of another model or hook.
    UniversalityError
        If no feature fires.
    """
    site = features.written
    if (jacobian.model, jacobian.hook) != (site.model_hash, site.hook):
        raise MismatchError(
            f"mean Jacobian of {jacobian.hook} of model {jacobian.model[:12]}, but the features write at {site.hook} "
            f"of model {site.model_hash[:12]}"
        )
    if chosen is None:
        living = np.flatnonzero(features.store.alive)
        chosen = np.random.default_rng(seed).permutation(living)[:n_features]
    none_fires = UniversalityError(f"{features.store.path}: none of the features fires on the text that may be taken")
    if not np.size(chosen):
        raise none_fires
    sample = firings(features, n_firings, chosen=chosen, documents=documents, seed=seed)
    if not len(sample):
        raise none_fires
    decoder = features.require_sae().W_dec.detach().cpu().numpy()
    cosine = _row_cosines(moved_ends(site, features.blocks, sample, decoder, jacobian.later, batch_blocks),
                          jacobian.apply(decoder[sample.feature]))  # fmt: skip
    feature, first, count = np.unique(sample.feature, return_index=True, return_counts=True)  # sorted, so runs
    mean = np.add.reduceat(cosine, first) / count
    return JacobianSpread(feature, count, mean, np.minimum.reduceat(cosine, first))


def moved_ends(
    site: ModelSite,
    blocks: TokenBlocks,
    contexts: Contexts,
    decoder: NDArray[np.float32],
    later: bool,
    batch_blocks: int = BATCH_BLOCKS,
) -> NDArray[np.float32]:
    """Compute d J(x) for the direction d of each context's feature at its token, float32 [n, d_model].

    Parameters
    ----------
    site
        The model at the hook where the features write.
    blocks
        Text.
    contexts
        Features, and the tokens at which they write.
    decoder
        float32 [n_features, d_in], their directions.
    later
        Sum the moves of the position and all later ones of its block, instead of taking the position's alone.
    batch_blocks
        Contexts of a pass.
    """
    moved = [np.zeros((0, int(site.model.bridge.cfg.d_model)), np.float32)]
    for low in range(0, len(contexts), batch_blocks):
        part = contexts.take(np.arange(low, min(low + batch_blocks, len(contexts))))
        text = blocks.take(part.block)
        columns = np.arange(blocks.n_ctx)
        read = text.valid & (columns >= part.column[:, None]) if later else columns == part.column[:, None]
        tangent = _tangent(site, text, part.column, torch.from_numpy(decoder[part.feature]))
        moved.append((tangent * torch.from_numpy(read).to(tangent.device)[..., None]).sum(1).float().cpu().numpy())
    return np.concatenate(moved)


def _summed(site: ModelSite, blocks: TokenBlocks, source: NDArray[np.bool_], later: bool) -> NDArray[np.float64]:
    """Sum the Jacobians of all source positions, float64 [d_in, d_model]; one backward pass a component."""
    tokens, text = to_device(blocks, site.device)
    sources = torch.from_numpy(source).to(site.device)
    with torch.enable_grad():
        x, end = _from_site_to_end(site, tokens)
        rows = []
        for component in end[text if later else sources].sum(0):
            gradient = _gradient(component, x, site, retain_graph=True)
            rows.append(gradient[sources].flatten(1).float().sum(0).cpu().double())
    return torch.stack(rows, dim=1).numpy()


def _tangent(site: ModelSite, blocks: TokenBlocks, column: IntArray, direction: Tensor) -> Tensor:
    """Derivative of the stream's end by a step of one position of each block, [n_blocks, n_ctx, d_model].

    The gradient by x of ⟨u, end⟩ is linear in u, and its derivative by u in the direction of the step is the answer:
    two backward passes. Forward-mode derivatives of torch would compile decompositions first, for 5 s.
    """
    tokens, _ = to_device(blocks, site.device)
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        x, end = _from_site_to_end(site, tokens)
        u = torch.zeros_like(end, requires_grad=True)
        gradient = _gradient(end, x, site, u, create_graph=True)
        rows = torch.arange(len(column), device=x.device)
        stepped = gradient[rows, torch.from_numpy(column).to(x.device)].flatten(1)
        (tangent,) = torch.autograd.grad((stepped * direction.to(stepped)).sum(), u)
    return tangent


def _from_site_to_end(site: ModelSite, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Run the model; return the activations at the hook, as a leaf, and the end of the stream."""
    held: list[Tensor] = []
    ends: list[Tensor] = []

    def start(activation: Tensor, hook: Any) -> Tensor:
        held.append(activation.detach().clone().requires_grad_())
        return held[-1]

    def keep(activation: Tensor, hook: Any) -> None:
        ends.append(activation.clone())  # later modules may write into it

    hooks: list[Any] = [(site.hook, start), (stream_end(site.model.bridge), keep)]
    hooked_pass(site.model.bridge, tokens, hooks, return_type=None)
    if not held or not ends[0].requires_grad:
        raise _independent(site)
    return held[0], ends[0]


def _gradient(of: Tensor, x: Tensor, site: ModelSite, weight: Tensor | None = None, **options: Any) -> Tensor:
    gradient: Tensor | None = torch.autograd.grad(of, x, weight, allow_unused=True, **options)[0]
    if gradient is None:
        raise _independent(site)
    return gradient


def _independent(site: ModelSite) -> ModelError:
    return ModelError(
        f"the residual stream of model {site.name!r} does not depend on {site.hook}: expected a hook in front of "
        "its end"
    )


def _row_cosines(x: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Cosine of each row of x with the same row of y; 0 where one of them is 0."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    cosine: NDArray[np.float64] = np.einsum("nd,nd->n", x, y) / np.where(norms == 0, 1, norms)
    return cosine
