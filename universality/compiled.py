"""numba's ``njit``, for machines where compiled code cannot be kept too."""

import warnings
from collections.abc import Callable
from typing import Any

import numba


def njit(*, cache: bool = False, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit(**options)``; where numba finds no folder for its cache, the function is compiled in every process.

    That is so where neither the installed package nor the home directory can be written: ``cache=True`` would then end
    the import with "cannot cache function".
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=cache, **options)(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
        _warn_once()
        return numba.njit(**options)(function)

    return compiled


def _warn_once() -> None:
    if not _warned:
        _warned.append(True)
        warnings.warn(
            "compiled code cannot be kept, neither beside the package nor in the home directory, so every process "
            "compiles it anew: set the environment variable NUMBA_CACHE_DIR to a folder that can be written",
            RuntimeWarning,
            stacklevel=4,
        )


_warned: list[bool] = []
