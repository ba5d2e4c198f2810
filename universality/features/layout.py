"""The elements of a feature store's HDF5 file, as data; FORMAT.md says the same in prose."""

from __future__ import annotations

from dataclasses import dataclass

FORMAT = "universality-features"
VERSION = 1

# encoding-version of each AnnData encoding-type in use. 0.1.0 for array and string-array is refused by anndata.
ENCODINGS = {
    "array": "0.2.0",
    "categorical": "0.2.0",
    "csc_matrix": "0.1.0",
    "csr_matrix": "0.1.0",
    "dict": "0.1.0",
    "string": "0.2.0",
    "string-array": "0.2.0",
}


@dataclass(frozen=True)
class Element:
    """One object of the file: where it is, what it is, and how long it must be.

    Parameters
    ----------
    path
        Place below the root.
    encoding
        AnnData's encoding-type; its version stands in `ENCODINGS`.
    dtype
        NumPy dtype of an array, None for groups and strings.
    length
        What its first axis counts, None where that is free.
    group
        The optional element that it belongs to or is; None when the element is required.
    ndim
        Axes of an array.
    """

    path: str
    encoding: str
    dtype: str | None = None
    length: str | None = None
    group: str | None = None
    ndim: int = 1


ELEMENTS = (
    Element("by_token", "csr_matrix"),
    Element("by_token/data", "array", "<f4", "n_stored"),
    Element("by_token/indices", "array", "<i4", "n_stored"),
    Element("by_token/indptr", "array", "<i8", "n_tokens + 1"),
    Element("by_feature", "csc_matrix"),
    Element("by_feature/data", "array", "<f4", "n_stored"),
    Element("by_feature/indices", "array", "<i4", "n_stored"),
    Element("by_feature/indptr", "array", "<i8", "n_features + 1"),
    Element("moments", "dict"),
    Element("moments/count", "array", "<i8", "n_features"),
    Element("moments/sum", "array", "<f8", "n_features"),
    Element("moments/sum_sq", "array", "<f8", "n_features"),
    Element("moments/max", "array", "<f4", "n_features"),
    Element("tokens", "dict"),
    Element("tokens/token", "array", "<i4", "n_tokens"),
    Element("tokens/document", "array", "<i4", "n_tokens"),
    Element("tokens/position", "array", "<i4", "n_tokens"),
    Element("tokens/kind", "categorical"),
    Element("tokens/kind/codes", "array", "<i2", "n_tokens"),
    Element("tokens/kind/categories", "string-array"),
    Element("documents", "dict"),
    Element("documents/id", "string-array", None, "n_documents"),
    Element("documents/kind", "string-array", None, "n_documents"),
    Element("documents/group", "string-array", None, "n_documents"),
    Element("documents/split", "string-array", None, "n_documents"),
    Element("dictionary", "dict", group="dictionary"),
    Element("dictionary/decoder", "array", "<f4", "n_features", group="dictionary", ndim=2),
    Element("dictionary/encoder", "array", "<f4", "n_features", group="dictionary/encoder", ndim=2),
    Element("dictionary/bias", "array", "<f4", "n_features", group="dictionary/bias"),
    Element("dictionary/residual", "array", "<f4", "n_features", group="dictionary/residual", ndim=2),
    Element("unembedding", "dict", group="unembedding"),
    Element("unembedding/file", "string", group="unembedding"),
    Element("unembedding/sha256", "string", group="unembedding"),
    Element("provenance", "string"),
    Element("checksums", "string"),
)
