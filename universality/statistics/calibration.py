"""What calibrating a matching finds: scores beside what chance gives, as a table, numbers and a file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from universality.matching import Match
from universality.matching.archive import Arrays, read_archive, write_archive
from universality.similarity.rows import FloatArray, IntArray
from universality.statistics.heldout import optimism

FORMAT, VERSION = "universality.calibration", 1
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
    p, q
        [n_pairs] pooled p-value of the anchoring feature's score against the null, and its Benjamini-Hochberg q-value.
        That score is of a matching on the very blocks that the null re-pairs, still paired as they are, so that
        both have seen equally many tokens.
    calibrated
        [n_pairs] max(0, (score - tau) / (1 - tau)), tau the null's (1 - alpha) quantile in the pair's stratum.
    count_a, count_b
        [n_pairs] firings of row and column on the choosing half.
    stratum
        [n_pairs] class of firing counts, -1 for none; ``edges`` and ``tau`` describe the classes.
    edges, tau
        [n_strata + 1] counts, [n_strata] null quantiles.
    best_col_held_out, best_row_held_out
        [n_rows], [n_cols] held-out scores of every feature's best partner (chosen on the choosing half).
    anchor
        "rows" or "cols": the side whose features carry the null scores (the smaller one of an assignment).
    null_scores
        [n_replicates, n_anchor] the score that each feature got in each replicate; -inf unmatched, NaN dead.
    null_best_of_rows, null_best_of_cols
        [n_replicates] median best partner's score of each replicate.
    settings
        What `calibrate` was asked for.
    notes
        What could not be concluded, and what was left out.
    """

    match: Match
    held_out: FloatArray
    ci_low: FloatArray
    ci_high: FloatArray
    p: FloatArray
    q: FloatArray
    calibrated: FloatArray
    count_a: IntArray
    count_b: IntArray
    stratum: IntArray
    edges: FloatArray
    tau: FloatArray
    best_col_held_out: FloatArray
    best_row_held_out: FloatArray
    anchor: Literal["rows", "cols"]
    null_scores: FloatArray
    null_best_of_rows: FloatArray
    null_best_of_cols: FloatArray
    settings: dict[str, Any]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One line a pair: row col score held_out ci_low ci_high p q calibrated count_a count_b stratum note."""
        columns: dict[str, npt.NDArray[Any] | list[str]] = {
            "row": self.match.rows,
            "col": self.match.cols,
            "score": self.match.scores,
        }
        for name in ("held_out", "ci_low", "ci_high", "p", "q", "calibrated", "count_a", "count_b", "stratum"):
            columns[name] = getattr(self, name)
        return pd.DataFrame(columns | {"note": self._pair_notes()})

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
            (np.isnan(self.ci_low) & ~np.isnan(self.held_out), "no interval: too few groups"),
        )
        return ["; ".join(text for where, text in reasons if where[pair]) for pair in range(self.match.rows.size)]

    def summary(self, q_level: float = 0.05) -> dict[str, Any]:
        """The numbers to print beside each other: matched and best-partner medians, chosen and held out, and chance.

        Parameters
        ----------
        q_level
            Pairs with q at or below it count as more than chance.
        """
        null = self.null_scores[np.isfinite(self.null_scores)]
        tested = self.q[~np.isnan(self.q)]
        best, found = self.match.nearest, self.match.summary()
        return {
            **{key: found[key] for key in KEPT},
            "measure": self.settings["measure"],
            "method": self.match.method,
            "null": self.settings["null"],
            "replicates": int(self.null_scores.shape[0]),
            "matched_choose": _median(self.match.scores),
            "matched_report": _median(self.held_out),
            "optimism": optimism(self.match.scores, self.held_out),
            "best_of_rows_choose": _median(best.best_col_score),
            "best_of_rows_report": _median(self.best_col_held_out),
            "best_of_cols_choose": _median(best.best_row_score),
            "best_of_cols_report": _median(self.best_row_held_out),
            "null_matched_median": _median(null),
            "null_matched_q95": float(np.quantile(null, 0.95)) if null.size else float("nan"),
            "null_matched_q99": float(np.quantile(null, 0.99)) if null.size else float("nan"),
            "null_best_of_rows": _median(self.null_best_of_rows),
            "null_best_of_cols": _median(self.null_best_of_cols),
            "n_tested": int(tested.size),
            f"share_q_{q_level:g}": float((tested <= q_level).mean()) if tested.size else float("nan"),
            "calibrated_median": _median(self.calibrated),
        }

    def save(self, path: str | Path) -> Path:
        """Write everything, the match included, to one .npz or .json file, whole or not at all."""
        header, arrays = self.match.to_parts()
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        parts: Arrays = {name: value for name, value in own.items() if isinstance(value, np.ndarray)}
        parts |= {f"match.{name}": array for name, array in arrays.items()}
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
        inner = {name.removeprefix("match."): arrays[name] for name in arrays if name.startswith("match.")}
        own: dict[str, Any] = {name: array for name, array in arrays.items() if not name.startswith("match.")}
        own |= {"notes": tuple(header["notes"]), "anchor": header["anchor"], "settings": header["settings"]}
        return cls(match=Match.from_parts(header["match"], inner), **own)


def _median(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else float("nan")
