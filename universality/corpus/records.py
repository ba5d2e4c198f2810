"""Reading of record files (JSON lines, JSON arrays, CSV, TSV and Parquet), one passage per record.

A record has a ``text`` and may have an ``id``, a ``kind`` and a ``group``. A field without a value (null, NaN, an empty
cell) is absent.
"""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import math
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from universality.corpus.folders import shown
from universality.errors import CorpusError
from universality.extras import naming_extra

_OPENERS: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
_FORMATS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_MAGIC = {  # first bytes of files that are neither text nor records, and what to do with them
    b"PK\x03\x04": "a ZIP archive (or a document of Office); unpack it, or save it as text",
    b"%PDF": "a PDF; save it as text",
    b"\x1f\x8b": "gzip without its ending; name it .gz, as in text.jsonl.gz",
    b"\xfd7zXZ": "xz without its ending; name it .xz, as in text.jsonl.xz",
    b"(\xb5/\xfd": "Zstandard; unpack it with zstd -d",
    b"\x93NUMPY": "an array of NumPy; token ids are read where a .npy is the only corpus.source, and by "
    "universality.corpus.build_from_arrays",
    b"PAR1": "Parquet without its ending; name it .parquet",
    b"ARROW1": "an Arrow file; save it as Parquet",
    b"\x89HDF": "HDF5; save its text as JSON lines",
    b"SQLite": "a database of SQLite; save its text as CSV",
    b"\xff\xfe": "probably UTF-16; save it as UTF-8",
    b"\xfe\xff": "probably UTF-16; save it as UTF-8",
}
_READ_AS = {"json": "JSON lines", "csv": "CSV", "parquet": "Parquet"}
FIELDS = ("text", "id", "kind", "group")
"""Fields of a record that are read."""
_NO_COLUMNS: Mapping[str, str] = MappingProxyType({})
_CHUNK = 1 << 16  # bytes of a long text that are read at a time
_ROWS = 1000  # Parquet records per batch
_LONGEST_CELL = 1 << 30  # the csv module's own limit is 131,072 characters, less than a book


@dataclass(frozen=True)
class Record:
    """One record and its position in the file."""

    place: str
    """Position for messages: ``line 7`` or ``record 7``."""
    number: int
    """Number of the record, from 1."""
    values: Mapping[str, Any]
    """Field → value."""


def format_of(path: Path) -> str | None:
    """Return ``json``, ``csv`` or ``parquet`` according to the file's ending; None for plain text."""
    return _FORMATS.get(format_ending(path))


def read_records(path: Path, columns: Mapping[str, str] = _NO_COLUMNS) -> Iterator[Record]:
    """Yield the records of a file, lazily except for a JSON array.

    Parameters
    ----------
    columns
        Field (``text``, ``id``, ``kind``, ``group``) → name of its column, where that differs.

    Raises
    ------
    CorpusError
        If the file is not of the format that its ending states, or lacks a column; names the line or record.
    """
    for record in {"json": _json, "csv": _csv, "parquet": _parquet}[format_of(path) or "json"](path, columns):
        values = fields_of(f"{shown(path)}, {record.place}", record.values, columns)
        yield Record(record.place, record.number, values)


def has_text(path: Path, columns: Mapping[str, str] = _NO_COLUMNS) -> bool:
    """Return whether the first record of a file has a ``text``."""
    try:
        first = next(read_records(path, columns), None)
    except CorpusError:
        return False
    return first is not None and "text" in first.values


