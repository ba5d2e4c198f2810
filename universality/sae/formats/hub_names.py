"""SAEs by name: a place in a repository of the Hugging Face hub, or a release and id of SAELens's directory.

On the hub an SAE is ``owner/repository:path/inside``, with ``@revision`` before the colon for a branch, a tag or a
commit; without a path it lies at the repository's root. SAELens keeps a directory of published SAEs,
``pretrained_saes.yaml``, which maps a release and an id in it to such a place:
``gpt2-small-res-jb/blocks.8.hook_resid_pre``. The directory is read from the installed package ``sae_lens``, which is
not imported, or from the file that the environment variable ``SAELENS_DIRECTORY`` names.
"""

from __future__ import annotations

import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from universality.errors import FormatError, ModelError
from universality.files import as_path
from universality.hub import Repository, cached_folder, commit_of, fetch_files, list_files

_PLACE = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^\s@:]+))?(:(?P<path>[^\s:]+))?")
_DIRECTORY = "SAELENS_DIRECTORY"
# Files by which the formats recognise an SAE: what a listing of a repository is searched for.
_MARKERS = ("cfg.json", "params.npz", "params.safetensors", "ae.pt", "sae.safetensors", "sae_weights.safetensors")
_FILES = (".npz", ".pt", ".safetensors")


@dataclass(frozen=True)
class HubPlace:
    """Where an SAE lies on the hub.

    Parameters
    ----------
    repository
        The repository at a revision.
    path
        Folder or file inside, "" for the root.
    """

    repository: Repository
    path: str = ""

    def __str__(self) -> str:
        return f"{self.repository}:{self.path}" if self.path else str(self.repository)

    @property
    def patterns(self) -> tuple[str, ...]:
        """Patterns of the files that belong to the SAE."""
        if not self.path:
            return ("*.json", *(f"*{ending}" for ending in _FILES))
        return (self.path,) if self.path.endswith(_FILES) else (f"{self.path}/*",)


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
    path = fetch_files(place.repository, place.patterns) / place.path
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
    places = sorted({str(PurePosixPath(file).parent) for file in files if PurePosixPath(file).name in _MARKERS})
    if not places:
        endings = sorted(file for file in files if file.endswith(_FILES))
        return f"{repo} has no SAE of a known format; its files: {_some(endings or files)}"
    return f"{repo} has {len(places)}: {_some(places)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", …" if len(names) > 8 else "")


def _listed(text: str) -> HubPlace | None:
    """Look ``release/id`` up in SAELens's directory; return None without a directory or such a release."""
    file = _directory_file()
    if file is None:
        return None
    directory = _read_directory(file)
    releases = [release for release in directory if text.startswith(f"{release}/") or text == release]
    if not releases:
        return None
    release = max(releases, key=len)  # one release's name may begin another's
    entry, wanted = directory[release], text[len(release) + 1 :]
    saes = {str(sae["id"]): sae for sae in entry.get("saes", ()) if isinstance(sae, Mapping) and "id" in sae}
    if wanted not in saes:
        known = _some(sorted(saes))
        raise FormatError(f"{text}: release {release!r} in {file} has no id {wanted!r}; it has {known}")
    repo = str(entry.get("repo_id", ""))
    match = _PLACE.fullmatch(repo)
    if match is None:
        raise FormatError(f"{file}: release {release!r}: expected repo_id as owner/name, found {repo!r}")
    path = str(saes[wanted].get("path", wanted))
    return HubPlace(Repository(match["name"], match["revision"] or "main"), _inside(path, text))


def _directory_file() -> Path | None:
    if named := os.environ.get(_DIRECTORY):
        if not Path(named).is_file():
            raise FormatError(f"{_DIRECTORY}: no such file: {named}; it names SAELens's pretrained_saes.yaml")
        return Path(named)
    package = importlib.util.find_spec("sae_lens")
    folder = None if package is None or package.origin is None else Path(package.origin).parent
    file = None if folder is None else folder / "pretrained_saes.yaml"
    return file if file is not None and file.is_file() else None


def _read_directory(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FormatError(f"{file}: not YAML: {error}") from None
    if not isinstance(content, dict):
        raise FormatError(f"{file}: expected a mapping of releases, found {type(content).__name__}")
    return {str(name): entry for name, entry in content.items() if isinstance(entry, Mapping)}
