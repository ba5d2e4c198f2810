"""One run at a time in a folder: two would write each other's files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from universality.errors import UniversalityError
from universality.locks import take_lock


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's ``.lock``; it goes with the process, however that ends.

    Raises
    ------
    UniversalityError
        If another process holds it.
    """
    path = folder / ".lock"
    with path.open("a", encoding="utf-8") as file:
        if not take_lock(file.fileno(), path):
            raise UniversalityError(
                f"{folder}: another process is at work in this folder; wait for it, or take another --out"
            )
        yield
