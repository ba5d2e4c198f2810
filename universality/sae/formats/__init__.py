"""SAEs of other tools, and ours: recognised by their files, checked, turned into the fields of an `SAE`.

One format is one file with ``NAME`` (with the files it looks for), ``recognise(source)`` and ``read(source)``, and a
line here. All files are data: nothing in them is executed, followed as a path, or allocated because it says so.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from universality.errors import FormatError
from universality.hub import repository
from universality.sae.formats import (
    dictionary_learning,
    gemma_scope,
    llamascopium,
    openai,
    ours,
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
    openai,
    unsupported,
)
"""The first that recognises a source reads it."""


def read(path: Path) -> Fields:
    """The fields of the SAE in a folder, or of which one file is named.

    Raises
    ------
    FormatError
        If there is none, its format is not known, or its files are torn, contradict themselves or hold what an `SAE`
        cannot.
    """
    source = Source(path)
    if not path.exists():
        hub = f"; of the hub: `hf download {path} --local-dir FOLDER`, and name FOLDER" if repository(path) else ""
        raise FormatError(f"{path}: no such file or folder; expected {_known()}{hub}")
    format = _format(source)
    if format is not None:
        fields: Fields = format.read(source)
        return fields
    found = sorted(entry.name for entry in source.folder.iterdir())
    listing = ", ".join(found[:8]) + (", …" if len(found) > 8 else "")
    raise FormatError(f"{path}: no SAE of a known format; expected {_known()}; found {listing or 'an empty folder'}")


def name_of(path: Path) -> str | None:
    """What the format of an SAE's folder or file is called, from the files that are there; None where none is known."""
    found = _format(Source(path)) if path.exists() else None
    return None if found is None else str(found.NAME)


def _format(source: Source) -> ModuleType | None:
    return next((format for format in FORMATS if format.recognise(source)), None)


def _known() -> str:
    return "; ".join(format.NAME for format in FORMATS if format is not unsupported)
