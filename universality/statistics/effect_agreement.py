"""Result of `compare_effects`: do the partners of a matching have the same effects?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from universality.archive import read_archive, write_archive
from universality.arrays import FloatArray
from universality.errors import MismatchError
from universality.formatting import interval
from universality.matching.medians import known_median
from universality.notebook_card import card, histogram

FORMAT, VERSION = "universality.effect_agreement", 1


@dataclass(frozen=True)
class EffectAgreementSummary:
    """Numbers of a whole matching; medians and shares are of the pairs that have the number in question.

    Parameters
    ----------
    n_pairs
        Pairs of the matching.
    n_compared
        Pairs whose features fire together on enough tokens of the reporting half; only these have numbers.
    n_tested
        Pairs with a p-value.
    median_n
        Median number of those tokens, over the compared pairs.
    r, r_per_norm
        Median r of the effects, and of the effects divided by the norm of the gradient.
    median_ci
        95% interval of ``r_per_norm`` over groups of documents, with the pairs fixed.
    n_groups
        Groups of documents (documents in kinds of few groups) that were resampled for intervals; 0 for none.
    null_r
        Median r of effects per norm that equal firing alone gives.
    sign_agreement, sign_chance
        Median share of tokens with equal signs, and the share that the marginal rates of signs give.
    level
        Level of q at or below which a pair counts as more than chance.
    share_agree, share_disagree
        Shares of the tested pairs with q, and with ``q_opposite``, at or below ``level``.
    control_r
        Median over pairs of the median r of their controls.
    overlap
        Median common firings of the controls with A's feature, as a share of the partner's.
    n_with_controls
        Pairs with at least one control.
    share_first, share_first_chance
        Share of them whose partner agrees better than all its controls, and the share expected if it were one of them.
    fingerprints
        Name of each fingerprint → medians ``r`` of partners and ``control_r`` of controls, and ``share_first``.
    ceiling_a, ceiling_b
        Median ``r_per_norm`` of the same features with their partner in a second SAE of their own model.
    """

    n_pairs: int = 0
    n_compared: int = 0
    n_tested: int = 0
    median_n: float = math.nan
    r: float = math.nan
    r_per_norm: float = math.nan
    median_ci: tuple[float, float] = (math.nan, math.nan)
    n_groups: int = 0
    null_r: float = math.nan
    sign_agreement: float = math.nan
    sign_chance: float = math.nan
    level: float = 0.05
    share_agree: float = math.nan
    share_disagree: float = math.nan
    control_r: float = math.nan
    overlap: float = math.nan
    n_with_controls: int = 0
    share_first: float = math.nan
    share_first_chance: float = math.nan
    fingerprints: dict[str, dict[str, float]] = field(default_factory=dict)
    ceiling_a: float = math.nan
    ceiling_b: float = math.nan


@dataclass(frozen=True, eq=False)
class EffectAgreement:
    """Agreement of the effects of matched features, pair by pair; NaN where the text cannot tell.

    Parameters
    ----------
    pairs
        One row a pair, with the columns of `to_frame`.
    settings
        Arguments of `compare_effects`.
    provenance
        Stores that were compared, as JSON.
    median_ci
        95% interval of the median ``r_per_norm`` over groups of documents, with the pairs fixed. It covers the median
        of these pairs on other documents, and neither other pairs nor models trained from another seed.
    n_groups
        Groups of documents that were resampled for intervals; 0 for none.
    """

    pairs: pd.DataFrame
    settings: dict[str, Any]
    provenance: dict[str, Any]
    median_ci: tuple[float, float] = (math.nan, math.nan)
    n_groups: int = 0

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row per pair.

        - ``row col``: the features; ``n``: tokens of the reporting half on which both fire and a loss lies behind.
        - ``r``: Pearson's r of the effects over these tokens. ``r_per_norm``: the same after division by the norm of
          the gradient, which all features at a token share; ``ci_low ci_high``: its 95% interval over documents.
        - ``null_r``: ``r_per_norm`` that equal firing alone gives (see `universality.statistics.slope_permutation`).
          ``p q``: agreement beyond it; ``p_opposite q_opposite``: disagreement beyond it.
        - ``sign_agreement sign_chance``: share of tokens with equal signs, and by chance from both marginal rates.
        - ``n_controls overlap control_r control_rank``: the controls, features of B that fire with A's feature most
          like the partner. Their number, median overlap (common firings as a share of the partner's) and median
          ``r_per_norm``, and the rank of the partner among them, 1 for the best.
        - ``NAME_r NAME_control_r NAME_rank`` for each fingerprint.
        - ``ceiling_a ceiling_b``, where `with_ceilings` was called.
        - ``note``: why a number is missing.
        """
        return self.pairs.copy()

    def with_ceilings(self, a: EffectAgreement | None = None, b: EffectAgreement | None = None) -> EffectAgreement:
        """Return a copy with the columns ``ceiling_a`` and ``ceiling_b``.

        Parameters
        ----------
        a, b
            Results for the SAE whose features are the rows here (a), and for the SAE whose features are the columns
            here (b), each with a second SAE of the same model. The ceiling of a feature is its ``r_per_norm`` there.

        Raises
        ------
        MismatchError
            If the rows of a ceiling are features of another store.
        """
        columns = {
            "ceiling_a": self._ceiling(a, "row", "a"),
            "ceiling_b": self._ceiling(b, "col", "b"),
        }
        return replace(self, pairs=self.pairs.drop(columns=columns, errors="ignore").assign(**columns))

    def _ceiling(self, seeds: EffectAgreement | None, side: Literal["row", "col"], name: str) -> FloatArray:
        if seeds is None:
            return np.full(len(self.pairs), np.nan)
        expected, found = self.provenance[name], seeds.provenance["a"]
        if expected["content_hash"] != found["content_hash"]:
            raise MismatchError(
                f"with_ceilings: expected for {name} a result whose rows are the features of {expected['path']}, found "
                f"one of {found['path']}; pass compare_effects with that store first, and a second SAE of its model"
            )
        of_feature = seeds.pairs.drop_duplicates("row").set_index("row")["r_per_norm"]
        return of_feature.reindex(self.pairs[side]).to_numpy(np.float64)

    def summary(self, level: float = 0.05) -> EffectAgreementSummary:
        """Summarise all pairs; ``level`` is that of q."""
        pairs = self.pairs
        compared, tested = pairs["r_per_norm"].notna(), pairs["q"].notna()
        controlled = pairs["control_rank"].notna()
        medians = ("r", "r_per_norm", "null_r", "sign_agreement", "sign_chance", "control_r", "overlap")
        return EffectAgreementSummary(
            n_pairs=len(pairs),
            n_compared=int(compared.sum()),
            n_tested=int(tested.sum()),
            median_n=known_median(pairs["n"][compared].to_numpy(np.float64)),
            **{name: self._median(name) for name in medians},
            median_ci=self.median_ci,
            n_groups=self.n_groups,
            level=level,
            share_agree=_share(pairs["q"][tested] <= level),
            share_disagree=_share(pairs["q_opposite"][tested] <= level),
            n_with_controls=int(controlled.sum()),
            share_first=_share(pairs["control_rank"][controlled] == 1),
            share_first_chance=_mean(1 / (1 + pairs["n_controls"][controlled])),
            fingerprints={name: self._fingerprint(name) for name in self.settings["fingerprints"]},
            ceiling_a=self._median("ceiling_a"),
            ceiling_b=self._median("ceiling_b"),
        )

    def _median(self, name: str) -> float:
        return known_median(self.pairs[name].to_numpy(np.float64)) if name in self.pairs else math.nan

    def _fingerprint(self, name: str) -> dict[str, float]:
        rank = self.pairs[f"{name}_rank"].dropna()
        medians = {part: self._median(f"{name}_{part}") for part in ("r", "control_r")}
        return medians | {"share_first": _share(rank == 1)}

    def __repr__(self) -> str:
        numbers = self.summary()
        return (
            f"EffectAgreement({numbers.n_compared} of {numbers.n_pairs} pairs compared, median r of effects "
            f"{numbers.r:.3f}, per norm {numbers.r_per_norm:.3f}; {numbers.share_agree:.0%} agree beyond chance)"
        )

    def _repr_html_(self) -> str:
        values = self.pairs["r_per_norm"].to_numpy(np.float64)
        numbers = vars(self.summary()) | {"median_ci": interval(*self.median_ci) or None}
        numbers = {name: value for name, value in numbers.items() if name != "fingerprints"}
        return card("Agreement of effects", numbers, histogram(values, "r of effects per norm", low=-1, high=1))

    def save(self, path: str | Path) -> Path:
        """Write everything atomically to one .npz or .json file; return its path."""
        arrays = {name: column.to_numpy() for name, column in self.pairs.items() if name != "note"}
        arrays["median_ci"] = np.array(self.median_ci)
        header = {
            "settings": self.settings,
            "provenance": self.provenance,
            "columns": list(self.pairs),
            "n_groups": self.n_groups,
        }
        header["note"] = self.pairs["note"].tolist()
        return write_archive(path, FORMAT, VERSION, header, arrays)

    @classmethod
    def load(cls, path: str | Path) -> EffectAgreement:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If it is truncated or corrupt, or has another format or version.
        """
        header, arrays = read_archive(path, FORMAT, VERSION)
        columns = {name: header["note"] if name == "note" else arrays[name] for name in header["columns"]}
        low, high = arrays.get("median_ci", np.full(2, np.nan)).tolist()  # early files have no interval of the median
        return cls(_frame(columns), header["settings"], header["provenance"], (low, high), header.get("n_groups", 0))


def _frame(columns: dict[str, Any]) -> pd.DataFrame:
    """Make a table whose text column has one type also where there are no rows."""
    return pd.DataFrame(columns).astype({"note": object})


def _share(which: pd.Series[bool]) -> float:
    return float(which.mean()) if len(which) else math.nan


def _mean(values: pd.Series[float]) -> float:
    return float(values.mean()) if len(values) else math.nan
