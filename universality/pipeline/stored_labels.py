"""Labels that a run's folder holds beside the stores that they are of, and what was measured on them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from universality.features import FeatureStore
from universality.labels.label_file import Labels, read_labels
from universality.labels.label_specificity import LabelSpecificity
from universality.labels.label_transfer import LabelTransfer
from universality.labels.literature import LiteratureComparison
from universality.pipeline.paths import RunFolder

_MEASURED = ("*.transfer.npz", "*.specificity.npz", "*.literature.json")


def label_files(folder: RunFolder) -> list[Path]:
    """List the files of labels of a run."""
    return sorted(file for file in (folder.root / "labels").glob("*.jsonl") if file != folder.label_answers)


def measured_files(folder: RunFolder) -> list[Path]:
    """List the files of what was measured on labels: transfer, specificity and the search for published concepts."""
    return sorted(file for pattern in _MEASURED for file in (folder.root / "labels").glob(pattern))


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


def stored_transfer(folder: RunFolder, comparison: str, a: FeatureStore, b: FeatureStore) -> LabelTransfer | None:
    """Read the transfer of A's explanations to B; None where there is none of the present stores and labels.

    Raises
    ------
    FormatError
        If a file is damaged.
    """
    file, labels = folder.label_transfer(comparison), stored_labels(folder, a)
    if not file.is_file() or labels is None:
        return None
    found = LabelTransfer.load(file)
    expected = {
        "a": a.content_hash(),
        "b": b.content_hash(),
        "explainer": labels.header["explainer"],
        "scorer": labels.header["scorer"],
        "labels": labels.header["settings"],
    }
    return found if all(found.provenance.get(key) == value for key, value in expected.items()) else None


def stored_specificity(folder: RunFolder, store: FeatureStore) -> LabelSpecificity | None:
    """Read the specificity of a store's explanations; None where there is none of the present store and labels.

    Raises
    ------
    FormatError
        If a file is damaged.
    """
    file, labels = folder.label_specificity(store.path), stored_labels(folder, store)
    if not file.is_file() or labels is None:
        return None
    found = LabelSpecificity.load(file)
    expected = {"store": labels.header["store"], "explainer": labels.header["explainer"]}
    return found if all(found.provenance.get(key) == value for key, value in expected.items()) else None


def stored_literature(
    folder: RunFolder, comparison: str, stores: Mapping[str, FeatureStore]
) -> LiteratureComparison | None:
    """Read the search for published concepts in a comparison; None where there is none of its present stores.

    Raises
    ------
    FormatError
        If the file is damaged.
    """
    file = folder.label_literature(comparison)
    if not file.is_file():
        return None
    found = LiteratureComparison.load(file)
    present = {name: store.content_hash() for name, store in stores.items()}
    return found if all(present.get(name) == made for name, made in found.header["stores"].items()) else None


def stale_labels(folder: RunFolder, stores: Iterable[FeatureStore]) -> list[Path]:
    """List the files of labels that were made from other contents of their store."""
    return [
        folder.labels(store.path)
        for store in stores
        if folder.labels(store.path).is_file() and stored_labels(folder, store) is None
    ]
