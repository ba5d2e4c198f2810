"""Result of `measure_specificity`: the share of a feature's firings at which its explanation holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.arrays import FloatArray
from universality.labels.accuracy import weighted_share
from universality.labels.sampled_firings import SILENT
from universality.labels.scoring import EXPLANATION
from universality.labels.stored_tables import read_tables, write_tables
from universality.labels.summary import mean_interval
from universality.notebook_card import card, histogram

FORMAT, VERSION = "universality.label_specificity", 1
VERDICT_COLUMNS = ("feature", "by", "row", "interval", "activation", "work", "yes")
FIRING_COLUMNS = ("feature", "interval", "firings")
SHARES = ("over the range", "over firings", "false alarms")
"""Shares of tokens at which an explanation holds: of firings, with each interval of activation counted alike, or with
each firing counted alike; and of tokens on which the feature does not fire."""


@dataclass(frozen=True, eq=False)
class LabelSpecificity:
    """Verdicts on tokens of each feature: is what the explanation describes there?

    Parameters
    ----------
    verdicts
        One row a token and explanation: ``feature``, ``by`` (``"explanation"``, or ``"other explanation"`` for that of
        another feature), ``row`` of the store, ``interval`` of activation (0: it does not fire, 1: weakest),
        ``activation``, ``work``, and ``yes`` (1, 0, or NaN without a verdict).
    firings
        ``firings`` of each ``feature`` in each ``interval``, in the half that reports.
    settings
        `SpecificitySettings` and the level of intervals.
    provenance
        Hash of the store, models, and what became of the answers.
    """

    verdicts: pd.DataFrame
    firings: pd.DataFrame
    settings: dict[str, Any]
    provenance: dict[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """Tabulate the shares of each feature.

        Returns
        -------
        DataFrame
            One row a feature, explanation (``by``) and ``share`` (`SHARES`): ``value``, Wilson's interval ``low`` to
            ``high``, ``n`` verdicts and ``missing`` ones. Intervals without a verdict are left out of the weights.
        """
        rows = []
        for (feature, by), part in self._weighted().groupby(["feature", "by"], sort=False):
            firing = part["interval"] != SILENT
            for share in SHARES:
                of_share = part[~firing if share == "false alarms" else firing]
                known = of_share.dropna(subset="yes")
                weight = known["weight"] if share == "over firings" else known["equal"]
                found = weighted_share(
                    known["yes"].to_numpy(np.float64) == 1,
                    weight.to_numpy(np.float64),
                    known["work"].to_numpy(np.int64),
                    self.settings["level"],
                )
                rows.append((feature, by, share, *found, len(known), len(of_share) - len(known)))
        return pd.DataFrame(rows, columns=["feature", "by", "share", "value", "low", "high", "n", "missing"])

    def summary(self) -> pd.DataFrame:
        """Average the shares over features, with Student's intervals over features.

        Returns
        -------
        DataFrame
            One row an explanation (``by``) and share: ``n`` features, ``mean``, ``low``, ``high``; and over the
            features that have both explanations, the ``advantage`` of their own, ``advantage_low`` to
            ``advantage_high``.
        """
        frame, level, rows = self.to_frame(), self.settings["level"], []
        for (by, share), part in frame.groupby(["by", "share"], sort=False):
            reference = frame[(frame["share"] == share) & (frame["by"] == EXPLANATION)].set_index("feature")["value"]
            values = part.set_index("feature")["value"]
            advantage = (reference.reindex(values.index) - values).dropna().to_numpy(np.float64)
            known = values.dropna().to_numpy(np.float64)
            mean, low, high = mean_interval(known, level)
            bounds = np.clip([low, high], 0, 1).tolist()
            rows.append((by, share, known.size, mean, *bounds, *mean_interval(advantage, level)))
        columns = ["by", "share", "n", "mean", "low", "high", "advantage", "advantage_low", "advantage_high"]
        return pd.DataFrame(rows, columns=columns)

    def by_interval(self) -> pd.DataFrame:
        """Tabulate the share of tokens at which an explanation holds by interval of activation, over features.

        Returns
        -------
        DataFrame
            One row an explanation and ``interval`` (0: silent): ``n`` features, mean ``value`` with Student's interval
            ``low`` to ``high``.
        """
        of_feature = self.verdicts.dropna(subset="yes").groupby(["by", "interval", "feature"])["yes"].mean()
        rows = []
        for (by, interval), part in of_feature.groupby(level=["by", "interval"]):
            mean, low, high = mean_interval(part.to_numpy(np.float64), self.settings["level"])
            rows.append((by, interval, len(part), mean, *np.clip([low, high], 0, 1).tolist()))
        return pd.DataFrame(rows, columns=["by", "interval", "n", "value", "low", "high"])

    def save(self, path: str | Path) -> Path:
        """Write everything atomically to one .npz or .json file; return its path."""
        header = {"settings": self.settings, "provenance": self.provenance}
        return write_tables(path, FORMAT, VERSION, header, {"verdicts": self.verdicts, "firings": self.firings})

    @classmethod
    def load(cls, path: str | Path) -> LabelSpecificity:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If it is truncated or corrupt, or has another format or version.
        """
        header, tables = read_tables(path, FORMAT, VERSION)
        return cls(tables["verdicts"], tables["firings"], header["settings"], header["provenance"])

    def __repr__(self) -> str:
        table = self.summary().to_string(float_format="{:.3f}".format)
        return f"LabelSpecificity: explanations of {self.verdicts['feature'].nunique():,} features\n{table}"

    def _repr_html_(self) -> str:
        numbers: dict[str, Any] = {"features": int(self.verdicts["feature"].nunique())}
        for row in self.summary().itertuples():
            numbers[f"{row.by}, {row.share}"] = f"{row.mean:.3f} [{row.low:.3f}, {row.high:.3f}]"
        frame = self.to_frame()
        values = frame.loc[(frame["by"] == EXPLANATION) & (frame["share"] == SHARES[0]), "value"]
        return card("Specificity of explanations", numbers, histogram(values, SHARES[0], 0, 1))

    def _weighted(self) -> pd.DataFrame:
        """Add the weights of verdicts: ``equal`` for each interval, and ``weight`` for each firing."""
        frame = self.verdicts.merge(self.firings, on=["feature", "interval"], how="left")
        judged: FloatArray = (
            frame["yes"].notna().groupby([frame["feature"], frame["by"], frame["interval"]]).transform("sum").to_numpy()
        )
        share = 1 / np.maximum(judged, 1)
        return frame.assign(equal=share, weight=share * frame["firings"].fillna(1).to_numpy())
