"""The SAE architectures by name. One more is one more file, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from universality.errors import ModelError
from universality.sae.architectures.base import Architecture
from universality.sae.architectures.batchtopk import BatchTopK
from universality.sae.architectures.jumprelu import JumpReLU
from universality.sae.architectures.matryoshka import Matryoshka
from universality.sae.architectures.relu import ReLU
from universality.sae.architectures.topk import TopK

ARCHITECTURES: dict[str, type[Architecture]] = {
    "relu": ReLU,
    "jumprelu": JumpReLU,
    "topk": TopK,
    "batchtopk": BatchTopK,
    "matryoshka": Matryoshka,
}


def architecture(name: str, settings: Mapping[str, Any]) -> Architecture:
    """The architecture of this name; it takes from ``settings`` those that it knows.

    Raises
    ------
    ModelError
        If there is none of this name.
    """
    if name not in ARCHITECTURES:
        raise ModelError(f"unknown SAE architecture {name!r}; known: {', '.join(ARCHITECTURES)}")
    kind = ARCHITECTURES[name]
    known = {f.name: settings[f.name] for f in fields(kind) if f.name in settings}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in known.items()})
