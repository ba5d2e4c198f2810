"""Writers in processes that are killed at random moments, resumed, and killed again: run by test_resume.py.

Prints, for each of a few worlds, how many rows each attempt found committed, and the content hash in the end.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from feature_rows import activations, token_columns

from universality.features import FeatureStore
from universality.features.storage import writer as writer_module

N, BATCH = 400, 20


def attempt(path: Path, note: int) -> None:
    """Resume, note the rows found, append the others with a note after each batch, and finish."""
    matrix, columns = activations(N), token_columns(N)
    writer = FeatureStore.create(path, 12, {"seed": 1}, resume=True)
    os.write(note, writer.n_tokens.to_bytes(4, "little"))
    for start in range(writer.n_tokens, N, BATCH):
        part = slice(start, start + BATCH)
        writer.append(matrix[part], **{name: column[part] for name, column in columns.items()})
        os.write(note, b".")
        time.sleep(0.01)  # a model would take longer
    writer.finish().close()


def killed(path: Path, rng: np.random.Generator) -> int:
    """One attempt in a process of its own, killed shortly after one of its notes; the rows that it found."""
    reader, note = os.pipe()
    child = os.fork()
    if child == 0:
        attempt(path, note)
        os._exit(0)
    os.close(note)
    with os.fdopen(reader, "rb", buffering=0) as file:
        found = int.from_bytes(file.read(4), "little")
        for _ in range(rng.integers(0, (N - found) // BATCH + 2)):  # one too many: it comes to its end
            file.read(1)
        time.sleep(rng.uniform(0, 0.01))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return found


def main() -> None:
    """A few worlds."""
    writer_module.BUFFER = 300
    folder = Path(sys.argv[1])
    attempt(folder / "warm.h5", os.open(os.devnull, os.O_WRONLY))  # compiled loops are loaded before processes part
    rng = np.random.default_rng(0)
    worlds = []
    for world in range(4):
        path, found = folder / f"{world}.h5", []
        while not path.exists():
            found.append(killed(path, rng))
        with FeatureStore.open(path) as store:
            worlds.append({"resumed_at": found, "hash": store.content_hash()})
    print(json.dumps(worlds))


if __name__ == "__main__":
    main()
