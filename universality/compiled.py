"""numba's ``njit`` with a fallback for machines on which compiled code cannot be cached."""

import warnings
from collections.abc import Callable
from typing import Any

import numba


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile as ``numba.njit(cache=cache, **options)``, without a cache where numba finds no folder for it.

    That is the case where neither the installed package nor the home directory is writable: numba then raises "cannot
    cache function" as soon as the decorator is applied, which would make the package impossible to import.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=cache, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):  # numba has no class of its own for this error
                raise
        _warn_once()
        return numba.njit(**options)(function)

    return compiled


def _warn_once() -> None:
    if not _warned:
        _warned.append(True)
        warnings.warn(
            "compiled code can be cached neither beside the package nor in the home directory, so every process "
            "compiles it again: set the environment variable NUMBA_CACHE_DIR to a writable folder",
            RuntimeWarning,
            stacklevel=4,
        )


_warned: list[bool] = []
