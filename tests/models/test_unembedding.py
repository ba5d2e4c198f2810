"""The unembedding is kept whole, named by its contents, and refused when they have changed."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.numpy import save_file

from universality.errors import FormatError, MismatchError, UniversalityError
from universality.models import unembedding as module
from universality.models.unembedding import Unembedding, file_name
from universality.models.vocabulary import Vocabulary


@pytest.fixture
def unembedding() -> Unembedding:
    rng = np.random.default_rng(0)
    return Unembedding(rng.normal(size=(4, 9)), rng.normal(size=4), np.arange(9) < 7, True)


def test_round_trip(unembedding: Unembedding, tmp_path: Path) -> None:
    path = unembedding.save(tmp_path / unembedding.file_name)
    loaded = Unembedding.load(str(path))
    for name in ("W_U", "gain", "mask"):
        assert_array_equal(getattr(loaded, name), getattr(unembedding, name))
        assert getattr(loaded, name).dtype == getattr(unembedding, name).dtype
    assert loaded.center_d_model is True
    assert loaded.hash == unembedding.hash
    assert (loaded.d_model, loaded.d_vocab) == (4, 9)
    assert re.fullmatch(r"unembedding-[0-9a-f]{12}\.safetensors", path.name)
    assert path.name == file_name(loaded.hash)
    assert [left.name for left in tmp_path.iterdir()] == [path.name]


def test_round_trip_with_the_text_of_the_vocabulary(unembedding: Unembedding, tmp_path: Path) -> None:
    texts = (b"", b" the", "é".encode(), b"\xc3", b"", b"a", b"b", b"c", b"d")
    named = replace(unembedding, vocabulary=Vocabulary(texts, np.arange(9)))
    loaded = Unembedding.load(named.save(tmp_path / named.file_name))
    assert loaded.vocabulary is not None
    assert loaded.vocabulary.texts == texts
    assert loaded.vocabulary.count.tolist() == list(range(9))
    counted = replace(unembedding, vocabulary=Vocabulary(texts, np.ones(9)))
    moved = replace(unembedding, vocabulary=Vocabulary((b"", b" t", b"he\xc3\xa9", *texts[3:]), np.arange(9)))
    assert len({unembedding.hash, named.hash, counted.hash, moved.hash}) == 4
    with pytest.raises(MismatchError, match="W_U has 9 entries, the vocabulary has 2"):
        replace(unembedding, vocabulary=Vocabulary((b"a", b"b"), np.ones(2)))


def test_the_hash_covers_everything(unembedding: Unembedding) -> None:
    W_U, mask = unembedding.W_U.copy(), unembedding.mask.copy()
    W_U[0, 0] = np.nextafter(W_U[0, 0], np.float32(9))
    mask[8] = True
    others = [
        replace(unembedding, W_U=W_U),
        replace(unembedding, gain=unembedding.gain + 1),
        replace(unembedding, mask=mask),
        replace(unembedding, center_d_model=False),
        Unembedding(unembedding.W_U.reshape(4, 9)[:, ::-1], unembedding.gain, unembedding.mask, True),
    ]
    assert len({unembedding.hash, *(other.hash for other in others)}) == 6
    assert replace(unembedding).hash == unembedding.hash


@pytest.mark.parametrize("center", [True, False])
def test_logit_weights_equal_a_product_of_matrices(center: bool) -> None:
    rng = np.random.default_rng(1)
    u = Unembedding(rng.normal(size=(4, 9)), rng.uniform(0.5, 2, 4), np.arange(9) < 7, center)
    directions = rng.normal(size=(3, 4))
    mean = np.full((4, 4), 1 / 4) if center else np.zeros((4, 4))
    expected = directions @ (np.eye(4) - mean) @ np.diag(u.gain) @ u.W_U
    assert_allclose(u.logit_weights(directions), expected, atol=1e-12)
    centred = u.logit_weights(directions, centred_over=u.mask)
    assert_allclose(centred[:, u.mask].mean(axis=1), 0, atol=1e-12)
    assert_allclose(centred - expected, np.tile((centred - expected)[:, :1], 9), atol=1e-12)
    assert_allclose(u.through_final_norm(directions) @ (u.W_U - u.mean_column(u.mask)), centred, atol=1e-12)
    assert u.logit_weights(directions.astype(np.float32)).dtype == np.float32


def test_layout_in_memory_does_not_matter(unembedding: Unembedding) -> None:
    fortran = Unembedding(np.asfortranarray(unembedding.W_U), unembedding.gain, unembedding.mask, True)
    assert fortran.hash == unembedding.hash


W, G, M = np.ones((4, 9)), np.ones(4), np.ones(9, bool)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ((W.T, G, M), MismatchError, r"expected W_U \[d_model, d_vocab\].* found \[9, 4\], \[4\], \[9\]"),
        ((W, G[1:], M), MismatchError, r"found \[4, 9\], \[3\], \[9\]"),
        ((W[0], G, M), MismatchError, r"found \[9\]"),
        ((W, G, M[1:]), MismatchError, r"found \[4, 9\], \[4\], \[8\]"),
        ((W, G, M.astype(int)), FormatError, "mask must be bool, found int64"),
        ((W, G, ~M), FormatError, "the mask leaves no vocabulary"),
        ((W * np.inf, G, M), FormatError, "W_U holds values that are not finite"),
        ((W, G * 1e39, M), FormatError, "gain holds values that are not finite"),
    ],
)
def test_bad_parts(parts: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Unembedding(*parts, True)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such unembedding file"):
        Unembedding.load(tmp_path / "a.safetensors")


def test_torn_files(unembedding: Unembedding, tmp_path: Path) -> None:
    content = unembedding.save(tmp_path / "a.safetensors").read_bytes()
    for length in (0, 4, 100, len(content) - 1):
        (tmp_path / "b.safetensors").write_bytes(content[:length])
        with pytest.raises(FormatError, match="not a whole safetensors file"):
            Unembedding.load(tmp_path / "b.safetensors")
    with pytest.raises(UniversalityError, match="a folder, where a file is expected"):
        Unembedding.load(tmp_path)


def test_a_flipped_bit_anywhere_is_found(unembedding: Unembedding, tmp_path: Path) -> None:
    path = unembedding.save(tmp_path / "a.safetensors")
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for place in range(0, len(content), 3):
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            loaded = Unembedding.load(path)
        except FormatError:
            continue
        assert loaded.hash == unembedding.hash  # an unused byte of the header


def test_altered_values_are_found(unembedding: Unembedding, tmp_path: Path) -> None:
    path = unembedding.save(tmp_path / "a.safetensors")
    content = bytearray(path.read_bytes())
    content[-9 - 16 - 2] ^= 1  # in W_U, before mask and gain
    path.write_bytes(content)
    with pytest.raises(
        FormatError, match=r"contents hash to \w{12}, but the file says \w{12}; the file is corrupt or was"
    ):
        Unembedding.load(path)


def tensors() -> dict[str, Any]:
    return {"W_U": W.astype(np.float32), "gain": G.astype(np.float32), "mask": M}


@pytest.mark.parametrize(
    ("content", "metadata", "message"),
    [
        (tensors(), None, "expected universality-unembedding version 1 or 2, found None version None"),
        (tensors(), {"format": module.FORMAT, "format-version": "3"}, "found universality-unembedding version 3"),
        (
            tensors(),
            {"format": module.FORMAT, "format-version": "2"},
            "expected W_U, gain, mask, text, text_end, count",
        ),
        (
            tensors() | {"text": np.zeros(3, np.uint8), "text_end": np.arange(9), "count": np.zeros(9, np.int64)},
            {"format": module.FORMAT, "format-version": "2", "center_d_model": "true"},
            "text_end must rise to the 3 bytes of text",
        ),
        (
            tensors() | {"text": np.zeros(8), "text_end": np.arange(9), "count": np.zeros(9, np.int64)},
            {"format": module.FORMAT, "format-version": "2", "center_d_model": "true"},
            r"expected text uint8 and text_end int64 with one axis, found float64 \[8\]",
        ),
        (tensors(), {"format": module.FORMAT, "format-version": "1"}, "and center_d_model, found"),
        ({"W_U": W}, {"format": module.FORMAT, "format-version": "1", "center_d_model": "true"}, r"found \['W_U'\]"),
        (
            tensors() | {"mask": M[1:]},
            {"format": module.FORMAT, "format-version": "1", "center_d_model": "true"},
            r"a\.safetensors: unembedding: expected W_U",
        ),
    ],
)
def test_foreign_files(tmp_path: Path, content: Any, metadata: dict[str, str] | None, message: str) -> None:
    save_file(content, tmp_path / "a.safetensors", metadata)
    with pytest.raises(FormatError, match=message):
        Unembedding.load(tmp_path / "a.safetensors")


def test_a_failed_write_leaves_nothing(unembedding: Unembedding, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").mkdir()
    with pytest.raises(OSError, match=r"a\.safetensors"):
        unembedding.save(tmp_path / "a.safetensors")
    assert [left.name for left in tmp_path.iterdir()] == ["a.safetensors"]


def test_equal_unembeddings_are_equal_files(unembedding: Unembedding, tmp_path: Path) -> None:
    contents = {unembedding.save(tmp_path / f"{i}.safetensors").read_bytes() for i in range(8)}
    assert len(contents) == 1
