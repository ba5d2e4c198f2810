"""What calibrating a matching finds: scores beside what chance gives, as a table, numbers and a file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.card import card
from universality.matching import Match
from universality.matching.archive import Arrays, read_archive, write_archive
from universality.matching.median import known_median
from universality.similarity.rows import FloatArray, IntArray
from universality.statistics.chance import Chance
from universality.statistics.heldout import optimism
from universality.statistics.null import Null

FORMAT, VERSION = "universality.calibration", 2
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
    count_a, count_b
        [n_pairs] firings of row and column on the choosing half.
    stratum
        [n_pairs] class of the anchoring feature's firing count, -1 where one of the two fires too rarely.
    edges
        [n_strata + 1] counts that bound the classes.
    best_col_held_out, best_row_held_out
        [n_rows], [n_cols] held-out scores of every feature's best partner (chosen on the choosing half).
    anchor
        "rows" or "cols": the side whose features carry the null scores (the smaller one of an assignment).
    chances
        What each null says; ``p``, ``q``, ``calibrated`` and ``null_scores`` are those of the first.
    settings
        What `calibrate` was asked for.
    notes
        What could not be concluded, and what was left out.
    """

    match: Match
    held_out: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    count_a: IntArray
    count_b: IntArray
    stratum: IntArray
    edges: FloatArray
    best_col_held_out: FloatArray
    best_row_held_out: FloatArray
    anchor: Literal["rows", "cols"]
    chances: tuple[Chance, ...]
    settings: dict[str, Any]
    notes: tuple[str, ...]

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
    def null_scores(self) -> FloatArray:
        """[n_replicates, n_anchor] of the first null."""
        return self.chances[0].scores

    def under(self, null: Null) -> Chance | None:
        """What a null says, or None where it was not run."""
        return next((chance for chance in self.chances if chance.null == null), None)

    def to_frame(self) -> pd.DataFrame:
        """One line a pair.

        Columns ``row col score held_out ci_low ci_high p q calibrated detectable``, the last four again for every
        further null with its name behind (``p_kind``), then ``count_a count_b stratum note``.
        """
        columns: dict[str, npt.NDArray[Any] | list[str]] = {
            "row": self.match.rows,
            "col": self.match.cols,
            "score": self.match.scores,
        }
        for name in ("held_out", "ci_low", "ci_high"):
            columns[name] = getattr(self, name)
        for k, chance in enumerate(self.chances):
            for name in ("p", "q", "calibrated", "detectable"):
                columns[name if k == 0 else f"{name}_{chance.null}"] = getattr(chance, name)
        for name in ("count_a", "count_b", "stratum"):
            columns[name] = getattr(self, name)
        return pd.DataFrame(columns | {"note": self._pair_notes()})

    def strata(self) -> pd.DataFrame:
        """One line a class of firing counts: low high n held_out tau detectable, the last three medians of its pairs.

        ``tau`` is the first null's quantile, ``detectable`` what a score there must exceed to be told from chance.
        """
        of = {"held_out": self.held_out, "tau": self.chances[0].tau, "detectable": self.chances[0].detectable}
        rows = []
        for s, (low, high) in enumerate(pairwise(self.edges)):
            inside = self.stratum == s
            medians = {name: known_median(values[inside]) for name, values in of.items()}
            rows.append({"low": low, "high": high, "n": int(inside.sum()), **medians})
        return pd.DataFrame(rows, columns=["low", "high", "n", *of])

    @property
    def _why_no_interval(self) -> str:
        if self.settings.get("bootstrap") == 0:
            return "bootstrap is 0, so none was asked for"
        if self.settings.get("measure", "activation") != "activation":
            return f"{self.settings['measure']} keeps no statistics by group"
        return "too few groups"

    def _pair_notes(self) -> list[str]:
        least = self.settings["min_firings"]
        fewest = np.minimum(self.count_a, self.count_b)
        reasons = (
            (fewest < least, f"fires fewer than {least} times where partners are chosen: no p-value"),
            (
                np.isnan(self.p) & (fewest >= least) & (len(self.null_scores) > 0),
                "no full block to re-pair: no p-value",
            ),
            (np.isnan(self.held_out) & (fewest >= least), "no held-out score"),
            (np.isnan(self.ci_low) & ~np.isnan(self.held_out), f"no interval: {self._why_no_interval}"),
        )
        return ["; ".join(text for where, text in reasons if where[pair]) for pair in range(self.match.rows.size)]

    def summary(self, q_level: float = 0.05) -> dict[str, Any]:
        """The numbers to print beside each other: matched and best-partner medians, chosen and held out, and chance.

        Parameters
        ----------
        q_level
            Pairs with q at or below it count as more than chance.
        """
        best, found = self.match.nearest, self.match.summary()
        first, *others = self.chances
        said = first.summary(q_level)
        for chance in others:
            said |= {f"{key}_{chance.null}": value for key, value in chance.summary(q_level).items()}
        return {
            **{key: found[key] for key in KEPT},
            "measure": self.settings["measure"],
            "method": self.match.method,
            "null": first.null,
            "matched_choose": known_median(self.match.scores),
            "matched_report": known_median(self.held_out),
            "optimism": optimism(self.match.scores, self.held_out),
            "best_of_rows_choose": known_median(best.best_col_score),
            "best_of_rows_report": known_median(self.best_col_held_out),
            "best_of_cols_choose": known_median(best.best_row_score),
            "best_of_cols_report": known_median(self.best_row_held_out),
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
        rest = {"anchor": self.anchor, "settings": self.settings, "notes": list(self.notes), "match": header}
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
        own |= {"notes": tuple(header["notes"]), "anchor": header["anchor"], "settings": header["settings"]}
        return cls(match=Match.from_parts(header["match"], inner), **own)
