"""A run's stores, opened once each, with what was measured of their features on an earlier visit."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from universality.archive import read_archive, write_archive
from universality.errors import FormatError
from universality.features import FeatureStore
from universality.features.descriptions import Described
from universality.features.specificity import Specificity

FORMAT, VERSION = "universality.about", 3  # 2: tokens by largest activation; measured anew


def about_file(store: Path) -> Path:
    """Beside a store, what its features are about."""
    return store.with_suffix(".about.npz")


class OpenStores:
    """Opens stores on demand and closes them at the end. A context manager.

    Parameters
    ----------
    keep
        Whether descriptions that are measured are written beside their store.
    """

    def __init__(self, keep: bool = True) -> None:
        self._keep = keep
        self._stack = ExitStack()
        self._stores: dict[Path, FeatureStore] = {}
        self._described: dict[Path, Described] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all stores."""
        self._stack.close()

    def __getitem__(self, path: Path) -> FeatureStore:
        if path not in self._stores:
            self._stores[path] = self._stack.enter_context(FeatureStore.open(path))
        return self._stores[path]

    def described(self, path: Path) -> Described:
        """A store with the descriptions of its features.

        They are read from the file beside the store where that is of this store's contents; otherwise they are measured
        and, with ``keep``, written to it.
        """
        if path not in self._described:
            self._described[path] = self._describe(path)
        return self._described[path]

    def _describe(self, path: Path) -> Described:
        store, file = self[path], about_file(path)
        contents = store.content_hash()
        try:
            header, arrays = read_archive(file, FORMAT, VERSION)
            if header["contents"] == contents:
                sums = (arrays[name] for name in ("kind_tokens", "mass", "firings"))
                return Described(store, arrays["tokens"], Specificity(tuple(store.tokens.kinds), *sums))
        except (FileNotFoundError, FormatError, KeyError):
            pass  # not there, or of another version: measured anew
        measured = Described.measure(store)
        if not self._keep:
            return measured
        kinds = measured.specificity
        arrays = {
            "tokens": measured.tokens, "kind_tokens": kinds.kind_tokens, "mass": kinds.mass, "firings": kinds.firings
        }  # fmt: skip
        write_archive(file, FORMAT, VERSION, {"contents": contents}, arrays)
        return measured
