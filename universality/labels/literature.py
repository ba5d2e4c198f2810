"""Search for published concepts among the features of models: reported in the literature, found here?

1. *Shortlist*: the labelled features whose explanations and top tokens resemble the concept most, by words or by
   embeddings. Words decide nothing but this.
2. *Score*: the scorer is given the published description and judges the shortlisted features' examples, from the half
   of the documents that explained nothing. The best of the shortlist is the concept's score.
3. *Null*: the same description on as many other labelled features of near density, best of as many, many times. No
   feature is in two draws: draws that share features would vary too little. Features that resemble the concept half as
   much as the first of the shortlist are kept out as far as enough others are left, since the second feature of a
   concept that is split is not chance.
4. *q*: p-values from the pooled nulls (`universality.labels.best_of_several`), corrected over all concepts and models
   by Benjamini and Hochberg. A concept without a shortlist has a p of 1.

A concept that is not found may be there under a label that does not resemble it, or among features without a label.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
from annotated_types import Ge, Gt, Lt

from universality.arrays import FloatArray, IntArray
from universality.checked_settings import CheckedSettings, Count, Natural
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.features.examples import Decode
from universality.features.storage.store import FeatureStore
from universality.files import as_path, read_json, write_json
from universality.labels.best_of_several import own_p, pooled_best_p
from universality.labels.chat import Answer, ChatModel, Prompt
from universality.labels.concepts import CONCEPTS, Concept, check_concepts
from universality.labels.excerpt_text import TokenText
from universality.labels.feature_examples import FeatureExamples, find_examples
from universality.labels.label_file import FeatureLabel, Labels
from universality.labels.label_settings import LabelSettings, Method
from universality.labels.labelling import Ask, ask_model
from universality.labels.predictions import ScoringPrompt, read_predictions, scoring_prompts
from universality.labels.scoring import EXPLANATION, score
from universality.labels.text_similarity import word_cosines
from universality.statistics.pooled_p import corrected

FORMAT, VERSION = "universality.literature", 1
_LIKE_THE_FIRST = 0.5
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
    """What the scorer does with a description."""
    shortlist: Count = 5
    """Features that are scored for a concept, at most."""
    replicates: Annotated[int, Ge(19)] = 20
    """Draws of the null for each concept; fewer than 19 cannot give a p of 0.05."""
    level: Annotated[float, Gt(0), Lt(1)] = 0.05
    """Largest q, and largest p from the concept's own null, of a concept that counts as found."""
    seed: Natural = 0
    """Seed of the null's features."""


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


