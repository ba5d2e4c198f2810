"""Sparse autoencoders: trained in a grid, measured, encoded to (indices, values).

Terms: a *feature* is one direction of a dictionary (elsewhere: latent), the *width* d_sae their number; a feature
*fires* where its activation is positive; an SAE's *codes* are the features of a batch of tokens.
"""

from universality.sae.grid import clear_checkpoint, train_grid
from universality.sae.initialise import ActivationSummary, summarise
from universality.sae.products import fast_products
from universality.sae.quality import LossRecovered, Quality, QualityReport, loss_recovered
from universality.sae.sae import SAE
from universality.sae.spec import SAESpec
from universality.sae.train import SAETrainer

__all__ = [
    "SAE",
    "ActivationSummary",
    "LossRecovered",
    "Quality",
    "QualityReport",
    "SAESpec",
    "SAETrainer",
    "clear_checkpoint",
    "fast_products",
    "loss_recovered",
    "summarise",
    "train_grid",
]
