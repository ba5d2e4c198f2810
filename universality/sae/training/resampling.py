"""Resampling: dead features get the directions of inputs that the SAE reconstructs badly.

At chosen steps every dead feature (at most as many as inputs are stored) gets the direction of an input from the last
batches, drawn with probability proportional to its squared loss: the decoder row is the unit vector of x − b_dec, the
encoder row the same times 0.2 × the mean norm of the living features' encoder rows, the bias 0. Adam forgets the
feature's moments.

Bricken et al. 2023, *Towards Monosemanticity*. They compute the losses of 819,200 inputs at once, with the current
weights; here the loss of an input is that of the step that saw it, within the last `WINDOW_STEPS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from universality.sae.compute.weights import Weights
from universality.sae.training.adam import Adam

WINDOW_STEPS = 100
MOST_INPUTS = 8192  # more dead features than that are resampled at later steps
ENCODER_SHARE = 0.2  # of the living: a feature that fires at full strength at once would disturb the others


class Reservoir:
    """A weighted sample, without replacement, of a stream of inputs.

    Each input gets the key log(u) / weight with u uniform; the inputs with the largest keys are a sample drawn one
    after the other with probabilities proportional to their weights (Efraimidis & Spirakis 2006). A stream cut into
    other batches gives the same distribution.
    """

    def __init__(self, d_in: int, size: int, device: torch.device) -> None:
        self.size = size
        self.keys = torch.empty(0, dtype=torch.float64, device=device)
        self.inputs = torch.empty(0, d_in, device=device)

    def add(self, inputs: Tensor, weights: Tensor, rng: np.random.Generator) -> None:
        """Offer inputs [n_tokens, d_in] with weights [n_tokens], each at least 0."""
        uniform = torch.from_numpy(rng.random(len(inputs))).to(inputs.device)
        keys = torch.cat([self.keys, torch.where(weights > 0, uniform.log() / weights.double(), -torch.inf)])
        best = keys.argsort(descending=True, stable=True)[: self.size]
        self.keys, self.inputs = keys[best], torch.cat([self.inputs, inputs])[best]

    def clear(self) -> None:
        """Remove all inputs."""
        self.keys, self.inputs = self.keys[:0], self.inputs[:0]

    def state_dict(self) -> dict[str, Tensor]:
        """Keys and inputs, for a checkpoint."""
        return {"keys": self.keys.clone(), "inputs": self.inputs.clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state_dict` returned."""
        self.keys = state["keys"].to(self.keys.device)
        self.inputs = state["inputs"].to(self.inputs.device)


def resample(
    weights: Weights,
    adam: Adam,
    dead: Tensor,
    inputs: Tensor,
    log_threshold: float = 0.0,
    parameters: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Give dead features the directions of inputs.

    Parameters
    ----------
    dead : int64 [n_dead]
        The dead features.
    inputs : [n_inputs, d_in]
        Scaled activations, in the order in which they were drawn.
    log_threshold
        Initial value of learnt thresholds.
    parameters
        Initial values of an architecture's own parameters, each [d_sae, …].

    Returns
    -------
    Tensor
        The features that were changed: all dead ones, or as many of them as there are inputs.
    """
    changed = dead[: len(inputs)]
    if not len(changed):
        return changed
    living = torch.ones(len(weights.b_enc), dtype=torch.bool, device=dead.device)
    living[dead] = False
    norms = torch.linalg.vector_norm(weights.W_enc, dim=1)
    # where no feature lives, dead ones are the only measure of an encoder row's norm
    scale = norms[living].mean() if bool(living.any()) else norms.mean()
    rows = inputs[: len(changed)] - weights.b_dec
    rows = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
    weights.W_dec[changed] = rows
    weights.W_enc[changed] = rows * (ENCODER_SHARE * scale)
    weights.b_enc[changed] = 0
    if weights.log_threshold is not None:
        weights.log_threshold[changed] = log_threshold
    for name, initial in (parameters or {}).items():
        weights.parameters[name][changed] = initial[changed.cpu()].to(changed.device)
    adam.forget(changed)
    return changed
