"""The SAE architectures by name: the five that are built in, and those that are registered from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from universality.errors import ModelError
from universality.sae.architectures.base import Architecture
from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.jumprelu import JumpReLU
from universality.sae.architectures.matryoshka import Matryoshka
from universality.sae.architectures.relu import ReLU
from universality.sae.architectures.topk import TopK

BUILT_IN: dict[str, type[Architecture]] = {
    "relu": ReLU,
    "jumprelu": JumpReLU,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "matryoshka": Matryoshka,
}
ARCHITECTURES = dict(BUILT_IN)
"""Name → class, those of `register_architecture` included."""


def register_architecture(name: str, architecture: type[Architecture]) -> None:
    """Make an architecture known under a name, for `SAESpec`, files of SAEs and configurations.

    Registering the same class again, as when a notebook cell is run again, replaces it.

    Parameters
    ----------
    name
        Value of ``architecture`` in specs and files.
    architecture
        A frozen dataclass derived from `AutogradArchitecture`, which needs a forward pass alone, or from
        `Architecture`, with a backward pass. Its fields are its settings: those named as in `SAESpec` are taken from
        the spec, all others need a default. Values must be such as JSON holds.

    Raises
    ------
    ModelError
        If the name is taken, or the class is not such a dataclass.

    Examples
    --------
    A gated SAE (Rajamanoharan et al. 2024): a gate decides what fires, a rescaled copy of it how strongly. The gate
    learns from an L1 penalty, and from the error of a reconstruction by the gate alone.

    >>> from dataclasses import dataclass, replace
    >>> import torch
    >>> from universality.sae import AutogradArchitecture, SAESpec, SAETrainer, register_architecture
    >>> @dataclass(frozen=True)
    ... class Gated(AutogradArchitecture):
    ...     l1: float = 0.0
    ...     def parameters(self, d_sae):
    ...         return {"log_gain": torch.zeros(d_sae), "shift": torch.zeros(d_sae)}
    ...     def forward(self, pre, parameters):
    ...         return (pre > 0) * (parameters["log_gain"].exp() * pre + parameters["shift"]).relu()
    ...     def token_penalty(self, step):
    ...         gate = step.pre.relu()
    ...         return self.l1 * gate.sum(dim=1) + (gate @ step.decoder - step.targets).square().mean(dim=1)
    ...     def scheduled(self, penalty_share, progress):
    ...         return replace(self, l1=self.l1 * penalty_share)
    >>> register_architecture("gated-example", Gated)
    >>> activations = torch.randn(512, 8, generator=torch.Generator().manual_seed(0))
    >>> trainer = SAETrainer(SAESpec(32, "gated-example", l1=0.01), activations, total_steps=3)
    >>> for batch in activations.split(200):
    ...     numbers = trainer.step(batch)
    >>> sae = trainer.finish()
    >>> sorted(sae.parameters), sae.encode(activations).shape
    (['log_gain', 'shift'], (512, 32))
    """
    if not (is_dataclass(architecture) and issubclass(architecture, Architecture)):
        raise ModelError(
            f"architecture {name!r} must be a dataclass derived from AutogradArchitecture (or Architecture), found "
            f"{architecture!r}"
        )
    registered = ARCHITECTURES.get(name)
    if registered is not None and _full_name(registered) != _full_name(architecture):
        raise ModelError(f"the architecture name {name!r} is taken by {_full_name(registered)}; choose another")
    ARCHITECTURES[name] = architecture


def _full_name(architecture: type) -> str:
    return f"{architecture.__module__}.{architecture.__qualname__}"


def build_architecture(name: str, settings: Mapping[str, Any]) -> Architecture:
    """Return the architecture of this name, with those of the ``settings`` that are fields of it.

    Raises
    ------
    ModelError
        If no architecture has this name, or a field without a default is missing.
    """
    if name not in ARCHITECTURES:
        raise ModelError(
            f"unknown SAE architecture {name!r}; known: {', '.join(ARCHITECTURES)}. If it is defined elsewhere, import "
            "the module that calls universality.sae.register_architecture for it first"
        )
    architecture = ARCHITECTURES[name]
    required = [f.name for f in fields(architecture) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [field for field in required if field not in settings]:
        raise ModelError(f"architecture {name!r} needs {', '.join(missing)}, which SAESpec lacks; give it a default")
    # JSON and YAML turn tuples into lists; frozen dataclasses must be hashable.
    values = {f.name: settings[f.name] for f in fields(architecture) if f.name in settings}
    return architecture(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
