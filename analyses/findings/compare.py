"""Two SAEs put side by side once: by activations on held-out documents and, within one model, by weights."""

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
"""On each half, of both features of a pair, for a held-out score."""


@dataclass(frozen=True, eq=False)
class Compared:
    """What `compare` finds, an entry a living feature of the first SAE; NaN where it has no partner.

    Attributes
    ----------
    firings
        On all stored tokens.
    r
        Held-out Pearson correlation with the one-to-one partner that was chosen on the other half of the documents.
    decoder, encoder
        Cosines with the one-to-one partners by decoder rows and by encoder rows; NaN across models.
    shared
        Paulo & Belrose's criterion at 0.7, 0 or 1; NaN across models.
    draws
        [n_draws] mean of r with the documents of the reporting half resampled.
    alive
        [2] living features of the two.
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
        """Song et al.'s measure, signed: mean cosine of the decoder's one-to-one pairs."""
        return float(np.nanmean(self.decoder))


def compare(lab: Laboratory, a: Wanted, b: Wanted) -> Compared:
    """Compare two SAEs of a laboratory, or read what was found before."""
    path = lab.root / "pairs" / f"{a.name}--{b.name}.npz"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with lab.store(a) as first, lab.store(b) as second:
            found = measure(first, second, by_weights=a.model == b.model)
        with replacing(path) as partial:
            _write(partial, found)
    with np.load(path) as arrays:
        return Compared(**arrays)


def measure(a: FeatureStore, b: FeatureStore, by_weights: bool) -> Compared:
    """Compare two stores of the same tokens."""
    living = np.flatnonzero(a.alive)
    r, draws = _activation(a, b)
    unknown = np.full(living.size, np.nan)
    decoder = encoder = shared = unknown
    if by_weights:
        weights = shared_by_weights(a, b)
        decoder, encoder = (weights[f"{name}_cosine"].to_numpy() for name in ("decoder", "encoder"))
        shared = weights["shared"].to_numpy(dtype=np.float64)
    firings = a.moments().count[living].astype(np.float64)
    alive = np.array([living.size, b.alive.sum()], dtype=np.float64)
    return Compared(firings, r[living], decoder, encoder, shared, draws, alive)


def _activation(a: FeatureStore, b: FeatureStore) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Held-out r of every feature of a, and the mean of them under resampled documents."""
    halves = evaluation_halves(a)
    whole = Similarity.activation(a, b)
    choose, report = whole.restrict(halves.choose), whole.restrict(halves.report)
    found = match(choose)
    counts = choose.counts
    assert counts is not None
    often = np.minimum(counts[0][found.rows], counts[1][found.cols]) >= MIN_FIRINGS
    scores = np.where(often, held_out_scores(report, found.rows, found.cols, MIN_FIRINGS), np.nan)
    r = np.full(a.n_features, np.nan)
    r[found.rows] = scores
    known = ~np.isnan(scores)
    moments = report.pairs(found.rows[known], found.cols[known], by="group")
    n = len(moments.groups)
    weights = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=DRAWS).astype(np.float64)
    return r, np.nanmean(moments.pearson(weights), axis=1)


def _write(path: Path, found: Compared) -> None:
    with path.open("wb") as file:  # savez would add .npz to another name
        np.savez(file, **vars(found))
