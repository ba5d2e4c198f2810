"""File formats of SAEs: recognised by their files, checked, converted to the fields of an `SAE`.

A format is one module with ``NAME`` (which lists its files), ``recognise(source)`` and ``read(source)``, and a line
here. Files are data: nothing in them is executed or followed as a path, and no memory is allocated on their word alone.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from universality.errors import FormatError
from universality.sae.formats import (
    attention_saes,
    circuit_tracer,
    dictionary_learning,
    gemma_scope,
    gemma_scope_2,
    linear_layers,
    llamascopium,
    openai,
    ours,
    qwen_scope,
    saelens,
    sparsify,
    unsupported,
)
from universality.sae.formats.fields import Fields
from universality.sae.formats.source import Source

FORMATS: tuple[ModuleType, ...] = (
    ours,
    saelens,
    sparsify,
    dictionary_learning,
    llamascopium,
    gemma_scope,
    gemma_scope_2,
    qwen_scope,
    linear_layers,
    attention_saes,
    openai,
    circuit_tracer,
    unsupported,
)
"""The first that recognises a source reads it."""


def read(path: Path) -> Fields:
    """Read the fields of the SAE in a folder, or of an SAE of which one file is named.

    Raises
    ------
    FormatError
        If there is no SAE, its format is unknown, its files are corrupt or contradict each other, or it is of a type
        that an `SAE` cannot hold.
    """
    source = Source(path)
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder; expected {_known()}")
    format = _format(source)
    if format is not None:
        fields: Fields = format.read(source)
        return fields
    names = sorted(entry.name for entry in source.folder.iterdir())
    listing = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    raise FormatError(f"{path}: no SAE of a known format; expected {_known()}; found {listing or 'an empty folder'}")


def name_of(path: Path) -> str | None:
    """Name of the format of an SAE's folder or file; None if no known format has such files."""
    format = _format(Source(path)) if path.exists() else None
    return None if format is None else str(format.NAME)


def _format(source: Source) -> ModuleType | None:
    return next((format for format in FORMATS if format.recognise(source)), None)


def _known() -> str:
    return "; ".join(format.NAME for format in FORMATS if format is not unsupported)
