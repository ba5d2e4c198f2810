"""Feature activations in Parquet: a table of entries (token, feature, value), and one of tokens.

``token`` counts the tokens of the text from 0. The table of tokens has one row a token, in order, with ``token_id`` or
``token_string`` and optionally ``document``, ``position``, ``kind`` and ``group``. Without it those columns are read
from the table of entries, which then must name every token.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from universality.corpus.documents import DocumentTable
from universality.errors import FormatError, UniversalityError
from universality.extras import check_installed
from universality.features.importing.entry_checks import as_activations, check_index
from universality.features.importing.entry_sorter import EntrySorter
from universality.features.importing.token_source import Create, TokenSource, token_source, write_store
from universality.files import as_path, sha256
from universality.obstacles import check_openable

if TYPE_CHECKING:
    from universality.features.storage.store import FeatureStore

ENTRY, TOKEN = ("token", "feature", "value"), ("token_id", "token_string", "document", "position", "kind", "group")
_ROWS = 1 << 16  # of a table of tokens that are read at a time


def store_from_parquet(
    create: Create,
    source: str | Path,
    path: str | Path,
    *,
    n_features: int,
    special_tokens: Collection[int | str],
    tokens: str | Path | None = None,
    columns: Mapping[str, str] | None = None,
    documents: DocumentTable | None = None,
    memory_budget: int,
    **store: Any,
) -> FeatureStore:
    """Write a store from Parquet files; see `FeatureStore.from_parquet`."""
    path = as_path(path)
    names = _names(columns)
    entries = _Table(as_path(source), names)
    entries.require(*ENTRY)
    frame = _tokens_of_entries(entries) if tokens is None else _token_table(_Table(as_path(tokens), names))
    where = str(source if tokens is None else tokens)
    ids, special, vocabulary = _ids(where, frame, special_tokens)
    given = {name: frame[name].to_numpy() if name in frame else None for name in ("document", "position", "kind",
                                                                                 "group")}  # fmt: skip
    table = token_source(where, ids, documents=documents, special_tokens=special, **given)
    files = entries.files + ([] if tokens is None else _Table(as_path(tokens), names).files)
    imported = {
        "format": "parquet",
        "sha256": hashlib.sha256(json.dumps([sha256(file) for file in files]).encode()).hexdigest(),
        "special_tokens": sorted(special_tokens, key=str),
        **vocabulary,
    }
    return write_store(
        create, path, n_features, table, _blocks(entries, table, n_features, path.parent, memory_budget),
        imported=imported, **store,
    )  # fmt: skip


class _Table:
    """A Parquet file, or the Parquet files of a folder in the order of their names."""

    def __init__(self, path: Path, names: Mapping[str, str]) -> None:
        self.path, self._names = path, names
        self.files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
        if not self.files or not self.files[0].exists():
            raise FileNotFoundError(f"{path}: no such Parquet file, or a folder without any")
        schemas = [set(self._open(file).schema_arrow.names) for file in self.files]
        self.present = {name for name, column in names.items() if all(column in schema for schema in schemas)}
        self._found = sorted(schemas[0])

    def require(self, *names: str) -> None:
        """Raise unless all of these columns are present."""
        missing = [self._names[name] for name in names if name not in self.present]
        if missing:
            raise FormatError(
                f"{self.path}: no column {', '.join(missing)}; it has {', '.join(self._found)}; name others in columns="
            )

    def batches(self, names: Sequence[str], n_rows: int) -> Iterator[tuple[str, int, dict[str, NDArray[Any]]]]:
        """Yield file, number of the first row in it, and columns, a bounded number of rows at a time."""
        for file in self.files:
            first = 0
            with _reading(file):
                for batch in self._open(file).iter_batches(n_rows, columns=[self._names[name] for name in names]):
                    yield str(file), first, {name: self._column(batch, name, file, first) for name in names}
                    first += batch.num_rows

    def _column(self, batch: Any, name: str, file: Path, first: int) -> NDArray[Any]:
        column = batch.column(batch.schema.get_field_index(self._names[name]))
        if column.null_count:
            wrong = first + int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
            raise FormatError(f"{file}, row {wrong}: {self._names[name]} is missing")
        if hasattr(column, "dictionary_decode"):
            column = column.dictionary_decode()
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def _open(self, file: Path) -> Any:
        check_installed(f"{file}: a Parquet table", ["pyarrow"])
        from pyarrow import parquet

        check_openable(file)
        with _reading(file):
            return parquet.ParquetFile(file)


class _reading:  # noqa: N801 - reads as a statement
    """Turn what pyarrow raises on damaged files into a `FormatError`."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, UniversalityError) or not isinstance(error, OSError | ValueError | TypeError):
            return
        raise FormatError(f"{self._file}: cannot be read as Parquet: {error}") from None


