"""Settings for training one SAE."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from universality.checked_settings import (
    CheckedSettings,
    Count,
    Natural,
    NotNegative,
    Positive,
    Share,
    ShareBelowOne,
)
from universality.errors import ConfigError

Products = Literal["float32", "bfloat16"]
NormalisationName = Literal["none", "layer_norm", "constant_norm_rescale"]
NARROWEST_TUNED = 512
"""Narrowest width of the sweep behind `tuned_rate` and `tuned_l1`."""
WIDEST_L1 = 8192
"""Width above which the tuned penalty no longer grows: a larger one silences half of the features before they have
learnt."""


def tuned_rate(d_sae: int) -> float:
    """Compute Adam's peak learning rate for a width, as tuned in a sweep over widths of 512 to 131,072.

    The sweep is in `analyses/results/sae_scaling`; as in Gao et al. (2024) the rate falls with the square root of the
    width.
    """
    return 6e-3 * math.sqrt(2048 / max(d_sae, NARROWEST_TUNED))


def tuned_l1(d_sae: int) -> float:
    """Compute the weight of the L1 penalty with which about 50 features fire on a token after 400,000 tokens.

    It comes from the same sweep as `tuned_rate`. After more tokens fewer features fire, since the penalty acts at every
    step.
    """
    return 5e-3 * (min(max(d_sae, NARROWEST_TUNED), WIDEST_L1) / 2048) ** 0.4


@dataclass(frozen=True)
class SAESpec(CheckedSettings):
    """One SAE of a grid: its architecture, its seed and how it is trained.

    Raises
    ------
    ConfigError
        If a value cannot work.

    Examples
    --------
    >>> SAESpec(2048, k=16).peak_rate
    0.006
    >>> SAESpec(8, k=16)
    Traceback (most recent call last):
    universality.errors.ConfigError: k (16) features cannot fire in a dictionary of 8; lower k
    """

    d_sae: Count
    """Width: the number of features."""
    architecture: str = "topk"
    """``topk`` keeps a token's k largest pre-activations, ``batchtopk`` a batch's; ``matryoshka`` can be cut at nested
    widths; ``relu`` pays an L1 penalty; ``jumprelu`` learns thresholds and pays for the number of features."""
    k: Count = 32
    """Features that fire on a token (topk), or do on average (batchtopk, matryoshka)."""
    nested: tuple[int, ...] = ()
    """Widths below d_sae at which the dictionary can be cut (matryoshka)."""
    l1: Annotated[float | None, Ge(0)] = None
    """Weight of the L1 penalty (relu): loss = mean squared error + l1 · (sum of a token's activations). By default one
    tuned for each width (`tuned_l1`), with which about 50 features fire on a token."""
    l0: NotNegative = 1e-3
    """Weight of the L0 penalty (jumprelu): loss = mean squared error + l0 · (number of features that fire)."""
    bandwidth: Positive = 1.0
    """Width of the window about a threshold in which activations move it (jumprelu), where they have mean square 1."""
    weight_decay: NotNegative = 0.0
    """Weight of an L2 penalty on the encoder: loss = … + weight_decay · (sum of squares of W_enc). It is part of the
    loss, as in Jedryszek & Crook (2026), and not AdamW's decoupled decay. A penalty on decoder rows, which have unit
    norm, would be constant."""
    seed: Natural = 0
    """Seed for the initial decoder weights."""
    learning_rate: Annotated[float | None, Gt(0)] = None
    """Peak of Adam's learning rate. By default one tuned for each width (`tuned_rate`), which falls with the square
    root of the width."""
    warmup_share: Share = 0.1
    """Share of the steps in which the learning rate rises linearly."""
    decay_share: Share = 0.3
    """Share of the steps, at the end, in which it falls linearly to 0."""
    penalty_warmup_share: Share = 0.3
    """Share of the steps in which the penalty rises linearly (relu, jumprelu): at full weight from the first step it
    silences features before they have learnt."""
    beta1: ShareBelowOne = 0.9
    """Adam's decay of the first moment."""
    beta2: ShareBelowOne = 0.99
    """Adam's decay of the second moment; short, since runs are often a few hundred steps long."""
    epsilon: Positive = 6.25e-10
    """Adam's epsilon; small, since the gradients of rare features are small (Gao et al. 2024)."""
    train_decoder: bool = True
    """Train the decoder rows. A control leaves them as they were drawn."""
    apply_b_dec_to_input: bool = True
    """Subtract the decoder's bias before encoding (pre-encoder bias)."""
    aux_k: Count = 256
    """Dead features that together reconstruct what the living ones leave over (topk, batchtopk, matryoshka)."""
    aux_weight: NotNegative = 1 / 32
    """Weight of that auxiliary loss; 0 leaves it out."""
    dead_after_tokens: Count = 20_000
    """A feature silent for this many tokens counts as dead, and is revived by the auxiliary loss or by resampling. On
    average a feature fires once in d_sae / k tokens."""
    resample_at: tuple[float, ...] = ()
    """Shares of the steps after which dead features are drawn anew from badly reconstructed inputs: [0.25, 0.5]."""
    resample_seed: Natural = 0
    """Seed for choosing the inputs used in resampling."""
    products: Products = "float32"
    """Number format of the encoder's product; bfloat16 is faster where the processor multiplies it."""
    max_norm_ratio: Annotated[float | None, Gt(1)] = None
    """Leave tokens out of training that are farther from the activations' centre than this times the median distance;
    10 is usual. By default none are left out. All tokens are encoded."""
    normalize_activations: NormalisationName = "none"
    """How each token's activations are normalised before an SAE sees them: its mean subtracted and divided by its
    standard deviation (``layer_norm``), or divided by its norm (``constant_norm_rescale``). No token can outweigh the
    others then; its norm no longer shows in the codes."""

    def __post_init__(self) -> None:
        # Imported here because the configuration reads the fields above, and must not need torch for it.
        from universality.sae.architectures import ARCHITECTURES

        if not isinstance(self.architecture, str) or self.architecture not in ARCHITECTURES:
            raise ConfigError(f"unknown SAE architecture {self.architecture!r}; known: {', '.join(ARCHITECTURES)}")
        super().__post_init__()
        if self.warmup_share + self.decay_share > 1:
            raise ConfigError(
                f"warmup_share + decay_share must not exceed 1, found {self.warmup_share} + {self.decay_share}"
            )
        self._check_widths()

    def _check_widths(self) -> None:
        if self.k > self.d_sae and self.architecture in ("topk", "batchtopk", "matryoshka"):
            raise ConfigError(f"k ({self.k}) features cannot fire in a dictionary of {self.d_sae}; lower k")
        if any(a >= b for a, b in pairwise((0, *self.nested, self.d_sae))):
            raise ConfigError(
                f"nested widths must rise from at least 1 to below d_sae = {self.d_sae}, found {list(self.nested)}"
            )
        if self.nested and self.architecture != "matryoshka":
            raise ConfigError(f"nested widths are of matryoshka, found {list(self.nested)} for {self.architecture}")
        if any(not 0 < share < 1 for share in self.resample_at):
            raise ConfigError(f"resample_at holds shares of the steps, above 0 and below 1, found {self.resample_at}")

    @property
    def peak_rate(self) -> float:
        """Peak of Adam's learning rate: as set, or tuned for the width."""
        return tuned_rate(self.d_sae) if self.learning_rate is None else self.learning_rate

    def as_dict(self) -> dict[str, Any]:
        """Settings by name, for metadata and checkpoints; None is replaced by the number that it stands for."""
        values = super().as_dict() | {"learning_rate": self.peak_rate}
        values["l1"] = tuned_l1(self.d_sae) if self.l1 is None else self.l1
        # Left out where they do nothing: files and checkpoints from before they existed stay the same.
        for name, off in (("max_norm_ratio", None), ("normalize_activations", "none"), ("weight_decay", 0.0)):
            if values[name] == off:
                del values[name]
        return values