@dataclass(frozen=True)
class ConceptResult:
    """Answer for one concept in one model.

    Parameters
    ----------
    concept, description, source
        The concept.
    model
        Name of the model.
    found
        Whether q, and the p from the concept's own null, are at most the level.
    feature
        Feature with the best score; -1 if none was scored.
    explanation
        That feature's label.
    score
        Its score under the published description, the best of ``n_shortlisted``; NaN if none was scored.
    null_mean
        Mean over the null's draws of the best of as many features.
    p_own, p, q
        From the null of this concept; from those of all concepts; corrected over concepts and models.
    n_shortlisted, n_draws
        Features that were scored; draws of the null with a score.
    density_ratio
        Largest factor by which the density of a null feature and of the one that it stands for differ.
    shortlist
        Feature, similarity of its label and score of each shortlisted feature, most similar first.
    answers
        What became of the scorer's answers, the null's included → their number.
    """

    concept: str
    description: str
    source: str
    model: str
    found: bool
    feature: int
    explanation: str
    score: float
    null_mean: float
    p_own: float
    p: float
    q: float
    n_shortlisted: int
    n_draws: int
    density_ratio: float
    shortlist: tuple[tuple[int, float, float], ...] = ()
    answers: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class LiteratureComparison:
    """Published concepts and whether they were found.

    Parameters
    ----------
    results
        One result a concept and model, in the order of the concepts.
    header
        Settings, scorer, and hashes of the stores.
    """

    results: tuple[ConceptResult, ...]
    header: Mapping[str, Any]

    def to_frame(self) -> pd.DataFrame:
        """Return one row a concept and model; shortlists and counts of answers are in ``results`` only."""
        hidden = ("shortlist", "answers")
        rows = [{key: value for key, value in vars(one).items() if key not in hidden} for one in self.results]
        columns = [name for name in ConceptResult.__dataclass_fields__ if name not in hidden]
        return pd.DataFrame(rows, columns=columns)

    def save(self, path: str | Path) -> Path:
        """Write everything as one JSON object."""
        path = as_path(path)
        rows = [_without_nan(asdict(one)) for one in self.results]
        write_json(path, {"format": FORMAT, "version": VERSION, **self.header, "results": rows})
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        FormatError
            If the file is of another format or version, or corrupt.
        """
        content = read_json(path)
        if (content.pop("format", None), content.pop("version", None)) != (FORMAT, VERSION):
            raise FormatError(f"{path}: expected a file of {FORMAT} version {VERSION}")
        try:
            results = tuple(_result(row) for row in content.pop("results"))
        except (KeyError, TypeError, ValueError) as error:
            raise FormatError(f"{path}: a result is incomplete or of another form: {error}") from None
        return cls(results, content)

    def __str__(self) -> str:
        models = list(dict.fromkeys(one.model for one in self.results))
        found = {name: sum(one.found for one in self.results if one.model == name) for name in models}
        n = len({one.concept for one in self.results})
        return ", ".join(f"{k} of {n} concepts found in {name}" for name, k in found.items())


def compare_literature(
    models: Mapping[str, LabelledModel],
    concepts: Iterable[Concept] = CONCEPTS,
    *,
    scorer: ChatModel,
    settings: LiteratureSettings | None = None,
    examples: LabelSettings | None = None,
    embed: Embed | None = None,
    ask: Ask = ask_model,
) -> LiteratureComparison:
    """Search for published concepts among the labelled features of models.

    The scorer gets at most ``concepts · models · shortlist · (1 + replicates)`` sets of prompts, each of 60 examples;
    a feature that several draws share is scored once.

    Parameters
    ----------
    models
        Name → features with their labels.
    concepts
        Published concepts; `CONCEPTS` by default, `read_concepts` reads others.
    scorer
        Model that judges examples by a description.
    settings
        Shortlist, null and level.
    examples
        Numbers of examples; those with which `label` was called, or the defaults.
    embed
        Function from texts to vectors, whose cosines choose the shortlist in place of shared words.
    ask
        Function of a model and prompts, as for `label`; one with a cache asks nothing twice.

    Returns
    -------
    LiteratureComparison

    Raises
    ------
    MismatchError
        If labels are of another store.
    UniversalityError
        If there are too few labelled features for a null.
    """
    settings, concepts = settings or LiteratureSettings(), tuple(concepts)
    check_concepts(concepts, "concepts")
    base = (examples or LabelSettings()).as_dict()
    scoring = LabelSettings(**{**base, "scores": (settings.method,), "floors": False, "draws": 0})
    searches = [_Search(name, model, concepts, settings, scoring, embed) for name, model in models.items()]
    for search in searches:
        search.score(scorer, ask)
    both = [(i, search) for i in range(len(concepts)) for search in searches]
    observed = np.asarray([search.best(i) for i, search in both])
    found = _tested(observed, np.asarray([search.null(i) for i, search in both]), settings)
    results = [search.result(i, tested) for (i, search), tested in zip(both, found, strict=True)]
    header = {
        "settings": settings.as_dict(),
        "examples": scoring.as_dict(),
        "scorer": {"name": scorer.name, "settings": dict(scorer.settings)},
        "shortlist_by": "words" if embed is None else "embeddings",
        "stores": {name: model.store.content_hash() for name, model in models.items()},
    }
    return LiteratureComparison(tuple(results), header)


@dataclass(frozen=True)
class _Tested:
    """Figures of one concept in one model."""

    score: float
    null_mean: float
    n_draws: int
    p_own: float
    p: float
    q: float
    found: bool


def _tested(observed: FloatArray, null: FloatArray, settings: LiteratureSettings) -> list[_Tested]:
    p, own = pooled_best_p(observed, null), own_p(observed, null)
    # a concept without a score was looked for and not found: it counts in the correction
    q, _ = corrected(np.where(np.isnan(p), 1.0, p), 0, settings.level)
    found = (q <= settings.level) & (own <= settings.level)
    known = ~np.isnan(null)
    mean = np.where(known, null, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    rows = zip(observed, mean, known.sum(axis=1), own, np.where(np.isnan(p), 1.0, p), q, found, strict=True)
    return [_Tested(float(a), float(b), int(c), float(d), float(e), float(f), bool(g)) for a, b, c, d, e, f, g in rows]


@dataclass(frozen=True, eq=False)
class _Shortlist:
    """Features of a concept's shortlist, and those of each draw of its null [n_replicates, n_features]."""

    features: IntArray
    similarity: FloatArray
    null: IntArray
    density_ratio: float


