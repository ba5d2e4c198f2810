"""Files of ``.pt`` made to harm: nothing is executed, nothing large allocated."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from harmful_files import TERA, refused, zipped

DATA = Path(__file__).parent / "data"

pytestmark = pytest.mark.usefixtures("little_memory")


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
