"""What is asked of one SAE before its training starts."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, Literal

from universality.errors import ConfigError
from universality.sae.architectures import ARCHITECTURES
from universality.sae.normalisation import NORMALISATIONS

WHOLE = ("d_sae", "k", "nested", "seed", "aux_k", "dead_after_tokens", "resample_seed")
REAL = (
    "l1", "l0", "bandwidth", "learning_rate", "warmup_share", "decay_share", "penalty_warmup_share", "beta1", "beta2",
    "epsilon", "aux_weight", "resample_at", "max_norm_ratio",
)  # fmt: skip
OPTIONAL = ("learning_rate", "l1", "max_norm_ratio")
"""Numbers that may be None."""
Products = Literal["float32", "bfloat16"]
NARROWEST_TUNED = 512
WIDEST_L1 = 8192
"""Beyond it a larger penalty leaves half of the features silent before they have learnt."""


def tuned_rate(d_sae: int) -> float:
    """Adam's peak learning rate at a width, as a sweep over widths of 512 to 131,072 found it.

    `analyses/results/sae_scaling` has the sweep; as in Gao et al. (2024) the rate falls with the root of the width.
    """
    return 6e-3 * math.sqrt(2048 / max(d_sae, NARROWEST_TUNED))


def tuned_l1(d_sae: int) -> float:
    """Weight of the L1 penalty with which about 50 features fire on a token after 400,000 tokens, by the same sweep.

    More tokens bring fewer: the penalty goes on pressing.
    """
    return 5e-3 * (min(max(d_sae, NARROWEST_TUNED), WIDEST_L1) / 2048) ** 0.4


@dataclass(frozen=True)
class SAESpec:
    """One SAE of a grid: its architecture, its seed and how it learns.

    Raises
    ------
    ConfigError
        If a value cannot work.
    """

    d_sae: int
    """Width: the number of features."""
    architecture: str = "topk"
    """``topk``, ``batchtopk``, ``matryoshka``, ``relu`` or ``jumprelu``; each is a file of this folder."""
    k: int = 32
    """Features that fire on a token (topk), or do on average (batchtopk, matryoshka)."""
    nested: tuple[int, ...] = ()
    """Widths below d_sae at which the dictionary can be cut (matryoshka)."""
    l1: float | None = None
    """Weight of the L1 penalty (relu): loss = mean squared error + l1 · (sum of a token's activations); None is
    `tuned_l1` of the width."""
    l0: float = 1e-3
    """Weight of the L0 penalty (jumprelu): loss = mean squared error + l0 · (number of features that fire)."""
    bandwidth: float = 1.0
    """Width of the window about a threshold in which activations move it (jumprelu), where they have mean square 1."""
    seed: int = 0
    """Of the initial decoder."""
    learning_rate: float | None = None
    """Peak of Adam's learning rate; None is `tuned_rate` of the width."""
    warmup_share: float = 0.1
    """Share of the steps in which the learning rate rises linearly."""
    decay_share: float = 0.3
    """Share of the steps, at the end, in which it falls linearly to 0."""
    penalty_warmup_share: float = 0.3
    """Share of the steps in which the penalty rises linearly (relu, jumprelu): at full weight from the first step it
    silences features before they have learnt."""
    beta1: float = 0.9
    """Adam's decay of the first moment."""
    beta2: float = 0.99
    """Adam's decay of the second moment; short, since so are runs of a few hundred steps."""
    epsilon: float = 6.25e-10
    """Adam's; small since the gradients of rare features are (Gao et al. 2024)."""
    train_decoder: bool = True
    """False leaves the decoder rows as they were drawn: a control."""
    apply_b_dec_to_input: bool = True
    """Pre-encoder bias: subtract the decoder's bias before encoding."""
    aux_k: int = 256
    """Dead features that together reconstruct what the living leave over (topk, batchtopk, matryoshka)."""
    aux_weight: float = 1 / 32
    """Weight of that loss; 0 leaves it out."""
    dead_after_tokens: int = 20_000
    """A feature silent for this many tokens counts as dead."""
    resample_at: tuple[float, ...] = ()
    """Shares of the steps after which dead features are drawn anew, such as (0.25, 0.5)."""
    resample_seed: int = 0
    """Of the inputs that they are drawn from."""
    products: Products = "float32"
    """Number format of the encoder's product; bfloat16 is faster where the processor multiplies it."""
    max_norm_ratio: float | None = None
    """Leave out tokens farther from the activations' centre than this times the median distance; None: none."""
    normalize_activations: str = "none"
    """What is done to each token's activations first: ``none``, ``layer_norm``, ``constant_norm_rescale``."""

    def __post_init__(self) -> None:
        self._take_numbers()
        if not isinstance(self.architecture, str) or self.architecture not in ARCHITECTURES:
            raise ConfigError(f"unknown SAE architecture {self.architecture!r}; known: {', '.join(ARCHITECTURES)}")
        if self.products not in ("float32", "bfloat16"):
            raise ConfigError(f"products are float32 or bfloat16, found {self.products!r}")
        if self.normalize_activations not in NORMALISATIONS:
            raise ConfigError(
                f"normalize_activations is one of {', '.join(NORMALISATIONS)}; found {self.normalize_activations!r}"
            )
        if self.max_norm_ratio is not None and not 1 < self.max_norm_ratio < math.inf:
            raise ConfigError(
                f"max_norm_ratio must be finite and above 1, or None to leave out no token; found {self.max_norm_ratio}"
            )
        if self.penalty_warmup_share > 1:
            raise ConfigError(f"penalty_warmup_share must not exceed 1, found {self.penalty_warmup_share}")
        if self.warmup_share + self.decay_share > 1:
            raise ConfigError(
                f"warmup_share + decay_share must not exceed 1, found {self.warmup_share} + {self.decay_share}"
            )
        self._check_numbers()
        self._check_widths()

    def _take_numbers(self) -> None:
        """Numbers become Python's, lists of them (as JSON and YAML give them) tuples; anything else is refused."""
        for names, known, plain, what in ((WHOLE, Integral, int, "a whole number"), (REAL, Real, float, "a number")):
            for name in names:
                value = getattr(self, name)
                if value is None and name in OPTIONAL:
                    continue
                several = isinstance(getattr(type(self), name, None), tuple)
                if several != isinstance(value, list | tuple):
                    raise ConfigError(f"{name} must be {'a list' if several else what}, found {value!r}")
                for one in value if several else [value]:
                    if isinstance(one, bool) or not isinstance(one, known):
                        raise ConfigError(f"{name} must be {what}, found {one!r}")
                object.__setattr__(self, name, tuple(map(plain, value)) if several else plain(value))

    def _check_numbers(self) -> None:
        for name in ("d_sae", "k", "aux_k", "dead_after_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, found {getattr(self, name)}")
        shares = ("warmup_share", "decay_share", "penalty_warmup_share")
        numbers = self.as_dict()
        for name in ("l1", "l0", "aux_weight", "seed", "resample_seed", *shares):
            if not 0 <= numbers[name] < math.inf:
                raise ConfigError(f"{name} must be finite and not negative, found {numbers[name]}")
        for name in ("learning_rate", "epsilon", "bandwidth"):
            if not 0 < numbers[name] < math.inf:
                raise ConfigError(f"{name} must be finite and positive, found {numbers[name]}")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be in [0, 1), found {getattr(self, name)}")

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
        """Peak of Adam's learning rate, as it was asked for or by the width."""
        return tuned_rate(self.d_sae) if self.learning_rate is None else self.learning_rate

    def as_dict(self) -> dict[str, Any]:
        """The fields, for metadata and checkpoints, with the numbers that None stands for; what JSON holds."""
        values = {field.name: getattr(self, field.name) for field in fields(self)} | {"learning_rate": self.peak_rate}
        values["l1"] = tuned_l1(self.d_sae) if self.l1 is None else self.l1
        # left out where they do nothing: files and checkpoints from before they existed stay the same
        for name, off in (("max_norm_ratio", None), ("normalize_activations", "none")):
            if values[name] == off:
                del values[name]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
