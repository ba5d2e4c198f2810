"""Bricken et al. 2023, *Towards Monosemanticity*, asked of a finished run: two models, their features and neurons.

Partners are chosen on one half of the held-out documents and scored on the other; intervals resample the documents of
that half (works, where a kind has enough of them) with the partners held fixed, unless said otherwise.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from intervals import Estimate, of_draws
from scipy.stats import spearmanr

from universality import Calibration, FeatureStore, Similarity
from universality.config import load_config
from universality.features.specificity import specificity
from universality.matching.medians import median_of_all
from universality.pipeline.paths import RunFolder
from universality.pipeline.study import headline_width
from universality.statistics import best_neurons, concept_table, evaluation_halves

DRAWS = 200
KINDS = ("hebrew", "arabic-script", "base64", "dna", "python")
KNOWS = 0.5
HIGH = 0.9


@dataclass(frozen=True)
class Study:
    """A finished run of two models, A and B."""

    folder: RunFolder
    a: str
    b: str
    widths: tuple[int, ...]
    seed: int

    @classmethod
    def of(cls, run: Path) -> "Study":
        """The first two models of a run."""
        config = load_config(run / "config.yaml")
        a, b = config.models.names[:2]
        assert config.saes.widths[-1] == headline_width(config)
        return cls(RunFolder(run), a, b, tuple(config.saes.widths), config.saes.seeds[0])

    def store(self, model: str, width: int | None) -> FeatureStore:
        """Features of a model, or its neurons without a width."""
        path = self.folder.neurons(model) if width is None else self.folder.store(model, width, self.seed)
        return FeatureStore.open(path)

    def calibration(self, width: int | None) -> Calibration:
        """Of the two models."""
        return Calibration.load(self.folder.calibration(f"{self.a}-{self.b}." + (f"w{width}" if width else "neurons")))

    def pair(self, width: int | None) -> tuple[FeatureStore, FeatureStore, Calibration]:
        """Both stores and their calibration."""
        return self.store(self.a, width), self.store(self.b, width), self.calibration(width)


def best_match(study: Study) -> pd.DataFrame:
    """Median over A's units of the correlation with the best unit of B, beside both nulls and the one-to-one median.

    Of all living units of A; those without a score lie below every score.
    """
    rows = []
    for width in (*study.widths, None):
        a, b, found = study.pair(width)
        best = found.match.nearest.best_col
        units = np.flatnonzero((best >= 0) & ~np.isnan(found.best_col_held_out))
        medians = {
            "best": (units, best[units], found.best_col_held_out[units]),
            "matched": (found.match.rows, found.match.cols, found.held_out),
        }
        numbers = found.summary(q_level=0.05)
        living = numbers.n_living
        row: dict[str, object] = {"units": "neurons" if width is None else f"features, {width:,}", "living": living}
        for name, (i, j, scores) in medians.items():
            estimate = of_draws(median_of_all(scores, living), _median_draws(a, b, i, j, living))
            row |= {f"{name}_scored": int((~np.isnan(scores)).sum())}
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        for null in ("global", "kind"):
            chance = numbers.nulls.get(null)  # type: ignore[call-overload]
            if chance is not None:
                row |= {f"null_{null}": chance.nearest_median, f"q_{null}": chance.share_of_tested}
        rows.append(row)
    return pd.DataFrame(rows)


def _median_draws(
    a: FeatureStore, b: FeatureStore, i: npt.ArrayLike, j: npt.ArrayLike, living: int
) -> npt.NDArray[np.float64]:
    """[n_draws] medians over fixed pairs of so many units, the documents of the reporting half resampled."""
    moments = Similarity.activation(a, b, documents=evaluation_halves(a).report).pairs(i, j, by="group")
    n = len(moments.groups)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    parts = np.array_split(weights, 10)  # [n_draws, n_pairs] a few draws at a time
    return np.array([median_of_all(r, living) for part in parts for r in moments.pearson(part)])


def concepts(study: Study) -> pd.DataFrame:
    """The feature of A that knows each kind best, its partner in B, and the best single neuron for it."""
    a, b, found = study.pair(study.widths[-1])
    table = concept_table(a, b, found).set_index("kind").reindex(KINDS).dropna(subset=["feature"]).reset_index()
    neurons = best_neurons(a, study.store(study.a, None), table["feature"].to_numpy(dtype=np.int64))
    table["best_neuron"] = neurons["r"].to_numpy()
    columns = ["kind", "tokens", "feature", "f1", "partner", "partner_f1", "held_out", "ci_low", "ci_high"]
    return table[[*columns, "known_by", "most_alike_held_out", "best_neuron"]]


def splits(study: Study) -> pd.DataFrame:
    """How many features know a kind (F1 of at least 0.5) as the dictionary grows, and in how many the best one does."""
    rows = []
    for model in (study.a, study.b):
        for width in study.widths:
            found = specificity(study.store(model, width))
            for kind in (kind for kind in KINDS if kind in found.kinds):
                code = found.kinds.index(kind)
                mostly = (found.precision[:, code] >= KNOWS) & (found.firings[:, code] > 0)
                f1 = found.f1[:, code]
                rows.append(
                    {"model": model, "width": width, "kind": kind, "known_by": int((f1 >= KNOWS).sum())}
                    | {"mostly_this_kind": int(mostly.sum()), "best_f1": float(f1.max())}
                )
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class ThreeMeasures:
    """Pairs of the widest dictionaries by three measures, and what is said of them.

    Attributes
    ----------
    pairs
        ``row col activation logit attribution``, all on the reporting half but the logit weights, which have no tokens.
    attribution_follows, logit_follows
        Rank correlation with activation similarity; intervals resample pairs.
    negative
        Share of pairs with activation r of at least ``HIGH`` whose logit r is negative; the same.
    """

    pairs: pd.DataFrame
    attribution_follows: Estimate
    logit_follows: Estimate
    negative: Estimate


def three_measures(study: Study) -> ThreeMeasures:
    """Are features that fire alike also alike in what they write, and in what their writing does?"""
    a, b, found = study.pair(study.widths[-1])
    frame = pd.DataFrame({"row": found.match.rows, "col": found.match.cols, "activation": found.held_out})
    frame = frame.dropna().reset_index(drop=True)
    frame["logit"] = Similarity.logit(a, b).pairs(frame["row"], frame["col"])
    attribution = Similarity.attribution(a, b, documents=evaluation_halves(a).report)
    frame["attribution"] = attribution.pairs(frame["row"], frame["col"])
    frame = frame.replace([np.inf, -np.inf], np.nan).dropna().reset_index(drop=True)
    high = (frame.loc[frame["activation"] >= HIGH, "logit"] < 0).to_numpy(dtype=np.float64)
    return ThreeMeasures(
        frame,
        *(_resampled(frame, lambda part, name=name: spearmanr(part["activation"], part[name])[0]) for name in
          ("attribution", "logit")),
        _resampled(pd.DataFrame({"negative": high}), lambda part: part["negative"].mean()),
    )  # fmt: skip


def _resampled(frame: pd.DataFrame, measure: Callable[[pd.DataFrame], float]) -> Estimate:
    """A measure of the rows of a table, with its bootstrap over them."""
    if frame.empty:
        return Estimate(*[float("nan")] * 3)
    rng = np.random.default_rng(0)
    draws = [measure(frame.iloc[rng.integers(len(frame), size=len(frame))]) for _ in range(DRAWS)]
    return of_draws(float(measure(frame)), np.array(draws))
