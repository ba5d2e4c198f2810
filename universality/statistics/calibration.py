"""What calibrating a matching finds: scores beside what chance gives, as a table, numbers and a file."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
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
from universality.matching.medians import known_median, median_of_all
from universality.notebook_card import card
from universality.statistics.bootstrap import MIN_GROUPS
from universality.statistics.held_out import optimism
from universality.statistics.null_distribution import Chance
from universality.statistics.repairing import Null

FORMAT, VERSION = "universality.calibration", 3
CHANCE_ARRAYS = tuple(field.name for field in fields(Chance) if field.name != "null")
KEPT = (  # of the match's own summary
    "floor", "n_rows", "n_cols", "dead_rows", "dead_cols", "n_pairs", "unmatched_rows", "unmatched_cols",
    "collisions_rows", "collisions_cols", "gap",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Calibration:
    """A match chosen on one half of the documents, with held-out scores, a null and intervals.

    NaN stands for what the data cannot tell; `notes` and the table's ``note`` say why.

    Parameters
    ----------
    match
        Pairs and best partners on the choosing half.
    held_out, ci_low, ci_high
        [n_pairs] scores on the reporting half, with bootstrap intervals over groups of documents.
    median_ci
        [2] interval of the median of ``held_out`` over groups of documents, the pairs fixed; the median is of all
        living rows, as `summary` gives it.
    n_groups
        Groups of documents (documents in kinds of few groups) that were resampled for the intervals; 0: none.
    count_a, count_b
        [n_pairs] firings of row and column on the choosing half.
    best_col_held_out, best_row_held_out
        [n_rows], [n_cols] held-out scores of every feature's best partner (chosen on the choosing half).
    anchor
        "rows" or "cols": the side whose features carry the null scores (the smaller one of an assignment).
    chances
        What each null says; ``p``, ``q``, ``calibrated``, ``stratum``, ``edges`` and ``null_scores`` are those of the
        first.
    settings
        What `calibrate` was asked for.
    notes
        What could not be concluded, and what was left out.
    ceiling_a, ceiling_b
        [n_pairs] the ceiling of each pair's row and column: the held-out score of that feature with its partner in a
        second SAE of its own model, which differs in the seed only. None where none is known; see `with_ceilings`.
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
        """[n_pairs] class of the anchoring feature's firings on the first null's blocks, -1 if too rare."""
        return self.chances[0].stratum

    @property
    def edges(self) -> FloatArray:
        """[n_strata + 1] firings on the first null's blocks that bound the classes."""
        return self.chances[0].edges

    @property
    def null_scores(self) -> FloatArray:
        """[n_replicates, n_anchor] of the first null."""
        return self.chances[0].scores

    def under(self, null: Null) -> Chance | None:
        """What a null says, or None where it was not run."""
        return next((chance for chance in self.chances if chance.null == null), None)

    def with_ceilings(self, a: Calibration | None = None, b: Calibration | None = None) -> Calibration:
        """The same with each pair's own ceilings, as the columns ``ceiling_a`` and ``ceiling_b``.

        Parameters
        ----------
        a, b
            Calibrations of the SAE whose features are the rows here, and of the one whose features are the columns,
            each with a second SAE of the same model, as rows and columns in this order. A feature's ceiling is its
            held-out score there; NaN without a scored partner. None: all NaN.

        Raises
        ------
        MismatchError
            If a ceiling is of dictionaries of another width, of another store, or of another measure.
        """
        sides = ((a, self.match.rows, 0, "a"), (b, self.match.cols, 1, "b"))
        of_a, of_b = (self._ceiling(*side) for side in sides)
        return replace(self, ceiling_a=of_a, ceiling_b=of_b)

    def _ceiling(self, of: Calibration | None, features: IntArray, axis: int, name: str) -> FloatArray:
        if of is None:
            return np.full(features.size, np.nan)
        width = self.match.shape[axis]
        if of.match.shape[0] != width or of.settings["measure"] != self.settings["measure"]:
            raise MismatchError(
                f"with_ceilings: expected for {name} a calibration by {self.settings['measure']} whose rows are the "
                f"{width} features of this one's {('rows', 'columns')[axis]}, found one by {of.settings['measure']} "
                f"with {of.match.shape[0]} rows; pass calibrate(first, second) of two SAEs of that model"
            )
        wanted, found = (_content(m, side) for m, side in ((self.match, name), (of.match, "a")))
        if wanted and found and wanted != found:
            raise MismatchError(
                f"with_ceilings: the rows of the calibration for {name} are of another store than the "
                f"{('rows', 'columns')[axis]} of this one; pass calibrate(first, second) with that store first: for a "
                "the ceiling of the rows, for b that of the columns"
            )
        score = np.full(width, np.nan)
        score[of.match.rows] = of.held_out
        return score[features]

    def to_frame(self) -> pd.DataFrame:
        """One line a pair.

        Columns ``row col score held_out ci_low ci_high p q observed calibrated detectable``, the last five again for
        every further null with its name behind (``p_kind``), then ``ceiling_a ceiling_b`` (NaN where no ceiling is
        known) and ``count_a count_b stratum note``. ``observed`` is the pair's score on the blocks that the null can
        re-pair; p, q, calibrated and detectable are about it.
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
        """One line a class of firing counts: ``low high n scored held_out tau detectable``.

        ``n`` pairs of which ``scored`` have a held-out score; ``held_out`` is the median of all n, those without a
        score below every score. Classes are of firings on the blocks that the first null can re-pair; the medians of
        ``tau``, its quantile, and of ``detectable``, what an observed score must exceed there to be told from chance,
        are of the pairs that have them.
        """
        of = {"tau": self.chances[0].tau, "detectable": self.chances[0].detectable}
        rows = []
        for s, (low, high) in enumerate(pairwise(self.edges)):
            inside = self.stratum == s
            n, held_out = int(inside.sum()), self.held_out[inside]
            numbers = {"n": n, "scored": int((~np.isnan(held_out)).sum()), "held_out": median_of_all(held_out, n)}
            medians = {name: known_median(values[inside]) for name, values in of.items()}
            rows.append({"low": low, "high": high, **numbers, **medians})
        frame = pd.DataFrame(rows, columns=["low", "high", "n", "scored", "held_out", *of])
        return frame if rows else frame.astype(np.float64)  # without a class pandas would take them for objects

    @property
    def _why_no_interval(self) -> str:
        if self.settings.get("bootstrap") == 0:
            return "bootstrap is 0, so none was asked for"
        if self.settings.get("measure", "activation") != "activation":
            return f"{self.settings['measure']} keeps no statistics by group"
        if self.n_groups < MIN_GROUPS:
            return "too few groups"
        return "it fires in too few groups, or the interval is so wide that it says nothing"

    def _pair_notes(self) -> list[str]:
        reasons = (
            (np.isnan(self.held_out), "no held-out score"),
            (np.isnan(self.ci_low) & ~np.isnan(self.held_out), f"no interval: {self._why_no_interval}"),
        )
        others = [[text for where, text in reasons if where[pair]] for pair in range(self.match.rows.size)]
        return ["; ".join([*self._too_rare(pair), *texts]) for pair, texts in enumerate(others)]

    def _too_rare(self, pair: int) -> list[str]:
        """Why a pair has no p-value, where the blocks of a null hold too few of its firings."""
        nulls = [chance.null for chance in self.chances if len(chance.scores) and chance.stratum[pair] < 0]
        if not nulls:
            return []
        where = f"the {' and '.join(nulls)} null{'s' if len(nulls) > 1 else ''}"
        return [f"fires fewer than {self.settings['min_firings']} times on the blocks of {where}: no p-value"]

    def summary(self, q_level: float | None = None) -> dict[str, Any]:
        """The numbers to print beside each other: matched and best-partner medians, chosen and held out, and chance.

        The medians ``matched_…`` and ``best_of_rows_…`` are of the ``n_living`` rows that fire where partners are
        chosen, ``best_of_cols_…`` of such columns: half of *all* of them reach it, and one without a score (too rare
        where partners are scored, or without a partner) reaches none. NaN where at most half have a score.
        What has no held-out score counts as without one in ``…_choose`` too, so that the two medians are of the same
        pairs (where nothing at all is held out, all count). ``n_scored`` rows have a held-out score with their partner;
        ``optimism`` is a mean over these.

        Parameters
        ----------
        q_level
            Pairs with q at or below it count as more than chance; by default the ``alpha`` of the calibration.
        """
        level = self.settings["alpha"] if q_level is None else q_level
        best, found = self.match.nearest, self.match.summary()
        rows, cols = (int((~dead).sum()) for dead in (self.match.dead_rows, self.match.dead_cols))
        first, *others = self.chances
        said = first.summary(level)
        for chance in others:
            said |= {f"{key}_{chance.null}": value for key, value in chance.summary(level).items()}
        return {
            **{key: found[key] for key in KEPT},
            "measure": self.settings["measure"],
            "method": self.match.method,
            "null": first.null,
            "n_living": rows,
            "n_scored": int((~np.isnan(self.held_out)).sum()),
            "matched_choose": median_of_all(_where_held_out(self.match.scores, self.held_out), rows),
            "matched_report": median_of_all(self.held_out, rows),
            "matched_report_low": float(self.median_ci[0]),
            "matched_report_high": float(self.median_ci[1]),
            "groups_report": self.n_groups,
            "optimism": optimism(self.match.scores, self.held_out),
            "best_of_rows_choose": median_of_all(_where_held_out(best.best_col_score, self.best_col_held_out), rows),
            "best_of_rows_report": median_of_all(self.best_col_held_out, rows),
            "best_of_cols_choose": median_of_all(_where_held_out(best.best_row_score, self.best_row_held_out), cols),
            "best_of_cols_report": median_of_all(self.best_row_held_out, cols),
            **said,
        }

    def _repr_html_(self) -> str:
        return card("Calibrated match", self.summary())

    def save(self, path: str | Path) -> Path:
        """Write everything, the match included, to one .npz or .json file, whole or not at all."""
        header, arrays = self.match.to_parts()
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        parts: Arrays = {name: value for name, value in own.items() if isinstance(value, np.ndarray)}
        parts |= {f"match.{name}": array for name, array in arrays.items()}
        parts |= {f"{chance.null}.{name}": array for chance in self.chances for name, array in chance.arrays().items()}
        rest = {
            "anchor": self.anchor,
            "n_groups": self.n_groups,
            "settings": self.settings,
            "notes": list(self.notes),
            "match": header,
        }
        return write_archive(path, FORMAT, VERSION, rest, parts)

    @classmethod
    def load(cls, path: str | Path) -> Calibration:
        """Read what `save` wrote.

        Raises
        ------
        FileNotFoundError
            When there is no such file.
        FormatError
            When it is torn, another format, or of another version.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        chances = tuple(
            Chance(null=null, **{name: arrays[f"{null}.{name}"] for name in CHANCE_ARRAYS})
            for null in header["settings"]["null"]
        )
        inner = {name.removeprefix("match."): arrays[name] for name in arrays if name.startswith("match.")}
        own: dict[str, Any] = {name: array for name, array in arrays.items() if "." not in name}
        own |= {"chances": chances}
        own |= {name: header[name] for name in ("anchor", "n_groups", "settings")}
        own |= {"notes": tuple(header["notes"])}
        return cls(match=Match.from_parts(header["match"], inner), **own)


def _content(match: Match, side: str) -> str | None:
    """Hash of the store of one side, where it is recorded."""
    recorded = match.provenance.get(side)
    return recorded.get("content_hash") if isinstance(recorded, dict) else None


def _where_held_out(chosen: FloatArray, held_out: FloatArray) -> FloatArray:
    """Scores where chosen, NaN where there is none held out; all of them where nothing is held out."""
    missing = np.isnan(held_out)
    return chosen if missing.all() else np.where(missing, np.nan, chosen)
