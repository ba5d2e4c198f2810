"""Without a writable folder the package still imports and matches, and warns how to make that fast."""

import os
import subprocess
import sys

import pytest

from universality.compiled import njit

SCRIPT = """
from universality import Similarity, match
print(match(Similarity.from_dense([[0.1, 0.9], [0.8, 0.2]])).cols.tolist())
"""


def test_without_a_folder_for_compiled_code_a_match_works() -> None:
    """numba has nowhere to write if this locator is the only one and it is given no folder."""
    nowhere = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    nowhere["NUMBA_CACHE_LOCATOR_CLASSES"] = "UserProvidedCacheLocator"
    nowhere["NUMBA_OPT"] = "0"  # compiles in half the time
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False, env=nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 0]\n"
    assert done.stderr.count("set the environment variable NUMBA_CACHE_DIR to a writable folder") == 1


def test_other_errors_of_the_compiler_are_its_own() -> None:
    with pytest.raises(TypeError, match="decorated object is not a function"):
        njit(cache=True)("no function")  # type: ignore[arg-type]
