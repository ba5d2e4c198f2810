"""Compare two SAEs once: by activations on held-out documents and, within one model, by weights."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from laboratory import Laboratory, Wanted

from universality import FeatureStore, Similarity, match
from universality.files import replacing
from universality.statistics import evaluation_halves, held_out_scores, shared_by_weights

DRAWS = 200
MIN_FIRINGS = 10
"""Firings on each half that both features of a pair need for a held-out score."""


@dataclass(frozen=True, eq=False)
class Compared:
    """Result of `compare`: one entry per living feature of the first SAE; NaN without a partner.

    Attributes
    ----------
    firings
        Number of firings on all stored tokens.
    r
        Held-out Pearson correlation with the one-to-one partner that was chosen on the other half of the documents.
    decoder, encoder
        Cosines with the one-to-one partners by decoder rows and by encoder rows; NaN across models.
    shared
        Paulo & Belrose's criterion at 0.7, 0 or 1; NaN across models.
    draws
        [n_draws] means of r with the documents of the reporting half resampled.
    alive
        [2] number of living features of the two SAEs.
    """

    firings: npt.NDArray[np.float64]
    r: npt.NDArray[np.float64]
    decoder: npt.NDArray[np.float64]
    encoder: npt.NDArray[np.float64]
    shared: npt.NDArray[np.float64]
    draws: npt.NDArray[np.float64]
    alive: npt.NDArray[np.float64]

    @property
    def pw_mcc(self) -> float:
        """Signed PW-MCC of Song et al.: mean cosine of the decoder's one-to-one pairs."""
        return float(np.nanmean(self.decoder))


def compare(lab: Laboratory, a: Wanted, b: Wanted) -> Compared:
    """Compare two SAEs of a laboratory, or read the stored comparison."""
    path = lab.root / "pairs" / f"{a.name}--{b.name}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with lab.store(a) as first, lab.store(b) as second:
            comparison = measure(first, second, by_weights=a.model == b.model)
        with replacing(path) as partial:
            _write(partial, comparison)
    with np.load(path) as arrays:
        return Compared(**arrays)


def measure(a: FeatureStore, b: FeatureStore, by_weights: bool) -> Compared:
    """Compare two stores of the same tokens."""
    living = np.flatnonzero(a.alive)
    r, draws = _activation(a, b)
    missing = np.full(living.size, np.nan)
    decoder = encoder = shared = missing
    if by_weights:
        weights = shared_by_weights(a, b)
        decoder, encoder = (weights[f"{name}_cosine"].to_numpy() for name in ("decoder", "encoder"))
        shared = weights["shared"].to_numpy(dtype=np.float64)
    firings = a.moments().count[living].astype(np.float64)
    alive = np.array([living.size, b.alive.sum()], dtype=np.float64)
    return Compared(firings, r[living], decoder, encoder, shared, draws, alive)


def _activation(a: FeatureStore, b: FeatureStore) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the held-out r of every feature of ``a``, and its mean under resampled documents."""
    halves = evaluation_halves(a)
    whole = Similarity.activation(a, b)
    choose, report = whole.restrict(halves.choose), whole.restrict(halves.report)
    pairs = match(choose)
    counts = choose.counts
    assert counts is not None
    often = np.minimum(counts[0][pairs.rows], counts[1][pairs.cols]) >= MIN_FIRINGS
    scores = np.where(often, held_out_scores(report, pairs.rows, pairs.cols, MIN_FIRINGS), np.nan)
    r = np.full(a.n_features, np.nan)
    r[pairs.rows] = scores
    is_scored = ~np.isnan(scores)
    moments = report.pairs(pairs.rows[is_scored], pairs.cols[is_scored], by="group")
    n = len(moments.groups)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    return r, np.nanmean(moments.pearson(weights), axis=1)


def _write(path: Path, comparison: Compared) -> None:
    with path.open("wb") as file:  # savez would add .npz to another name
        np.savez(file, **vars(comparison))