def fields_of(where: str, values: Mapping[str, Any], columns: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the values of a record under the names of the fields that they hold.

    Parameters
    ----------
    columns
        Field (``text``, ``id``, ``kind``, ``group``) → name that the record has for it, where that differs.

    Raises
    ------
    CorpusError
        If the record lacks a column that ``columns`` names; lists those it has.
    """
    if not columns:
        return values
    for field, column in columns.items():
        if column not in values:
            raise CorpusError(f"{where}: {_lacking(field, column, list(values))}")
    names = ((field, columns.get(field, field)) for field in FIELDS)
    return {field: values[name] for field, name in names if name in values}


def _names_of_fields(columns: Mapping[str, str]) -> set[str]:
    return {columns.get(field, field) for field in FIELDS}


def check_columns(columns: Mapping[str, str] | None) -> Mapping[str, str]:
    """Return the columns (none by default); raise CorpusError if one is for a field that is not read."""
    if unknown := sorted((columns or {}).keys() - set(FIELDS)):
        raise CorpusError(
            f"columns: expected {', '.join(FIELDS)} → the name of its column, found {', '.join(map(repr, unknown))}"
        )
    return columns or {}


def _lacking(field: str, column: str, found: Sequence[str]) -> str:
    listed = ", ".join(map(repr, found[:12])) + (f" and {len(found) - 12} more" if len(found) > 12 else "")
    return f"no column {column!r} to read {field} from; found {listed or 'none'}; name the right one in columns"


def read_text(path: Path) -> str:
    """Read a text file, decompressed if necessary and without a byte-order mark."""
    with _opened(path) as file:
        return _decoded(shown(path), file.read())


def read_pieces(path: Path) -> Iterator[str]:
    """Yield the lines of a text file with their ends, read as `read_text` does but in bounded memory.

    A line of more than 65,536 bytes comes in several pieces.
    """
    rest = ""
    for text in _chunks(path):
        *lines, rest = (rest + text).split("\n")
        for line in lines:
            yield line + "\n"
        if len(rest) > _CHUNK:
            yield rest
            rest = ""
    if rest:
        yield rest


def _chunks(path: Path) -> Iterator[str]:
    """Yield the text of a file in parts."""
    decoder, n_read = codecs.getincrementaldecoder("utf-8-sig")(), 0
    with _opened(path) as file:
        start = chunk = file.read(_CHUNK)
        while True:
            try:
                text = decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                # The decoder may have kept back the first bytes of a character.
                offset = n_read - (len(error.object) - len(chunk)) + error.start
                raise _not_utf8(shown(path), start, error.object[error.start], offset) from None
            if not n_read:
                _check_not_utf16(shown(path), start)
            if text:
                yield text
            if not chunk:
                return
            n_read += len(chunk)
            chunk = file.read(_CHUNK)


def absent(value: Any) -> bool:
    """Return whether a field has no value: null, NaN, pandas.NA, or nothing but whitespace."""
    if isinstance(value, str):
        return not value.strip()
    if value is None or type(value).__name__ in ("NAType", "NaTType"):  # those of pandas
        return True
    return isinstance(value, Real) and math.isnan(value)


def _json(path: Path, named: Mapping[str, str]) -> Iterator[Record]:
    with _opened(path) as file:
        # People call both JSON lines and arrays .json or .jsonl: the first line decides, not the ending alone.
        first = file.readline()
        start = first.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
        whole = start == b"[" or (format_ending(path) == ".json" and not _is_object(first))
        file.seek(0)
        yield from _array(path, file.read(), named) if whole else _lines(path, file, named)


def _lines(path: Path, file: IO[bytes], named: Mapping[str, str]) -> Iterator[Record]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        where = f"{shown(path)}, line {number}"
        values = _parsed(where, _decoded(where, line), named)
        if not isinstance(values, dict):
            raise CorpusError(f"{where}: expected an object with a string 'text', found {line[:60]!r}")
        yield Record(f"line {number}", number, values)


def _array(path: Path, content: bytes, named: Mapping[str, str]) -> Iterator[Record]:
    """Yield the objects of an array, or a single object."""
    values = _parsed(shown(path), _decoded(shown(path), content), named)
    for number, record in enumerate(values if isinstance(values, list) else [values], start=1):
        if not isinstance(record, dict):
            raise CorpusError(
                f"{shown(path)}, record {number}: expected an object with a string 'text', found "
                f"{type(record).__name__} {str(record)[:60]!r}"
            )
        yield Record(f"record {number}", number, record)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _parsed(where: str, text: str, named: Mapping[str, str]) -> Any:
    read = _names_of_fields(named)

    def unique_fields(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Build the object; raise if it repeats a field that is read, of which json would keep the last silently."""
        names = [name for name, _ in pairs if name in read]
        if len(set(names)) < len(names):
            raise CorpusError(f"{where}: a field is given twice, found {', '.join(map(repr, names))}; leave one out")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique_fields)
    except CorpusError:
        raise
    except json.JSONDecodeError as error:
        raise CorpusError(f"{where}: not JSON: {error}") from None
    except RecursionError:
        raise CorpusError(f"{where}: nested too deeply to be read; keep text, id, kind and group alone") from None
    except ValueError:  # an integer with more digits than sys.get_int_max_str_digits()
        raise CorpusError(
            f"{where}: holds a number of thousands of digits; write it as text, or leave it out"
        ) from None


