"""Search for published concepts among the features of models: reported in the literature, found here?

1. *Shortlist*: the labelled features whose explanations and top tokens resemble the concept most, by words or by
   embeddings. Words decide nothing but this.
2. *Score*: the scorer is given the published description and judges the shortlisted features' examples, from the half
   of the documents that explained nothing. The best of the shortlist is the concept's score.
3. *Null*: the same description on as many other labelled features of near density, best of as many, many times. No
   feature is in two draws: draws that share features would vary too little. The next features in the order of
   resemblance, four times as many as the shortlist, are kept out as far as enough others are left: a sixth feature of a
   concept that is split is not chance.
4. *q*: p-values from the pooled nulls (`universality.labels.best_of_several`), corrected over all concepts and models
   by Benjamini and Hochberg. A concept without a shortlist has a p of 1.

A concept that is not found may be there under a label that does not resemble it, or among features without a label.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from universality.errors import FormatError, UniversalityError
from universality.files import as_path, read_json, write_json
from universality.labels.best_of_several import own_p, pooled_best_p
from universality.labels.chat import ChatModel
from universality.labels.concept_lists import CONCEPTS, Concept, check_concepts
from universality.labels.concept_search import (
    ConceptScores,
    Embed,
    LabelledModel,
    LiteratureSettings,
    check_labelled,
    expected_scoring,
    find_shortlists,
    score_concepts,
)
from universality.labels.keyed_answers import Ask, ask_model
from universality.labels.label_file import Labels
from universality.labels.label_settings import LabelSettings
from universality.labels.token_counts import TokenCount
from universality.statistics.pooled_p import corrected

FORMAT, VERSION = "universality.literature", 1


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

    def best_first(self) -> list[ConceptResult]:
        """List the results with those that were found first, then by q and score."""
        return sorted(self.results, key=lambda one: (not one.found, one.q, math.isnan(one.score), -one.score))

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
            results = tuple(_loaded(row) for row in content.pop("results"))
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
    confirm: Callable[[TokenCount], bool] | None = None,
) -> LiteratureComparison:
    """Search for published concepts among the labelled features of models.

    The scorer gets at most ``concepts · models · shortlist · (1 + replicates)`` sets of prompts, each of 60 examples.

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
    confirm
        Function that is given an estimate of all prompts, an upper bound, before anything is asked or embedded; false
        ends the call.

    Returns
    -------
    LiteratureComparison

    Raises
    ------
    MismatchError
        If labels are of another store.
    UniversalityError
        If there are too few labelled features for a null, or ``confirm`` declines.
    """
    settings, concepts = settings or LiteratureSettings(), tuple(concepts)
    check_concepts(concepts, "concepts")
    base = (examples or LabelSettings()).as_dict()
    scoring = LabelSettings(**{**base, "scores": (settings.method,), "floors": False, "draws": 0})
    for name, model in models.items():
        check_labelled(name, model, settings)
    expected = {name: expected_scoring(concepts, model, settings, scoring) for name, model in models.items()}
    if confirm is not None and not confirm(sum(expected.values(), TokenCount(0, 0, 0))):
        raise UniversalityError("published concepts were not searched for, as you decided; nothing was asked")
    shortlists = {name: find_shortlists(concepts, name, model, settings, embed) for name, model in models.items()}
    scores = {
        name: score_concepts(concepts, shortlists[name], model, scoring, scorer, ask, expected[name].prompts)
        for name, model in models.items()
    }
    each = [(i, name) for i in range(len(concepts)) for name in models]
    tested = _tested([scores[name][i] for i, name in each], settings)
    results = [
        _result(concepts[i], name, scores[name][i], figures, models[name].labels)
        for (i, name), figures in zip(each, tested, strict=True)
    ]
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
    """Figures of one concept in one model, as in `ConceptResult`."""

    score: float
    null_mean: float
    n_draws: int
    p_own: float
    p: float
    q: float
    found: bool


def _tested(scores: Sequence[ConceptScores], settings: LiteratureSettings) -> list[_Tested]:
    best = [one.best for one in scores]
    observed = np.asarray([float("nan") if k is None else s.scores[k] for s, k in zip(scores, best, strict=True)])
    null = np.asarray([one.null for one in scores])
    own, p = own_p(observed, null), pooled_best_p(observed, null)
    p = np.where(np.isnan(p), 1.0, p)  # a concept without a score was looked for and not found: it counts
    q, _ = corrected(p, 0, settings.level)
    found = (q <= settings.level) & (own <= settings.level)
    n = (~np.isnan(null)).sum(axis=1)
    mean = np.nansum(null, axis=1) / np.where(n > 0, n, np.nan)
    columns = (one.tolist() for one in (observed, mean, n, own, p, q, found))
    return [_Tested(*row) for row in zip(*columns, strict=True)]


def _result(concept: Concept, name: str, scores: ConceptScores, tested: _Tested, labels: Labels) -> ConceptResult:
    shortlist, best = scores.shortlist, scores.best
    listed = zip(shortlist.features.tolist(), shortlist.similarity.tolist(), strict=True)
    known = tuple((feature, similarity, scores.scores.get(feature, float("nan"))) for feature, similarity in listed)
    return ConceptResult(
        concept=concept.name,
        description=concept.description,
        source=concept.source,
        model=name,
        feature=-1 if best is None else best,
        explanation="" if best is None else labels.labels[best].explanation,
        n_shortlisted=sum(feature in scores.scores for feature, _, _ in known),
        density_ratio=shortlist.density_ratio,
        shortlist=known,
        answers=dict(scores.answers),
        **vars(tested),
    )


def _without_nan(value: Any) -> Any:
    """Replace NaN by null, which JSON has."""
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _loaded(row: Mapping[str, Any]) -> ConceptResult:
    numbers = ("score", "null_mean", "p_own", "p", "q", "density_ratio")
    values = {**row, **{name: _number(row[name]) for name in numbers}}
    values["shortlist"] = tuple((int(a), _number(b), _number(c)) for a, b, c in row["shortlist"])
    return ConceptResult(**values)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
