"""Test findings of Bricken et al. 2023, *Towards Monosemanticity*, on a finished run of two models.

Partners are chosen on one half of the held-out documents and scored on the other; intervals resample the documents of
that half (works, where a kind has enough of them) with the partners held fixed, unless stated otherwise.
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
        """Select the first two models of a run."""
        config = load_config(run / "config.yaml")
        a, b = config.models.names[:2]
        assert config.saes.widths[-1] == headline_width(config)
        return cls(RunFolder(run), a, b, tuple(config.saes.widths), config.saes.seeds[0])

    def store(self, model: str, width: int | None) -> FeatureStore:
        """Open the features of a model at a width, or its neurons if ``width`` is None."""
        path = self.folder.neurons(model) if width is None else self.folder.store(model, width, self.seed)
        return FeatureStore.open(path)

    def calibration(self, width: int | None) -> Calibration:
        """Load the calibration of the two models at a width, or of their neurons."""
        return Calibration.load(self.folder.calibration(f"{self.a}-{self.b}." + (f"w{width}" if width else "neurons")))

    def pair(self, width: int | None) -> tuple[FeatureStore, FeatureStore, Calibration]:
        """Return both stores and their calibration."""
        return self.store(self.a, width), self.store(self.b, width), self.calibration(width)


def best_match(study: Study) -> pd.DataFrame:
    """Return the median best-partner and one-to-one correlations of A's units, beside both nulls.

    Medians are over all living units of A; units without a score lie below every score.
    """
    rows = []
    for width in (*study.widths, None):
        a, b, calibration = study.pair(width)
        best = calibration.match.nearest.best_col
        units = np.flatnonzero((best >= 0) & ~np.isnan(calibration.best_col_held_out))
        medians = {
            "best": (units, best[units], calibration.best_col_held_out[units]),
            "matched": (calibration.match.rows, calibration.match.cols, calibration.held_out),
        }
        summary = calibration.summary(q_level=0.05)
        living = summary.n_living
        row: dict[str, object] = {"units": "neurons" if width is None else f"features, {width:,}", "living": living}
        for name, (i, j, scores) in medians.items():
            estimate = of_draws(median_of_all(scores, living), _median_draws(a, b, i, j, living))
            row |= {f"{name}_scored": int((~np.isnan(scores)).sum())}
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        for null in ("global", "kind"):
            chance = summary.nulls.get(null)  # type: ignore[call-overload]
            if chance is not None:
                row |= {f"null_{null}": chance.nearest_median, f"q_{null}": chance.share_of_tested}
        rows.append(row)
    return pd.DataFrame(rows)


def _median_draws(
    a: FeatureStore, b: FeatureStore, i: npt.ArrayLike, j: npt.ArrayLike, living: int
) -> npt.NDArray[np.float64]:
    """Return [n_draws] medians over fixed pairs, with the documents of the reporting half resampled."""
    moments = Similarity.activation(a, b, documents=evaluation_halves(a).report).pairs(i, j, by="group")
    n = len(moments.groups)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    parts = np.array_split(weights, 10)  # [n_draws, n_pairs] a few draws at a time
    return np.array([median_of_all(r, living) for part in parts for r in moments.pearson(part)])


def concepts(study: Study) -> pd.DataFrame:
    """Return the feature of A that best detects each kind, its partner in B, and its best single neuron."""
    a, b, calibration = study.pair(study.widths[-1])
    table = concept_table(a, b, calibration).set_index("kind").reindex(KINDS).dropna(subset=["feature"]).reset_index()
    neurons = best_neurons(a, study.store(study.a, None), table["feature"].to_numpy(dtype=np.int64))
    table["best_neuron"] = neurons["r"].to_numpy()
    columns = ["kind", "tokens", "feature", "f1", "partner", "partner_f1", "held_out", "ci_low", "ci_high"]
    return table[[*columns, "known_by", "most_alike_held_out", "best_neuron"]]


def splits(study: Study) -> pd.DataFrame:
    """Count, per width, the features that detect a kind (F1 >= 0.5) and those with most of their mass on it."""
    rows = []
    for model in (study.a, study.b):
        for width in study.widths:
            by_kind = specificity(study.store(model, width))
            for kind in (kind for kind in KINDS if kind in by_kind.kinds):
                code = by_kind.kinds.index(kind)
                mostly = (by_kind.precision[:, code] >= KNOWS) & (by_kind.firings[:, code] > 0)
                f1 = by_kind.f1[:, code]
                rows.append(
                    {"model": model, "width": width, "kind": kind, "known_by": int((f1 >= KNOWS).sum())}
                    | {"mostly_this_kind": int(mostly.sum()), "best_f1": float(f1.max())}
                )
    return pd.DataFrame(rows)


@dataclass(frozen=True, eq=False)
class ThreeMeasures:
    """Compare pairs of the widest dictionaries by three measures.

    Attributes
    ----------
    pairs
        ``row col activation logit attribution``, all on the reporting half, except logit weights, which need no tokens.
    attribution_follows, logit_follows
        Rank correlation with activation similarity; intervals resample pairs.
    negative
        Share of pairs with activation r of at least ``HIGH`` whose logit r is negative; interval as above.
    """

    pairs: pd.DataFrame
    attribution_follows: Estimate
    logit_follows: Estimate
    negative: Estimate


def three_measures(study: Study) -> ThreeMeasures:
    """Compute activation, logit-weight and attribution correlations of the matched pairs."""
    a, b, calibration = study.pair(study.widths[-1])
    frame = pd.DataFrame(
        {"row": calibration.match.rows, "col": calibration.match.cols, "activation": calibration.held_out}
    )
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
    """Compute a measure of a table's rows, with its bootstrap over the rows."""
    if frame.empty:
        return Estimate(*[float("nan")] * 3)
    rng = np.random.default_rng(0)
    draws = [measure(frame.iloc[rng.integers(len(frame), size=len(frame))]) for _ in range(DRAWS)]
    return of_draws(float(measure(frame)), np.array(draws))
