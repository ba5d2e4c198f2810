"""Result of `measure_transfer`: what explanations lose on partners in another model, and on other pairs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from universality.arrays import BoolArray
from universality.errors import UniversalityError
from universality.labels.labelling import EQUAL_DENSITY
from universality.labels.loss_given_r import loss_given_r, partial_correlation
from universality.labels.same_explanation import same_rates
from universality.labels.stored_tables import read_tables, write_tables
from universality.labels.summary import mean_interval
from universality.labels.transfer_trials import NON_PARTNER, PAIRINGS, PARTNER, SECOND_A, SECOND_B
from universality.notebook_card import card, histogram

FORMAT, VERSION = "universality.label_transfer", 1
SCORE_COLUMNS = (
    "feature",
    "pairing",
    "explained",
    "scored",
    "name",
    "r",
    "own",
    "score",
    "low",
    "high",
    "n",
    "missing",
    "loss",
    "others_own",
)
CONTROLS: dict[str, tuple[str, ...]] = {
    "second seeds": (SECOND_A, SECOND_B),
    "non-partners": (NON_PARTNER, EQUAL_DENSITY),
    "both": (SECOND_A, SECOND_B, NON_PARTNER, EQUAL_DENSITY),
}
"""Pairs with which partners are compared at equal r."""


@dataclass(frozen=True, eq=False)
class LabelTransfer:
    """Scores of explanations on features that they were not made from.

    Parameters
    ----------
    scores
        One row a pair and score, with the columns of `to_frame`.
    judgements
        One row a pair of explanations (`universality.labels.same_explanation.judge_same`); none without labels of B.
    settings
        `TransferSettings`.
    provenance
        Hashes of the stores, models, settings of the labels, what became of the answers, and by pairing the number of
        pairs whose second feature is silent in the half that reports, so that nothing could be asked.
    """

    scores: pd.DataFrame
    judgements: pd.DataFrame
    settings: dict[str, Any]
    provenance: dict[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores, such as ``"detection"``."""
        return tuple(dict.fromkeys(self.scores["name"].tolist()))

    def to_frame(self) -> pd.DataFrame:
        """Return a table with one row for each pair of features and score.

        - ``feature``: feature of A to which the pair belongs; ``pairing``: ``partner``, ``second seed of A``,
          ``second seed of B``, ``non-partner`` or ``equal density`` (`universality.labels.transfer_trials`).
        - ``explained``, ``scored``: the feature whose explanation it is, and the one that it has to predict.
        - ``name``: score, as `universality.labels.Score` names it; ``r``: held-out r of the two features' activations.
        - ``own``: score on the explained feature; ``score``: on the other one, with its interval over works ``low`` to
          ``high``, ``n`` predictions and ``missing`` ones; ``loss``: ``own`` minus ``score``.
        - ``others_own``: score of the other feature's own explanation on it, where it is known.
        - ``effect_r``: agreement of the pair's effects per norm (`EffectAgreement`), for partners.
        """
        return self.scores.copy()

    def summary(self) -> pd.DataFrame:
        """Tabulate the mean loss of each kind of pairs, with Student's intervals over features.

        Returns
        -------
        DataFrame
            One row a score and pairing: ``n`` pairs that have both scores, median ``r``, means of ``own`` and
            ``score``, mean ``loss`` with ``low`` and ``high``. Pairs of one feature count as one in the intervals.
        """
        rows = []
        for name in self.names:
            for pairing in PAIRINGS:
                part = self._part(name, pairing)
                if len(part):
                    of_feature = part.groupby("feature")["loss"].mean().to_numpy(np.float64)
                    low, high = mean_interval(of_feature, self.settings["level"])[1:]
                    means = (float(part["r"].median()), float(part["own"].mean()), float(part["score"].mean()))
                    rows.append((name, pairing, len(part), *means, float(of_feature.mean()), low, high))
        return pd.DataFrame(rows, columns=["name", "pairing", "n", "r", "own", "score", "loss", "low", "high"])

    def over_equal_density(self) -> pd.DataFrame:
        """Tabulate by how much explanations predict their features, and the partners, better than random features.

        The random features are those of the partner's kind of text and density (``equal density``), and the
        differences are within features of A.

        Returns
        -------
        DataFrame
            One row a score: ``n`` features with all three scores; mean of ``own`` minus that on the random feature
            with Student's interval ``own_low`` to ``own_high``; ``partner`` minus the same, ``partner_low`` to
            ``partner_high``.
        """
        rows = []
        for name in self.names:
            partner, chance = (
                self._part(name, pairing).groupby("feature")["score"].mean() for pairing in (PARTNER, EQUAL_DENSITY)
            )
            own = self._part(name, PARTNER).groupby("feature")["own"].mean()
            both = partner.index.intersection(chance.index)
            differences = ((values[both] - chance[both]).to_numpy(np.float64) for values in (own, partner))
            intervals = [mean_interval(difference, self.settings["level"]) for difference in differences]
            rows.append((name, len(both), *intervals[0], *intervals[1]))
        columns = ["name", "n", "own", "own_low", "own_high", "partner", "partner_low", "partner_high"]
        return pd.DataFrame(rows, columns=columns)

    def given_r(self) -> pd.DataFrame:
        """Tabulate the loss on partners beyond that of other pairs at equal r: the finding.

        Returns
        -------
        DataFrame
            One row for each score and choice of controls (``against``: ``second seeds``, ``non-partners`` or
            ``both``), with the fields of `universality.labels.loss_given_r.LossGivenR`. A positive ``difference`` is a
            loss that r does not explain.
        """
        rows = []
        for name in self.names:
            for against, pairings in CONTROLS.items():
                part = self._part(name, PARTNER, *pairings)
                loss, r, own = (part[column].to_numpy(np.float64) for column in ("loss", "r", "own"))
                is_partner: BoolArray = (part["pairing"] == PARTNER).to_numpy()
                cluster = part["feature"].to_numpy(np.int64)
                found = loss_given_r(loss, r, own, is_partner, cluster, **self._resampling)
                rows.append({"name": name, "against": against, **vars(found)})
        return pd.DataFrame(rows)

    def by_r(self, name: str | None = None, width: float = 0.1) -> pd.DataFrame:
        """Tabulate the mean loss in bins of r, for partners, second seeds and non-partners.

        Parameters
        ----------
        name
            A score; by default the first one.
        width
            Width of the bins.

        Returns
        -------
        DataFrame
            One row a bin and group of pairs that has any: ``r_low``, ``r_high``, ``pairs``, ``n``, mean ``loss``,
            with Student's interval ``low`` to ``high`` over features.
        """
        groups = {PARTNER: (PARTNER,), **{key: CONTROLS[key] for key in ("second seeds", "non-partners")}}
        rows = []
        for group, pairings in groups.items():
            part = self._part(self.checked_name(name), *pairings).dropna(subset="r")
            for code, inside in part.groupby(np.floor(part["r"] / width).astype(int)):
                values = inside.groupby("feature")["loss"].mean().to_numpy(np.float64)
                mean, low, high = mean_interval(values, self.settings["level"])
                rows.append((code * width, (code + 1) * width, group, len(inside), mean, low, high))
        frame = pd.DataFrame(rows, columns=["r_low", "r_high", "pairs", "n", "loss", "low", "high"])
        return frame.sort_values("r_low", kind="stable", ignore_index=True)

    def with_effects(self) -> pd.DataFrame:
        """Tabulate how the loss on partners goes with the agreement of their effects.

        Returns
        -------
        DataFrame
            Two rows a score: the correlation of loss and ``effect_r`` over partners as it is, and ``given`` the r of
            the activations and the own score. ``n`` pairs, ``correlation``, and its bootstrap interval over features
            ``low`` to ``high``; NaN for fewer than 20 features. Negative where explanations lose less on partners whose
            effects agree.
        """
        rows = []
        for name in self.names:
            part = self._part(name, PARTNER)
            loss, effect, *given = (part[c].to_numpy(np.float64) for c in ("loss", "effect_r", "r", "own"))
            cluster = part["feature"].to_numpy(np.int64)
            for label, covariates in (("nothing", []), ("r and own score", given)):
                varying = [x for x in covariates if np.nanstd(x) > 0] if len(part) else []
                found = partial_correlation(loss, effect, varying, cluster, **self._resampling)
                rows.append((name, label, *found))
        return pd.DataFrame(rows, columns=["name", "given", "n", "correlation", "low", "high"])

    def same_explanation(self) -> pd.DataFrame:
        """Tabulate how often the explanations of partners, and of random pairs, were judged to be of the same thing.

        See `universality.labels.same_explanation.same_rates`. The rate of random pairs is the chance level.
        """
        return same_rates(self.judgements, self.settings["level"])

    def checked_name(self, name: str | None) -> str:
        """Return the name of a score, the first one by default.

        Raises
        ------
        UniversalityError
            If there is no such score.
        """
        if name is None and self.names:
            return self.names[0]
        if name not in self.names:
            raise UniversalityError(f"no score {name!r}; there are {', '.join(self.names) or 'none'}")
        return name

    def save(self, path: str | Path) -> Path:
        """Write everything atomically to one .npz or .json file; return its path."""
        header = {"settings": self.settings, "provenance": self.provenance}
        return write_tables(path, FORMAT, VERSION, header, {"scores": self.scores, "judgements": self.judgements})

    @classmethod
    def load(cls, path: str | Path) -> LabelTransfer:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If it is truncated or corrupt, or has another format or version.
        """
        header, tables = read_tables(path, FORMAT, VERSION)
        return cls(tables["scores"], tables["judgements"], header["settings"], header["provenance"])

    def __repr__(self) -> str:
        table = self.summary().to_string(float_format="{:.3f}".format)
        return f"LabelTransfer: explanations of {self.scores['feature'].nunique():,} features\n{table}"

    def _repr_html_(self) -> str:
        numbers: dict[str, Any] = {"features": int(self.scores["feature"].nunique())}
        if self.names:
            name = self.names[0]
            losses = self.summary().query("name == @name").set_index("pairing")
            for pairing, row in losses.iterrows():
                numbers[f"{name}, loss on {pairing}"] = f"{row.loss:.3f} [{row.low:.3f}, {row.high:.3f}]"
            for row in self.given_r().query("name == @name and n_partners > 0").itertuples():
                at_equal_r = f"{row.difference:.3f} [{row.low:.3f}, {row.high:.3f}]"
                numbers[f"{name}, partners' loss at equal r against {row.against}"] = at_equal_r
        for row in self.same_explanation().itertuples() if len(self.judgements) else ():
            numbers[f"judged the same, {row.pairs}"] = f"{row.rate:.3f} [{row.low:.3f}, {row.high:.3f}]"
        losses_of_partners = self._part(self.names[0], PARTNER)["loss"] if self.names else []
        return card("Transfer of explanations", numbers, histogram(losses_of_partners, "loss on partners", mark=0))

    @property
    def _resampling(self) -> dict[str, Any]:
        return {key: self.settings[key] for key in ("draws", "level", "seed")}

    def _part(self, name: str, *pairings: str) -> pd.DataFrame:
        """Pairs of some kinds that have a loss."""
        chosen = (self.scores["name"] == name) & self.scores["pairing"].isin(pairings) & self.scores["loss"].notna()
        return self.scores[chosen]