class _Search:
    """The search for all concepts in one model."""

    def __init__(
        self,
        name: str,
        model: LabelledModel,
        concepts: tuple[Concept, ...],
        settings: LiteratureSettings,
        scoring: LabelSettings,
        embed: Embed | None,
    ) -> None:
        if model.labels.header.get("store") != model.store.content_hash():
            raise MismatchError(f"{model.store.path}: the labels of {name} were made from another store; label it")
        self.name, self.model, self.concepts, self.scoring = name, model, concepts, scoring
        self.labelled = [
            one for one in model.labels.labels.values() if one.explanation and any(one.score_rows.values())
        ]
        least = settings.shortlist * (settings.replicates + 1)
        if len(self.labelled) < least:
            raise UniversalityError(
                f"{name}: {len(self.labelled)} features have an explanation and examples to score it; expected at "
                f"least {least}, shortlist x (replicates + 1), so that a null can be drawn; label more features, or "
                "shorten the shortlist"
            )
        similarity = _similarities(concepts, self.labelled, embed)
        self.shortlists = [self._shortlist(i, row, settings) for i, row in enumerate(similarity)]
        self.scores: dict[tuple[int, int], float] = {}
        self.answers = [Counter[str]() for _ in concepts]

    def _shortlist(self, concept: int, similarity: FloatArray, settings: LiteratureSettings) -> _Shortlist:
        order = np.argsort(-similarity, kind="stable")
        chosen = order[: settings.shortlist]
        chosen = chosen[similarity[chosen] > 0]
        if not chosen.size:
            nothing = np.zeros(0, np.int64)
            return _Shortlist(nothing, np.zeros(0), np.zeros((settings.replicates, 0), np.int64), float("nan"))
        others = order[settings.shortlist :]
        n_alike = int((similarity[others] >= _LIKE_THE_FIRST * similarity[chosen[0]]).sum())
        others = others[min(n_alike, len(others) - settings.replicates * len(chosen)) :]
        density = np.log([max(one.density, 1e-12) for one in self.labelled])
        null = _like(density, chosen, others, settings.replicates, np.random.default_rng([settings.seed, concept, 7]))
        ratio = float(np.exp(np.abs(density[null] - density[chosen]).max()))
        feature = np.asarray([one.feature for one in self.labelled])
        return _Shortlist(feature[chosen], similarity[chosen], feature[null], ratio)

    def score(self, scorer: ChatModel, ask: Ask) -> None:
        """Score every description on its shortlist and on the features of its null."""
        wanted = [
            (i, feature)
            for i, one in enumerate(self.shortlists)
            for feature in np.union1d(one.features, one.null).tolist()
        ]
        if not wanted:
            return
        features = sorted({feature for _, feature in wanted})
        examples = {one.feature: one for one in find_examples(self.model.store, features, self.scoring)}
        text = TokenText(self.model.decode)
        descriptions = [" ".join(concept.description.split()) for concept in self.concepts]  # lines end an explanation
        unread: dict[tuple[int, int], _Judged] = {}
        waiting: dict[int, tuple[_Judged, int]] = {}

        def prompts() -> Iterator[Prompt]:
            place = 0
            for i, feature in wanted:
                asked = scoring_prompts(examples[feature], descriptions[i], text, self.scoring)
                judged = unread[i, feature] = _Judged((i, feature), examples[feature], asked, {})
                for k, one in enumerate(asked):
                    waiting[place] = judged, k
                    place += 1
                    yield one.prompt

        for place, answer in ask(scorer, prompts()):
            judged, k = waiting.pop(place)
            judged.given[k] = answer
            if len(judged.given) == len(judged.asked):
                self._read(unread.pop(judged.key))
        if waiting:
            raise UniversalityError(f"{scorer.name}: {len(waiting)} prompts were left without an answer")

    def _read(self, judged: _Judged) -> None:
        answers = [judged.given[k] for k in range(len(judged.asked))]
        predictions = read_predictions(judged.examples, judged.asked, answers, self.scoring)
        self.answers[judged.key[0]].update(predictions.answers)
        scores = score(judged.examples, {EXPLANATION: predictions}, self.scoring)
        self.scores[judged.key] = next(
            one.value for one in scores if (one.name, one.by) == (self.scoring.scores[0], EXPLANATION)
        )

    def best(self, concept: int) -> float:
        """Best score of a description on its shortlist; NaN if there is none."""
        return max(self._known(concept, self.shortlists[concept].features), default=float("nan"))

    def null(self, concept: int) -> list[float]:
        """Best score of each draw of the null; NaN where it has fewer scores than the shortlist."""
        shortlist = self.shortlists[concept]
        least = max(1, len(self._known(concept, shortlist.features)))
        known = [self._known(concept, draw) for draw in shortlist.null]
        return [max(scores) if len(scores) >= least else float("nan") for scores in known]

    def _known(self, concept: int, features: IntArray) -> list[float]:
        scores = (self.scores.get((concept, feature), float("nan")) for feature in features.tolist())
        return [value for value in scores if not math.isnan(value)]

    def result(self, concept: int, tested: _Tested) -> ConceptResult:
        one, shortlist = self.concepts[concept], self.shortlists[concept]
        scores = [self.scores.get((concept, feature), float("nan")) for feature in shortlist.features.tolist()]
        known = [k for k, value in enumerate(scores) if not math.isnan(value)]
        best = max(known, key=lambda k: scores[k], default=None)
        feature = -1 if best is None else int(shortlist.features[best])
        return ConceptResult(
            concept=one.name,
            description=one.description,
            source=one.source,
            model=self.name,
            found=tested.found,
            feature=feature,
            explanation="" if best is None else self.model.labels.labels[feature].explanation,
            score=tested.score,
            null_mean=tested.null_mean,
            p_own=tested.p_own,
            p=tested.p,
            q=tested.q,
            n_shortlisted=len(known),
            n_draws=tested.n_draws,
            density_ratio=shortlist.density_ratio,
            shortlist=tuple(zip(shortlist.features.tolist(), shortlist.similarity.tolist(), scores, strict=True)),
            answers=dict(self.answers[concept]),
        )


