"""Reads a store again and again with something wrong in its file: our errors only; no crash, hang, or huge allocation.

    python tests/features/fuzz.py STORE FOLDER [--seconds 600 | --mutations 150] [--seed 1]

STORE is read once for its contents; mutated copies are made in FOLDER. Half of the mutations change bytes; the other
half change what HDF5 says (sizes, types, attributes, values) and leave its checksums in order, half of those also ours.
A mutated file must be refused by a `FormatError` or hold what it held. The last line is a JSON summary.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from feature_rows import damage, replace

from universality.errors import FormatError
from universality.features import FeatureStore
from universality.features.examples import examples
from universality.features.storage.checksums import checksum_of_dataset

HANG, MEMORY = 60, 1 << 29  # seconds for one file; bytes beyond what the process has when it begins
EXTREMES = (0, 1, -1, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -(2**63), 255)


def read(path: Path) -> dict[str, Any]:
    """Everything that a reader can ask a store for."""
    with FeatureStore.open(path) as store:
        whole = store.csr()
        list(store.batches(1 << 14))
        columns = store.columns(0, store.n_features)
        store.feature(store.n_features - 1)
        examples(store, range(min(3, store.n_features)), 2)
        _ = store.tokens.kind_names, store.documents, store.dictionary, store.unembedding(), store.moments().density
        _ = store.tokens_hash, store.mantissa_bits, store.alive, repr(store)
        assert columns.nnz == whole.nnz == store.n_stored
        store.verify()
        return {"contents": store.content_hash(), "provenance": store.provenance}


def change_bytes(content: bytearray, rng: np.random.Generator) -> bytearray:
    """Flip, overwrite, cut, repeat, remove or insert bytes somewhere."""
    at = int(rng.integers(len(content)))
    length = int(min(rng.choice([1, 2, 8, 64, 4096]), len(content) - at))
    what = rng.integers(8)
    if what <= 2:
        content[at] ^= 1 << int(rng.integers(8))
    elif what == 3:
        content[at : at + length] = rng.bytes(length)
    elif what == 4:
        content[at : at + 8] = int(rng.choice(EXTREMES[:5])).to_bytes(8, "little", signed=True)
    elif what == 5:
        start = int(rng.integers(len(content)))
        content[at : at + length] = content[start : start + length]
    elif what == 6:
        del content[at : at + length if rng.integers(2) else None]
    else:
        content[at:at] = bytes(length)
    return content


def change_meaning(file: h5py.File, rng: np.random.Generator) -> None:
    """Let HDF5 itself write something else in the place of an element or an attribute."""
    names: list[str] = []
    file.visit(names.append)
    name = str(rng.choice(names))
    node = file[name]
    extreme = int(rng.choice(EXTREMES))
    change: Callable[[], object]
    if rng.integers(3) == 0 or isinstance(node, h5py.Group):
        owner = file if rng.integers(4) == 0 else node
        key = str(rng.choice([*owner.attrs, "shape", "mantissa-bits"]))
        odd = [extreme, [extreme, extreme], [60, extreme], np.nan, "x" * 300, b"\xff", np.empty(0), h5py.Empty("f")]
        value = odd[int(rng.integers(len(odd)))]
        change = partial(owner.attrs.pop, key, 0) if rng.integers(5) == 0 else partial(owner.attrs.create, key, value)
    else:
        change = dataset_changes(file, name, extreme, rng)
    try:
        change()
    except Exception:
        return  # h5py did not let us
    if rng.integers(2):
        seal(file)


def seal(file: h5py.File) -> None:
    """Make our checksums agree with what is there now, where that can be read."""
    try:
        stated = json.loads(file["checksums"].asstr()[()])
        sums = {
            name: checksum_of_dataset(file[name]).to_json()
            for name in stated
            if name in file and file[name].size < 10**6
        }
        replace(file, "checksums", json.dumps(stated | sums))
    except Exception:
        return  # damaged beyond that


def dataset_changes(file: h5py.File, name: str, extreme: int, rng: np.random.Generator) -> Callable[[], object]:
    """One way in which a dataset can lie."""
    values = file[name][...]
    size = max(1, int(np.prod(values.shape)))
    numbers = values.dtype.kind in "if"

    def claim(shape: tuple[int, ...], **options: Any) -> None:
        """A dataset of any size, of which next to nothing is stored."""
        attrs = dict(file[name].attrs)
        dtype = file[name].dtype
        del file[name]
        made = file.create_dataset(name, shape, dtype, **options)
        for key, value in attrs.items():
            made.attrs[key] = value

    def one_value() -> None:
        flat = values.reshape(-1).copy()
        flat[int(rng.integers(size))] = extreme if rng.integers(2) else np.nan if values.dtype.kind == "f" else -extreme
        file[name][...] = flat.reshape(values.shape)

    return [
        one_value if numbers else lambda: replace(file, name, "[" * 100_000),
        one_value if numbers else lambda: replace(file, name, json.dumps({"a": extreme})),
        lambda: claim((abs(extreme),), chunks=(1 << 16,), compression="gzip"),
        lambda: claim((abs(extreme),), chunks=(min(abs(extreme) + 1, 2**30),)),
        lambda: claim(values.shape or (1,), chunks=tuple(max(1, n) for n in values.shape) or (1,)),
        lambda: file[name].resize((abs(extreme),)),
        lambda: file[name].resize((size + 1,)),
        lambda: replace(file, name, values[:-1]),
        lambda: replace(file, name, np.zeros((2, 2))),
        lambda: file.__delitem__(name),
        lambda: file.move(name, "elsewhere"),
    ][int(rng.integers(11))]


def main() -> None:
    """Mutate and read until the time is over or the number is reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--mutations", type=int, help="a number of mutations in place of a time")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    content, expected = given.store.read_bytes(), read(given.store)
    for sidecar in given.store.parent.glob("unembedding-*"):
        (given.folder / sidecar.name).write_bytes(sidecar.read_bytes())
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
    path = given.folder / "mutated.h5"
    found: Counter[str] = Counter()
    end = time.monotonic() + given.seconds
    number = 0
    while time.monotonic() < end if given.mutations is None else number < given.mutations:
        rng = np.random.default_rng([given.seed, number])
        faulthandler.dump_traceback_later(HANG, exit=True)
        if number % 2:
            path.write_bytes(change_bytes(bytearray(content), rng))
        else:
            path.write_bytes(content)
            damage(path, lambda file, rng=rng: change_meaning(file, rng))
        try:
            same = read(path) == expected
        except FormatError:
            found["refused"] += 1
        except BaseException:
            print(f"mutation {number} of seed {given.seed}:", file=sys.stderr)
            raise
        else:
            found["harmless"] += 1
            assert same or not number % 2, f"mutation {number} of seed {given.seed} changed contents unseen"
        faulthandler.cancel_dump_traceback_later()
        number += 1
    print(json.dumps({"mutations": number} | found))


if __name__ == "__main__":
    main()
