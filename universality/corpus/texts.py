"""Texts in memory (lists, tables, data sets) written as one canonical file of JSON lines.

A run reads its text from files, whose hashes it records. Texts that exist in memory alone are therefore written first:
one object per line with ``text``, ``kind``, ``group`` and ``id``, in this order and in the order of the texts, so that
equal texts give equal bytes.
"""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from universality.corpus.passage import Located, Passage, checked_passages, passage_of_record
from universality.corpus.records import FIELDS, check_columns, fields_of
from universality.corpus.token_budget import within_budget
from universality.corpus.tokenizer import Tokenizer
from universality.errors import CorpusError
from universality.files import as_path, replacing_text

_log = logging.getLogger(__name__)


def write_texts(
    texts: Iterable[Any],
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    max_tokens: int | None = None,
    max_documents: int | None = None,
    tokenizer: Tokenizer | None = None,
) -> Path:
    """Write texts in memory as JSON lines that ``corpus.source`` and `build_corpus` read.

    Parameters
    ----------
    texts
        Strings; mappings with a ``text`` and optionally ``kind``, ``group`` and ``id``; a ``datasets.Dataset`` or
        ``IterableDataset``; or a pandas or polars DataFrame. Each item is one document. It is read once and lazily:
        nothing after the last document is fetched.
    path
        File to write, named ``….jsonl``; its folder is created. An existing file is replaced.
    columns
        Field → name that the texts have for it: ``{"text": "content", "kind": "language"}``.
    max_tokens
        Stop when the documents hold this many tokens. The last one is kept whole.
    max_documents
        Stop after this number of documents.
    tokenizer
        Tokenizer that counts for ``max_tokens``; without one, a token is four UTF-8 bytes.

    Returns
    -------
    Path
        The file. An item without an id is named ``texts:`` and its index, one without a kind gets the kind ``text``,
        and one without a group is a work of its own. Items without text are left out, with a warning in the log.

    Raises
    ------
    CorpusError
        If an item is neither text nor a mapping with one, two items have the same id, or nothing is left; the message
        has the item's index. Nothing is written then.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = write_texts(["one", {"text": "two", "kind": "verse"}], Path(folder, "texts.jsonl"))
    ...     print(path.read_text(), end="")
    {"text": "one", "kind": "text", "group": "texts:0", "id": "texts:0"}
    {"text": "two", "kind": "verse", "group": "texts:1", "id": "texts:1"}
    """
    path, columns = as_path(path), check_columns(columns)
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        raise CorpusError(f"{path}: expected a name that ends in .jsonl, by which the file is read as JSON lines")
    if max_documents is not None and max_documents < 1:
        raise CorpusError(f"max_documents: expected at least 1, found {max_documents}")
    without_text: Counter[str] = Counter()
    passages = checked_passages(located_items(records_of(texts, columns), columns), without_text)
    write_passages(
        within_budget(islice(passages, max_documents), max_tokens, [tokenizer] if tokenizer else []), path, "texts"
    )
    if n := without_text.total():
        _log.warning("texts: items without text are left out: %s", f"{n:,}")
    return path


def write_passages(passages: Iterable[Passage], path: Path, source: str) -> None:
    """Write passages as canonical JSON lines, atomically and one at a time.

    Raises
    ------
    CorpusError
        If there are none; ``source`` names their origin. Nothing is written then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_text(path) as file:
        for passage in passages:
            line = {"text": passage.text, "kind": passage.kind, "group": passage.group, "id": passage.id}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        if not file.tell():
            raise CorpusError(f"{source}: expected text, found none; give at least one document that is not empty")


def records_of(texts: Any, columns: Mapping[str, str], source: str = "texts") -> Iterator[Any]:
    """Yield the items of a list, a data set or a table; a row of a table is a mapping.

    Raises
    ------
    CorpusError
        If the texts are a single string, a mapping of splits, or lack the column of the text.
    """
    if isinstance(texts, str | bytes):
        raise CorpusError(
            f"texts: expected a list of texts, found one {type(texts).__name__} {texts[:40]!r}; put it in a list, or "
            "give the path of a file as corpus.source"
        )
    if isinstance(texts, Mapping):
        raise CorpusError(
            f"texts: expected a list of texts or one split of a data set, found a mapping with "
            f"{', '.join(map(repr, list(texts)[:8]))}; give one of its values, as texts[{next(iter(texts), 'train')!r}]"
        )
    if hasattr(texts, "itertuples"):  # a pandas DataFrame
        return (dict(zip(texts.columns, row, strict=True)) for row in texts.itertuples(index=False, name=None))
    if hasattr(texts, "iter_rows"):  # a polars DataFrame
        return iter(texts.iter_rows(named=True))
    if hasattr(texts, "select_columns"):  # a Dataset or IterableDataset
        return _rows_of_dataset(texts, columns, source)
    if not isinstance(texts, Iterable):
        raise CorpusError(f"texts: expected a list of texts, found {type(texts).__name__}")
    return iter(texts)


def _rows_of_dataset(dataset: Any, columns: Mapping[str, str], source: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a data set, without columns that are not read and with the names of class labels."""
    present = dataset.column_names  # None where a stream does not know them
    if present is not None:
        wanted = {field: columns.get(field, field) for field in FIELDS}
        fields_of(source, dict.fromkeys(present), {"text": wanted["text"], **columns})
        dataset = dataset.select_columns([name for name in present if name in wanted.values()])  # decodes no images
    labels = {name: feature for name, feature in (dataset.features or {}).items() if hasattr(feature, "int2str")}
    for row in dataset:
        yield row | {
            name: label.int2str(row[name])
            for name, label in labels.items()
            if isinstance(row.get(name), int) and row[name] >= 0  # -1 is an unlabelled row
        }


def located_items(items: Iterable[Any], columns: Mapping[str, str], source: str = "texts") -> Iterator[Located]:
    """Turn strings and mappings into passages; those without an id are named by the source and their index.

    Raises
    ------
    CorpusError
        If an item is neither text nor a mapping with one; names its index.
    """
    for index, item in enumerate(items):
        where = f"{source}[{index}]"
        if isinstance(item, str):  # a byte-order mark, which editors of Windows leave, is no text
            values: Mapping[str, Any] = {"text": item.removeprefix("\ufeff")}
        elif isinstance(item, Mapping):
            values = fields_of(where, item, columns)
        else:
            raise CorpusError(
                f"{where}: expected a string or a mapping with a 'text', found {type(item).__name__} {str(item)[:60]!r}"
            )
        yield passage_of_record(values, source=source, where=where, default_id=f"{source}:{index}", default_kind="text")
