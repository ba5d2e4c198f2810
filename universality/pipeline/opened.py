"""A run's stores, opened once each, with what was measured of their features on an earlier visit."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from universality.errors import FormatError
from universality.export.about import About, about, remember
from universality.features import FeatureStore
from universality.matching.archive import read_archive, write_archive

FORMAT, VERSION = "universality.about", 1


class OpenStores:
    """Opens stores on demand and closes them at the end. A context manager."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._stores: dict[Path, FeatureStore] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __getitem__(self, path: Path) -> FeatureStore:
        if path not in self._stores:
            self._stores[path] = self._stack.enter_context(FeatureStore.open(path))
        return self._stores[path]

    def about(self, path: Path) -> tuple[FeatureStore, Path]:
        """A store whose features' tokens and kinds are known, and the file that holds them.

        The file beside the store is read where it is of this store's contents, and written where it is not.
        """
        store, file = self[path], path.with_suffix(".about.npz")
        contents = store.content_hash()
        try:
            header, arrays = read_archive(file, FORMAT, VERSION)
            if header["contents"] == contents:
                remember(store, About(arrays["tokens"], arrays["kind"], arrays["purity"]))
                return store, file
        except (FileNotFoundError, FormatError, KeyError):
            pass  # not there, or of another version: measured anew
        found = about(store)
        arrays = {"tokens": found.tokens, "kind": found.kind, "purity": np.asarray(found.purity)}
        write_archive(file, FORMAT, VERSION, {"contents": contents}, arrays)
        return store, file
