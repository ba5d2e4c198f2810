"""One-dimensional HDF5 arrays that grow, their chunks compressed by a pool of threads.

HDF5 compresses under a global lock on one thread, at level 1 of deflate about 70 to 140 MB/s. Here whole
chunks are shuffled and deflated in threads (zlib releases the GIL) and stored with `write_direct_chunk`. The
strategies are chosen for shuffled planes of bytes: run lengths for integers, whose high bytes repeat; Huffman
codes alone for floats, whose mantissas repeat nothing. Any inflate reads either. `tests/bench/store.py` measures.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from universality.features.hdf5 import Checksum, label

CHUNK = 1 << 16  # entries: 256 KiB of float32, 2,048 rows of 32 firings
_AHEAD = 32  # chunks that may wait for a thread or for the disk, an array


class GrowingArray:
    """A 1-D dataset, appended to piece by piece; `close` returns the checksum of its contents.

    Parameters
    ----------
    group, name
        Where the dataset is made.
    dtype
        Little-endian NumPy dtype, such as ``"<f4"``.
    pool
        Threads that compress.
    """

    def __init__(self, group: h5py.Group, name: str, dtype: str, pool: ThreadPoolExecutor) -> None:
        self._dtype = np.dtype(dtype)
        self._dataset = group.create_dataset(
            name, (0,), self._dtype, chunks=(CHUNK,), maxshape=(None,), shuffle=True, compression="gzip",
            compression_opts=1,
        )  # fmt: skip
        label(self._dataset, "array")
        self._strategy = zlib.Z_HUFFMAN_ONLY if self._dtype.kind == "f" else zlib.Z_RLE
        self._pool = pool
        self._tail: NDArray[Any] = np.empty(0, self._dtype)
        self._waiting: deque[tuple[int, Future[bytes]]] = deque()
        self._submitted = 0
        self._sha256 = hashlib.sha256()

    def append(self, values: NDArray[Any]) -> None:
        """Add values [n] at the end; they must not change before `close`."""
        values = np.ascontiguousarray(values, self._dtype)
        self._sha256.update(values.data)
        joined = np.concatenate([self._tail, values]) if len(self._tail) else values
        whole = len(joined) // CHUNK * CHUNK
        for start in range(0, whole, CHUNK):
            chunk = joined[start : start + CHUNK]
            self._waiting.append((self._submitted, self._pool.submit(compressed, chunk, self._strategy)))
            self._submitted += CHUNK
            self._store(_AHEAD)
        self._tail = joined[whole:].copy()

    def close(self) -> Checksum:
        """Write the rest; nothing may be appended after."""
        self._store(0)
        length = self._submitted + len(self._tail)
        self._dataset.resize((length,))
        if len(self._tail):  # HDF5 pads and deflates the last chunk itself
            self._dataset[self._submitted :] = self._tail
        return Checksum(self._dtype.str, (length,), self._sha256.hexdigest())

    def _store(self, keep: int) -> None:
        if len(self._waiting) > keep:
            self._dataset.resize((self._submitted,))
        while len(self._waiting) > keep:
            offset, future = self._waiting.popleft()
            self._dataset.id.write_direct_chunk((offset,), future.result())


def compressed(chunk: NDArray[Any], strategy: int) -> bytes:
    """What HDF5's shuffle and deflate filters make of a chunk: byte planes, as a zlib stream."""
    planes = np.ascontiguousarray(chunk.view(np.uint8).reshape(-1, chunk.itemsize).T)
    stream = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return stream.compress(planes.data) + stream.flush()
