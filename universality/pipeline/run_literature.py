"""Published concepts among the labelled features of a run: reported in the literature, found here?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from universality.errors import MismatchError, UniversalityError
from universality.export import write_csv
from universality.files import as_path
from universality.formatting import fixed, plural, small
from universality.labels.answer_cache import AnswerCache
from universality.labels.concept_lists import CONCEPTS, Concept
from universality.labels.concept_search import Embed, LabelledModel, LiteratureSettings
from universality.labels.endpoint import Endpoint
from universality.labels.label_settings import LabelSettings
from universality.labels.literature import ConceptResult, LiteratureComparison, compare_literature
from universality.labels.shown import cut
from universality.pipeline.label_run import PricedModel, comparison_at
from universality.pipeline.reporting.run_results import RunResults
from universality.pipeline.runner import alone_in
from universality.pipeline.scoring_plan import PlannedScorer, ScoringPlan
from universality.visible_tokens import visible

_SHOWN = 40
"""Most rows that are printed; the files have all."""
_LONGEST = 40


@dataclass(frozen=True, eq=False)
class RunLiterature:
    """Search for published concepts in a run; printing it shows the table.

    Attributes
    ----------
    comparison
        The answer for each concept and side.
    files
        The files that hold it.
    """

    comparison: LiteratureComparison
    files: tuple[Path, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield str(self.comparison)
        rows = self.comparison.best_first()
        yield f"  {'reported':<{_LONGEST}}  {'in':<10} found  feature  score   null  q       its label"
        yield from map(_line, rows[:_SHOWN])
        if len(rows) > _SHOWN:
            yield f"  … and {plural(len(rows) - _SHOWN, 'row')} more in the files"
        yield from map(str, self.files)


def _line(one: ConceptResult) -> str:
    feature = "–" if one.feature < 0 else str(one.feature)
    return (
        f"  {_shown(one.concept):<{_LONGEST}}  {_shown(one.model, 10):<10} {'yes' if one.found else 'no':<5}  "
        f"{feature:>7}  {fixed(one.score):>5}  {fixed(one.null_mean):>5}  {small(one.q):<6}  {_shown(one.explanation)}"
    ).rstrip()


def _shown(text: str, most: int = _LONGEST) -> str:
    return cut(visible(text), most)


def literature_run(
    results: RunResults,
    scorer: PricedModel,
    concepts: Iterable[Concept] = CONCEPTS,
    settings: LiteratureSettings | None = None,
    *,
    most: int | None = None,
    width: int | None = None,
    embed: Embed | None = None,
    out: str | Path | None = None,
    confirm: Callable[[ScoringPlan], bool] | None = None,
) -> RunLiterature:
    """Search for published concepts among the labelled features of a run; see `universality.Study.literature`."""
    settings = settings or LiteratureSettings()
    concepts = _some(tuple(concepts), most, settings.seed)
    compared = comparison_at(results, width).comparison
    models = _labelled(results, dict(zip(compared.sides, (compared.a, compared.b), strict=True)))
    path = results.folder.label_literature(compared.name) if out is None else as_path(out)
    if path.suffix != ".json":
        raise UniversalityError(f"{path}: expected a name that ends in .json; the table stands beside it as .csv")
    if isinstance(scorer.model, Endpoint):
        scorer.model.check()
    what, sends = _described(concepts, models, embed)
    with alone_in(results.folder.root), AnswerCache(results.folder.label_answers) as cache:
        planned = PlannedScorer(scorer, cache, confirm)
        found = compare_literature(
            models,
            concepts,
            scorer=scorer.model,
            settings=settings,
            examples=_examples(models),
            embed=embed,
            ask=planned.asking("published concepts"),
            confirm=planned.agrees(what, sends),
        )
        files = found.save(path), write_csv(found.to_frame(), path.with_suffix(".csv"))
    return RunLiterature(found, files)


def _some(concepts: tuple[Concept, ...], most: int | None, seed: int) -> tuple[Concept, ...]:
    """Draw at most some of the concepts, in their order."""
    if most is None or len(concepts) <= most:
        return concepts
    chosen = np.random.default_rng([seed, 12]).permutation(len(concepts))[:most]
    return tuple(concepts[k] for k in np.sort(chosen).tolist())


def _labelled(results: RunResults, sides: dict[str, Path]) -> dict[str, LabelledModel]:
    """Sides that have labels of their present store."""
    labelled = {name: results.labels(path) for name, path in sides.items()}
    models = {
        name: LabelledModel(results.store(sides[name]), labels, results.decode)
        for name, labels in labelled.items()
        if labels is not None
    }
    if not models:
        files = " and ".join(str(results.folder.labels(path)) for path in sides.values())
        raise UniversalityError(
            f"{files}: expected labels of the present stores, found none; `universality label {results.folder.root}` "
            "makes them"
        )
    return models


def _examples(models: dict[str, LabelledModel]) -> LabelSettings:
    """Settings with which the labels were made."""
    settings = [LabelSettings(**model.labels.header["settings"]) for model in models.values()]
    if any(one != settings[0] for one in settings):
        raise MismatchError(
            f"the labels of {' and '.join(models)} were made with different settings; label both with the same"
        )
    return settings[0]


def _described(
    concepts: tuple[Concept, ...], models: dict[str, LabelledModel], embed: Embed | None
) -> tuple[str, bool]:
    """Describe the search in its plan, and tell whether a server of embeddings on another machine gets texts."""
    names = " and ".join(map(visible, models))
    what = f"{plural(len(concepts), 'published concept')} searched for among the labelled features of {names}"
    server = getattr(embed, "__self__", None)
    if not isinstance(server, Endpoint):
        return what, False
    n = sum(len(concepts) + len(model.labels.labels) for model in models.values())
    return f"{what}\nembeddings of {n:,} texts by {visible(server.name)}; {server.destination}", (
        not server.on_this_machine
    )
