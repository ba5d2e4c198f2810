"""Freed memory is reused once that is asked for, and returned on request."""

import os
import platform
import subprocess
import sys

import pytest

from universality.heap import keep_freed_memory, return_freed_memory

FAULTS = """
import resource, sys
import numpy as np
from universality.heap import keep_freed_memory

if sys.argv[1] == "kept":
    keep_freed_memory()
np.ones(2**21)  # 16 MB
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**21), np.ones(2**21)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_freed_memory_is_reused_without_fresh_pages() -> None:
    faults = {}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    for way in ("kept", "default"):
        done = subprocess.run([sys.executable, "-c", FAULTS, way], env=environment, capture_output=True, check=True)
        faults[way] = int(done.stdout)
    assert 10 * faults["kept"] < faults["default"]


def test_memory_can_be_returned_at_any_time() -> None:
    keep_freed_memory()
    return_freed_memory()
    keep_freed_memory()
