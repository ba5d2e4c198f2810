"""Detection of transcoders, which read one site and write to another, where their format does not mark them.

Their tensors may be those of an SAE. They are recognised by a second site or width in the configuration, a flag in the
configuration of the whole training (sparsify of November 2024 has none in the SAE's own), or a folder's name. Formats
that mark transcoders read them; in the others it is unknown by which equations they encode.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from universality.errors import FormatError

_FLAGS = ("transcode", "transcoder", "is_transcoder")
_INPUTS = ("hook_name", "hook_point", "hook_point_in", "hook_name_in", "hf_hook_point_in")
_OUTPUTS = ("hook_name_out", "out_hook_point", "hook_point_out", "hf_hook_point_out")

_NAMED = re.compile(r"(?:^|[-.])transcoders?(?:$|[-.])")
"""Matches names of repositories such as gemma-scope-2b-pt-transcoders and skip-transcoder-…."""


def refuse_transcoder(values: Mapping[str, Any], where: str | Path) -> None:
    """Check that a configuration, or a section of it, names a single site.

    Raises
    ------
    FormatError
        If it describes a transcoder.
    """
    if flags := [name for name in _FLAGS if values.get(name) is True]:
        raise _refused(where, f"{flags[0]} is set")
    into = next((values[name] for name in _INPUTS if values.get(name)), None)
    out = next((values[name] for name in _OUTPUTS if values.get(name)), None)
    if out is not None and out != into:
        raise _refused(where, f"it reads {into!r} and writes to {out!r}")
    d_in, d_out = values.get("d_in"), values.get("d_out")
    if d_out is not None and d_out != d_in:
        raise _refused(where, f"d_in is {d_in!r}, d_out {d_out!r}")


def named_transcoder(folders: Iterable[str]) -> str | None:
    """The first folder that is named for transcoders, for formats whose files do not distinguish them."""
    return next((name for name in folders if _NAMED.search(name.lower())), None)


def refuse_named_transcoder(folders: Iterable[str], path: Path) -> None:
    """Check the names of an SAE's folders.

    Raises
    ------
    FormatError
        If a folder is named for transcoders.
    """
    if folder := named_transcoder(folders):
        raise _refused(path, f"its files are those of an SAE, but they lie in {folder!r}. If it is an SAE, rename that")


def _refused(where: str | Path, why: str) -> FormatError:
    return FormatError(
        f"{where}: a transcoder, which reads one site of a model and writes to another, cannot be read in this layout: "
        f"{why}"
    )
