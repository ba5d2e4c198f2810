"""SAEs by name: a place in a repository of the Hugging Face hub, or a release and id of SAELens's directory.

On the hub an SAE is ``owner/repository:path/inside``, with ``@revision`` before the colon for a branch, a tag or a
commit; without a path it lies at the repository's root. SAELens keeps a directory of published SAEs, which maps a
release and an id in it to such a place: ``gpt2-small-res-jb/blocks.8.hook_resid_pre``
(`universality.sae.formats.saelens_directory`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from universality.errors import FormatError, ModelError
from universality.files import as_path
from universality.hub import Repository, cached_folder, commit_of, fetch_files, list_files
from universality.sae.formats import attention_saes, circuit_tracer, qwen_scope
from universality.sae.formats.saelens_directory import Listing, look_up

_PLACE = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^\s@:]+))?(:(?P<path>[^\s:]+))?")
# Files by which the formats recognise an SAE: what a listing of a repository is searched for.
_MARKERS = ("cfg.json", "params.npz", "params.safetensors", "ae.pt", "sae.safetensors", "sae_weights.safetensors")
_FILES = (".npz", ".pt", ".pth", ".safetensors")
_SINGLE = (".pt", ".pth")
"""Suffixes of files that hold a whole SAE, except for those of ``_MARKERS``."""


@dataclass(frozen=True)
class HubPlace:
    """Where an SAE lies on the hub.

    Parameters
    ----------
    repository
        The repository at a revision.
    path
        Folder or file inside, "" for the root.
    listing
        What SAELens's directory says of the SAE, if it was named by release and id.
    """

    repository: Repository
    path: str = ""
    listing: Listing | None = None

    def __str__(self) -> str:
        return f"{self.repository}:{self.path}" if self.path else str(self.repository)

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of the files that belong to the SAE; those of the root match files in folders too."""
        if not self.path:
            return ("*.json", *(f"*{ending}" for ending in _FILES))
        folder = f"{self.path}/*"  # which may be called anything: one release has folders v5_32k_layer_0.pt
        if not self.path.endswith(_FILES):
            return (folder,)
        file = PurePosixPath(self.path)
        settings = (file.with_name(name) for name in (qwen_scope.CONFIG, circuit_tracer.CONFIG))
        beside = (*settings, attention_saes.configuration(file))
        return (self.path, folder, *map(str, beside))


def hub_place(name: str | Path) -> HubPlace | None:
    """Return the place on the hub that a name stands for; None for a path on this disk and what cannot be a name.

    Raises
    ------
    FormatError
        If the path inside the repository leaves it, or the directory of SAELens has the release and not the id.

    Examples
    --------
    >>> hub_place("owner/saes@v2:layer_3/width_16k").path
    'layer_3/width_16k'
    >>> hub_place("saes/A/w512-s0") is None
    True
    """
    text = str(name)
    if Path(text).exists():
        return None
    listed = _listed(text)
    if listed is not None:
        return listed
    match = _PLACE.fullmatch(text)
    if match is None:
        return None
    return HubPlace(Repository(match["name"], match["revision"] or "main"), _inside(match["path"] or "", text))


def fetch_sae(place: HubPlace) -> Path:
    """Return the folder or file of an SAE in the local cache, downloaded if it is not there.

    A cached SAE is not compared with the hub again, so that all stages of a run read the same SAE.

    Raises
    ------
    FormatError
        If there is no such place; names what the repository has.
    ModelError
        If the hub cannot be reached or refuses, with what to do.
    """
    cached = cached_folder(place.repository, place.patterns)
    if cached is not None and _holds_sae(cached / place.path):
        return cached / place.path
    patterns = place.patterns if place.path else _at_root(place.repository)
    path = fetch_files(place.repository, patterns) / place.path
    if not _holds_sae(path):
        raise FormatError(f"{place}: no SAE there; {_offer(place.repository)}")
    return path


def local_sae(name: str | Path) -> Path:
    """Return the path of an SAE on this disk, downloaded first if ``name`` is a name on the hub.

    Raises
    ------
    FormatError, ModelError
        As `hub_place` and `fetch_sae`.
    """
    place = hub_place(name)
    return as_path(name) if place is None else fetch_sae(place)


def recorded_place(place: HubPlace, path: Path) -> dict[str, str]:
    """Return what is recorded of an SAE's origin: repository, path inside and commit."""
    root = path
    for _ in PurePosixPath(place.path).parts:
        root = root.parent
    commit = commit_of(root) or place.repository.revision
    return {"repository": place.repository.name, "path": place.path, "commit": commit}


def _inside(path: str, name: str) -> str:
    parts = PurePosixPath(path).parts
    if ".." in parts or path.startswith("/") or any(sign in path for sign in "*?["):
        raise FormatError(f"{name}: expected a path inside the repository, found {path!r}")
    return "/".join(parts)


def _at_root(repo: Repository) -> tuple[str, ...]:
    """Return the files of an SAE at a repository's root, so that those of all its folders are not downloaded."""
    names = [file for file in list_files(repo) if "/" not in file]
    weights = [name for name in names if name.endswith(_FILES)]
    if len(weights) != 1 and not set(_MARKERS) & set(names):
        raise FormatError(f"{repo}: no SAE there; {_offer(repo)}")
    return tuple(weights + [name for name in names if name.endswith(".json")])


def _holds_sae(path: Path) -> bool:
    if path.is_file():
        return True
    return path.is_dir() and any(entry.suffix in _FILES for entry in path.iterdir() if entry.is_file())


def _offer(repo: Repository) -> str:
    """List the places of a repository that look like SAEs, for a message."""
    try:
        files = list_files(repo)
    except ModelError:
        return "its list of files cannot be read either"
    folders = {str(PurePosixPath(file).parent) for file in files if PurePosixPath(file).name in _MARKERS}
    singles = {file for file in files if file.endswith(_SINGLE) and PurePosixPath(file).name not in _MARKERS}
    places = sorted(folders | singles)
    if not places:
        endings = sorted(file for file in files if file.endswith(_FILES))
        return f"{repo} has no SAE of a known format; its files: {_some(endings or files)}"
    return f"{repo} has {len(places)}: {_some(places)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _listed(text: str) -> HubPlace | None:
    """Place of an SAE that is named by release and id of SAELens's directory."""
    listing = look_up(text)
    if listing is None:
        return None
    match = _PLACE.fullmatch(listing.repository)
    if match is None:
        raise FormatError(f"{text}: expected repo_id as owner/name, found {listing.repository!r}")
    return HubPlace(Repository(match["name"], match["revision"] or "main"), _inside(listing.path, text), listing)
