"""Overlap of two matchings of the same features: are the partners by effect the partners by activation?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from universality.arrays import FloatArray, IntArray
from universality.errors import MismatchError, UniversalityError
from universality.matching import Match
from universality.matching.medians import known_median
from universality.similarity import Similarity
from universality.statistics.held_out import held_out_scores
from universality.statistics.null_classes import stratify
from universality.statistics.null_settings import NullSettings


@dataclass(frozen=True, eq=False)
class PartnerOverlap:
    """Result of `partner_overlap`.

    Parameters
    ----------
    pairs
        One row per feature of A that has a partner in both matchings: ``row col other same r other_r chance``. ``col``
        is the partner in the first matching and ``other`` in the second, ``r`` and ``other_r`` are their scores on the
        reporting half, and ``chance`` is the probability that both are the same after exchange.
    n_first, n_second
        Features of A with a partner in each matching.
    """

    pairs: pd.DataFrame
    n_first: int
    n_second: int

    def to_frame(self) -> pd.DataFrame:
        """Return the table of pairs."""
        return self.pairs.copy()

    def summary(self) -> dict[str, Any]:
        """Summarise: share of equal partners beside chance, and median r of the partners in each matching.

        ``other_r_where_different`` is the median r of the second matching's partners that are not the first's.
        """
        same = self.pairs["same"].to_numpy(np.bool_)
        return {
            "n_first": self.n_first,
            "n_second": self.n_second,
            "n_both": same.size,
            "share_same": float(same.mean()) if same.size else math.nan,
            "chance": float(self.pairs["chance"].mean()) if same.size else math.nan,
            "r": self._median("r"),
            "other_r": self._median("other_r"),
            "r_where_different": self._median("r", ~same),
            "other_r_where_different": self._median("other_r", ~same),
        }

    def _median(self, name: str, which: Any = slice(None)) -> float:
        return known_median(self.pairs[name].to_numpy(np.float64)[which])


def partner_overlap(first: Match, second: Match, report: Similarity) -> PartnerOverlap:
    """Compare the partners of features in two matchings, such as by activation and by effect.

    Chance exchanges the second matching's partners among features of A that fire about equally often; the expected
    share of equal partners is exact, without sampling.

    Parameters
    ----------
    first, second
        Matchings of the same two dictionaries in which every row has at most one partner.
    report
        Similarity over the tokens of the reporting half that scores the partners of both, such as activation.

    Raises
    ------
    MismatchError
        If the matchings and the similarity are not of the same numbers of features, or one of them
        records other dictionaries, or the same ones swapped.
    UniversalityError
        If the similarity does not compare tokens.

    Examples
    --------
    Two matchings by activation, of which the second may not use its best pair:

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from universality.matching import match
    >>> from universality.statistics.synthetic import World, plant
    >>> with TemporaryDirectory() as folder:
    ...     planted = plant(World(n_documents=40, n_shared=10, n_alone=0, density=(0.02, 0.05)), Path(folder))
    ...     similarity = Similarity.activation(planted.a, planted.b)
    ...     first = match(similarity)
    ...     second = match(similarity, forbidden=(first.rows[:1], first.cols[:1]))
    ...     summary = partner_overlap(first, second, similarity).summary()
    >>> summary["n_both"], summary["share_same"], round(summary["chance"], 2)
    (10, 0.8, 0.1)
    """
    for what, shape in (("the second matching", second.shape), ("the similarity", report.shape)):
        if shape != first.shape:
            raise MismatchError(
                f"{what} is of {shape[0]} x {shape[1]} features, but the first matching of {first.shape[0]} x "
                f"{first.shape[1]}"
            )
    _check_stores(first, second, report)
    if report.counts is None:
        raise UniversalityError(
            f"partner_overlap: {report.name} similarity does not come from tokens; give one that does, such as "
            "Similarity.activation(a, b, documents=evaluation_halves(a).report)"
        )
    rows, col, other = _common(first, second)
    pairs = pd.DataFrame(
        {
            "row": rows,
            "col": col,
            "other": other,
            "same": col == other,
            "r": held_out_scores(report, rows, col, NullSettings.min_firings),
            "other_r": held_out_scores(report, rows, other, NullSettings.min_firings),
            "chance": _by_exchange(col, other, report.counts[0][rows]),
        }
    )
    return PartnerOverlap(pairs, int(first.rows.size), int(second.rows.size))


def _check_stores(first: Match, second: Match, report: Similarity) -> None:
    """Refuse sides that are swapped or of another dictionary, as far as both record what they are of."""
    expected = [_recorded(first.provenance, side) for side in "ab"]
    for what, provenance in (("the second matching", second.provenance), ("the similarity", report.provenance)):
        for here, side in enumerate("ab"):
            (dictionary, contents), found = expected[here], _recorded(provenance, side)
            swapped = found[1] is not None and contents != found[1] == expected[1 - here][1]
            foreign = dictionary is not None and found[0] is not None and dictionary != found[0]
            if swapped or foreign:
                raise MismatchError(
                    f"partner_overlap: side {side} of {what} is of another dictionary than side {side} of the first "
                    "matching; give all three of the same two dictionaries, in the same order"
                )


def _recorded(provenance: Mapping[str, Any], side: str) -> tuple[str | None, str | None]:
    """Return the hashes of a side's SAE and of its store; None where they are not recorded.

    A store of effects, or of other text, has other contents than the store of activations of the same SAE.
    """
    record = provenance.get(side)
    if not isinstance(record, Mapping):
        return None, None
    store = record.get("provenance")
    sae = (store if isinstance(store, Mapping) else record).get("sae")  # fingerprints record the hash itself
    return (sae.get("hash") if isinstance(sae, Mapping) else sae), record.get("content_hash")


def _common(first: Match, second: Match) -> tuple[IntArray, IntArray, IntArray]:
    """Rows with a partner in both matchings, and both partners."""
    rows, in_first, in_second = np.intersect1d(first.rows, second.rows, assume_unique=True, return_indices=True)
    return rows, first.cols[in_first], second.cols[in_second]


def _by_exchange(col: IntArray, other: IntArray, count: IntArray) -> FloatArray:
    """Probability that a row of the same class of firing counts, drawn at random, has ``col`` as its other partner."""
    code = stratify(count, 0, NullSettings.n_strata).code
    frame = pd.DataFrame({"code": code, "col": other})
    of_partner = frame.groupby(["code", "col"]).size()
    wanted = pd.MultiIndex.from_arrays([code, col])
    size = np.bincount(code + 1, minlength=1)[code + 1]
    chance: FloatArray = of_partner.reindex(wanted, fill_value=0).to_numpy(np.float64) / np.maximum(size, 1)
    return chance
