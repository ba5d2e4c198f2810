r"""Scores of explanations: what a scorer predicted from an explanation against what the feature did.

- *simulation*: Pearson's r of predicted levels and true activations over the tokens of the scored excerpts; beside it
  r over the strongest and random excerpts, and over the random ones alone (Bricken et al. 2023).
- *detection* and *fuzzing*: balanced accuracy, see `universality.labels.accuracy`.

A prediction that is missing is left out and counted. Where fewer than ``settings.min_answered`` of them are there, the
score is NaN. A simulation without variance predicts nothing: its r counts as 0.

Intervals resample works of text, since excerpts of a work are not independent. Those of r are the studentised bootstrap
of `universality.statistics.bootstrap`, NaN where works are too few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, FloatArray, IntArray
from universality.labels.accuracy import balanced_accuracy
from universality.labels.feature_examples import RANDOM, TOP, Excerpts, FeatureExamples
from universality.labels.judging_excerpts import fuzzing_marks
from universality.labels.label_settings import LabelSettings
from universality.labels.predictions import Predictions
from universality.similarity.engine.group_sums import RELATIVE_ZERO, GroupMoments
from universality.statistics.bootstrap import intervals_from_sums

EXPLANATION, SHUFFLED, TOKEN_TABLE = "explanation", "shuffled", "token table"
"""Predictors: the explanation, its own predictions shuffled, and the mean activation of each token type."""
SIMULATIONS = ("simulation", "simulation, top and random", "simulation, random")
"""Names of the three correlations."""


def is_correlation(name: str) -> bool:
    """Return whether a score is a correlation, of which chance gives 0; chance gives a balanced accuracy of 0.5."""
    return name in SIMULATIONS


@dataclass(frozen=True)
class Score:
    """One score of one predictor of a feature.

    Parameters
    ----------
    name
        ``"simulation"``, ``"simulation, top and random"``, ``"simulation, random"``, ``"detection"``, ``"fuzzing"`` or
        ``"logit tokens"``.
    by
        Predictor: ``"explanation"``; the floors ``"random explanation"``, ``"equal density"`` and ``"shuffled"``; the
        baselines ``"top tokens"`` and ``"token table"``.
    value
        Correlation or balanced accuracy; NaN where it cannot be told. For ``"shuffled"`` the mean over shuffles.
    low, high
        Interval; NaN where there is none. For ``"shuffled"`` quantiles over shuffles.
    n
        Predictions that the score uses: tokens for correlations, excerpts otherwise.
    missing
        Predictions that were asked for and not given.
    """

    name: str
    by: str
    value: float
    low: float
    high: float
    n: int
    missing: int = 0


def score(
    examples: FeatureExamples, predictions: Mapping[str, Predictions], settings: LabelSettings
) -> tuple[Score, ...]:
    """Score predictors of a feature, with the floors and baselines that need no model.

    Parameters
    ----------
    examples
        Examples of the feature.
    predictions
        Predictions by their origin, such as ``"explanation"`` and ``"random explanation"``.
    settings
        Settings with which the examples were found.

    Returns
    -------
    tuple of Score
        Empty if the feature is silent in the half that reports.
    """
    if not len(examples.score):
        return ()
    scores: list[Score] = []
    if "simulation" in settings.scores:
        scores += _simulation_scores(examples, predictions, settings)
    known = np.isin(examples.score.token, examples.top_tokens) & examples.score.exists
    if "detection" in settings.scores:
        guesses = {by: one.detection for by, one in predictions.items()}
        guesses[TOKEN_TABLE] = known.any(axis=1).astype(float)
        scores += _accuracies("detection", guesses, examples.score.active, examples.score.work, settings)
    if "fuzzing" in settings.scores:
        excerpt, marks, right = fuzzing_marks(examples, settings)
        guesses = {by: one.fuzzing for by, one in predictions.items()}
        guesses[TOKEN_TABLE] = (known[excerpt] & marks).any(axis=1).astype(float)
        scores += _accuracies("fuzzing", guesses, right, examples.score.work[excerpt], settings)
    return tuple(scores)


def _simulation_scores(
    examples: FeatureExamples, predictions: Mapping[str, Predictions], settings: LabelSettings
) -> Iterator[Score]:
    simulated: dict[str, npt.NDArray[np.floating]] = {by: one.simulation for by, one in predictions.items()}
    simulated[TOKEN_TABLE] = examples.expected
    excerpts = examples.score
    is_random = excerpts.group == RANDOM
    subsets = (np.ones(len(excerpts), bool), is_random | (excerpts.group == TOP), is_random)
    pairs = [(by, predicted, subset) for by, predicted in simulated.items() for subset in subsets]
    values, low, high, n = correlations(excerpts, [(p, subset) for _, p, subset in pairs], settings)
    for k, (by, _, subset) in enumerate(pairs):
        wanted = int(excerpts.exists[subset].sum())
        enough = n[k] > 0 and n[k] >= settings.min_answered * wanted
        bounds = (float(low[k]), float(high[k])) if enough else (float("nan"),) * 2
        value = float(values[k]) if enough else float("nan")
        yield Score(SIMULATIONS[k % 3], by, value, *bounds, int(n[k]), wanted - int(n[k]))
    if EXPLANATION in simulated:
        for name, subset in zip(SIMULATIONS, subsets, strict=True):
            yield _shuffled(name, excerpts, simulated[EXPLANATION], subset, examples.feature, settings)


def correlations(
    excerpts: Excerpts, pairs: Sequence[tuple[npt.NDArray[np.floating], BoolArray]], settings: LabelSettings
) -> tuple[FloatArray, FloatArray, FloatArray, IntArray]:
    """Correlate predictions with a feature's activations, each over the tokens that have a prediction.

    Parameters
    ----------
    excerpts
        Excerpts with the true activations.
    pairs
        Predictions [n_excerpts, width], NaN where missing, and the excerpts [n_excerpts] to use.
    settings
        Number of draws, level and seed.

    Returns
    -------
    r, low, high : float64 [n_pairs]
        r is 0 where the predictions do not vary, and NaN where the activations do not.
    n : int64 [n_pairs]
        Tokens.
    """
    work = np.unique(excerpts.work, return_inverse=True)[1]
    sums = np.zeros((6, int(work.max(initial=-1)) + 1, len(pairs)))
    truth = excerpts.activation.astype(np.float64)
    for k, (predicted, subset) in enumerate(pairs):
        used = subset[:, None] & excerpts.exists & ~np.isnan(predicted)
        a, b = np.where(used, predicted, 0.0).astype(np.float64), np.where(used, truth, 0.0)
        for i, part in enumerate((used, a, b, a * a, b * b, a * b)):
            sums[i, :, k] = np.bincount(work, part.sum(axis=1), sums.shape[1])
    zero = np.zeros(len(pairs))
    n, a, b, aa, bb, ab = sums
    moments = GroupMoments(tuple(str(i) for i in range(len(n))), n, a, b, aa, bb, ab, zero, zero)
    r = moments.pearson()
    low, high = intervals_from_sums(moments, settings.draws, settings.seed, settings.level)
    n, a, b, aa, bb, _ = sums.sum(axis=1)
    r = np.where(~_varies(n, a, aa) & _varies(n, b, bb), 0.0, r)
    # bounds of r = 1 end a rounding below it
    return r, np.minimum(low, r), np.maximum(high, r), n.astype(np.int64)


def _varies(n: FloatArray, total: FloatArray, squares: FloatArray) -> BoolArray:
    """Flag variables [n_pairs] that are not constant, by their sums; a small difference of sums is rounding."""
    return np.asarray(n * squares - total * total > RELATIVE_ZERO * n * squares)


def _shuffled(
    name: str,
    excerpts: Excerpts,
    predicted: npt.NDArray[np.floating],
    subset: BoolArray,
    feature: int,
    settings: LabelSettings,
) -> Score:
    """Correlate predictions that are shuffled over all tokens of the excerpts."""
    used = subset[:, None] & excerpts.exists & ~np.isnan(predicted)
    a, b = predicted[used].astype(np.float64), excerpts.activation[used].astype(np.float64)
    wanted = int(excerpts.exists[subset].sum())
    nothing = Score(name, SHUFFLED, float("nan"), float("nan"), float("nan"), a.size, wanted - a.size)
    if a.size < 2 or a.size < settings.min_answered * wanted or b.std() == 0:
        return nothing
    rng = np.random.default_rng([settings.seed, feature, 4])
    orders = rng.permuted(np.tile(a, (settings.shuffles, 1)), axis=1)
    spread = a.std() * b.std() * a.size
    r = (orders - a.mean()) @ (b - b.mean()) / spread if a.std() > 0 else np.zeros(settings.shuffles)
    outside = (1 - settings.level) / 2
    low, high = np.quantile(r, [outside, 1 - outside])
    return Score(name, SHUFFLED, float(r.mean()), float(low), float(high), a.size, wanted - a.size)


def _accuracies(
    name: str,
    guesses: Mapping[str, FloatArray],
    truth: BoolArray,
    work: npt.NDArray[np.integer],
    settings: LabelSettings,
) -> Iterator[Score]:
    for by, guess in guesses.items():
        value, low, high = balanced_accuracy(guess, truth, work, settings.level)
        n = int((~np.isnan(guess)).sum())
        if n < settings.min_answered * len(guess):
            value = low = high = float("nan")
        yield Score(name, by, value, low, high, n, len(guess) - n)
