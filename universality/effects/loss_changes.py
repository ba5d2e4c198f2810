"""Changes of the loss, token by token, when single features are ablated: where a feature is needed, and where not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from universality.activations import ModelSite
from universality.arrays import BoolArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.changes import ablate
from universality.effects.interventions import Intervention, edited_losses
from universality.sae import SAE


@dataclass(frozen=True)
class LossChanges:
    """Loss of every text token, and what ablating single features adds to it.

    Parameters
    ----------
    features
        [n_features] the features that were ablated, each alone.
    plain
        float32 [n_tokens] loss in nats without an intervention, in the order of ``blocks.valid``.
    added
        float32 [n_features, n_tokens] loss with the feature ablated minus that; 0 in blocks where it never fires.
    """

    features: IntArray
    plain: npt.NDArray[np.float32]
    added: npt.NDArray[np.float32]


def measure_loss_changes(
    site: ModelSite, sae: SAE, blocks: TokenBlocks, features: npt.ArrayLike, site_out: ModelSite | None = None
) -> LossChanges:
    """Ablate features one at a time, and measure what each costs the model.

    A feature's ablation changes nothing in a block where it never fires, so a pass reads only the other blocks.

    Parameters
    ----------
    site, sae, site_out
        See `universality.effects.Intervention`.
    blocks
        Text; the ablation acts on all tokens but BOS, and its effect on later tokens counts.
    features
        [n_features] indices.

    Raises
    ------
    UniversalityError
        If a feature does not exist, or is named twice.
    """
    chosen = np.atleast_1d(np.asarray(features))
    fires, plain = _firing_blocks(site, sae, blocks, chosen, site_out)
    added = np.zeros((chosen.size, plain.size), np.float32)
    block_of = np.repeat(np.arange(len(blocks)), blocks.length - 1)
    for row, feature in enumerate(chosen):
        part = np.flatnonzero(fires[row])
        if part.size:
            changed = edited_losses(site, blocks.take(part), [Intervention(site, sae, ablate([feature]), site_out)])
            where = fires[row][block_of]
            added[row, where] = changed - plain[where]
    return LossChanges(chosen.astype(np.int64), plain, added)


def _firing_blocks(
    site: ModelSite, sae: SAE, blocks: TokenBlocks, features: npt.NDArray[Any], site_out: ModelSite | None
) -> tuple[BoolArray, npt.NDArray[np.float32]]:
    """Return in which blocks each feature fires [n_features, n_blocks], and the loss of every token."""
    ablate(features)(sparse.csr_matrix((0, sae.d_sae)))  # refuses features that do not exist
    firings: list[npt.NDArray[np.bool_]] = []

    def note(codes: sparse.csr_matrix) -> sparse.csr_matrix:
        firings.append((codes[:, features] != 0).toarray())
        return sparse.csr_matrix(codes.shape, dtype=np.float32)

    plain = edited_losses(site, blocks, [Intervention(site, sae, note, site_out)])
    of_token = np.concatenate(firings)
    starts = np.concatenate([[0], np.cumsum(blocks.length[:-1] - 1)])
    return np.logical_or.reduceat(of_token, starts).T, plain
