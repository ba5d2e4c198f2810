"""Files of ``.npz`` made to harm: nothing large allocated, nothing written elsewhere."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from harmful_files import TERA, refused, zipped

DATA = Path(__file__).parent / "data"

pytestmark = pytest.mark.usefixtures("little_memory")


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
    refused(zipped(tmp_path / "v3.npz", {"W_dec.npy": version}), r"W_dec.npy has .npy version \(3, 0\)")
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
    refused(tmp_path / "params.npz", "ends beyond the end of the file|cannot be read as npz")


def test_a_member_with_a_path_is_no_path(tmp_path: Path) -> None:
    names = {f"../../{name}.npy": npy(array) for name, array in arrays().items()}
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    refused(zipped(inner / "params.npz", names), r"expected a tensor W_dec, found ../../W_dec")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [inner / "params.npz"]
