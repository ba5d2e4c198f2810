"""One versioned file for a result: a JSON header and arrays, as .json or .npz, written atomically.

Neither holds pickles, so reading runs no code. In .json every array is {"dtype", "shape", "values"}, with NaN as null
and infinities as "inf" and "-inf"; in .npz the header is the UTF-8 bytes of JSON under the name ``header``.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from universality.errors import FormatError, UniversalityError
from universality.files import as_path, replacing
from universality.obstacles import naming_obstacles

Arrays = dict[str, npt.NDArray[Any]]


def write_archive(
    path: str | Path, name: str, version: int, header: dict[str, Any], arrays: Arrays, *, compressed: bool = True
) -> Path:
    """Write ``header`` and ``arrays`` to a .json or .npz file, through a temporary file beside it.

    Without ``compressed``, large arrays of noise are written 30 times as fast, and take a tenth more space.

    Raises
    ------
    FormatError
        When the suffix is neither.
    """
    path = as_path(path)
    head = {"format": name, "version": version, **header}
    if path.suffix == ".json":
        content = _json(head | {"arrays": {key: _listed(array) for key, array in arrays.items()}})
    elif path.suffix == ".npz":
        buffer = io.BytesIO()
        coded = np.frombuffer(_json(head), np.uint8)
        (np.savez_compressed if compressed else np.savez)(buffer, allow_pickle=False, header=coded, **arrays)
        content = buffer.getvalue()
    else:
        raise FormatError(f"{path}: expected a name ending in .json or .npz")
    with replacing(path) as partial:
        partial.write_bytes(content)
    return path


def read_archive(path: str | Path, name: str, version: int) -> tuple[dict[str, Any], Arrays]:
    """Read the header and the arrays of a file that `write_archive` wrote.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    FormatError
        When it is truncated or corrupt, of another format, or of another version.
    """
    path = as_path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with naming_obstacles(path):
            head, arrays = _read_npz(path, name) if path.suffix == ".npz" else _read_json(path)
    except UniversalityError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: not a whole {name} file: {error}") from None
    if head.pop("format", None) != name:
        raise FormatError(f"{path}: not a {name} file")
    written = head.pop("version", None)
    if written != version:
        newer = isinstance(written, int) and written > version
        advice = "it was written by a newer program, update this one" if newer else "write it anew"
        raise FormatError(f"{path}: {name} version {written}, but this program reads version {version}; {advice}")
    return head, arrays


def read_arrays(path: str | Path) -> Arrays:
    """Read the arrays of an .npz file without a header; a truncated or corrupt file is a FormatError."""
    try:
        with naming_obstacles(path), as_path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except UniversalityError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: not a whole file of arrays: {error}") from None


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False, default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a header holds JSON only, found {type(value).__name__}")


def _listed(array: npt.NDArray[Any]) -> dict[str, Any]:
    values = array.ravel().tolist()
    if array.dtype.kind == "f":
        values = [value if math.isfinite(value) else None if math.isnan(value) else str(value) for value in values]
    return {"dtype": array.dtype.str, "shape": list(array.shape), "values": values}


def _read_json(path: Path) -> tuple[dict[str, Any], Arrays]:
    head = json.loads(path.read_text(encoding="utf-8"))
    arrays = {}
    for key, entry in head.pop("arrays", {}).items():
        dtype, values = np.dtype(entry["dtype"]), entry["values"]
        if dtype.kind != "U":
            values = [math.nan if v is None else float(v) if isinstance(v, str) else v for v in values]
        arrays[key] = np.array(values, dtype=dtype).reshape(entry["shape"])
    return head, arrays


def _read_npz(path: Path, name: str) -> tuple[dict[str, Any], Arrays]:
    """Read the header, and the arrays if the file has the named format."""
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        head = json.loads(file["header"].tobytes())
        known = isinstance(head, dict) and head.get("format") == name
        return head, {key: file[key] for key in file.files if key != "header"} if known else {}
