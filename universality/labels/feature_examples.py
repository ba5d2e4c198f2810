"""Examples of features that explain them, and others that score the explanations, from one pass over a store.

Bricken et al. 2023, *Towards Monosemanticity*, show an explainer 49 examples: 10 of the top interval of activation, 2
from each of 12 others, 5 random ones and 10 in which the feature's top tokens occur in other contexts. An explanation
is scored on 60: 6, 2 from each of 12, 10 and 20.

- An example is a token with a few tokens around it, in one block. No two examples of a half overlap, and no two have
  the same tokens.
- The half of the documents that chooses partners explains, and the half that reports scores (see
  `universality.corpus.splits`). All that scoring takes from the other half is the list of the feature's top tokens.
- The range from 0 to the feature's strongest activation in the half is cut into 13 intervals of equal width. The top
  examples are the strongest ones; where the top interval has too few, they reach into those below.
- An example of an interval is centred on its strongest token, whose activation is in the interval.
- A feature with too few firings gets fewer examples, never the same one twice; `Excerpts.rows` tells which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from universality.arrays import BoolArray, IntArray
from universality.corpus.splits import CHOOSE, REPORT
from universality.corpus.units import independent_units
from universality.errors import MismatchError, UniversalityError
from universality.features.examples import NO_TOKEN, rows_around
from universality.features.storage.selected import read_features
from universality.features.storage.store import FeatureStore
from universality.features.top_tokens import heaviest_tokens
from universality.labels.label_settings import LabelSettings

TOP, INTERVAL, RANDOM, OTHER = range(4)
"""Groups of examples: strongest, from the intervals below, random, and top tokens in other contexts."""
_TRIES = 6  # candidates drawn for each example that is wanted, of which some overlap with others
_LEVELS = 9


@dataclass(frozen=True, eq=False)
class Excerpts:
    """Examples of one feature from one half of the documents; arrays have n_excerpts rows.

    Parameters
    ----------
    row
        int64 [n], rows of the store.
    group
        uint8 [n], ``TOP``, ``INTERVAL``, ``RANDOM`` or ``OTHER``.
    token
        int32 [n, width], tokens around each row; ``NO_TOKEN`` outside the block.
    activation
        float32 [n, width], positive part of the feature's activations there; NaN where there is no token.
    document
        int32 [n], document of each row.
    work
        int32 [n], independent unit of each document (`universality.corpus.units`): intervals resample these.
    """

    row: IntArray
    group: npt.NDArray[np.uint8]
    token: npt.NDArray[np.int32]
    activation: npt.NDArray[np.float32]
    document: npt.NDArray[np.int32]
    work: npt.NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.row)

    @property
    def exists(self) -> BoolArray:
        """bool [n, width], where there is a token."""
        return self.token != NO_TOKEN

    @property
    def fires(self) -> BoolArray:
        """bool [n, width], where the feature fires."""
        return np.asarray(self.activation > 0)  # False for NaN

    @property
    def active(self) -> BoolArray:
        """bool [n], whether the feature fires anywhere in the excerpt."""
        return np.asarray(self.fires.any(axis=1))

    def rows(self) -> dict[str, tuple[int, ...]]:
        """Rows of the store by the name of the group."""
        return {name: tuple(self.row[self.group == code].tolist()) for code, name in enumerate(GROUPS)}


GROUPS = ("top", "interval", "random", "other")
"""Names of the groups, by code."""


@dataclass(frozen=True, eq=False)
class FeatureExamples:
    """Examples of one feature.

    Parameters
    ----------
    feature
        Index in the store.
    explain, score
        Excerpts of the two halves; empty where the feature is silent in the half.
    maximum
        The strongest activation in the half that explains; 0 if silent.
    top_tokens
        int64 [<= settings.top_tokens], tokens that hold most of the activation in the half that explains; in the other
        half where the feature is silent there.
    density
        Share of the store's tokens on which the feature fires.
    expected
        float32 [n_scoring, width], the mean activation of each scored token's type in the half that explains: a
        prediction from the token alone. 0 for types that do not occur there; NaN where there is no token.
    """

    feature: int
    explain: Excerpts
    score: Excerpts
    maximum: float
    top_tokens: IntArray
    density: float
    expected: npt.NDArray[np.float32]


def quantised(activation: npt.NDArray[np.float32], maximum: float) -> npt.NDArray[np.int64]:
    """Quantise activations to 0 … 9: 0 where silent, else the ninth of the range up to ``maximum`` that holds it.

    Examples
    --------
    >>> quantised(np.array([0.0, 0.01, 4.5, 9.0, 12.0], np.float32), maximum=9.0).tolist()
    [0, 1, 5, 9, 9]
    """
    positive = np.nan_to_num(np.maximum(activation, 0))
    if not maximum > 0:
        return np.zeros(positive.shape, np.int64)
    return np.minimum(np.ceil(positive.astype(np.float64) * _LEVELS / maximum), _LEVELS).astype(np.int64)


def find_examples(
    store: FeatureStore, features: Iterable[int] | None = None, settings: LabelSettings | None = None
) -> Iterator[FeatureExamples]:
    """Find the examples of features, one feature at a time, in one pass over the store.

    Memory is about 50 bytes a token of the store, whatever the number of features.

    Parameters
    ----------
    store
        An open store with both evaluation halves. Where its rows are segments of text that several tokenizers share, an
        example has a few segments.
    features
        Indices; all by default. They are visited in rising order.
    settings
        Numbers of examples and tokens.

    Yields
    ------
    FeatureExamples
        Those of a feature depend on the store and the settings alone, not on the other features.

    Raises
    ------
    UniversalityError
        If a feature does not exist.
    MismatchError
        If the store lacks a half.
    """
    settings = settings or LabelSettings()
    wanted = _checked_features(store, features)
    finder = _Finder(store, settings)
    for feature, rows, values in read_features(store, wanted):
        yield finder.find(feature, rows, values)


def check_halves(explained: FeatureStore, scored: FeatureStore) -> None:
    """Refuse two stores if a document that explains features of one scores features of the other.

    Parameters
    ----------
    explained, scored
        Store whose features are explained, and store on whose features the explanations are scored.

    Raises
    ------
    MismatchError
        If a document is in the half that chooses in the first and in the half that reports in the second.
    """
    explaining, scoring = (
        {name for name, half in zip(store.documents.id, store.documents.split, strict=True) if half == split}
        for store, split in ((explained, CHOOSE), (scored, REPORT))
    )
    if shared := explaining & scoring:
        raise MismatchError(
            f"{explained.path} and {scored.path}: {len(shared)} documents, {min(shared)!r} among them, would explain "
            "features of the first and score the second; collect both stores from one corpus with one split"
        )


def _checked_features(store: FeatureStore, features: Iterable[int] | None) -> IntArray:
    if features is None:
        return np.arange(store.n_features, dtype=np.int64)
    wanted = np.unique(np.asarray(list(features)))
    if not wanted.size or not np.issubdtype(wanted.dtype, np.integer):
        raise UniversalityError(f"{store.path.name}: expected indices of features, found {wanted.tolist()}")
    if wanted[0] < 0 or wanted[-1] >= store.n_features:
        raise UniversalityError(
            f"{store.path.name}: features from 0 to {store.n_features - 1} exist, found {wanted[0]} to {wanted[-1]}"
        )
    return wanted.astype(np.int64)


class _Half:
    """The rows of one half of the documents, and where each token type occurs in it."""

    def __init__(self, store: FeatureStore, split: str) -> None:
        tokens = store.tokens
        of_split = np.asarray(store.documents.split, dtype=np.str_) == split
        self.inside = of_split[tokens.document]
        rows = np.flatnonzero(self.inside)
        if not rows.size:
            raise MismatchError(
                f"{store.path}: expected documents of the split {split!r}, found none; explanations are made on one "
                "half of the evaluation documents and scored on the other, so write the store from both"
            )
        self.rows: npt.NDArray[np.integer] = rows.astype(np.int32)  # a store numbers its tokens in 32 bits
        token = tokens.token[rows]
        self.by_token = self.rows[np.argsort(token, kind="stable")]
        self.n_of_token = np.bincount(token, minlength=int(tokens.token.max()) + 1)
        self.first_of_token = np.cumsum(self.n_of_token) - self.n_of_token


class _Finder:
    """Finds examples of one feature after another; holds what they share."""

    def __init__(self, store: FeatureStore, settings: LabelSettings) -> None:
        tokens = store.tokens
        self.settings, self.n_tokens = settings, store.n_tokens
        self.token, self.document = np.asarray(tokens.token), np.asarray(tokens.document)
        self.block = tokens.block
        self.work = independent_units(store.documents).code.astype(np.int32)
        self.explain, self.score = _Half(store, CHOOSE), _Half(store, REPORT)
        self.offsets = np.arange(-settings.before, settings.after + 1)
        self.activation = np.zeros(store.n_tokens, np.float32)  # of one feature; set and cleared by `find`

    def find(self, feature: int, rows: npt.NDArray[np.int32], values: npt.NDArray[np.float32]) -> FeatureExamples:
        """Find the examples of a feature that fires with ``values`` on ``rows``."""
        s, positive = self.settings, values > 0
        rows, values = rows[positive], values[positive]
        self.activation[rows] = values
        chosen = self.explain.inside[rows]
        known = chosen if chosen.any() else slice(None)
        top = heaviest_tokens(self.token[rows[known]], values[known], s.top_tokens)
        numbers = ((s.explain_top, s.explain_random, s.explain_other), (s.score_top, s.score_random, s.score_other))
        explain, score = (
            _Draw(self, half, np.random.default_rng([s.seed, feature, code])).excerpts(
                rows[inside], values[inside], top, *numbers[code]
            )
            for code, (half, inside) in enumerate(((self.explain, chosen), (self.score, self.score.inside[rows])))
        )
        expected = self._expected(rows[chosen], values[chosen], score.token)
        self.activation[rows] = 0
        maximum = float(values[chosen].max(initial=0))
        return FeatureExamples(feature, explain, score, maximum, top, len(rows) / max(1, self.n_tokens), expected)

    def _expected(
        self, rows: npt.NDArray[np.int32], values: npt.NDArray[np.float32], token: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.float32]:
        """Mean activation of each token's type in the half that explains; its rows and values are given."""
        sums = np.bincount(self.token[rows], values, self.explain.n_of_token.size)
        mean = sums[token] / np.maximum(self.explain.n_of_token[token], 1)
        return np.where(token == NO_TOKEN, np.nan, mean).astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Pool:
    """Candidates [n_candidates] for ``n`` excerpts of a group, in the order in which they are tried."""

    group: int
    n: int
    rows: npt.NDArray[np.integer]


