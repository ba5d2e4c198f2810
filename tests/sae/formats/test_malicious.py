"""Files made to harm: refused with our error, nothing executed, nothing large allocated, nothing written elsewhere."""

from __future__ import annotations

import io
import json
import os
import pickle
import resource
import shutil
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats import ours

if TYPE_CHECKING:
    from tests.sae.conftest import RandomSAE

DATA = Path(__file__).parent / "data"
TERA = 10**12


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """No refusal may cost more than 100 MB. The kernel counts the peak in kB (bytes on a Mac)."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def refused(path: Path, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(path)


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# ---- pickles -----------------------------------------------------------------------------------------------------


class Call:
    """Pickled, it asks for a call of ``function``."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


@dataclass
class Storage:
    """A record of the archive that claims so many numbers."""

    numel: int


class Pickler(pickle.Pickler):
    def persistent_id(self, obj: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", obj.numel) if isinstance(obj, Storage) else None


def torch_file(path: Path, content: Any, protocol: int = 2) -> Path:
    """As torch.save lays it out; one storage of 16 bytes."""
    pickled = io.BytesIO()
    Pickler(pickled, protocol).dump(content)
    members = {"a/data.pkl": pickled.getvalue(), "a/byteorder": b"little", "a/data/0": bytes(16), "a/version": b"3\n"}
    return zipped(path, members)


def tensor(numel: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Call:
    return Call(torch._utils._rebuild_tensor_v2, Storage(numel), 0, shape, stride, False, OrderedDict())


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_calls_is_not_called(protocol: int, tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    evil = {"encoder.weight": Call(os.system, f"touch {marker}")}
    path = torch_file(tmp_path / "sae.pt", evil, protocol)
    refused(path, r"its pickle (names 'posix system'|uses STACK_GLOBAL), which no state dict needs; not loaded")
    folder = tmp_path / "dl"
    shutil.copytree(DATA / "dictionary_learning_relu", folder)
    shutil.copy(path, folder / "ae.pt")
    refused(folder, "which no state dict needs; not loaded")
    path.write_bytes(pickle.dumps(evil))  # as before PyTorch 1.6
    refused(path, r"not a ZIP archive as torch.save writes it; a file from before PyTorch 1.6 is a bare pickle")
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the control: it would have
    assert marker.exists()


def test_a_pickle_that_asks_for_memory_gets_none(tmp_path: Path) -> None:
    refused(torch_file(tmp_path / "a.pt", {"x": Call(bytearray, TERA)}), "its pickle names '.*bytearray', which no")
    huge = tensor(4, (TERA, 4), (0, 1))
    refused(
        torch_file(tmp_path / "b.pt", {"encoder.weight": huge}), r"bytes that claim to be tensors of 16,000,000,000"
    )
    beyond = tensor(TERA, (TERA,), (1,))
    refused(torch_file(tmp_path / "c.pt", {"encoder.weight": beyond}), "cannot be read as a state dict")
    many = {f"x{i}": tensor(4, (64, 4), (0, 1)) for i in range(1000)}
    refused(torch_file(tmp_path / "d.pt", many), "bytes that claim to be tensors")


def test_torch_archives_that_are_none(tmp_path: Path) -> None:
    good = (DATA / "openai_relu.pt").read_bytes()
    with zipfile.ZipFile(DATA / "openai_relu.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    refused(
        zipped(tmp_path / "a.pt", members, zipfile.ZIP_DEFLATED), "holds compressed members, which torch.save never"
    )
    pickles = [name for name in members if name.endswith("data.pkl")]
    refused(zipped(tmp_path / "b.pt", members | {"x/data.pkl": b"."}), "expected one data.pkl of at most 1,048,576")
    refused(zipped(tmp_path / "c.pt", members | {pickles[0]: bytes(2**21)}), "expected one data.pkl of at most")
    refused(zipped(tmp_path / "d.pt", members | {pickles[0]: b"\x80\x02garbage"}), "cannot be read as a state dict")
    refused(torch_file(tmp_path / "e.pt", [1, 2]), "expected a state dict, found list")
    (tmp_path / "f.pt").write_bytes(good[: len(good) // 2])
    refused(tmp_path / "f.pt", "not a ZIP archive")
    deep: list[Any] = []
    for _ in range(300):
        deep = [deep]
    refused(torch_file(tmp_path / "g.pt", {"activation": deep}), "activation of type list cannot be read")


# ---- npz ---------------------------------------------------------------------------------------------------------


def arrays() -> dict[str, np.ndarray]:
    return dict(np.load(DATA / "gemma_scope/layer_3/width_32/average_l0_9/params.npz"))


def npy(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """The bytes of a .npy file, with another shape in its header if so asked."""
    out = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(out, header | {"shape": array.shape if shape is None else shape})
    return out.getvalue() + array.tobytes()


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = {"W_dec.npy": npy(np.zeros(10**7, np.float32))}
    path = zipped(tmp_path / "params.npz", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10**5
    refused(path, "bytes that claim to unpack to 40,000,128; not weights, and not unpacked")


def test_npy_headers_that_lie_are_refused(tmp_path: Path) -> None:
    small = np.zeros(4, np.float32)
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        for shape in ((TERA, TERA), (2**62, 4), (-4,), (5,)):
            path = zipped(tmp_path / "params.npz", {"W_dec.npy": npy(small, shape)}, compression)
            refused(path, r"W_dec.npy claims shape \[.*\] of float32, .* bytes; it holds 16")


def test_npz_members_that_are_no_weights_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", W_dec=np.array([{}], object), allow_pickle=True)
    refused(tmp_path / "objects.npz", "must hold floating-point numbers, found (object|bool)")
    np.savez(tmp_path / "whole.npz", W_dec=np.zeros((3, 4), np.int64))
    refused(tmp_path / "whole.npz", "W_dec.npy must hold floating-point numbers, found int64")
    refused(zipped(tmp_path / "text.npz", {"W_dec.npy": b"\x93NUMPY\x01\x00\xff\xff(("}), "cannot be read as npz")
    refused(zipped(tmp_path / "code.npz", {"run.py": b"print()"}), r"expected at most 32 different .npy members")
    version = b"\x93NUMPY\x03\x00" + bytes(8)
    refused(zipped(tmp_path / "v3.npz", {"W_dec.npy": version}), r"W_dec.npy is of .npy version \(3, 0\)")
    many = {f"{i}.npy": npy(np.zeros(1, np.float32)) for i in range(33)}
    refused(zipped(tmp_path / "many.npz", many), "expected at most 32 different")
    content = (DATA / "gemma_scope/layer_3/width_32/average_l0_9/params.npz").read_bytes()
    (tmp_path / "torn.npz").write_bytes(content[:1000])
    refused(tmp_path / "torn.npz", "cannot be read as npz")


def test_a_member_that_ends_behind_the_file_is_refused(tmp_path: Path) -> None:
    """The local header's own lengths say where the bytes begin; here they point far behind."""
    content = bytearray(zipped(tmp_path / "params.npz", {"W_dec.npy": npy(np.zeros(64, np.float32))}).read_bytes())
    assert content[:4] == b"PK\x03\x04"
    struct.pack_into("<H", content, 28, 600)
    (tmp_path / "params.npz").write_bytes(bytes(content))
    refused(tmp_path / "params.npz", "ends behind the end of the file|cannot be read as npz")


def test_a_member_with_a_path_is_no_path(tmp_path: Path) -> None:
    names = {f"../../{name}.npy": npy(array) for name, array in arrays().items()}
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    refused(zipped(inner / "params.npz", names), r"expected a tensor W_dec, found ../../W_dec")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [inner / "params.npz"]


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
    for trial in range(12):
        chosen = files[trial % len(files)]
        folder = tmp_path / str(trial)
        shutil.copytree(chosen.parent, folder) if whole.is_dir() else folder.mkdir()
        (folder / chosen.name).write_bytes(damaged(chosen.read_bytes(), rng))
        with suppress(FormatError):
            assert SAE.load(folder if whole.is_dir() else folder / chosen.name).d_in == 12