def _names(columns: Mapping[str, str] | None) -> dict[str, str]:
    unknown = sorted(set(columns or ()) - {*ENTRY, *TOKEN})
    if unknown:
        raise FormatError(f"columns: unknown {', '.join(unknown)}; known are {', '.join((*ENTRY, *TOKEN))}")
    return {name: name for name in (*ENTRY, *TOKEN)} | dict(columns or {})


def _token_table(table: _Table) -> pd.DataFrame:
    """Read the columns of a table with one row a token."""
    names = [name for name in TOKEN if name in table.present]
    parts = [pd.DataFrame(batch) for _, _, batch in table.batches(names, _ROWS)] if names else []
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(names))


def _tokens_of_entries(table: _Table) -> pd.DataFrame:
    """Gather the columns of tokens from entries, where each entry repeats those of its token."""
    names = [name for name in TOKEN if name in table.present]
    parts = []
    for file, first, batch in table.batches(["token", *names], _ROWS):
        check_index(file, "token", batch["token"], 1 << 31, first)
        parts.append(pd.DataFrame(batch).drop_duplicates())
    frame = pd.concat(parts, ignore_index=True).drop_duplicates() if parts else pd.DataFrame(columns=["token"])
    row = frame["token"].to_numpy()
    repeated = frame.loc[frame["token"].duplicated(), "token"]
    if len(repeated):
        raise FormatError(f"{table.path}: entries of token {repeated.iloc[0]} contradict each other about "
                          f"{', '.join(names)}")  # fmt: skip
    if len(row) != row.max(initial=-1) + 1:
        missing = np.flatnonzero(np.bincount(row) == 0)
        raise FormatError(
            f"{table.path}: {len(missing)} tokens have no entry (the first is {missing[0]}), so the table does not "
            "say what they are; pass tokens=, a table with one row a token"
        )
    return frame.sort_values("token").reset_index(drop=True)


def _ids(
    where: str, frame: pd.DataFrame, special_tokens: Collection[int | str]
) -> tuple[NDArray[Any], list[int], dict[str, Any]]:
    """Return token ids, the special ones among them, and what to record of a vocabulary made here."""
    if "token_id" in frame:
        texts = [token for token in special_tokens if isinstance(token, str)]
        if texts:
            raise FormatError(f"special_tokens: the tokens are ids, found the text {texts[0]!r}")
        return frame["token_id"].to_numpy(), [int(token) for token in special_tokens], {}
    if "token_string" not in frame:
        raise FormatError(f"{where}: no column token_id or token_string says what the tokens are")
    strings = frame["token_string"].to_numpy(object)
    numbers = [token for token in special_tokens if not isinstance(token, str)]
    if numbers:
        raise FormatError(f"special_tokens: the tokens are text, found the id {numbers[0]!r}")
    if len(strings) and not isinstance(strings[0], str):
        raise FormatError(f"{where}: token_string must be text, found {type(strings[0]).__name__}")
    ids, distinct = pd.factorize(strings, sort=True)
    vocabulary = distinct.tolist()
    known = {text: i for i, text in enumerate(vocabulary)}
    record = hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()
    special = [known[str(token)] for token in special_tokens if token in known]
    return ids, special, {"vocabulary": {"n": len(vocabulary), "sha256": record}}


def _blocks(
    entries: _Table, tokens: TokenSource, n_features: int, folder: Path, memory_budget: int
) -> Iterator[tuple[slice, sparse.csr_matrix]]:
    """Sort the entries by token, and yield blocks of rows."""
    with EntrySorter(
        folder, len(tokens), n_features, memory_budget, lambda row: f"{entries.path}: token {row}"
    ) as sorter:
        for file, first, batch in entries.batches(ENTRY, sorter.batch):
            check_index(file, "token", batch["token"], len(tokens), first)
            check_index(file, "feature", batch["feature"], n_features, first)
            sorter.add(batch["token"], batch["feature"], as_activations(file, batch["value"], first))
        yield from sorter.blocks()
