"""Libraries that a plain ``pip install universality`` leaves out, and the extras that install them.

A plain installation opens and writes stores, matches, calibrates, builds families and exports. Where other
features begin, `naming_extra` turns a missing library into an error with the command that installs it.
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from universality.errors import MissingExtraError


@dataclass(frozen=True)
class Extra:
    """Optional dependencies of one group of features.

    Parameters
    ----------
    name
        Name in brackets, as in ``pip install 'universality[train]'``.
    libraries
        Name of each library in ``import`` → its name for pip.
    purpose
        Features that need them.
    """

    name: str
    libraries: Mapping[str, str]
    purpose: str

    @property
    def missing(self) -> list[str]:
        """Libraries of the extra that are not installed, by their names in ``import``."""
        return [library for library in self.libraries if find_spec(library) is None]


EXTRAS = (
    Extra(
        "train",
        {"torch": "torch", "transformer_lens": "transformer-lens", "transformers": "transformers"},
        "running and training models and SAEs, cost estimates",
    ),
    Extra(
        "hub",
        {"huggingface_hub": "huggingface-hub", "tokenizers": "tokenizers"},
        "tokenizers, names on the Hugging Face hub",
    ),
    Extra(
        "report",
        {
            "hdbscan": "hdbscan",
            "jinja2": "jinja2",
            "matplotlib": "matplotlib",
            "threadpoolctl": "threadpoolctl",
            "umap": "umap-learn",
        },
        "figures, maps of features and the HTML report",
    ),
    Extra("parquet", {"pyarrow": "pyarrow"}, "Parquet files, as text and as results"),
    Extra("label", {"openai": "openai"}, "labels by models behind a server"),
    Extra("cluster", {"distributed": "distributed"}, "matches and families on a Dask cluster"),
    Extra("serve", {"starlette": "starlette", "uvicorn": "uvicorn"}, "the live page of a run"),
    Extra("datasets", {"datasets": "datasets"}, "data sets of the Hugging Face hub as text"),
)
"""All extras but ``all``, which joins these. `pyproject.toml` declares the same libraries, with their versions."""
_EXTRA_OF = {library: extra.name for extra in EXTRAS for library in extra.libraries}


def install_command(extras: Iterable[str]) -> str:
    """Return the command that installs some extras.

    Examples
    --------
    >>> install_command(["train", "report"])
    "pip install 'universality[train,report]'"
    """
    return f"pip install 'universality[{','.join(extras)}]'"


def check_installed(purpose: str, libraries: Iterable[str]) -> None:
    """Refuse work that needs libraries which are not installed, before it begins.

    Parameters
    ----------
    purpose
        The work, as the subject of a sentence: "the HTML report".
    libraries
        Libraries of extras, by their names in ``import``.

    Raises
    ------
    MissingExtraError
        If one is missing; names all that are missing and one command that installs them.
    """
    if missing := [library for library in dict.fromkeys(libraries) if find_spec(library) is None]:
        raise _error(purpose, missing)


@contextmanager
def naming_extra(purpose: str) -> Iterator[None]:
    """Turn a missing library of an extra into an error that names the purpose and the command; other errors pass.

    Parameters
    ----------
    purpose
        Feature inside the block, as for `check_installed`.

    Raises
    ------
    MissingExtraError
        If the block imports a library of an extra that is not installed.

    Examples
    --------
    >>> with naming_extra("a picture"):
    ...     raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    Traceback (most recent call last):
    universality.errors.MissingExtraError: a picture needs matplotlib, which is not installed; run \
pip install 'universality[report]', or in a clone pip install '.[report]'
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _EXTRA_OF:
            raise
        raise _error(purpose, [library]) from error


def _error(purpose: str, missing: Sequence[str]) -> MissingExtraError:
    extras = dict.fromkeys(_EXTRA_OF[library] for library in missing)
    command = install_command(extras)
    return MissingExtraError(
        f"{purpose} needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed; run "
        f"{command}, or in a clone {command.replace('universality', '.')}"
    )


def import_name(package: str, name: str, homes: Mapping[str, str]) -> Any:
    """Import a public name of a package when it is first used, for the package's ``__getattr__``.

    Parameters
    ----------
    package, name
        The package, and the name that is looked up in it.
    homes
        Public name → the module that defines it.

    Raises
    ------
    AttributeError
        If the package has no such name.
    MissingExtraError
        If the module needs a library that is not installed.
    """
    if name not in homes:
        raise AttributeError(f"module {package!r} has no attribute {name!r}")
    with naming_extra(f"{package}.{name}"):
        return getattr(importlib.import_module(homes[name]), name)
