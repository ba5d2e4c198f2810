"""Validated reading of JSON files that may come from anyone.

Every value is checked for its type and range. None is used as a path, a name to import or a size to allocate, except
for names of files in the same folder.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from universality.errors import FormatError, UniversalityError
from universality.obstacles import check_openable

LARGEST = 16 * 2**20
"""Largest file in bytes; real ones have a few thousand."""
LARGEST_NUMBER = 2**40
"""Largest number of anything: beyond the sizes that a computer could hold."""
_REQUIRED: Any = object()
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{,199}")


@dataclass(frozen=True)
class Settings:
    """Typed access to the keys of a JSON object; a wrong type raises a `FormatError` that names file and key."""

    values: dict[str, Any]
    where: str

    @classmethod
    def read(cls, path: Path) -> Settings:
        """Read the object in a file.

        Raises
        ------
        FormatError
            If the file is missing, too large, or not a JSON object.
        """
        try:
            check_openable(path)
            size = path.stat().st_size
            if size > LARGEST:
                raise FormatError(f"{path}: a configuration of {size:,} bytes; expected at most {LARGEST:,}")
            values = json.loads(path.read_text(encoding="utf-8"), parse_constant=str)  # NaN: no number
        except UniversalityError:
            raise
        except (OSError, ValueError, RecursionError) as error:
            raise FormatError(f"{path}: cannot be read as JSON: {error}") from None
        if not isinstance(values, dict):
            raise FormatError(f"{path}: expected a JSON object, found {_short(values)}")
        return cls(values, str(path))

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def require(self, *keys: str) -> None:
        """Raise unless all of these keys are present."""
        missing = [key for key in keys if key not in self]
        if missing:
            raise FormatError(f"{self.where}: incomplete, it lacks {', '.join(missing)}")

    def integer(self, key: str, default: Any = _REQUIRED) -> int:
        """Return a whole number from 1 to ``LARGEST_NUMBER``."""
        value = self._value(key, default)
        fits = isinstance(value, int) and not isinstance(value, bool)
        if value is not default and not (fits and 1 <= value <= LARGEST_NUMBER):
            raise self._wrong(key, "a whole number from 1 to 2^40", value)
        return value

    def count(self, key: str) -> int:
        """Return a whole number from 0 to ``LARGEST_NUMBER``."""
        value = self._value(key, _REQUIRED)
        if not (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_NUMBER):
            raise self._wrong(key, "a whole number from 0 to 2^40", value)
        return value

    def number(self, key: str, default: Any = _REQUIRED) -> float:
        """Return a number above 0."""
        value = self._value(key, default)
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not default and not (fits and 0 < value <= LARGEST_NUMBER):
            raise self._wrong(key, "a number above 0", value)
        return value

    def real(self, key: str) -> float:
        """Return a finite number of either sign, or NaN if it is null or missing."""
        value = self._value(key, None)
        if value is None:
            return float("nan")
        if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > LARGEST_NUMBER:
            raise self._wrong(key, "a number or null", value)
        return float(value)

    def flag(self, key: str, default: Any = _REQUIRED) -> bool:
        """Return true or false."""
        value = self._value(key, default)
        if value is not default and not isinstance(value, bool):
            raise self._wrong(key, "true or false", value)
        return value

    def text(self, key: str, default: Any = _REQUIRED) -> str:
        """Return a string."""
        value = self._value(key, default)
        if value is not default and not isinstance(value, str):
            raise self._wrong(key, "a string", value)
        return value

    def file_name(self, key: str, default: Any = _REQUIRED) -> str:
        """Return the name of a file in the same folder."""
        value = self.text(key, default)
        if value is not default and not _FILE_NAME.fullmatch(value):
            raise self._wrong(key, "the name of a file beside it, without a path", value)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings."""
        value = self._value(key, _REQUIRED)
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self._wrong(key, "a list of strings", value)
        return tuple(value)

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list of whole numbers; empty if the key is missing."""
        value = self._value(key, [])
        if not isinstance(value, list) or not all(isinstance(n, int) and not isinstance(n, bool) for n in value):
            raise self._wrong(key, "a list of whole numbers", value)
        return tuple(value)

    def section(self, key: str) -> Settings:
        """Return an object within this one; empty if the key is missing."""
        value = self._value(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, "an object", value)
        return Settings(value, f"{self.where}: {key}")

    def sections(self, key: str) -> tuple[Settings, ...]:
        """Return a list of objects."""
        value = self._value(key, _REQUIRED)
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self._wrong(key, "a list of objects", value)
        return tuple(Settings(one, f"{self.where}: {key}: {i}") for i, one in enumerate(value))

    def _value(self, key: str, default: Any) -> Any:
        if default is _REQUIRED:
            self.require(key)
        value = self.values.get(key)
        return default if value is None else value

    def _wrong(self, key: str, expected: str, value: Any) -> FormatError:
        return FormatError(f"{self.where}: {key} must be {expected}, found {_short(value)}")


def _short(value: Any) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # of a number of very many digits, of lists in lists
        text = f"{type(value).__name__} that cannot be shown"
    return text if len(text) <= 60 else f"{text[:57]}..."