def _csv(path: Path, named: Mapping[str, str]) -> Iterator[Record]:
    csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
    with _opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        rows = csv.DictReader(text, delimiter="\t" if format_ending(path) == ".tsv" else ",", strict=True)
        try:
            columns = rows.fieldnames or []
            _check_header(path, columns, named)
            for number, row in enumerate(rows, start=1):
                if None in row:
                    raise CorpusError(
                        f"{shown(path)}, line {rows.line_num}: more cells than the {len(columns)} columns; put a text "
                        "with commas in double quotes"
                    )
                yield Record(f"line {rows.line_num}", number, row)
        except csv.Error as error:
            raise CorpusError(f"{shown(path)}, after line {rows.line_num}: not CSV: {error}") from None
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{shown(path)}, after line {rows.line_num}: expected UTF-8 text, found byte "
                f"{error.object[error.start]:#04x}; save the table as UTF-8"
            ) from None


def _parquet(path: Path, named: Mapping[str, str]) -> Iterator[Record]:
    with naming_extra(f"{shown(path)}: Parquet"):
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    try:
        with ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_header(path, names, named)
            number = 0
            wanted = [name for name in names if name in _names_of_fields(named)]
            for batch in file.iter_batches(_ROWS, columns=wanted):
                for row in batch.to_pylist():
                    number += 1
                    yield Record(f"record {number}", number, row)
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{shown(path)}: cannot be read as Parquet: {error}") from None


def _check_header(path: Path, names: Sequence[str], named: Mapping[str, str]) -> None:
    """Refuse a table whose columns are repeated, not separated by commas, or without the text."""
    wanted = _names_of_fields(named)
    repeated = sorted({name for name in names if name in wanted and names.count(name) > 1})
    if repeated:
        raise CorpusError(f"{shown(path)}: the column {repeated[0]!r} is there twice; leave one out")
    text = named.get("text", "text")
    if len(names) == 1 and text in re.split(r"[;|\t]", names[0]) and names[0] != text:
        raise CorpusError(f"{shown(path)}: expected commas between columns, found {names[0]!r}; save it with commas")
    fields_of(shown(path), dict.fromkeys(names), named)
    if text not in names:
        raise CorpusError(
            f"{shown(path)}: expected a column 'text' (and optionally id, kind, group), found "
            f"{', '.join(map(repr, names[:8])) or 'none'}; rename the one that holds the text, or name it in "
            "corpus.columns, as {text: NAME}"
        )


def format_ending(path: Path) -> str:
    """Return the last ending in lower case, ignoring that of a compression."""
    endings = [ending.lower() for ending in path.suffixes]
    if endings and endings[-1] in _OPENERS:
        endings.pop()
    return endings[-1] if endings else ""


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file as decompressed bytes; errors while reading name the file."""
    opener = _OPENERS.get(path.suffix.lower(), open)
    try:
        with opener(path, "rb") as file:
            yield file
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        what = f" as {_READ_AS[kind]}" if (kind := format_of(path)) else ""
        raise CorpusError(f"{shown(path)}: cannot be read{what}: {error}") from error


def _decoded(where: str, content: bytes) -> str:
    """Decode UTF-8; refuse anything else, by its name where its first bytes are known."""
    try:
        text = content.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(where, content, error.object[error.start], error.start) from None
    _check_not_utf16(where, content)
    return text


def _not_utf8(where: str, start: bytes, byte: int, offset: int) -> CorpusError:
    what = next((what for magic, what in _MAGIC.items() if start.startswith(magic)), None)
    return CorpusError(
        f"{where}: expected UTF-8 text, found byte {byte:#04x} at offset {offset}; "
        + (f"it is {what}" if what else "convert the file, or leave it out")
    )


def _check_not_utf16(where: str, content: bytes) -> None:
    """Refuse UTF-16 of Latin letters, which is also valid UTF-8."""
    if 3 * content.count(b"\0") > len(content):
        raise CorpusError(f"{where}: expected UTF-8 text, found NUL at every other byte: probably UTF-16; convert it")
