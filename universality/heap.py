"""Memory that the C library keeps for reuse, where that is glibc; no effect elsewhere.

By default glibc returns large arrays to the system as soon as they are freed, and each new one gets fresh pages, which
the system fills with zeros. A stage makes arrays of some megabytes again and again, and fresh pages then take a good
part of the system's time; `/usr/bin/time -v universality train-saes CONFIG` counts them as minor page faults.
"""

import ctypes
import os

KEPT_BYTES = 1 << 30
"""Freed memory that is kept, at most, and the size from which an array is returned at once."""
_OLD_LARGEST = 1 << 25  # glibc before 2.35 accepts no larger size
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h


def keep_freed_memory() -> None:
    """Let the process reuse freed memory from here on, instead of returning it to the system."""
    mallopt = _function("mallopt")
    if mallopt is not None and (mallopt(_MMAP_THRESHOLD, KEPT_BYTES) or mallopt(_MMAP_THRESHOLD, _OLD_LARGEST)):
        mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def return_freed_memory() -> None:
    """Return freed memory to the system now."""
    malloc_trim = _function("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _function(name: str) -> "ctypes._NamedFuncPointer | None":
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
