"""Long arrays on disk, compressed and decompressed chunk by chunk in threads.

HDF5 runs its filters under a global lock, on one thread. Here whole chunks are shuffled and deflated in threads (zlib
releases the GIL), stored with `write_direct_chunk`, and read back the same way. The strategy, run lengths, suits
shuffled planes of bytes: high bytes repeat, and so do the low bytes of rounded values, and little else does. The result
is ordinary HDF5: its own filters read these chunks, and chunks that they wrote are read here. Measured by
`tests/bench/store.py`.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from universality.features.storage.checksums import Checksum
from universality.features.storage.hdf5 import label

CHUNK = 1 << 16  # entries: 256 KiB of float32, 2,048 rows of 32 firings
THREADS = min(8, os.cpu_count() or 1)
_AHEAD = 32  # chunks of an array that may wait for a thread or for the disk: 8 MB, so memory stays bounded
_SHUFFLED_AND_DEFLATED = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]


class GrowingArray:
    """A 1-D dataset that grows piece by piece; `close` returns the checksum of its contents.

    Parameters
    ----------
    group, name
        Group and name of the new dataset.
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
        self._pool = pool
        self._tail: NDArray[Any] = np.empty(0, self._dtype)
        self._waiting: deque[tuple[int, Future[bytes]]] = deque()
        self._submitted = 0
        self._sha256 = hashlib.sha256()

    def append(self, values: NDArray[Any]) -> None:
        """Add values [n] at the end; they must not change before `close`, as threads compress them later."""
        values = np.ascontiguousarray(values, self._dtype)
        self._sha256.update(values.data)  # of the values, not of the file: errors on the way to the disk are found too
        joined = np.concatenate([self._tail, values]) if len(self._tail) else values
        whole = len(joined) // CHUNK * CHUNK
        for start in range(0, whole, CHUNK):
            chunk = joined[start : start + CHUNK]
            self._waiting.append((self._submitted, self._pool.submit(compressed, chunk)))
            self._submitted += CHUNK
            self._store(_AHEAD)
        self._tail = joined[whole:].copy()

    def close(self) -> Checksum:
        """Write the last chunk and return the checksum; nothing may be appended after."""
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


def compressed(chunk: NDArray[Any], strategy: int = zlib.Z_RLE) -> bytes:
    """Compress a chunk as HDF5's shuffle and deflate filters do: byte planes, in a zlib stream."""
    planes = np.ascontiguousarray(chunk.view(np.uint8).reshape(-1, chunk.itemsize).T)
    stream = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS, zlib.DEF_MEM_LEVEL, strategy)
    return stream.compress(planes.data) + stream.flush()


def read_array(dataset: h5py.Dataset, start: int, stop: int) -> NDArray[Any]:
    """Read ``dataset[start:stop]`` of a 1-D dataset; compressed chunks are decompressed in threads.

    Raises
    ------
    OSError
        When a chunk is damaged, as from h5py.
    """
    size = dataset.chunks[0] if dataset.chunks else 0
    if not size or stop - start < 2 * size or _filters(dataset) != _SHUFFLED_AND_DEFLATED:
        return np.asarray(dataset[start:stop])  # short spans: starting threads takes longer than one chunk
    out = np.empty(stop - start, dataset.dtype)

    def read(offset: int) -> None:
        low, high = max(offset, start), min(offset + size, stop)
        skipped, stored = dataset.id.read_direct_chunk((offset,))
        # A filter mask other than 0 means that HDF5 left a filter out for this chunk: let it read its own exception.
        chunk = dataset[low:high] if skipped else inflated(stored, out.dtype, size)[low - offset : high - offset]
        out[low - start : high - start] = chunk

    with ThreadPoolExecutor(THREADS, thread_name_prefix="inflate") as pool:
        for _ in pool.map(read, range(start // size * size, stop, size)):
            pass
    return out


def inflated(stored: bytes, dtype: np.dtype[Any], size: int) -> NDArray[Any]:
    """Decompress the ``size`` entries of a chunk that `compressed` or HDF5's filters wrote."""
    n_bytes = size * dtype.itemsize
    stream = zlib.decompressobj()
    try:
        bytes_ = stream.decompress(stored, n_bytes + 1)  # a damaged or hostile chunk may hold far more
    except zlib.error as problem:
        raise OSError(f"a chunk cannot be inflated: {problem}") from None
    if len(bytes_) != n_bytes or not stream.eof:
        raise OSError(f"a chunk holds other than the {n_bytes} bytes expected of it")
    planes = np.frombuffer(bytes_, np.uint8).reshape(dtype.itemsize, size)
    words = planes[-1].astype(f"<u{dtype.itemsize}")
    for plane in planes[-2::-1]:  # three times as fast as a transpose
        words <<= 8
        words |= plane
    return words.view(dtype)


def _filters(dataset: h5py.Dataset) -> list[int]:
    """HDF5 filters of the chunks, in order."""
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]
