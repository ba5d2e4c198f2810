"""The file is what FORMAT.md says, AnnData reads it without us, and files of older versions go on being read."""

import hashlib
import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from feature_rows import activations, token_columns, write
from numpy.testing import assert_array_equal
from scipy import sparse

from universality import features
from universality.features import Dictionary, FeatureStore
from universality.features.storage.elements import ELEMENTS, ENCODINGS, FORMAT, TWO_SITES_VERSION, VERSION
from universality.models.unembedding import Unembedding

DATA = Path(__file__).parent / "data"
SPECIFICATION = (Path(features.__file__).parent / "storage" / "FORMAT.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    unembedding = Unembedding(np.ones((4, 9)), np.ones(4), np.ones(9, bool), True)
    weights = Dictionary(np.ones((12, 5)), residual=np.ones((12, 4)))
    path = tmp_path_factory.mktemp("format") / "a.h5"
    write(path, activations(100), 30, dictionary=weights, unembedding=unembedding).close()
    return path


def test_anndata_reads_every_element(path: Path) -> None:
    matrix, columns = activations(100), token_columns(100)
    with h5py.File(path) as file:
        found = anndata.io.read_elem(file["/"])
    assert isinstance(found["by_token"], sparse.csr_matrix)
    assert isinstance(found["by_feature"], sparse.csc_matrix)
    for name in ("by_token", "by_feature"):
        assert found[name].dtype == np.float32
        assert_array_equal(found[name].toarray(), matrix.toarray())
    for name in ("token", "document", "position"):
        assert_array_equal(found["tokens"][name], columns[name])
    assert isinstance(found["tokens"]["kind"], pd.Categorical)
    assert_array_equal(np.asarray(found["tokens"]["kind"]), columns["kind"])
    assert_array_equal(found["moments"]["count"], np.diff(matrix.tocsc().indptr))
    assert_array_equal(found["documents"]["split"], ["report"] * 8)
    assert_array_equal(found["dictionary"]["decoder"], np.ones((12, 5)))
    assert json.loads(found["provenance"]) == {"seed": 1}
    assert set(found["unembedding"]) == {"file", "sha256"}


def test_anndata_reads_rows_and_features_lazily(path: Path) -> None:
    matrix = activations(100)
    with h5py.File(path) as file:
        rows = anndata.io.sparse_dataset(file["by_token"])
        assert_array_equal(rows[20:31].toarray(), matrix[20:31].toarray())
        columns = anndata.io.sparse_dataset(file["by_feature"])
        assert_array_equal(columns[:, 4:6].toarray(), matrix[:, 4:6].toarray())
        assert_array_equal(anndata.io.read_elem(file["by_token/data"]), matrix.data)
        with FeatureStore.open(path) as store:  # both at once in one process
            assert store.n_tokens == 100


@pytest.mark.parametrize("n_tokens", [0, 1])
def test_anndata_reads_the_smallest_stores(tmp_path: Path, n_tokens: int) -> None:
    write(tmp_path / "a.h5", activations(n_tokens)).close()
    with h5py.File(tmp_path / "a.h5") as file:
        found = anndata.io.read_elem(file["/"])
    assert found["by_token"].shape == found["by_feature"].shape == (n_tokens, 12)
    assert len(found["tokens"]["kind"]) == n_tokens


def test_the_file_uses_only_what_any_hdf5_reads(path: Path) -> None:
    names: list[str] = []

    def look(name: str, node: h5py.Group | h5py.Dataset) -> None:
        names.append(name)
        for encoded in node.attrs.values():
            assert h5py.check_string_dtype(np.asarray(encoded).dtype) is None or isinstance(encoded, bytes)
        if isinstance(node, h5py.Dataset):
            assert node.compression in (None, "gzip")
            assert node.dtype.byteorder in "<=|"
            text = h5py.check_string_dtype(node.dtype)
            assert text is None or text.length is not None  # fixed: heaps have no checksum

    with h5py.File(path) as file:
        file.visititems(look)
        assert file.attrs["complete"]
        assert file.attrs["format"] == b"universality-features"
    assert set(names) == {e.path for e in ELEMENTS} - {"dictionary/encoder", "dictionary/bias"}


def test_the_specification_names_every_element_as_the_code_does() -> None:
    rows = re.findall(r"^\| `([^|]*)` \| `([\w-]+)` ([\d.]+) \|([^|]*)\|([^|]*)\|$", SPECIFICATION, re.M)
    stated = {}
    for names, encoding, version, shape, optional in rows:
        first, *more = names.replace("`", "").split(", ")
        for name in (first, *(f"{first.rsplit('/', 1)[0]}/{name}" for name in more)):
            stated[name] = (encoding, version, shape.strip(), optional.strip())
    assert stated.pop("/")[:2] == ("dict", ENCODINGS["dict"])
    assert set(stated) == {e.path for e in ELEMENTS}
    for element in ELEMENTS:
        encoding, version, shape, optional = stated[element.path]
        assert (encoding, version) == (element.encoding, ENCODINGS[element.encoding])
        assert bool(optional) == (element.group == element.path)
        if element.dtype is not None:
            assert shape.startswith(f"{np.dtype(element.dtype).name} [{element.length}")
    assert f"format versions {VERSION} and {TWO_SITES_VERSION}" in SPECIFICATION
    assert f"`{FORMAT}`" in SPECIFICATION


def test_hashes_follow_from_the_specification(path: Path) -> None:
    with h5py.File(path) as file, FeatureStore.open(path) as store:
        stated = json.loads(file["checksums"].asstr()[()])
        data = file["by_token/data"][:]
        assert stated["by_token/data"] == {
            "dtype": "<f4", "shape": [len(data)], "sha256": hashlib.sha256(data.astype("<f4").tobytes()).hexdigest()
        }  # fmt: skip
        kinds = hashlib.sha256(b'["en","dna","base64"]').hexdigest()
        assert stated["tokens/kind/categories"] == {"dtype": "str", "shape": [3], "sha256": kinds}
        del stated["provenance"]
        assert store.content_hash() == hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()
        names = [f"tokens/{name}" for name in ("token", "document", "position")]
        seen = {name: stated[name] for name in stated if name in names or name.startswith("documents/")}
        assert store.tokens_hash == hashlib.sha256(json.dumps(seen, sort_keys=True).encode()).hexdigest()


def make_v1() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_v1", DATA / "make_v1.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_archived_store_of_version_1_is_read() -> None:
    made = make_v1()
    dense = np.array([[made.activation(t, j) for j in range(6)] for t in range(40)], np.float32)
    rows = np.arange(40)
    with FeatureStore.open(DATA / "v1.h5") as store:
        store.verify()
        assert_array_equal(store.csr().toarray(), dense)
        assert_array_equal(store.columns(0, 6).toarray(), dense)
        assert_array_equal(store.alive, [True] * 5 + [False])
        assert_array_equal(store.moments().max, [*dense.max(0)[:4], np.float32(-0.2), 0])
        assert_array_equal(store.tokens.token, rows * 7 % 64)
        assert_array_equal(store.tokens.position, rows % 8 + 1)
        assert_array_equal(store.tokens.kind_names, np.array(["en", "de", "ru"])[rows * 3 // 40])
        assert store.documents.id == ("one", "zwei", "три", "unseen")
        assert store.documents.split == ("choose", "report", "report", "train")
        assert store.provenance["site"] == "blocks.0.mlp.out.hook_in"
        weights = np.arange(24).reshape(6, 4)
        assert store.dictionary is not None
        assert_array_equal(store.dictionary.decoder, weights)
        assert_array_equal(store.dictionary.residual, weights[:, :3])
        unembedding = store.unembedding()
        assert unembedding is not None
        assert_array_equal(unembedding.W_U, np.arange(30).reshape(3, 10))
        assert_array_equal(unembedding.mask, np.arange(10) < 9)
        assert unembedding.center_d_model
        assert store.content_hash() == "f872189f85381b0b5fd8b4579516c3fe3e3895357bc695ab00fa56d2ea2d0ae9"
        assert store.tokens_hash == "6b6a23352539d980b9d210ca437e29353d521b258b9583f70bf04ec4611876ab"
    assert (DATA / "v1.h5").stat().st_size < 50_000
