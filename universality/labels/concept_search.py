"""Shortlists of features for published concepts, the features of their nulls, and the scores of both in one model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import numpy as np
import numpy.typing as npt
from annotated_types import Ge, Gt, Lt

from universality.arrays import FloatArray, IntArray
from universality.checked_settings import CheckedSettings, Count, Natural
from universality.errors import ConfigError, MismatchError, UniversalityError
from universality.features.examples import Decode
from universality.features.storage.store import FeatureStore
from universality.labels.chat import Answer, ChatModel, Prompt
from universality.labels.concept_lists import Concept
from universality.labels.excerpt_text import TokenText
from universality.labels.feature_examples import FeatureExamples, find_examples
from universality.labels.keyed_answers import Ask, keyed_answers
from universality.labels.label_file import FeatureLabel, Labels
from universality.labels.label_settings import LabelSettings, Method
from universality.labels.predictions import ScoringPrompt, read_predictions, scoring_prompts
from universality.labels.scoring import EXPLANATION, score
from universality.labels.text_similarity import word_cosines
from universality.labels.token_counts import TokenCount, count_tokens

_SAMPLED = 20
"""Features from whose prompts the number of tokens is estimated."""
_KEPT_OUT = 4
"""Features that the null leaves out, in multiples of the shortlist: those that resemble the concept next."""
Embed: TypeAlias = Callable[[Sequence[str]], npt.ArrayLike]
"""Function from n texts to n vectors, such as a server's embeddings."""


