"""Writers in processes that are killed after random times, resumed, and killed again: run by test_resume.py.

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
from universality.features import writer as writer_module

N, BATCH = 400, 20
writer_module.BUFFER = 300


def attempt(path: Path, note: int) -> None:
    """Resume, note the rows found, append the others and finish."""
    matrix, columns = activations(N), token_columns(N)
    writer = FeatureStore.create(path, 12, {"seed": 1}, resume=True)
    os.write(note, b"%d\n" % writer.n_tokens)
    for start in range(writer.n_tokens, N, BATCH):
        part = slice(start, start + BATCH)
        writer.append(matrix[part], **{name: column[part] for name, column in columns.items()})
        time.sleep(0.01)  # as a model would take: else most kills fall into the finish
    writer.finish().close()


def killed(path: Path, seconds: float) -> list[int]:
    """One attempt in a process of its own, killed after so long; the rows that it found, if it came so far."""
    reader, note = os.pipe()
    child = os.fork()
    if child == 0:
        attempt(path, note)
        os._exit(0)
    os.close(note)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(reader) as file:
        return [int(line) for line in file]


def main() -> None:
    """A few worlds."""
    folder = Path(sys.argv[1])
    attempt(folder / "warm.h5", os.open(os.devnull, os.O_WRONLY))  # compiled loops are loaded before processes part
    start = time.perf_counter()
    attempt(folder / "timed.h5", os.open(os.devnull, os.O_WRONLY))
    whole = time.perf_counter() - start
    rng = np.random.default_rng(0)
    worlds = []
    for world in range(4):
        path, found, longest = folder / f"{world}.h5", [], 0.6
        while not path.exists():
            found += killed(path, rng.uniform(0.1, longest) * whole)
            longest += 0.1
        with FeatureStore.open(path) as store:
            worlds.append({"resumed_at": found, "hash": store.content_hash()})
    print(json.dumps(worlds))


if __name__ == "__main__":
    main()
