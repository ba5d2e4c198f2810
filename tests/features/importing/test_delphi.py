"""delphi's latents become stores; caches that are incomplete or wrong are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cached_activations import PAD, in_half_precision, write_delphi
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file, save_file
from scipy import sparse

from universality.errors import FormatError, MismatchError
from universality.features import FeatureStore


@pytest.fixture
def planted(tmp_path: Path) -> FeatureStore:
    """240 tokens in blocks of 8 and one of 5, 12 features, in half precision."""
    n = 245
    matrix = sparse.random(n, 12, density=0.3, format="csr", dtype=np.float32, random_state=0)
    columns = {"document": np.arange(n) // 16, "position": np.arange(n) % 8 + 1}
    token = np.random.default_rng(0).integers(0, 99, n)
    store = FeatureStore.from_csr(matrix, tmp_path / "p.h5", token, special_tokens=(), **columns)
    return in_half_precision(store, tmp_path / "planted.h5")


def read(folder: Path, path: Path, store: FeatureStore, document: Any, **given: Any) -> FeatureStore:
    return FeatureStore.from_delphi(
        folder, path, special_tokens=[PAD], document=document, documents=store.documents, **given
    )


@pytest.mark.parametrize("shuffle", [None, 0])
def test_a_cache_is_read_back(planted: FeatureStore, tmp_path: Path, shuffle: int | None) -> None:
    folder = tmp_path / "layers.0.mlp"
    document = write_delphi(planted, folder, shuffle=shuffle).document
    (folder / "readme.txt").write_text("other files are ignored")
    with read(folder, tmp_path / "a.h5", planted, document) as store:
        assert store.content_hash() == planted.content_hash()
        assert store.mantissa_bits == 10
        store.verify()
        record = store.provenance["imported"]
        assert (record["format"], record["files"], record["config"]["model_name"]) == ("delphi", 3, "toy")
    again = write_delphi(planted, folder, shuffle=1).document
    with read(folder, tmp_path / "b.h5", planted, again, memory_budget=64_000) as other:
        assert other.content_hash() == planted.content_hash()
        assert other.provenance["imported"]["sha256"] != record["sha256"]


def test_without_documents_a_sequence_is_one(planted: FeatureStore, tmp_path: Path) -> None:
    write_delphi(planted, tmp_path / "cache")
    with FeatureStore.from_delphi(tmp_path / "cache", tmp_path / "a.h5", special_tokens=[PAD], kind="web") as store:
        assert_array_equal(store.tokens.document, planted.tokens.block)
        assert store.tokens.kinds == ("web",)
        assert store.provenance["imported"]["document"] == "one a sequence"


def test_one_file_of_all_latents_and_tokens_kept_elsewhere(planted: FeatureStore, tmp_path: Path) -> None:
    laid = write_delphi(planted, tmp_path / "cache", n_splits=1)
    cached = load_file(tmp_path / "cache" / "0_11.safetensors")
    del cached["tokens"]
    cached |= {"locations": cached["locations"].astype(np.int64), "activations": cached["activations"].astype("f4")}
    save_file(cached, tmp_path / "all.safetensors")
    with pytest.raises(FormatError, match=r"pass n_features="):
        read(tmp_path / "all.safetensors", tmp_path / "a.h5", planted, laid.document)
    with pytest.raises(FormatError, match=r"no file holds the tokens; pass tokens="):
        read(tmp_path / "all.safetensors", tmp_path / "a.h5", planted, laid.document, n_features=12)
    given = {"n_features": 12, "tokens": laid.tokens}
    with read(tmp_path / "all.safetensors", tmp_path / "a.h5", planted, laid.document, **given) as store:
        assert store.content_hash() == planted.content_hash()
        assert store.mantissa_bits == 23


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        cached = load_file(folder / "4_7.safetensors")
        cached[name] = change(cached[name])
        save_file(cached, folder / "4_7.safetensors")

    return apply


def at(place: Any, value: Any) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array[place] = value
        return array

    return change


def truncate(folder: Path) -> None:
    file = folder / "4_7.safetensors"
    file.write_bytes(file.read_bytes()[:-9])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda folder: (folder / "4_7.safetensors").unlink(), r"8_11.safetensors: latents 4 … 7 are in no file"),
        (lambda folder: (folder / "4_7.safetensors").rename(folder / "3_6.safetensors"), "overlaps the one before"),
        (lambda folder: (folder / "4_7.safetensors").rename(folder / "x.safetensors"), "a name like 0_999.safetensors"),
        (truncate, r"4_7.safetensors: cannot be read as safetensors"),
        (edit("locations", at((3, 2), 4)), "4_7.safetensors, entry 3: latent 4 is not in 0 … 3"),
        (edit("locations", at((3, 1), 300)), r"4_7.safetensors, entry 3: position 300 is not in 0 … \d"),
        (edit("locations", at((3, 0), 3000)), r"4_7.safetensors, entry 3: sequence 3000 is not in 0 …"),
        (edit("locations", lambda a: a[:, :2].copy()), r"locations must have shape \[n, 3\], found \[\d+, 2\]"),
        (edit("locations", lambda a: a.astype("f4")), "locations of dtype F32 are not what delphi writes"),
        (edit("locations", lambda a: np.concatenate([a[:1], a[:-1]])), r"position \d: feature \d is named twice"),
        (edit("activations", at(2, np.nan)), "4_7.safetensors, entry 2: activations must be finite"),
        (edit("activations", lambda a: a[1:].copy()), r"activations must have shape \[\d+\]"),
        (edit("tokens", at((0, 1), 7777)), "4_7.safetensors: its tokens are not those of 0_3.safetensors"),
        (edit("tokens", lambda a: a[1:].copy()), "4_7.safetensors: tokens of shape"),
        (edit("tokens", at((0, 0), -1)), "4_7.safetensors: tokens, entry 0: token -1 is not in 0"),
        (lambda folder: [file.unlink() for file in folder.glob("*.safetensors")], "no START_END.safetensors"),
    ],
)  # fmt: skip
def test_caches_that_are_refused(
    planted: FeatureStore, tmp_path: Path, harm: Callable[[Path], Any], message: str
) -> None:
    document = write_delphi(planted, tmp_path / "cache").document
    harm(tmp_path / "cache")
    with pytest.raises((FormatError, MismatchError), match=message):
        read(tmp_path / "cache", tmp_path / "a.h5", planted, document)
    assert not (tmp_path / "a.h5").exists()


def test_arguments_that_do_not_fit(planted: FeatureStore, tmp_path: Path) -> None:
    document = write_delphi(planted, tmp_path / "latents" / "layers.0").document
    folder = tmp_path / "latents" / "layers.0"
    with pytest.raises(FormatError, match=r"no START_END.safetensors in this folder; give one hookpoint of layers\.0"):
        read(folder.parent, tmp_path / "a.h5", planted, document)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        read(tmp_path / "nowhere", tmp_path / "a.h5", planted, document)
    with pytest.raises(FormatError, match="the files cover 12 latents, but n_features is 13"):
        read(folder, tmp_path / "a.h5", planted, document, n_features=13)
    with pytest.raises(MismatchError, match=r"document= must be one for each of 31 sequences, or \[31, 10\]"):
        read(folder, tmp_path / "a.h5", planted, document[1:])
    with pytest.raises(MismatchError, match=r"tokens= must be \[n_sequences, n_ctx\], found shape \[3\]"):
        read(folder, tmp_path / "a.h5", planted, document, tokens=[1, 2, 3])


def test_positions_that_delphi_wrapped_are_refused(tmp_path: Path) -> None:
    cached = {
        "locations": np.array([[0, 5, 0]], np.uint16),
        "activations": np.ones(1, np.float16),
        "tokens": np.arange((1 << 16) + 1)[None],
    }
    save_file(cached, tmp_path / "0_0.safetensors")
    with pytest.raises(FormatError, match="65537 positions do not fit uint16 locations"):
        FeatureStore.from_delphi(tmp_path, tmp_path / "a.h5", special_tokens=())


def test_a_configuration_that_is_no_json_is_refused(planted: FeatureStore, tmp_path: Path) -> None:
    document = write_delphi(planted, tmp_path / "cache").document
    (tmp_path / "cache" / "config.json").write_text(json.dumps({"a": 1})[:-1])
    with pytest.raises(FormatError, match=r"config\.json: cannot be read as JSON"):
        read(tmp_path / "cache", tmp_path / "a.h5", planted, document)
