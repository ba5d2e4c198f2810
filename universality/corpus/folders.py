"""Files below a folder, and a record of the entries that are skipped."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from universality.errors import CorpusError

_SHOWN = 5  # names in a note


@dataclass
class PassedOver:
    """Entries that `files_below` skipped, as paths relative to the folder."""

    hidden: list[str] = field(default_factory=list)
    """Files and folders whose names begin with a dot, as ``.git`` does."""
    linked: list[str] = field(default_factory=list)
    """Links to folders that are read under another path."""
    unreadable: list[str] = field(default_factory=list)
    """Broken links, pipes, sockets and devices."""

    def notes(self, folder: Path) -> tuple[str, ...]:
        """Return one sentence for each reason that occurred."""
        why = (
            (self.hidden, "hidden files and folders are not read"),
            (self.linked, "links to folders that are read elsewhere are not followed"),
            (self.unreadable, "broken links and what is neither file nor folder are not read"),
        )
        return tuple(f"{shown(folder)}: {what}: {_listed(names)}" for names, what in why if names)


def shown(path: str | Path) -> str:
    """Return a path as printable text; bytes that are not UTF-8 are written as ``\\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def files_below(folder: Path, passed_over: PassedOver) -> Iterator[Path]:
    """Yield files in order of their paths; links to outside folders are followed, every folder once."""
    root = folder.resolve()
    yield from _below(folder, root, {root}, folder, passed_over)


def _below(folder: Path, root: Path, seen: set[Path], top: Path, passed_over: PassedOver) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise CorpusError(
            f"{shown(folder)}: the folder cannot be read: {error.strerror}; allow it, or move it"
        ) from None
    for path in entries:
        name = shown(path.relative_to(top).as_posix())
        if path.name.startswith("."):
            passed_over.hidden.append(name)
        elif path.is_dir():
            place = path.resolve()
            # A link into the folder would read its files twice; one to a folder above it would never end.
            if place in seen or (path.is_symlink() and (root in place.parents or place in root.parents)):
                passed_over.linked.append(name)
                continue
            seen.add(place)
            yield from _below(path, root, seen, top, passed_over)
        elif path.is_file():
            yield path
        else:
            passed_over.unreadable.append(name)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