@dataclass(frozen=True)
class _Judged:
    """A description on one feature: concept and feature, the prompts, and the answers by place."""

    key: tuple[int, int]
    examples: FeatureExamples
    asked: Sequence[ScoringPrompt]
    given: dict[int, Answer]


def _like(density: FloatArray, chosen: IntArray, others: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Draw n others of the nearest log densities for each chosen feature [n, n_chosen], none twice."""
    drawn = []
    for one in chosen.tolist():
        order = rng.permutation(others)
        order = order[np.argsort(np.abs(density[order] - density[one]), kind="stable")]
        drawn.append(rng.permutation(order[:n]))
        others = order[n:]
    return np.stack(drawn, axis=1)


def _similarities(concepts: Sequence[Concept], labelled: Sequence[FeatureLabel], embed: Embed | None) -> FloatArray:
    """Similarity of each concept to each label [n_concepts, n_labels]."""
    queries = [f"{concept.name.replace('-', ' ')} {concept.description}" for concept in concepts]
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
    return np.asarray(unit[: len(queries)] @ unit[len(queries) :].T)


def _without_nan(value: Any) -> Any:
    """Replace NaN by null, which JSON has."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _result(row: Mapping[str, Any]) -> ConceptResult:
    numbers = ("score", "null_mean", "p_own", "p", "q", "density_ratio")
    values = {**row, **{name: _number(row[name]) for name in numbers}}
    values["shortlist"] = tuple((int(a), _number(b), _number(c)) for a, b, c in row["shortlist"])
    return ConceptResult(**values)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
