"""Versions of the packages that made an artifact, and ``provenance.json``, which gathers all stamps."""

import platform
from functools import cache
from importlib import metadata
from pathlib import Path

from universality import __version__
from universality.errors import FormatError
from universality.files import read_json, write_json

_PACKAGES = ("torch", "transformers", "transformer-lens", "numpy", "scipy", "numba", "h5py", "tokenizers",
             "safetensors", "pandas", "matplotlib")  # fmt: skip


@cache
def package_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages that numbers may depend on; None if missing."""
    versions = {"python": platform.python_version(), "universality": __version__}
    return versions | {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a machine that reads cached activations needs no TransformerLens
        return None


def write_provenance(root: Path) -> None:
    """Write ``provenance.json``: the stamps of all tasks, and the package versions of the last call.

    The file is left alone while no stamp has changed.
    """
    stamps = {}
    for path in sorted((root / ".done").glob("*.json")):
        try:
            stamp = read_json(path)
            stamps[stamp.pop("task")] = stamp
        except (FormatError, KeyError):  # truncated: its task runs again when it is next needed
            continue
    target = root / "provenance.json"
    try:
        recorded = read_json(target).get("tasks")
    except (FileNotFoundError, FormatError):  # a kill may have truncated it; the stamps hold everything in it
        recorded = None
    if recorded != stamps:
        write_json(target, {"last_call": package_versions(), "platform": platform.platform(), "tasks": stamps})
