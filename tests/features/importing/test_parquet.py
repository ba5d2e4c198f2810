"""Parquet tables become stores, with a table of tokens or without; wrong tables are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from universality.errors import FormatError, UniversalityError
from universality.features import FeatureStore

ENTRIES = {"token": [3, 0, 1, 1, 2], "feature": [2, 0, 1, 0, 3], "value": [4.0, 1.0, 3.0, 2.0, 5.0]}
TOKENS = {"token_id": [0, 5, 6, 0, 7], "position": [0, 1, 2, 0, 1]}
DENSE = np.array([[2, 3, 0, 0], [0, 0, 0, 5], [0, 0, 0, 0]])


def written(folder: Path, name: str, columns: dict[str, Any]) -> Path:
    pd.DataFrame(columns).to_parquet(folder / name)
    return folder / name


def read(folder: Path, entries: dict[str, Any], tokens: dict[str, Any] | None = None, **given: Any) -> FeatureStore:
    """Read tables; the store is of four features, token 0 or «<s>» is special."""
    if tokens is not None:
        given["tokens"] = written(folder, "tokens.parquet", tokens)
    source = written(folder, "entries.parquet", entries)
    return FeatureStore.from_parquet(source, folder / "a.h5", **{"n_features": 4, "special_tokens": [0]} | given)


def test_entries_and_a_table_of_tokens(tmp_path: Path) -> None:
    with read(tmp_path, ENTRIES, TOKENS) as store:
        assert_array_equal(store.csr().toarray(), DENSE)
        assert store.tokens.token.tolist() == [5, 6, 7]
        assert store.tokens.document.tolist() == [0, 0, 1]
        assert store.provenance["imported"]["left_out"] == 2
        store.verify()


def test_columns_of_other_names_and_texts_for_tokens(tmp_path: Path) -> None:
    entries = {"t": ENTRIES["token"], "latent": ENTRIES["feature"], "act": ENTRIES["value"]}
    tokens = {"token_string": pd.Categorical(["<s>", "b", "a", "<s>", "b"]), "position": TOKENS["position"]}
    names = {"token": "t", "feature": "latent", "value": "act"}
    with read(tmp_path, entries, tokens, columns=names, special_tokens=["<s>"]) as store:
        assert_array_equal(store.csr().toarray(), DENSE)
        assert store.tokens.token.tolist() == [2, 1, 2]  # among "<s>", "a", "b"
        assert store.provenance["imported"]["vocabulary"]["n"] == 3


def test_without_a_table_each_entry_says_what_its_token_is(tmp_path: Path) -> None:
    entries = ENTRIES | {"token_id": [0, 0, 5, 5, 6], "document": ["d", "d", "d", "d", "d"], "kind": ["x"] * 5}
    with read(tmp_path, entries) as store:
        assert store.csr().toarray().tolist() == [[2, 3, 0, 0], [0, 0, 0, 5]]
        assert (store.documents.id, store.tokens.kinds) == (("d",), ("x",))
    for change, message in (
        ({"token": [4, 0, 1, 1, 2]}, r"1 tokens have no entry \(the first is 3\)"),
        ({"token_id": [0, 0, 5, 6, 6]}, "entries of token 1 contradict each other about token_id, document, kind"),
        ({"token": [-1, 0, 1, 1, 2]}, "entries.parquet, entry 0: token -1 is not in 0"),
    ):
        with pytest.raises(FormatError, match=message):
            read(tmp_path, entries | change, overwrite=True)


def test_a_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    frame = pd.DataFrame(ENTRIES)
    frame[:2].to_parquet(tmp_path / "parts" / "0.parquet")
    frame[2:].to_parquet(tmp_path / "parts" / "1.parquet")
    tokens = written(tmp_path, "tokens.parquet", TOKENS)
    given: dict[str, Any] = {"n_features": 4, "special_tokens": [0], "tokens": tokens}
    with FeatureStore.from_parquet(tmp_path / "parts", tmp_path / "a.h5", **given) as store:
        assert_array_equal(store.csr().toarray(), DENSE)
    (tmp_path / "none").mkdir()
    for missing in ("none", "nowhere.parquet"):
        with pytest.raises(FileNotFoundError, match="no such Parquet file, or a folder without any"):
            FeatureStore.from_parquet(tmp_path / missing, tmp_path / "b.h5", **given)


@pytest.mark.parametrize(
    ("entries", "tokens", "given", "message"),
    [
        ({"feature": [2, 0, 1, 0, 4]}, {}, {}, "entries.parquet, entry 4: feature 4 is not in 0 … 3"),
        ({"feature": [2, 0, -1, 0, 1]}, {}, {}, "entries.parquet, entry 2: feature -1 is not in 0 … 3"),
        ({"token": [3, 0, 1, 1, 5]}, {}, {}, "entries.parquet, entry 4: token 5 is not in 0 … 4"),
        ({"token": [3.0, 0, 1, 1, 2]}, {}, {}, "entries.parquet: token must be integers, found float64"),
        ({"value": [1, 2, 3, np.inf, 5]}, {}, {}, "entries.parquet, entry 3: activations must be finite"),
        ({"value": list("abcde")}, {}, {}, "activations must be real numbers, found object"),
        ({"value": [1, 2, None, 4, 5]}, {}, {}, "entries.parquet, row 2: value is missing"),
        ({"feature": [2, 0, 1, 1, 3]}, {}, {}, "entries.parquet: token 1: feature 1 is named twice"),
        ({}, {"token_id": [0, 5, None, 0, 7]}, {}, "tokens.parquet, row 2: token_id is missing"),
        ({}, {}, {"special_tokens": ["<s>"]}, "the tokens are ids, found the text '<s>'"),
        ({}, {}, {"columns": {"value": "act"}}, "no column act; it has feature, token, value; name others in columns="),
        ({}, {}, {"columns": {"latent": "x"}}, "columns: unknown latent; known are token, feature"),
    ],
)
def test_tables_that_are_refused(
    tmp_path: Path, entries: dict[str, Any], tokens: dict[str, Any], given: dict[str, Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, ENTRIES | entries, TOKENS | tokens, **given)
    assert not (tmp_path / "a.h5").exists()


@pytest.mark.parametrize(
    ("tokens", "special", "message"),
    [
        ({"token_string": list("abcde")}, [0], "the tokens are text, found the id 0"),
        ({"token_string": [b"a"] * 5}, ["a"], "token_string must be text, found bytes"),
        ({}, [0], "no column token_id or token_string"),
    ],
)
def test_tables_of_tokens_that_are_refused(
    tmp_path: Path, tokens: dict[str, Any], special: list[Any], message: str
) -> None:
    with pytest.raises(FormatError, match=message):
        read(tmp_path, ENTRIES, {"position": TOKENS["position"]} | tokens, special_tokens=special)


def test_a_damaged_file_and_one_of_another_format(tmp_path: Path) -> None:
    read(tmp_path, ENTRIES, TOKENS).close()
    source = tmp_path / "entries.parquet"
    for content in (source.read_bytes()[:-20], b"a,b\n1,2\n"):
        source.write_bytes(content)
        with pytest.raises(FormatError, match=r"entries\.parquet: cannot be read as Parquet"):
            FeatureStore.from_parquet(source, tmp_path / "b.h5", n_features=4, special_tokens=())


def test_without_pyarrow_the_error_says_what_to_install(tmp_path: Path) -> None:
    source = written(tmp_path, "entries.parquet", ENTRIES)
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from universality import FeatureStore, UniversalityError\n"
        f"try: FeatureStore.from_parquet({str(source)!r}, 'x.h5', n_features=4, special_tokens=())\n"
        "except UniversalityError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (
        "a Parquet table needs pyarrow, which is not installed; run pip install 'universality[parquet]'" in done.stdout
    )
    assert issubclass(FormatError, UniversalityError)
