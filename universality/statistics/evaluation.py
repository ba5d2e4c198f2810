"""What `calibrate` needs of whatever a measure compares: two halves, nulls and sums by group."""

from __future__ import annotations

from typing import Protocol

from universality.arrays import IntArray
from universality.execution import Executor
from universality.similarity import Similarity
from universality.statistics.bootstrap import Moments
from universality.statistics.null_distribution import NullModel, Side
from universality.statistics.null_settings import AnyNull


class Evaluation(Protocol):
    """Tokens or token types in two halves: one chooses partners, the other scores them."""

    @property
    def choose(self) -> Similarity:
        """Scores over the half that chooses partners."""

    @property
    def report(self) -> Similarity:
        """Scores over the half that reports."""

    @property
    def counts(self) -> tuple[IntArray, IntArray]:
        """Firings ([n_rows], [n_cols]) by which features are classed."""

    @property
    def grouped(self) -> str:
        """What intervals resample groups of: "documents" or "token types"."""

    @property
    def moments(self) -> Moments | None:
        """Sums by group over the reporting half, for intervals; None where the measure has none."""

    @property
    def executor(self) -> Executor:
        """Executor of the replicates and intervals."""

    def null_model(self, null: AnyNull, anchor: Side, notes: list[str]) -> NullModel | None:
        """Prepare a null; None, with a note, where it can exchange nothing.

        Parameters
        ----------
        null
            Name of the null.
        anchor
            Side whose features carry the null scores.
        notes
            Receives what is left out.
        """
