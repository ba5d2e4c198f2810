"""This toolkit's own format: the two files of SAELens 6, which SAELens reads, with additions.

The scale used in training, the version of this layout and a hash of the weights are in ``metadata.universality``.
SAELens calls the architecture ``relu`` "standard", and all architectures whose features fire above a threshold
"jumprelu", with a tensor ``threshold``; the name used here is in ``metadata.universality`` as well. A transcoder has
the name that SAELens gives it, or would: it has none with topk. So are the settings
of a registered architecture; its own parameters are further tensors.
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
from universality.sae.formats.stated_hook import stated_hook

NAME = f"ours (as SAELens's, with metadata.universality in {CONFIG})"
TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")
VERSION = 1
HASHED_AT_ONCE = 1 << 26  # part of the hash's definition: another value gives other hashes
LAYOUT = "6.0.0"
"""Version of SAELens whose layout this is; without a version SAELens assumes the layout before 6."""
_THEIRS = {"relu": "standard", "batchtopk": "jumprelu", "matryoshka": "jumprelu"}


def write(folder: Path, tensors: Mapping[str, Tensor], settings: Mapping[str, Any], metadata: dict[str, Any]) -> None:
    """Write both files, the configuration last: a folder without it is not an SAE."""
    folder.mkdir(parents=True, exist_ok=True)
    if "W_skip" in tensors:  # SAELens's is [d_out, d_in]
        tensors = {**tensors, "W_skip": tensors["W_skip"].T}
    weights = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    transcoder = settings.get("transcoder", False)
    theirs = _THEIRS.get(settings["architecture"], settings["architecture"])
    d_in, d_sae = tensors["W_enc"].shape
    config: dict[str, Any] = {
        "architecture": saelens.transcoder_name(theirs, "W_skip" in tensors) if transcoder else theirs,
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": settings["apply_b_dec_to_input"],
        "normalize_activations": settings["normalize_activations"],
        "reshape_activations": "hook_z" if (stated_hook(metadata) or "").endswith("hook_z") else "none",
    }
    if transcoder:
        config["d_out"] = tensors["W_dec"].shape[1]
    if settings["architecture"] == "topk":
        config |= {"k": settings["k"], "rescale_acts_by_decoder_norm": False}
    ours = {"version": VERSION, "scale": settings["scale"], "weights_hash": _hash(weights)}
    if settings["architecture"] in ("batchtopk", "matryoshka"):
        ours |= {"architecture": settings["architecture"], "k": settings["k"], "nested": settings["nested"]}
    if "settings" in settings:
        registered = ("architecture", "k", "nested", "settings")
        ours |= {name: settings[name] for name in registered}
    config["metadata"] = {**metadata, "universality": ours}
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False) + "\n"
    # never an old configuration beside new weights, also if the process is killed between the two
    (folder / CONFIG).unlink(missing_ok=True)
    write_bytes(folder / WEIGHTS, weights)
    write_bytes(folder / CONFIG, text.encode())


def recognise(source: Source) -> bool:
    """Recognise a folder with both files by its section of the metadata."""
    return saelens.recognise(source) and "universality" in Settings.read(source / CONFIG).section("metadata").values


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`.

    Raises
    ------
    FormatError
        If the version is another, the weights' hash is missing or differs, or as `saelens.read`.
    """
    ours = Settings.read(source / CONFIG).section("metadata").section("universality")
    version = ours.integer("version", VERSION)
    if version != VERSION:
        raise FormatError(f"{source / CONFIG}: version {version} of this layout; this program reads version {VERSION}")
    nested, scale = ours.integers("nested"), float(ours.number("scale", 1.0))
    _check_hash(source / WEIGHTS, ours.text("weights_hash"))
    registered = "settings" in ours
    fields = saelens.read(source, ours.text("architecture") if registered else None)
    metadata = dict(fields["metadata"])
    del metadata["universality"]
    return {
        **fields,
        "architecture": ours.text("architecture", fields["architecture"]),
        "k": ours.integer("k", fields["k"]),
        "nested": nested,
        "scale": scale,
        "metadata": metadata,
        "settings": dict(ours.section("settings").values) if registered else {},
    }


def _check_hash(path: Path, expected: str) -> None:
    actual = hash_of_file(path)
    if actual != expected:
        raise FormatError(f"{path}: hash {actual[:12]}…, {CONFIG} says {expected[:12]}…; the file was changed")


def hash_of_file(path: Path) -> str:
    """Hash of a file's content, as in ``weights_hash``."""
    if not path.stat().st_size:  # an empty file cannot be mapped
        return _hash(b"")
    # mapped: copying through a buffer would take a fifth of the time of loading
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        return _hash(mapped)


def _hash(content: bytes | mmap.mmap) -> str:
    """SHA-256 of the concatenated SHA-256 of each 64 MiB."""
    # one core alone would hash more slowly than a disk reads

    def digest(start: int) -> bytes:
        with memoryview(content) as whole, whole[start : start + HASHED_AT_ONCE] as part:
            return hashlib.sha256(part).digest()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return hashlib.sha256(b"".join(pool.map(digest, range(0, len(content), HASHED_AT_ONCE)))).hexdigest()