class _Draw:
    """Draws the excerpts of one feature from one half."""

    def __init__(self, finder: _Finder, half: _Half, rng: np.random.Generator) -> None:
        self.finder, self.half, self.rng = finder, half, rng

    def excerpts(
        self,
        rows: npt.NDArray[np.int32],
        values: npt.NDArray[np.float32],
        top_tokens: IntArray,
        n_top: int,
        n_random: int,
        n_other: int,
    ) -> Excerpts:
        """Draw all groups; rows are those of the half on which the feature fires. Empty if there are none."""
        pools = []
        if rows.size:
            pools = [
                _Pool(TOP, n_top, self._strongest(rows, values, n_top)),
                *self._intervals(rows, values),
                _Pool(OTHER, n_other, self._occurrences(top_tokens, _TRIES * n_other)),
                _Pool(RANDOM, n_random, self.half.rows[self._below(len(self.half.rows), _TRIES * n_random)]),
            ]
        return self._chosen(pools)

    def _strongest(self, rows: npt.NDArray[np.int32], values: npt.NDArray[np.float32], n: int) -> IntArray:
        """Rows of the strongest firings, strongest first, with room for those that overlap with others."""
        n_candidates = n * _TRIES * self.finder.settings.width
        if len(values) > n_candidates:
            near = np.argpartition(-values, n_candidates)[:n_candidates]
            rows, values = rows[near], values[near]
        return rows[np.lexsort((rows, -values))].astype(np.int64)

    def _intervals(self, rows: npt.NDArray[np.int32], values: npt.NDArray[np.float32]) -> Iterator[_Pool]:
        """Random firings of each interval below the top one, the strongest interval first."""
        n, wanted = self.finder.settings.n_intervals, self.finder.settings.per_interval
        # of equal width, closed above; a byte is sorted by radix
        interval = np.ceil(values * (np.float32(n + 1) / values.max())).astype(np.uint8 if n < 255 else np.int64)
        order: IntArray = np.argsort(interval, kind="stable")
        ends = np.cumsum(np.bincount(interval, minlength=n + 2))
        for k in range(n, 0, -1):
            first, last = int(ends[k - 1]), int(ends[k])
            some: IntArray = order[first + self._below(last - first, 2 * _TRIES * wanted)]
            yield _Pool(INTERVAL, wanted, rows[some])

    def _occurrences(self, tokens: IntArray, n: int) -> npt.NDArray[np.signedinteger]:
        """Draw n occurrences of some tokens in the half; each token that occurs is as likely as any other."""
        tokens = tokens[self.half.n_of_token[tokens] > 0]
        if not tokens.size:
            return np.zeros(0, np.int64)
        token = tokens[self.rng.integers(0, len(tokens), n)]
        place = (self.rng.random(n) * self.half.n_of_token[token]).astype(np.int64)
        return self.half.by_token[self.half.first_of_token[token] + place]

    def _below(self, n: int, wanted: int) -> IntArray:
        """Numbers below n in random order: all of them, or as many as are wanted, in which case some may repeat."""
        return self.rng.permutation(n) if n <= 2 * wanted else self.rng.integers(0, n, wanted)

    def _chosen(self, pools: list[_Pool]) -> Excerpts:
        """Choose from each pool the first candidates that fit."""
        finder = self.finder
        rows = np.concatenate([np.zeros(0, np.int64), *(pool.rows for pool in pools)])
        around = rows_around(finder.block, rows, finder.offsets)
        token = np.where(around >= 0, finder.token[around], NO_TOKEN).astype(np.int32)
        activation = np.where(around >= 0, finder.activation[around], np.float32(np.nan))
        strongest = np.fmax.reduce(activation, axis=1) if rows.size else np.zeros(0)
        is_peak, is_silent = activation[:, finder.settings.before] >= strongest, strongest == 0
        chosen: list[int] = []
        groups: list[int] = []
        accepts, start = self._new_windows(rows, token), 0
        for pool in pools:
            fits = {OTHER: is_silent, RANDOM: np.ones(rows.size, bool)}.get(pool.group, is_peak)
            candidates = start + np.flatnonzero(fits[start : start + len(pool.rows)])
            taken = list(islice(filter(accepts, candidates.tolist()), pool.n))
            chosen += taken
            groups += [pool.group] * len(taken)
            start += len(pool.rows)
        row = rows[chosen]
        document = finder.document[row]
        return Excerpts(
            row, np.asarray(groups, np.uint8), token[chosen], activation[chosen], document, finder.work[document]
        )

    def _new_windows(self, rows: IntArray, token: npt.NDArray[np.int32]) -> Callable[[int], bool]:
        """Return a function that accepts a candidate unless it overlaps with, or equals, an accepted one."""
        covered: set[int] = set()  # rows too near to an accepted one
        contents: set[bytes] = set()
        width = self.finder.settings.width

        def accept(candidate: int) -> bool:
            row, content = int(rows[candidate]), token[candidate].tobytes()
            if row in covered or content in contents:
                return False
            covered.update(range(row - width + 1, row + width))
            contents.add(content)
            return True

        return accept
