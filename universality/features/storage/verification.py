"""Verification of a store: contents against checksums, and its parts against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from universality.arrays import runs_within
from universality.errors import FormatError
from universality.features.storage.checksums import checksum_of_dataset
from universality.features.storage.header import Header
from universality.features.storage.moments import Moments, MomentSums, add_placed
from universality.features.storage.row_batch import rounded
from universality.features.storage.sparse_matrix import read_span, row_ranges

_ENTRIES = 1 << 21  # read at a time
_ROWS = 1 << 20


@dataclass(frozen=True, eq=False)
class _Totals:
    """Moments of one of the two matrices, and a sum that depends on the row of each value (`add_placed`)."""

    moments: Moments
    placed: NDArray[np.float64]


def verify(path: Path, file: h5py.File, header: Header) -> None:
    """Compare contents with checksums, both matrices with the format's rules and with each other.

    Raises
    ------
    FormatError
        At the first contradiction.
    """
    for name, stated in header.checksums.items():
        computed = checksum_of_dataset(file[name])
        if computed != stated:
            raise FormatError(f"{path}: {name} is not what was written: expected {stated}, found {computed}")
    _check_tokens(path, file, header)
    rows = row_ranges(path, file["by_token"], header.n_tokens, _ENTRIES)
    by_token = _totals(path, "by_token", rows, file["by_token"], header)
    by_feature = _totals(path, "by_feature", runs_within(header.moments.count, _ENTRIES), file["by_feature"], header)
    _compare(path, header.moments, by_token, by_feature)


def _check_tokens(path: Path, file: h5py.File, header: Header) -> None:
    limits = {
        "token": np.iinfo(np.int32).max,
        "position": np.iinfo(np.int32).max,
        "document": header.n_documents - 1,
        "kind/codes": len(file["tokens/kind/categories"]) - 1,
    }
    for name, limit in limits.items():
        for start in range(0, header.n_tokens, _ROWS):
            values = file[f"tokens/{name}"][start : start + _ROWS]
            if not 0 <= values.min() <= values.max() <= limit:
                raise FormatError(f"{path}: tokens/{name} must lie in 0 … {limit}, "
                                  f"found {values.min()} … {values.max()}")  # fmt: skip


def _totals(path: Path, name: str, spans: Iterator[tuple[int, int]], group: h5py.Group, header: Header) -> _Totals:
    """Read one matrix span by span, check each entry, and add up per feature in row order."""
    by_token = name == "by_token"
    sums, placed = MomentSums(header.n_features), np.zeros(header.n_features)
    for start, stop in spans:
        n_minor = header.n_features if by_token else header.n_tokens
        values, minor, indptr = read_span(path, group, start, stop, n_minor)
        major = start + np.repeat(np.arange(stop - start), np.diff(indptr))
        _check_entries(path, name, values, major, minor)
        _check_rounding(path, name, values, header.mantissa_bits)
        features, rows = (minor, major) if by_token else (major, minor)
        sums.update(features, values)
        add_placed(features, rows, values, placed)
    return _Totals(sums.compute(header.n_tokens), placed)


def _check_entries(
    path: Path, name: str, values: NDArray[np.float32], major: NDArray[np.int64], minor: NDArray[np.int32]
) -> None:
    if not (np.isfinite(values) & (values != 0)).all():
        raise FormatError(f"{path}: {name}/data must hold finite values other than 0")
    falls = (major[1:] == major[:-1]) & (minor[1:] <= minor[:-1])
    if falls.any():
        where = int(major[:-1][falls][0])
        raise FormatError(f"{path}: {name}/indices must rise within each row or column, they do not in {where}")


def _check_rounding(path: Path, name: str, values: NDArray[np.float32], mantissa_bits: int) -> None:
    if not np.array_equal(rounded(values, mantissa_bits), values):
        raise FormatError(f"{path}: {name}/data must have {mantissa_bits} bits of fraction, as mantissa-bits says")


def _compare(path: Path, stated: Moments, by_token: _Totals, by_feature: _Totals) -> None:
    if not np.array_equal(by_token.placed, by_feature.placed):
        raise FormatError(f"{path}: by_token and by_feature hold different matrices; write the store again")
    computed = by_token.moments
    # Cauchy-Schwarz bounds a sum of magnitudes; 1e-9 of it allows for another order of addition.
    slack = 1e-9 * np.sqrt(computed.count * computed.sum_sq)
    agree = (
        np.array_equal(stated.count, computed.count)
        and np.array_equal(stated.max, computed.max)
        and (np.abs(stated.sum - computed.sum) <= slack).all()
        and (np.abs(stated.sum_sq - computed.sum_sq) <= 1e-9 * computed.sum_sq).all()
    )
    if not agree:
        raise FormatError(f"{path}: moments are not those of the stored values; write the store again")
