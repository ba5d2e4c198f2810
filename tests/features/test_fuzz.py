"""The reader among mutated files, in a process of its own so that a crash or a hang of the library is seen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from feature_rows import activations, write

from universality.features import Dictionary
from universality.models.unembedding import Unembedding

SECONDS = os.environ.get("FUZZ_SECONDS")  # for the long run
MUTATIONS = 100


def test_only_our_errors(tmp_path: Path) -> None:
    weights = Dictionary(np.ones((12, 5)), np.ones((12, 5)), np.ones(12), np.ones((12, 4)))
    unembedding = Unembedding(np.ones((4, 9)), np.ones(4), np.arange(9) < 8, True)
    write(tmp_path / "a.h5", activations(60), dictionary=weights, unembedding=unembedding).close()
    (tmp_path / "mutated").mkdir()
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("fuzz.py"), tmp_path / "a.h5", tmp_path / "mutated",
         *(["--seconds", SECONDS] if SECONDS else ["--mutations", str(MUTATIONS)])],
        capture_output=True, text=True, check=False, timeout=float(SECONDS or 0) + 300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["refused"] > found["mutations"] // 3
    assert SECONDS or found["mutations"] == MUTATIONS
