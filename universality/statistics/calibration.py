"""Result of a calibration: held-out scores beside the null, as a table, as numbers and as a file."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.archive import Arrays, read_archive, write_archive
from universality.arrays import FloatArray, IntArray
from universality.errors import MismatchError
from universality.matching import Match
from universality.matching.medians import known_median, median_of_all, quantile_of_all
from universality.notebook_card import card, histogram
from universality.statistics.bootstrap import MIN_RESAMPLED_GROUPS
from universality.statistics.held_out import optimism
from universality.statistics.null_distribution import Chance
from universality.statistics.null_settings import AnyNull, NullSettings

FORMAT, VERSION = "universality.calibration", 3
CHANCE_ARRAYS = tuple(field.name for field in fields(Chance) if field.name != "null")


THRESHOLDS = (0.5, 0.7)
"""Levels of r whose shares are reported; 0.5 decides the verdict of a report."""


@dataclass(frozen=True)
class NullSummary:
    """One null beside a matching; its scores are those of the anchoring side's living features in all replicates.

    Parameters
    ----------
    replicates
        Replicates that were run.
    median, q95, q99
        Median and quantiles of the null's matched scores; a feature without a partner lies below every score.
    nearest_median, nearest_median_cols
        Median score of the nearest partner, of rows and of columns.
    n_tested
        Pairs with a q-value.
    share_significant
        Share of the counted living features whose pair has q at or below ``q_level``; NaN where no pair was tested.
    share_of_tested
        The same as a share of the tested pairs.
    calibrated_median
        Median of the pairs' scores between the null's quantile (0) and 1.
    """

    replicates: int = 0
    median: float = math.nan
    q95: float = math.nan
    q99: float = math.nan
    nearest_median: float = math.nan
    nearest_median_cols: float = math.nan
    n_tested: int = 0
    share_significant: float = math.nan
    share_of_tested: float = math.nan
    calibrated_median: float = math.nan


@dataclass(frozen=True)
class CalibrationSummary:
    """Numbers of one calibrated matching: the only names under which tables, files and pages give them.

    Medians and shares count every living feature of the rows, or of the columns where these are fewer features and each
    is in at most one pair (`Match.counted_side`): the result does not depend on the order of two dictionaries of
    different widths, and the features that the larger one has left over do not count. A counted feature without a score
    (it fires too rarely where partners are scored, or has no partner) lies below every score. A median is NaN where at
    most half have a score. Numbers of the choosing half
    leave out what has no held-out score, so that both medians are of the same pairs.

    Parameters
    ----------
    measure, method, floor
        Measure, matcher and least score of a pair. By logit weights, read "token types" for documents below: halves and
        groups are of the vocabulary, and features that never fire on any token are dead.
    n_rows, n_cols, dead_rows, dead_cols
        Features of each side, and those of them that never fire where partners are chosen.
    n_pairs, unmatched_rows, unmatched_cols
        Matched pairs, and living features in none.
    collisions_rows, collisions_cols
        Features whose nearest partner is the nearest partner of another feature too; None where not counted.
    gap
        Upper bound on how far the assignment's sum lies below the optimum; None where nothing is optimised.
    n_living, n_scored
        Counted features that fire where partners are chosen, and those of them whose pair has a held-out score.
    chosen_median, held_out_median
        Median score of the pairs on the half that chose partners and on the other half, over ``n_living`` features.
    median_ci
        95% interval of ``held_out_median`` over groups of documents, the pairs fixed.
    n_groups
        Groups of documents that were resampled for intervals.
    shares
        Shares of ``n_living`` with a held-out score of at least each of ``THRESHOLDS``.
    optimism
        Mean of chosen minus held-out score over the scored pairs.
    nearest_chosen_median, nearest_median
        Medians of the rows' nearest partners (which may repeat), on the choosing half and held out.
    nearest_chosen_median_cols, nearest_median_cols
        The same of the columns.
    q_level
        Level at or below which q counts as more than chance.
    nulls
        Null → its summary, in the order in which they were run.

    Examples
    --------
    >>> summary = CalibrationSummary(held_out_median=0.5, nulls={"kind": NullSummary(share_significant=0.25)})
    >>> summary.share_significant("kind"), summary.share_significant("global"), summary.first_null
    (0.25, nan, 'kind')
    """

    measure: str = "activation"
    method: str = "hungarian"
    floor: float | None = None
    n_rows: int = 0
    n_cols: int = 0
    dead_rows: int = 0
    dead_cols: int = 0
    n_pairs: int = 0
    unmatched_rows: int = 0
    unmatched_cols: int = 0
    collisions_rows: int | None = None
    collisions_cols: int | None = None
    gap: float | None = None
    n_living: int = 0
    n_scored: int = 0
    chosen_median: float = math.nan
    held_out_median: float = math.nan
    median_ci: tuple[float, float] = (math.nan, math.nan)
    n_groups: int = 0
    shares: tuple[float, ...] = (math.nan,) * len(THRESHOLDS)
    optimism: float = math.nan
    nearest_chosen_median: float = math.nan
    nearest_median: float = math.nan
    nearest_chosen_median_cols: float = math.nan
    nearest_median_cols: float = math.nan
    q_level: float = NullSettings.alpha
    nulls: dict[AnyNull, NullSummary] = field(default_factory=dict)

    @property
    def first_null(self) -> AnyNull:
        """Name of the null that p and q of the pairs refer to; "global" where none was asked for."""
        return next(iter(self.nulls), "global")

    @property
    def null(self) -> NullSummary:
        """Summary of the first null, all NaN where none was asked for."""
        return self.nulls.get(self.first_null, NullSummary())

    def share_significant(self, null: AnyNull) -> float:
        """Return the share of living features (``n_living``) that beat a null; NaN where it was not run."""
        return self.nulls.get(null, NullSummary()).share_significant


@dataclass(frozen=True, eq=False)
class Calibration:
    """A match chosen on one half of the documents (logit weights: token types), with held-out scores, nulls, intervals.

    NaN means that the data do not determine a number; `notes` and the table's ``note`` give the reason.

    Parameters
    ----------
    match
        Pairs and best partners on the choosing half.
    held_out, ci_low, ci_high
        [n_pairs] scores on the reporting half, with bootstrap intervals over groups of documents.
    median_ci
        [2] interval of the median of ``held_out`` over groups of documents, with the pairs fixed; the median counts
        the features that `summary` counts.
    n_groups
        Groups of documents (documents in kinds of few groups) that were resampled for the intervals; 0 for none.
    count_a, count_b
        [n_pairs] firings of row and column on the choosing half.
    best_col_held_out, best_row_held_out
        [n_rows], [n_cols] held-out scores of every feature with its nearest partner, chosen on the choosing half.
    anchor
        "rows" or "cols": the side whose features carry the null scores (the smaller one of an assignment).
    chances
        Result of each null; ``p``, ``q``, ``calibrated``, ``stratum``, ``edges`` and ``null_scores`` are those of the
        first.
    settings
        Arguments of `calibrate`.
    notes
        Numbers that could not be determined, and data that were left out, with reasons.
    ceiling_a, ceiling_b
        [n_pairs] ceiling of the row and of the column of each pair: the held-out score of that feature with its partner
        in a second SAE of its own model, which differs in its seed only. None where not known; see `with_ceilings`.
    """

    match: Match
    held_out: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    median_ci: FloatArray
    n_groups: int
    count_a: IntArray
    count_b: IntArray
    best_col_held_out: FloatArray
    best_row_held_out: FloatArray
    anchor: Literal["rows", "cols"]
    chances: tuple[Chance, ...]
    settings: dict[str, Any]
    notes: tuple[str, ...]
    ceiling_a: FloatArray | None = None
    ceiling_b: FloatArray | None = None

    @property
    def p(self) -> FloatArray:
        """[n_pairs] p-values of the first null."""
        return self.chances[0].p

    @property
    def q(self) -> FloatArray:
        """[n_pairs] q-values of the first null."""
        return self.chances[0].q

    @property
    def calibrated(self) -> FloatArray:
        """[n_pairs] scores between the first null's quantile (0) and 1."""
        return self.chances[0].calibrated

    @property
    def stratum(self) -> IntArray:
        """[n_pairs] class of the anchoring feature's firing count on the first null's blocks, -1 if too rare."""
        return self.chances[0].stratum

    @property
    def edges(self) -> FloatArray:
        """[n_strata + 1] firing counts on the first null's blocks that bound the classes."""
        return self.chances[0].edges

    @property
    def null_scores(self) -> FloatArray:
        """[n_replicates, n_anchor] scores of the first null."""
        return self.chances[0].scores

    def under(self, null: AnyNull) -> Chance | None:
        """Return the result of a null, or None where it was not run."""
        return next((chance for chance in self.chances if chance.null == null), None)

    def by_quality(self) -> IntArray:
        """Order the pairs by score where they were chosen, best first: int64 [n_pairs].

        Pairs that fire too rarely for a p-value come last, since they score high by luck.
        """
        return np.lexsort((-self.match.scores, np.isnan(self.p))) if self.chances else self.match.by_quality()

    def with_ceilings(self, a: Calibration | None = None, b: Calibration | None = None) -> Calibration:
        """Return a copy with the ceilings of each pair, as the columns ``ceiling_a`` and ``ceiling_b``.

        Parameters
        ----------
        a, b
            Calibrations of the SAE whose features are the rows here (a), and of the SAE whose features are the columns
            (b), each against a second SAE of the same model, in this order. The ceiling of a feature is its held-out
            score there; NaN without a scored partner. With None all ceilings of a side are NaN.

        Raises
        ------
        MismatchError
            If a ceiling was computed from dictionaries of another width, another store, or another measure.
        """
        sides = ((a, self.match.rows, 0, "a"), (b, self.match.cols, 1, "b"))
        of_a, of_b = (self._ceiling(*side) for side in sides)
        return replace(self, ceiling_a=of_a, ceiling_b=of_b)

    def _ceiling(self, seeds: Calibration | None, features: IntArray, axis: int, name: str) -> FloatArray:
        if seeds is None:
            return np.full(features.size, np.nan)
        width = self.match.shape[axis]
        if seeds.match.shape[0] != width or seeds.settings["measure"] != self.settings["measure"]:
            raise MismatchError(
                f"with_ceilings: expected for {name} a calibration by {self.settings['measure']} whose rows are the "
                f"{width} features of this one's {('rows', 'columns')[axis]}, found one by {seeds.settings['measure']} "
                f"with {seeds.match.shape[0]} rows; pass calibrate(first, second) of two SAEs of that model"
            )
        expected, actual = _content(self.match, name), _content(seeds.match, "a")
        if expected and actual and expected != actual:
            raise MismatchError(
                f"with_ceilings: the rows of the calibration for {name} are of another store than the "
                f"{('rows', 'columns')[axis]} of this one; pass calibrate(first, second) with that store first: a is "
                "for the rows, b for the columns"
            )
        score = np.full(width, np.nan)
        score[seeds.match.rows] = seeds.held_out
        return score[features]

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per pair.

        Columns are ``row col score held_out ci_low ci_high p q observed calibrated detectable``, the last five again
        for every further null with its name as suffix (``p_kind``), then ``ceiling_a ceiling_b`` (NaN where not known)
        and ``count_a count_b stratum note``. ``observed`` is the score of the pair on the blocks that the null can
        re-pair; p, q, calibrated and detectable refer to it.
        """
        columns: dict[str, npt.NDArray[Any] | list[str]] = {
            "row": self.match.rows,
            "col": self.match.cols,
            "score": self.match.scores,
        }
        for name in ("held_out", "ci_low", "ci_high"):
            columns[name] = getattr(self, name)
        for k, chance in enumerate(self.chances):
            for name in ("p", "q", "observed", "calibrated", "detectable"):
                columns[name if k == 0 else f"{name}_{chance.null}"] = getattr(chance, name)
        for name in ("ceiling_a", "ceiling_b"):
            ceiling = getattr(self, name)
            columns[name] = np.full(self.match.rows.size, np.nan) if ceiling is None else ceiling
        columns |= {"count_a": self.count_a, "count_b": self.count_b, "stratum": self.stratum}
        return pd.DataFrame(columns | {"note": self._pair_notes()})

    def strata(self) -> pd.DataFrame:
        """Return a table with one row per class of firing counts: ``low high n scored held_out tau detectable``.

        ``scored`` of ``n`` pairs have a held-out score; ``held_out`` is the median of all n, with unscored pairs below
        every score. Counts are those on the blocks that the first null can re-pair. ``tau``, the null's quantile, and
        ``detectable``, the score above which an observed score is significant, are medians over the pairs that have
        them.
        """
        thresholds = {"tau": self.chances[0].tau, "detectable": self.chances[0].detectable}
        rows = []
        for s, (low, high) in enumerate(pairwise(self.edges)):
            inside = self.stratum == s
            n, held_out = int(inside.sum()), self.held_out[inside]
            numbers = {"n": n, "scored": int((~np.isnan(held_out)).sum()), "held_out": median_of_all(held_out, n)}
            medians = {name: known_median(values[inside]) for name, values in thresholds.items()}
            rows.append({"low": low, "high": high, **numbers, **medians})
        frame = pd.DataFrame(rows, columns=["low", "high", "n", "scored", "held_out", *thresholds])
        return frame if rows else frame.astype(np.float64)  # without rows pandas would use the dtype object

    @property
    def _why_no_interval(self) -> str:
        if self.settings.get("bootstrap") == 0:
            return "bootstrap is 0, so none was requested"
        if self.settings.get("measure", "activation") not in ("activation", "logit"):
            return f"{self.settings['measure']} keeps no statistics by group"
        if self.n_groups < MIN_RESAMPLED_GROUPS:
            return "too few groups"
        return "it fires in too few groups, or the interval is so wide that it says nothing"

    def _pair_notes(self) -> list[str]:
        reasons = (
            (np.isnan(self.held_out), "no held-out score"),
            (np.isnan(self.ci_low) & ~np.isnan(self.held_out), f"no interval: {self._why_no_interval}"),
        )
        texts = [[text for where, text in reasons if where[pair]] for pair in range(self.match.rows.size)]
        return ["; ".join([*self._too_rare(pair), *of_pair]) for pair, of_pair in enumerate(texts)]

    def _too_rare(self, pair: int) -> list[str]:
        """Explain why a pair has no p-value, where it fires too rarely on the blocks of a null."""
        nulls = [chance.null for chance in self.chances if len(chance.scores) and chance.stratum[pair] < 0]
        if not nulls:
            return []
        where = f"on the blocks of the {' and '.join(nulls)} null{'s' if len(nulls) > 1 else ''}"
        if self.settings["measure"] == "logit":
            where = "on the tokens of its store"
        return [f"fires fewer than {self.settings['min_firings']} times {where}: no p-value"]

    def summary(self, q_level: float | None = None) -> CalibrationSummary:
        """Summarise the matching: medians where partners were chosen and held out, and what chance gives.

        Parameters
        ----------
        q_level
            Pairs with q at or below it count as more than chance; by default the ``alpha`` of the calibration.

        Returns
        -------
        CalibrationSummary
            Numbers of the whole matching.
        """
        level = self.settings["alpha"] if q_level is None else q_level
        match, nearest, counted = self.match, self.match.nearest, self.match.n_counted
        rows, cols = (int((~dead).sum()) for dead in (match.dead_rows, match.dead_cols))
        chosen, nearest_chosen, nearest_chosen_cols = (
            _where_held_out(scores, held_out)
            for scores, held_out in (
                (match.scores, self.held_out),
                (nearest.best_col_score, self.best_col_held_out),
                (nearest.best_row_score, self.best_row_held_out),
            )
        )
        return CalibrationSummary(
            measure=self.settings["measure"],
            method=match.method,
            floor=match.floor,
            n_rows=match.shape[0],
            n_cols=match.shape[1],
            dead_rows=int(match.dead_rows.sum()),
            dead_cols=int(match.dead_cols.sum()),
            n_pairs=int(match.rows.size),
            unmatched_rows=int(match.unmatched_rows.size),
            unmatched_cols=int(match.unmatched_cols.size),
            collisions_rows=match.collisions["rows"],
            collisions_cols=match.collisions["cols"],
            gap=match.gap,
            n_living=counted,
            n_scored=int((~np.isnan(self.held_out)).sum()),
            chosen_median=median_of_all(chosen, counted),
            held_out_median=median_of_all(self.held_out, counted),
            median_ci=(float(self.median_ci[0]), float(self.median_ci[1])),
            n_groups=self.n_groups,
            shares=tuple(float((self.held_out >= r).sum() / counted) if counted else math.nan for r in THRESHOLDS),
            optimism=optimism(match.scores, self.held_out),
            nearest_chosen_median=median_of_all(nearest_chosen, rows),
            nearest_median=median_of_all(self.best_col_held_out, rows),
            nearest_chosen_median_cols=median_of_all(nearest_chosen_cols, cols),
            nearest_median_cols=median_of_all(self.best_row_held_out, cols),
            q_level=level,
            nulls={chance.null: _summarise(chance, level, counted) for chance in self.chances},
        )

    def __repr__(self) -> str:
        numbers = self.summary()
        return (
            f"Calibration({numbers.method}, {numbers.measure}, {numbers.n_pairs} pairs, median score "
            f"{numbers.chosen_median:.3f} chosen, {numbers.held_out_median:.3f} held out, "
            f"nulls: {', '.join(numbers.nulls) or 'none'})"
        )

    def _repr_html_(self) -> str:
        numbers = self.summary()
        quantile = numbers.null.q95
        known = math.isfinite(quantile)
        label = "held-out score" + ("; dashed: 95% of the null" if known else "")
        scores = histogram(self.held_out, label, low=0, high=1, mark=quantile if known else None)
        shown = asdict(numbers)
        nulls = {
            f"null {name}": {key: getattr(null, key) for key in ("median", "q95", "share_significant")}
            for name, null in numbers.nulls.items()
        }
        del shown["nulls"]
        return card("Calibrated match", shown | nulls, scores)

    def save(self, path: str | Path) -> Path:
        """Write everything, the match included, atomically to one .npz or .json file; return its path."""
        header, arrays = self.match.to_parts()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        parts: Arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
        parts |= {f"match.{name}": array for name, array in arrays.items()}
        parts |= {f"{chance.null}.{name}": array for chance in self.chances for name, array in chance.arrays().items()}
        described = {
            "anchor": self.anchor,
            "n_groups": self.n_groups,
            "settings": self.settings,
            "notes": list(self.notes),
            "match": header,
        }
        return write_archive(path, FORMAT, VERSION, described, parts)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If it is truncated or corrupt, or has another format or version.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        chances = tuple(
            Chance(null=null, **{name: arrays[f"{null}.{name}"] for name in CHANCE_ARRAYS})
            for null in header["settings"]["null"]
        )
        inner = {name.removeprefix("match."): arrays[name] for name in arrays if name.startswith("match.")}
        values: dict[str, Any] = {name: array for name, array in arrays.items() if "." not in name}
        values |= {"chances": chances, "notes": tuple(header["notes"])}
        values |= {name: header[name] for name in ("anchor", "n_groups", "settings")}
        return cls(match=Match.from_parts(header["match"], inner), **values)


def _content(match: Match, side: str) -> str | None:
    """Return the hash of the store of one side, None where it is not recorded."""
    recorded = match.provenance.get(side)
    return recorded.get("content_hash") if isinstance(recorded, dict) else None


def _where_held_out(chosen: FloatArray, held_out: FloatArray) -> FloatArray:
    """Replace chosen scores by NaN where there is no held-out score, unless there is none at all."""
    # both medians of a summary are then of the same pairs
    missing = np.isnan(held_out)
    return chosen if missing.all() else np.where(missing, np.nan, chosen)


def _summarise(chance: Chance, q_level: float, n_living: int) -> NullSummary:
    scores = chance.scores[~np.isnan(chance.scores)]  # NaN: dead; -inf: living without a partner, which counts
    q = chance.q[~np.isnan(chance.q)]
    n_significant = int((q <= q_level).sum())
    median, q95, q99 = (quantile_of_all(scores, scores.size, level) for level in (0.5, 0.95, 0.99))
    return NullSummary(
        replicates=len(chance.scores),
        median=median,
        q95=q95,
        q99=q99,
        nearest_median=known_median(chance.best_of_rows),
        nearest_median_cols=known_median(chance.best_of_cols),
        n_tested=q.size,
        share_significant=n_significant / n_living if q.size and n_living else math.nan,
        share_of_tested=n_significant / q.size if q.size else math.nan,
        calibrated_median=known_median(chance.calibrated),
    )
