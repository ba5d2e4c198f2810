"""Our own: the two files of SAELens 6, so that SAELens reads them, and what it has no key for.

The scale used in training, the version of this layout and a hash of the weights stand in ``metadata.universality``.
SAELens calls the architecture ``relu`` "standard", and all whose features fire above a threshold "jumprelu", with a
tensor ``threshold``; our own name for them stands in ``metadata.universality`` too.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from safetensors.torch import save
from torch import Tensor

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.files import write_bytes
from universality.sae.formats import saelens
from universality.sae.formats.fields import Fields
from universality.sae.formats.saelens import CONFIG, WEIGHTS
from universality.sae.formats.source import Source

NAME = f"ours (as SAELens's, with metadata.universality in {CONFIG})"
TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")
VERSION = 1
HASHED_AT_ONCE = 1 << 26
LAYOUT = "6.0.0"
"""The version of SAELens whose layout this is; without one SAELens takes it for that of before 6."""
_THEIRS = {"relu": "standard", "batchtopk": "jumprelu", "matryoshka": "jumprelu"}


def write(folder: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], metadata: dict[str, Any]) -> None:
    """Write both files, the configuration last: without it there is no SAE."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    d_sae, d_in = tensors["W_dec"].shape
    config: dict[str, Any] = {
        "architecture": _THEIRS.get(settings["architecture"], settings["architecture"]),
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": settings["apply_b_dec_to_input"],
        "normalize_activations": settings["normalize_activations"],
        "reshape_activations": "none",
    }
    if settings["architecture"] == "topk":
        config |= {"k": settings["k"], "rescale_acts_by_decoder_norm": False}
    ours = {"version": VERSION, "scale": settings["scale"], "weights_hash": _hash(weights)}
    if settings["architecture"] in ("batchtopk", "matryoshka"):
        ours |= {"architecture": settings["architecture"], "k": settings["k"], "nested": settings["nested"]}
    config["metadata"] = {**metadata, "universality": ours}
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n"
    (folder / CONFIG).unlink(missing_ok=True)
    write_bytes(folder / WEIGHTS, weights)
    write_bytes(folder / CONFIG, text.encode())


def recognise(source: Source) -> bool:
    """By our section of the metadata; a folder from which one of the files is missing is not recognised."""
    return saelens.recognise(source) and "universality" in Settings.read(source / CONFIG).section("metadata").values


def read(source: Source) -> Fields:
    """The fields of an `SAE`.

    Raises
    ------
    FormatError
        If it is of another version, or the weights' hash is missing or another; and what `saelens.read` raises.
    """
    ours = Settings.read(source / CONFIG).section("metadata").section("universality")
    version = ours.integer("version", VERSION)
    if version != VERSION:
        raise FormatError(f"{source / CONFIG}: version {version} of this layout; this program reads version {VERSION}")
    nested, scale = ours.integers("nested"), float(ours.number("scale", 1.0))
    _check_hash(source / WEIGHTS, ours.text("weights_hash"))
    fields = saelens.read(source)
    metadata = dict(fields["metadata"])
    del metadata["universality"]
    return {
        **fields,
        "architecture": ours.text("architecture", fields["architecture"]),
        "k": ours.integer("k", fields["k"]),
        "nested": nested,
        "scale": scale,
        "metadata": metadata,
    }


def _check_hash(path: Path, expected: str) -> None:
    found = hash_of_file(path)
    if found != expected:
        raise FormatError(f"{path}: hash {found[:12]}…, {CONFIG} says {expected[:12]}…; the file was changed")


def hash_of_file(path: Path) -> str:
    """Of a file that is mapped: copying it through a buffer would take a fifth of the time of loading."""
    if not path.stat().st_size:  # nothing that could be mapped
        return _hash(b"")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _hash(mapped)


def _hash(content: bytes | mmap.mmap) -> str:
    """SHA-256 of the SHA-256 of each 64 MiB: one core alone would hash more slowly than the file is read."""

    def digest(start: int) -> bytes:
        with memoryview(content) as whole, whole[start : start + HASHED_AT_ONCE] as part:
            return hashlib.sha256(part).digest()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return hashlib.sha256(b"".join(pool.map(digest, range(0, len(content), HASHED_AT_ONCE)))).hexdigest()
