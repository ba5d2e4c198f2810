"""One run at a time in a folder: two would write each other's files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from universality.errors import UniversalityError

try:
    import fcntl
except ImportError:  # Windows has none; there nothing is kept apart
    fcntl = None  # type: ignore[assignment]


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's ``.lock``; it goes with the process, however that ends.

    Raises
    ------
    UniversalityError
        If another process holds it.
    """
    with (folder / ".lock").open("a", encoding="utf-8") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UniversalityError(
                f"{folder}: another process is at work in this folder; wait for it, or take another --out"
            ) from None
        yield
