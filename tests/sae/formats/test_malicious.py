"""Files made to harm: refused with our error, nothing executed, nothing large allocated, nothing written elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from harmful_files import TERA, refused

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats import ours

if TYPE_CHECKING:
    from tests.sae.conftest import RandomSAE

DATA = Path(__file__).parent / "data"
pytestmark = pytest.mark.usefixtures("little_memory")


# ---- safetensors ---------------------------------------------------------------------------------------------------


def safetensors(path: Path, header: Any, data: bytes = bytes(16), length: int | None = None) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def hashed(folder: Path) -> Path:
    """With the hash that our configuration keeps being that of the weights, as whoever altered both would have it."""
    config = json.loads((folder / "cfg.json").read_text())
    if section := config.get("metadata", {}).get("universality"):
        section["weights_hash"] = ours.hash_of_file(folder / "sae_weights.safetensors")
        (folder / "cfg.json").write_text(json.dumps(config))
    return folder


def test_safetensors_that_claim_terabytes_are_refused(random_sae: RandomSAE, tmp_path: Path) -> None:
    for folder in (random_sae().save(tmp_path / "ours"), tmp_path / "sparsify", tmp_path / "saelens"):
        if folder.name != "ours":
            name = {"sparsify": "sparsify_topk", "saelens": "saelens_topk"}[folder.name]
            shutil.copytree(DATA / name, folder)
        weights = next(folder.glob("*.safetensors"))
        claim = {"dtype": "F32", "shape": [TERA, 1], "data_offsets": [0, 4 * TERA]}
        safetensors(weights, {"W_dec": claim})
        refused(hashed(folder), "cannot be read as safetensors")
        safetensors(weights, {"W_dec": claim | {"data_offsets": [0, 16]}})
        refused(hashed(folder), "cannot be read as safetensors")
        safetensors(weights, {}, length=2**60)
        refused(hashed(folder), "cannot be read as safetensors")
        safetensors(weights, {"W_dec": {"dtype": "I32", "shape": [2, 2], "data_offsets": [0, 16]}})
        refused(hashed(folder), "W_dec must hold floating-point numbers, found torch.int32")
        weights.write_bytes(b"")
        refused(hashed(folder), "cannot be read as safetensors")


# ---- configurations ------------------------------------------------------------------------------------------------

CONFIGS = {
    "saelens_topk": "cfg.json",
    "saelens_before_6": "cfg.json",
    "sparsify_topk": "cfg.json",
    "dictionary_learning_topk": "config.json",
    "llamascopium_topk": "config.json",
    "saelens_matryoshka": "cfg.json",
}
HARMLESS = {"device", "dtype", "metadata", "use_triton_kernel", "seed", "layer"}


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("value", [[], {}, "x" * 1000, -1, 0.5, float("nan"), 10**4000, True], ids=lambda v: str(v)[:5])
def test_wrong_types_in_a_configuration_are_our_errors(name: str, value: Any, tmp_path: Path) -> None:
    """Every key in turn: our error, or an SAE as before where the key says nothing about it."""
    folder = tmp_path / name
    shutil.copytree(DATA / name, folder)
    config = json.loads((folder / CONFIGS[name]).read_text())
    refusals = []
    for section in (config, *(part for part in config.values() if isinstance(part, dict))):
        for key, was in list(section.items()):
            section[key] = value
            (folder / CONFIGS[name]).write_text(json.dumps(config))
            try:
                sae = SAE.load(folder)
            except FormatError as error:
                refusals.append(str(error))
            else:
                assert (sae.d_in, sae.d_sae) == (12, 32)
            section[key] = was
    assert len(refusals) >= 2
    assert all(str(folder) in refusal for refusal in refusals)


def test_configurations_that_are_none(tmp_path: Path) -> None:
    folder = tmp_path / "sae"
    shutil.copytree(DATA / "sparsify_topk", folder)
    for content, message in (
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b'{"d_in": ' + b"9" * 5000 + b"}", "cannot be read as JSON"),
        (b"[1, 2]", r"expected a JSON object, found \[1, 2\]"),
        (b" " * (16 * 2**20 + 1), "a configuration of 16,777,217 bytes; expected at most 16,777,216"),
        (b'{"k": "5", "d_in": 12, "num_latents": 32}', "k must be a whole number from 1 to 2\\^40, found '5'"),
        (
            b'{"k": 5, "d_in": 12, "expansion_factor": 0}',
            r"expansion_factor must be a whole number from 1 to 2\^40, found 0",
        ),
        (b'{"transcode": "no"}', "transcode must be true or false, found 'no'"),
        (b'{"activation": 3}', "activation must be a string, found 3"),
        (b'{"activation": ["' + b"x" * 500 + b'"]}', r"activation must be a string, found \['x{55}\.\.\.$"),
    ):
        (folder / "cfg.json").write_bytes(content)
        refused(folder, message)
    folder = tmp_path / "ours"
    shutil.copytree(DATA / "saelens_topk", folder)
    config = json.loads((folder / "cfg.json").read_text())
    for said, message in (
        ({"nested": "x"}, "metadata: universality: nested must be a list of whole numbers, found 'x'"),
        ({"scale": -1}, "metadata: universality: scale must be a number above 0, found -1"),
        ([], r"metadata: universality must be an object, found \[\]"),
    ):
        (folder / "cfg.json").write_text(json.dumps(config | {"metadata": {"universality": said}}))
        refused(folder, message)


def test_no_text_of_a_configuration_is_a_path(tmp_path: Path) -> None:
    """Names that climb out of the folder are names: nothing is read or written there."""
    folder = tmp_path / "in" / "sae"
    shutil.copytree(DATA / "saelens_topk", folder)
    config = json.loads((folder / "cfg.json").read_text())
    escape = {"hook_name": "../../../outside", "model_name": str(tmp_path / "absolute"), "weights": "../../outside"}
    (folder / "cfg.json").write_text(json.dumps(config | {"metadata": escape, "weights": "../../outside"}))
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    sae = SAE.load(folder)
    assert sae.metadata == escape
    assert sae.hash == SAE.load(DATA / "saelens_topk").hash
    out = sae.export(tmp_path / "out")
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert {path.parent for path in written} == {out}


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    shutil.copytree(DATA / "sparsify_topk", tmp_path / "sae")
    (tmp_path / "sae" / "sae.safetensors").unlink()
    os.mkfifo(tmp_path / "sae" / "sae.safetensors")  # to read it would wait for ever
    refused(tmp_path / "sae", "no SAE of a known format")


# ---- any damage ----------------------------------------------------------------------------------------------------


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Cut off, or with a few bytes altered, put in or taken out."""
    way, at = rng.integers(4), int(rng.integers(len(content)))
    if way == 0:
        return content[:at]
    if way == 1:
        return content[:at] + rng.bytes(1) + content[at + 1 :]
    return content[:at] + rng.bytes(int(rng.integers(9))) + content[at + int(rng.integers(9)) :]


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir() if path.suffix != ".npz"))
def test_any_damage_is_our_error_or_harmless(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(sum(map(ord, name)))
    whole = DATA / name
    files = [whole] if whole.is_file() else sorted(path for path in whole.rglob("*") if path.is_file())
    single = next((path.name for path in files if path.suffix in (".pt", ".pth") and path.name != "ae.pt"), "")
    for trial in range(12):
        chosen = files[trial % len(files)]
        # the repository's name is kept, since some formats are read with it
        folder = tmp_path / str(trial) / chosen.parent.name
        shutil.copytree(chosen.parent, folder) if whole.is_dir() else folder.mkdir(parents=True)
        (folder / chosen.name).write_bytes(damaged(chosen.read_bytes(), rng))
        with suppress(FormatError):
            assert SAE.load(folder / single).d_in == 12
