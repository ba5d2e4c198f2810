"""Known layouts that an `SAE` cannot hold, refused by name."""

from __future__ import annotations

from typing import NoReturn

from universality.errors import FormatError
from universality.sae.formats.source import Source

NAME = "none of these"
_LAYOUTS = {
    ("cfg.json", "cc_weights.pt"): "a crosscoder of Kissane et al., which reads two models at once",
    ("hyperparams.json", "checkpoints/final.safetensors"): (
        "an SAE of Llama Scope as first published; convert it with Llamascopium, which writes config.json and "
        "sae_weights.safetensors"
    ),
}


def recognise(source: Source) -> bool:
    """Recognise a folder by its files."""
    return any(source.holds(*names) for names in _LAYOUTS)


def read(source: Source) -> NoReturn:
    """Raise a FormatError that names the layout."""
    reason = next(reason for names, reason in _LAYOUTS.items() if source.holds(*names))
    raise FormatError(f"{source.path}: cannot be read: {reason}")
