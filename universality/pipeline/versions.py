"""What makes an artifact besides its settings: the version of a stage's code, and of the packages.

A stage's version is part of the key of its tasks, so that after an upgrade `run` makes anew what the upgrade changes,
and no more: what comes out the same stops there. Raise it by one whenever the stage makes other bytes of the same
inputs; ``tests/report/test_stage_versions.py`` fails where that was forgotten. Stamps that name no version were
written before there were any, by what is called version 1.
"""

import platform
from functools import cache
from importlib import metadata

from universality import __version__

STAGES = {
    "corpus": 2,
    "train-models": 2,
    "train-saes": 2,
    "collect": 2,
    "match": 2,
    "families": 2,
    "export": 2,
    "report": 3,
    "controls": 3,
    "crosscoder": 2,
}
"""The part of a task's name before the slash → the version of the code that makes it."""
_PACKAGES = ("torch", "transformers", "transformer-lens", "numpy", "scipy", "numba", "h5py", "tokenizers",
             "safetensors", "pandas", "matplotlib")  # fmt: skip


@cache
def package_versions() -> dict[str, str | None]:
    """Python, this package, and those whose numbers may differ from version to version; None for what is missing."""
    found = {"python": platform.python_version(), "universality": __version__}
    return found | {package: _version(package) for package in _PACKAGES}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a machine that reads activations needs no TransformerLens
        return None
