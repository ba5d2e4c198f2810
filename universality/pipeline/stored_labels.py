"""Labels that a run's folder holds, beside the stores that they are of."""

from collections.abc import Iterable
from pathlib import Path

from universality.features import FeatureStore
from universality.labels.label_file import Labels, read_labels
from universality.pipeline.paths import RunFolder


def label_files(folder: RunFolder) -> list[Path]:
    """List the files of labels of a run."""
    return sorted(file for file in (folder.root / "labels").glob("*.jsonl") if file != folder.label_answers)


def stored_labels(folder: RunFolder, store: FeatureStore) -> Labels | None:
    """Read the labels of a store's features; None where there are none, or they are of other contents of the store.

    Raises
    ------
    FormatError
        If the file is damaged.
    """
    file = folder.labels(store.path)
    if not file.is_file():
        return None
    labels = read_labels(file)
    return labels if labels.header["store"] == store.content_hash() else None


def stale_labels(folder: RunFolder, stores: Iterable[FeatureStore]) -> list[Path]:
    """List the files of labels that were made from other contents of their store."""
    return [
        folder.labels(store.path)
        for store in stores
        if folder.labels(store.path).is_file() and stored_labels(folder, store) is None
    ]
