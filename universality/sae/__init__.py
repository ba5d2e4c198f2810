"""Sparse autoencoders: trained in a grid, measured, encoded to (indices, values).

Terms: a *feature* is one direction of a dictionary (elsewhere: latent), and the *width* d_sae is the number of
features. A feature *fires* where its activation is positive. An SAE's *codes* are the features that fire on the tokens
of a batch, with their activations.

Names are imported when first used: a configuration reads the settings of an SAE without torch.
"""

from typing import TYPE_CHECKING, Any

from universality.extras import import_name

if TYPE_CHECKING:
    from universality.sae.activation_summary import ActivationSummary, summarise
    from universality.sae.architectures import register_architecture
    from universality.sae.architectures.base import Architecture, AutogradArchitecture, ForwardPass
    from universality.sae.compute.products import fast_products
    from universality.sae.crosscoder import Crosscoder
    from universality.sae.latent_scaling import LatentScaling
    from universality.sae.quality import LossRecovered, Quality, QualityReport, loss_recovered
    from universality.sae.sae import SAE
    from universality.sae.training.grid import clear_checkpoints, merge_logs, train_grid
    from universality.sae.training.initial_distance import Beginning, beginnings
    from universality.sae.training.spec import SAESpec
    from universality.sae.training.trainer import SAETrainer
    from universality.sae.training.watchers import watcher

_HOME = {
    "ActivationSummary": "universality.sae.activation_summary",
    "Architecture": "universality.sae.architectures.base",
    "AutogradArchitecture": "universality.sae.architectures.base",
    "Beginning": "universality.sae.training.initial_distance",
    "Crosscoder": "universality.sae.crosscoder",
    "ForwardPass": "universality.sae.architectures.base",
    "LatentScaling": "universality.sae.latent_scaling",
    "LossRecovered": "universality.sae.quality",
    "Quality": "universality.sae.quality",
    "QualityReport": "universality.sae.quality",
    "SAE": "universality.sae.sae",
    "SAESpec": "universality.sae.training.spec",
    "SAETrainer": "universality.sae.training.trainer",
    "beginnings": "universality.sae.training.initial_distance",
    "clear_checkpoints": "universality.sae.training.grid",
    "fast_products": "universality.sae.compute.products",
    "loss_recovered": "universality.sae.quality",
    "merge_logs": "universality.sae.training.grid",
    "register_architecture": "universality.sae.architectures",
    "summarise": "universality.sae.activation_summary",
    "train_grid": "universality.sae.training.grid",
    "watcher": "universality.sae.training.watchers",
}
__all__ = [
    "SAE",
    "ActivationSummary",
    "Architecture",
    "AutogradArchitecture",
    "Beginning",
    "Crosscoder",
    "ForwardPass",
    "LatentScaling",
    "LossRecovered",
    "Quality",
    "QualityReport",
    "SAESpec",
    "SAETrainer",
    "beginnings",
    "clear_checkpoints",
    "fast_products",
    "loss_recovered",
    "merge_logs",
    "register_architecture",
    "summarise",
    "train_grid",
    "watcher",
]


def __getattr__(name: str) -> Any:
    return import_name(__name__, name, _HOME)
