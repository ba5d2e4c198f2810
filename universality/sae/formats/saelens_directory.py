"""SAELens's directory of published SAEs, ``pretrained_saes.yaml``: release and id → repository, path and settings.

The directory is read from the installed package ``sae_lens``, which is not imported, or from the file that the
environment variable ``SAELENS_DIRECTORY`` names. Beside the place of an SAE it has what the files of some do not hold:
the factor by which activations are scaled, another normalisation, or that the model's writing weights were centred.
It also names the function of SAELens that converts the files of a release; releases in layouts that cannot be read are
refused by that name before anything is downloaded.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from universality.errors import FormatError
from universality.sae.formats.fields import Fields, fold_centring, fold_scale
from universality.sae.formats.saelens import awaits_scale, with_scale

_VARIABLE = "SAELENS_DIRECTORY"
READ = (
    "sae_lens",
    "gemma_2",
    "gemma_3",
    "qwen_scope",
    "dictionary_learning_1",
    "sparsify",
    "llama_scope_r1_distill",
    "connor_rob_hook_z",
    "goodfire",
    "deepseek_r1",
    "gemma_2_transcoder",
    "mwhanna_transcoder",
)
"""Functions of SAELens whose layouts are read here; ``sae_lens`` is that of releases which name none."""
REFUSED = {
    "llama_scope": "the files of Llama Scope as first published do not say in which units their threshold is; convert "
    "them with Llamascopium",
    "temporal": "a temporal SAE encodes a token from those before",
    "mntss_clt_layer_transcoder": "a cross-layer transcoder writes to several layers",
}
"""Functions of SAELens whose layouts cannot be read, and why."""


@dataclass(frozen=True)
class Listing:
    """Entry of the directory for one SAE."""

    repository: str
    """``owner/name``, with ``@revision`` if the directory has one."""
    path: str
    """Folder or file inside."""
    scale: float | None = None
    """Factor for an SAE that expects its caller to scale activations."""
    normalize_activations: str | None = None
    """Normalisation that replaces the one in the file."""
    centred: bool = False
    """Whether the SAE was trained on a model whose writing weights were centred over d_model."""

    def apply(self, fields: Fields) -> Fields:
        """Convert the fields of an SAE, as its files give them, to what the directory says of it."""
        if self.normalize_activations is not None:
            fields = fields | {"normalize_activations": self.normalize_activations}
        if self.centred:  # TransformerLens subtracts the mean from all that writes to the residual stream
            note = {"center_writing_weights": "folded in: the encoder ignores the mean over d_model"}
            fields = fold_centring(fields) | {"metadata": fields["metadata"] | note}
        if self.scale is not None and awaits_scale(fields["metadata"]):
            metadata = with_scale(fields["metadata"], self.scale, source="SAELens's directory")
            fields = fold_scale(fields | {"metadata": metadata}, self.scale)
        return fields


def look_up(name: str) -> Listing | None:
    """Find ``release/id`` in the directory; None without a directory or such a release.

    Raises
    ------
    FormatError
        If the directory is not one, has the release and not the id, or the layout of the release cannot be read.
    """
    file = _file()
    if file is None:
        return None
    directory = _read(file, file.stat().st_mtime_ns)
    releases = [release for release in directory if name.startswith(f"{release}/") or name == release]
    if not releases:
        return None
    release = max(releases, key=len)  # one release's name may begin another's
    entry, wanted = directory[release], name[len(release) + 1 :]
    saes = {str(sae["id"]): sae for sae in entry.get("saes", ()) if isinstance(sae, Mapping) and "id" in sae}
    if wanted not in saes:
        known = sorted(saes)
        listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        raise FormatError(f"{name}: release {release!r} in {file} has no id {wanted!r}; it has {listed}")
    _check_loader(f"{name}: release {release!r} in {file}", str(entry.get("conversion_func") or "sae_lens"))
    return _listing(f"{file}: release {release!r}", entry, saes[wanted])


def _check_loader(where: str, loader: str) -> None:
    if loader in REFUSED:
        raise FormatError(f"{where} cannot be read (SAELens converts it with {loader!r}): {REFUSED[loader]}")
    if loader not in READ:
        raise FormatError(
            f"{where}: SAELens converts it with {loader!r}, which is not known here; known: {', '.join(READ)}. If its "
            "files are of a known format, name their repository: owner/repository:path"
        )


def _listing(where: str, entry: Mapping[str, Any], sae: Mapping[str, Any]) -> Listing:
    settings = entry.get("config_overrides") or {}
    model = settings.get("model_from_pretrained_kwargs") if isinstance(settings, Mapping) else None
    scale = sae.get("norm_scaling_factor")
    if scale is not None and not (isinstance(scale, int | float) and not isinstance(scale, bool) and 0 < scale < 1e12):
        raise FormatError(f"{where}: norm_scaling_factor must be a number above 0, found {scale!r}")
    return Listing(
        repository=str(entry.get("repo_id", "")),
        path=str(sae.get("path", sae["id"])),
        scale=None if scale is None else float(scale),
        normalize_activations=settings.get("normalize_activations") if isinstance(settings, Mapping) else None,
        centred=isinstance(model, Mapping) and model.get("center_writing_weights") is True,
    )


def _file() -> Path | None:
    if named := os.environ.get(_VARIABLE):
        if not Path(named).is_file():
            raise FormatError(f"{_VARIABLE}: no such file: {named}; it names SAELens's pretrained_saes.yaml")
        return Path(named)
    package = importlib.util.find_spec("sae_lens")
    folder = None if package is None or package.origin is None else Path(package.origin).parent
    file = None if folder is None else folder / "pretrained_saes.yaml"
    return file if file is not None and file.is_file() else None


@lru_cache(maxsize=2)
def _read(file: Path, changed: int) -> dict[str, Any]:
    """Read the directory; ``changed``, the file's time, lets a cached answer be used again."""
    # 1.5 MB of YAML: 0.7 s with libyaml, 3 s without, at each of the several look-ups of a name
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise FormatError(f"{file}: expected a mapping of releases, found {type(content).__name__}")
    return {str(name): entry for name, entry in content.items() if isinstance(entry, Mapping)}
