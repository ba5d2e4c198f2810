"""A store as AnnData: what scanpy reads is what the store holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from feature_rows import activations, write
from numpy.testing import assert_allclose, assert_array_equal

from universality.errors import MismatchError
from universality.features import FeatureStore

N = 200


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return write(tmp_path_factory.mktemp("store") / "a.h5", activations(N))


def test_everything(store: FeatureStore) -> None:
    table = store.to_anndata(decode=lambda ids: [f"«{i}»" for i in ids], labels={2: "Hebrew"})
    assert isinstance(table, anndata.AnnData)
    assert_array_equal(table.X.toarray(), store.csr().toarray())
    tokens, documents = store.tokens, store.documents
    assert_array_equal(table.obs["token"], tokens.token)
    assert table.obs["string"].tolist() == [f"«{i}»" for i in tokens.token]
    assert table.obs["document"].tolist() == [documents.id[i] for i in tokens.document]
    assert table.obs["split"].cat.categories.tolist() == ["report"]
    assert_array_equal(table.obs["position"], tokens.position)
    assert table.obs["kind"].tolist() == tokens.kind_names.tolist()
    assert_array_equal(table.var["alive"], store.alive)
    assert_allclose(table.var["density"], store.moments().density)
    assert_allclose(table.var["mean"], store.csr().toarray().mean(0), rtol=1e-5)
    assert table.var["label"].tolist() == ["", "", "Hebrew", *[""] * 9]
    assert json.loads(table.uns["universality"]["provenance"]) == store.provenance


@pytest.mark.parametrize(
    "part",
    [
        {"tokens": slice(10, 50)},
        {"documents": [3, 1]},
        {"features": [7, 2]},
        {"documents": [3, 1], "tokens": np.arange(0, N, 3), "features": np.arange(12) > 4},
        {"tokens": slice(0, 0)},
        {"features": []},
    ],
)
def test_a_part(store: FeatureStore, part: dict[str, Any]) -> None:
    table = store.to_anndata(**part)
    kept = np.zeros(N, bool)
    kept[part.get("tokens", slice(None))] = True
    if "documents" in part:
        kept &= np.isin(store.tokens.document, part["documents"])
    columns = np.arange(12)[np.asarray(part.get("features", np.arange(12)), bool if "tokens" in part and "features"
                                       in part else int)]  # fmt: skip
    assert_array_equal(table.X.toarray(), store.csr().toarray()[kept][:, columns])
    assert table.obs_names.tolist() == [str(row) for row in np.flatnonzero(kept)]
    assert table.var_names.tolist() == [str(j) for j in columns]
    assert_array_equal(table.var["count"], store.moments().count[columns])


def test_it_is_written_and_read_as_h5ad(store: FeatureStore, tmp_path: Path) -> None:
    store.to_anndata(features=[1, 2], decode=lambda ids: [str(i) for i in ids]).write_h5ad(tmp_path / "a.h5ad")
    back = anndata.read_h5ad(tmp_path / "a.h5ad")
    assert_array_equal(back.X.toarray(), store.csr()[:, [1, 2]].toarray())
    assert back.uns["universality"]["content_hash"] == store.content_hash()
    assert back.obs["kind"].tolist() == store.tokens.kind_names.tolist()


def test_choices_that_do_not_exist(store: FeatureStore) -> None:
    for part, message in (
        ({"features": [12]}, r"features= must lie in 0 … 11, found 12 … 12"),
        ({"tokens": [1, 1]}, "tokens= must be a slice, a mask of length 200 or distinct integers"),
        ({"labels": {12: "x"}}, "labels: feature 12 is not in 0 … 11"),
        ({"decode": lambda ids: ["x"]}, r"decode: expected one string for each of \d+ ids, found 1"),
    ):
        with pytest.raises((ValueError, MismatchError), match=message):
            store.to_anndata(**part)  # type: ignore[arg-type]


def test_without_anndata_the_error_says_what_to_install(store: FeatureStore) -> None:
    script = (
        "import sys; sys.modules['anndata'] = None\n"
        "from universality import FeatureStore, UniversalityError\n"
        f"try: FeatureStore.open({str(store.path)!r}).to_anndata()\n"
        "except UniversalityError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "to_anndata needs anndata, which is not installed; install it with pip install anndata" in done.stdout
