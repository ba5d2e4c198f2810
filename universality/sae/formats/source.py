"""Folder or file in which a format looks for an SAE."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """Path that the caller named: an SAE's folder, or one of the files in it."""

    path: Path

    @property
    def folder(self) -> Path:
        """Folder of the files."""
        return self.path if self.path.is_dir() else self.path.parent

    def holds(self, *names: str) -> bool:
        """Whether the folder holds all these files, and the caller named the folder or one of them."""
        named = self.path.is_dir() or self.path.name in names
        return named and all((self.folder / name).is_file() for name in names)

    def is_file(self, *suffixes: str) -> bool:
        """Whether the caller named a file with one of these suffixes."""
        return self.path.suffix in suffixes and self.path.is_file()

    def __truediv__(self, name: str) -> Path:
        return self.folder / name
