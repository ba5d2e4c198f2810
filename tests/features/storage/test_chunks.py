"""Long arrays: what threads deflate and inflate is what HDF5's own filters do."""

import re
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from universality.features.storage.chunks import CHUNK, GrowingArray, inflated, read_array

LENGTHS = (0, 1, CHUNK, 3 * CHUNK, 3 * CHUNK + 17)


def grown(group: h5py.Group, values: np.ndarray) -> h5py.Dataset:
    with ThreadPoolExecutor(2) as pool:
        array = GrowingArray(group, "grown", values.dtype.str, pool)
        for part in np.array_split(values, 5):
            array.append(part)
        array.close()
    return group["grown"]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["<f4", "<u4", "<i8"])
def test_any_span_is_what_hdf5_reads(tmp_path: Path, length: int, dtype: str) -> None:
    values = np.random.default_rng(0).integers(0, 1 << 30, length).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = grown(file, values)
        np.testing.assert_array_equal(dataset[:], values)
        for start, stop in ((0, length), (length // 3, length), (min(5, length), max(min(5, length), length - 3))):
            np.testing.assert_array_equal(read_array(dataset, start, stop), values[start:stop])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"chunks": (1000,)},
        {"chunks": (1000,), "compression": "gzip"},
        {"chunks": (1000,), "compression": "lzf", "shuffle": True},
        {"chunks": (1000,), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (1000,), "compression": "gzip", "shuffle": True},
    ],
)
@pytest.mark.parametrize("dtype", ["<f4", ">f4"])
def test_however_others_stored_it(tmp_path: Path, options: dict[str, Any], dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=10_001).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", data=values, **options)
        np.testing.assert_array_equal(read_array(dataset, 7, 9_999), values[7:9_999])


def test_a_chunk_whose_filters_were_skipped(tmp_path: Path) -> None:
    values = np.arange(4000, dtype="<u4")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("a", data=values, chunks=(1000,), compression="gzip", shuffle=True)
        dataset.id.write_direct_chunk((1000,), values[1000:2000].tobytes(), filter_mask=0b11)
        np.testing.assert_array_equal(read_array(dataset, 0, 4000), values)


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (b"not deflated", "cannot be inflated"),
        (zlib.compress(bytes(399)), "holds other than the 400 bytes"),
        (zlib.compress(bytes(401)), "holds other than the 400 bytes"),
        (zlib.compress(bytes(400))[:-2], "holds other than the 400 bytes"),
        (zlib.compress(bytes(400))[:-1] + b"x", "cannot be inflated"),
    ],
)
def test_a_damaged_chunk_is_refused(stored: bytes, said: str) -> None:
    with pytest.raises(OSError, match=re.escape(said)):
        inflated(stored, np.dtype("<f4"), 100)
