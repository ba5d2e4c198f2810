"""Known layouts that an `SAE` cannot hold, refused by name."""

from __future__ import annotations

from typing import NoReturn

from universality.errors import FormatError
from universality.sae.formats.source import Source

NAME = "none of these"
_LAYOUTS = {
    ("cfg.json", "cc_weights.pt"): (
        "a crosscoder of Kissane et al., which reads two models at once. Its weights are for activations that were "
        "scaled by factors which the files do not hold. Train one here (universality crosscoder), or load an SAE of "
        "each model and match these"
    ),
    ("hyperparams.json", "checkpoints/final.safetensors"): (
        "an SAE of Llama Scope as first published, whose files do not say in which units its threshold is; convert it "
        "with Llamascopium, which writes config.json and sae_weights.safetensors"
    ),
    ("conf.yaml", "latest_ckpt.safetensors"): (
        "a temporal SAE, which encodes a token from those before; SAEs that encode each token by itself can be read"
    ),
}
"""Files by which a layout is recognised, and what it is."""


def recognise(source: Source) -> bool:
    """Recognise a folder by its files."""
    return any(source.holds(*names) for names in _LAYOUTS)


def read(source: Source) -> NoReturn:
    """Raise a FormatError that names the layout."""
    reason = next(reason for names, reason in _LAYOUTS.items() if source.holds(*names))
    raise FormatError(f"{source.path}: cannot be read: {reason}")