@dataclass(frozen=True)
class LiteratureSettings(CheckedSettings):
    """Settings of the search for published concepts.

    Examples
    --------
    >>> LiteratureSettings(shortlist=3).replicates
    20
    """

    method: Method = "detection"
    """The score by which the scorer judges a description."""
    shortlist: Count = 5
    """Features that are scored for a concept, at most."""
    replicates: Annotated[int, Ge(3)] = 20
    """Draws of the null for each concept; fewer than 19 cannot give a p of 0.05, and are refused."""
    level: Annotated[float, Gt(0), Lt(1)] = 0.05
    """Largest q, and largest p from the concept's own null, of a concept that counts as found."""
    seed: Natural = 0
    """Seed of the null's features."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = math.ceil(1 / self.level - 1e-9) - 1
        if self.replicates < least:
            raise ConfigError(
                f"replicates: {self.replicates} draws cannot give a p of {self.level:g}; expected at least {least}"
            )


@dataclass(frozen=True)
class LabelledModel:
    """Features of one model with their labels.

    Parameters
    ----------
    store
        An open store.
    labels
        Labels of its features.
    decode
        Function from token ids to one string each.
    """

    store: FeatureStore
    labels: Labels
    decode: Decode


@dataclass(frozen=True, eq=False)
class Shortlist:
    """Features that may be of a concept, and those of its null.

    Parameters
    ----------
    features
        int64 [n], the most similar first; empty if no label resembles the concept.
    similarity
        float64 [n], of their labels to the concept.
    null
        int64 [n_replicates, n], features of each draw, of the density of ``features`` as far as there are such.
    density_ratio
        Largest factor between the densities of a null feature and of the one that it stands for.
    """

    features: IntArray
    similarity: FloatArray
    null: IntArray
    density_ratio: float


@dataclass(frozen=True, eq=False)
class ConceptScores:
    """Scores of one concept's description in one model.

    Parameters
    ----------
    shortlist
        The features.
    scores
        Feature → score of the description on it; features without a score are missing.
    answers
        What became of the scorer's answers → their number.
    """

    shortlist: Shortlist
    scores: dict[int, float] = field(default_factory=dict)
    answers: Counter[str] = field(default_factory=Counter)

    @property
    def best(self) -> int | None:
        """Feature of the shortlist with the best score; None if none has one."""
        known = [feature for feature in self.shortlist.features.tolist() if feature in self.scores]
        return max(known, key=self.scores.__getitem__, default=None)

    @property
    def null(self) -> list[float]:
        """Best score of each draw of the null; NaN where the draw has fewer scores than the shortlist."""
        least = max(1, len(self._known(self.shortlist.features)))
        draws = map(self._known, self.shortlist.null)
        return [max(known) if len(known) >= least else float("nan") for known in draws]

    def _known(self, features: IntArray) -> list[float]:
        return [self.scores[feature] for feature in features.tolist() if feature in self.scores]


def find_shortlists(
    concepts: Sequence[Concept], name: str, model: LabelledModel, settings: LiteratureSettings, embed: Embed | None
) -> list[Shortlist]:
    """Choose the features on which each concept's description is scored.

    Parameters
    ----------
    concepts
        The concepts.
    name, model
        Name of the model for messages; its labelled features.
    settings
        Sizes, and the seed.
    embed
        Function from texts to vectors; None compares words.

    Raises
    ------
    MismatchError
        If the labels are of another store.
    UniversalityError
        If too few features are labelled, or ``embed`` gives something else than vectors.
    """
    check_labelled(name, model, settings)
    labelled = _labelled(model)
    similarity = _similarities(concepts, labelled, embed)
    rngs = (np.random.default_rng([settings.seed, i, 7]) for i in range(len(concepts)))
    return [_shortlist(row, labelled, settings, rng) for row, rng in zip(similarity, rngs, strict=True)]


def _shortlist(
    similarity: FloatArray, labelled: Sequence[FeatureLabel], settings: LiteratureSettings, rng: np.random.Generator
) -> Shortlist:
    order = np.argsort(-similarity, kind="stable")
    n, n_null = settings.shortlist, settings.shortlist * settings.replicates
    chosen, others = order[:n], order[n + min(_KEPT_OUT * n, len(order) - n - n_null) :]
    chosen = chosen[similarity[chosen] > 0]
    if not chosen.size:
        nothing = np.zeros(0, np.int64)
        return Shortlist(nothing, np.zeros(0), np.zeros((settings.replicates, 0), np.int64), float("nan"))
    density = np.log([max(one.density, 1e-12) for one in labelled])
    null = _like(density, chosen, others, settings.replicates, rng)
    ratio = float(np.exp(np.abs(density[null] - density[chosen]).max()))
    feature = np.asarray([one.feature for one in labelled])
    return Shortlist(feature[chosen], similarity[chosen], feature[null], ratio)


def expected_scoring(
    concepts: Sequence[Concept], model: LabelledModel, settings: LiteratureSettings, scoring: LabelSettings
) -> TokenCount:
    """Estimate the tokens of scoring every concept on its shortlist and its null, from some features and concepts.

    An upper bound: a concept that resembles no label is not scored, and the null of a short shortlist is smaller.

    Parameters
    ----------
    concepts, model, settings
        Concepts, labelled features, and the sizes of shortlists and nulls.
    scoring
        Numbers of examples, and one method.
    """
    labelled = [one.feature for one in _labelled(model)]
    rng, text = np.random.default_rng(0), TokenText(model.decode)
    sampled = np.sort(rng.permutation(labelled)[:_SAMPLED]).tolist()
    prompts = [
        asked.prompt
        for one in (find_examples(model.store, sampled, scoring) if sampled else ())
        for asked in scoring_prompts(one, concepts[int(rng.integers(len(concepts)))].description, text, scoring)
    ]
    n_scored = len(concepts) * settings.shortlist * (1 + settings.replicates)
    return count_tokens(prompts, n_scored / max(1, len(sampled)))


def _labelled(model: LabelledModel) -> list[FeatureLabel]:
    """List the labels that have an explanation, and examples to score it."""
    return [one for one in model.labels.labels.values() if one.explanation and any(one.score_rows.values())]


def check_labelled(name: str, model: LabelledModel, settings: LiteratureSettings) -> None:
    """Refuse labels of another store, and too few of them for a null; ``name`` is for the message.

    Raises
    ------
    MismatchError
        If the labels are of another store.
    UniversalityError
        If too few features are labelled.
    """
    if model.labels.header.get("store") != model.store.content_hash():
        raise MismatchError(f"{model.store.path}: the labels of {name} were made from another store; label it")
    n, least = len(_labelled(model)), settings.shortlist * (settings.replicates + 1)
    if n < least:
        raise UniversalityError(
            f"{name}: {n} features have an explanation and examples to score it; expected at least "
            f"{least}, shortlist x (replicates + 1), so that a null can be drawn; label more features, or shorten the "
            "shortlist"
        )


def score_concepts(
    concepts: Sequence[Concept],
    shortlists: Sequence[Shortlist],
    model: LabelledModel,
    scoring: LabelSettings,
    scorer: ChatModel,
    ask: Ask,
    expected: int | None = None,
) -> list[ConceptScores]:
    """Score every concept's description on its shortlist and on the features of its null.

    Parameters
    ----------
    concepts, shortlists
        Concepts and their features.
    model
        The model whose features they are.
    scoring
        Numbers of examples, and one method.
    scorer, ask
        Model that predicts, and the function that asks it.
    expected
        Estimated number of prompts, for a progress bar.
    """
    found = [ConceptScores(shortlist) for shortlist in shortlists]
    wanted = [
        (i, feature) for i, one in enumerate(shortlists) for feature in np.union1d(one.features, one.null).tolist()
    ]
    if not wanted:
        return found
    features = sorted({feature for _, feature in wanted})
    examples = {one.feature: one for one in find_examples(model.store, features, scoring)}
    text = TokenText(model.decode)
    # in one line, since an empty line ends the explanation in a prompt
    descriptions = [" ".join(concept.description.split()) for concept in concepts]

    def keyed() -> Iterator[tuple[tuple[_Judged, int], Prompt]]:
        for i, feature in wanted:
            asked = scoring_prompts(examples[feature], descriptions[i], text, scoring)
            judged = _Judged(i, examples[feature], asked)
            yield from (((judged, place), one.prompt) for place, one in enumerate(asked))

    for (judged, place), answer in keyed_answers(ask, scorer, keyed(), expected):
        judged.answers[place] = answer
        if len(judged.answers) == len(judged.asked):
            _enter(found[judged.concept], judged, scoring)
    return found


@dataclass(frozen=True, eq=False)
class _Judged:
    """A description on one feature: the prompts, and the answers by place."""

    concept: int
    examples: FeatureExamples
    asked: Sequence[ScoringPrompt]
    answers: dict[int, Answer] = field(default_factory=dict)


def _enter(found: ConceptScores, judged: _Judged, scoring: LabelSettings) -> None:
    """Enter the score of a feature whose answers are all there."""
    answers = [judged.answers[place] for place in range(len(judged.asked))]
    predictions = read_predictions(judged.examples, judged.asked, answers, scoring)
    found.answers.update(predictions.answers)
    (method,) = scoring.scores
    for one in score(judged.examples, {EXPLANATION: predictions}, scoring):
        if (one.name, one.by) == (method, EXPLANATION) and not math.isnan(one.value):
            found.scores[judged.examples.feature] = one.value


def _like(density: FloatArray, chosen: IntArray, others: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Draw n others of the nearest log densities for each chosen feature [n, n_chosen], none twice."""
    drawn = []
    for one in chosen.tolist():
        order = rng.permutation(others)
        order = order[np.argsort(np.abs(density[order] - density[one]), kind="stable")]
        drawn.append(rng.permutation(order[:n]))
        others = order[n:]
    return np.stack(drawn, axis=1)


def _similarities(
    concepts: Sequence[Concept], labelled: Sequence[FeatureLabel], embed: Embed | None
) -> Iterator[FloatArray]:
    """Yield the similarities [n_labels] of each concept's description to the labels."""
    queries = [concept.description for concept in concepts]
    texts = [" ".join((one.explanation, *one.top_tokens)) for one in labelled]
    if embed is None:
        return word_cosines(queries, texts)
    vectors = np.asarray(embed([*queries, *texts]), np.float64)
    if vectors.ndim != 2 or len(vectors) != len(queries) + len(texts) or not np.isfinite(vectors).all():
        raise UniversalityError(
            f"embed: expected one finite vector for each of {len(queries) + len(texts)} texts, "
            f"found an array of shape {vectors.shape}"
        )
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(norm > 0, norm, 1)
    return (unit[len(queries) :] @ query for query in unit[: len(queries)])
