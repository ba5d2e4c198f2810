"""Results of a run, opened for its report."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from universality.archive import read_arrays
from universality.config import Config, load_config
from universality.corpus import load_tokenizer
from universality.corpus.tokenizer import Tokenizer
from universality.errors import FormatError, UniversalityError
from universality.features import FeatureStore
from universality.features.descriptions import Described
from universality.files import read_json
from universality.labels.label_file import Labels
from universality.matching import Match
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.compare_partner_effects import read_agreement
from universality.pipeline.stages.family_effects import read_family_effects
from universality.pipeline.stages.sae_likeness import Likeness, likeness
from universality.pipeline.stages.write_exports import decoder, with_effects
from universality.pipeline.stored_labels import stored_labels
from universality.pipeline.study import Comparison, comparisons, sae_grid
from universality.report.data import NAN, Role, SaeQuality, Sample, sample
from universality.statistics import Calibration, CalibrationSummary, EffectAgreement


@dataclass(frozen=True, eq=False)
class ComparisonResult:
    """A comparison with its results.

    Parameters
    ----------
    comparison
        The two stores that were matched.
    calibration
        Their calibrated matching.
    arrays
        Contents of the comparison's file in ``similarity/``: logit-weight r of the pairs, nearest partners, and the
        submatrices that figures show.
    by_logit
        Their calibrated matching by logit weights, over halves of the token types; None without one.
    read_effects
        Reads the agreement of the pairs' effects.
    """

    comparison: Comparison
    calibration: Calibration
    arrays: dict[str, NDArray[Any]]
    by_logit: Calibration | None = None
    read_effects: Callable[[], EffectAgreement | None] = lambda: None

    @cached_property
    def effects(self) -> EffectAgreement | None:
        """Agreement of the pairs' effects, read when first used; None where it was not measured."""
        return self.read_effects()

    @cached_property
    def frame(self) -> pd.DataFrame:
        """``Calibration.to_frame()`` with the column ``logit``, the pairs' logit-weight r, and those on effects."""
        frame = with_effects(self.calibration.to_frame(), self.effects)
        return frame.assign(logit=self.arrays.get("logit", np.full(len(frame), np.nan)))

    @cached_property
    def summary(self) -> CalibrationSummary:
        """Numbers of the matching."""
        return self.calibration.summary()

    def sample(self, role: Role, label: str) -> Sample:
        """Return the held-out r of all living features as a sample: those of the smaller dictionary."""
        c = self.calibration
        low, high = c.median_ci.tolist()
        held_out = sample(role, label, c.held_out, c.match.n_without_partner)
        return replace(held_out, over_works=(low, high), n_works=c.n_groups)


class RunResults:
    """Results of a run, finished or not; every file is opened once.

    Parameters
    ----------
    config, folder
        Configuration and folder of the run.
    stores
        Opens its feature stores, and closes them.

    Attributes
    ----------
    compared
        Comparisons whose results are available.
    missing
        What an unfinished run lacks, in words.
    """

    def __init__(self, config: Config, folder: RunFolder, stores: OpenStores) -> None:
        self.config, self.folder, self._stores = config, folder, stores
        self.missing: list[str] = []
        self._labels: dict[Path, Labels | None] = {}
        self._tokenizers: dict[Path, Tokenizer | None] = {}
        self.decode: Callable[[Sequence[int]], list[str]] = decoder(folder)
        self.corpus: dict[str, Any] = self._corpus()
        results = (self._open(comparison) for comparison in comparisons(config, folder))
        self.compared = [result for result in results if result is not None]

    @classmethod
    def of_run(cls, root: Path, stores: OpenStores) -> Self:
        """Open the results of a run that has matched features.

        Raises
        ------
        UniversalityError
            If the folder holds no run, or the run has no matching yet.
        """
        file = root / "config.yaml"
        if not file.is_file():
            raise UniversalityError(f"{root}: expected a run's folder, with config.yaml in it")
        results = cls(load_config(file), RunFolder(root), stores)
        if results.headline is None:
            raise UniversalityError(
                f"{root}: this run has no matching yet; `universality run {file} --out {root}` resumes it"
            )
        return results

    def _corpus(self) -> dict[str, Any]:
        if self.has("the corpus", self.folder.corpus_summary):
            return read_json(self.folder.corpus_summary)
        no_tokens = dict.fromkeys(("train", "choose", "report"), 0)
        return {"tokens": no_tokens, "documents": 0, "blocks_hash": "–", "unigram_loss": None, "bigram_loss": None}

    def _open(self, comparison: Comparison) -> ComparisonResult | None:
        paths = self.folder.calibration(comparison.name), self.folder.similarity(comparison.name)
        if not self.has(f"the matching {comparison.name}", *paths, comparison.a, comparison.b):
            return None
        by_logit = _logit_calibration(self.folder.logit_calibration(comparison.name))
        # A damaged file of effects must not keep anyone from the matching.
        effects = partial(read_agreement, self.config, self.folder, comparison)
        return ComparisonResult(comparison, Calibration.load(paths[0]), read_arrays(paths[1]), by_logit, effects)

    def has(self, what: str, *paths: Path) -> bool:
        """Return whether all paths exist; otherwise add ``what`` to ``missing``."""
        exist = all(path.exists() for path in paths)
        if not exist and what not in self.missing:
            self.missing.append(what)
        return exist

    def family_effects(self, model: str) -> pd.DataFrame | None:
        """Tabulate the effects along the edges of a model's families; None where they were not measured."""
        return read_family_effects(self.config, self.folder, model)

    def store(self, path: Path) -> FeatureStore:
        """Open a store, or return it if it is open."""
        return self._stores[path]

    def described(self, path: Path) -> Described:
        """Open a store with the descriptions of its features."""
        return self._stores.described(path)

    def labels(self, path: Path) -> Labels | None:
        """Read the labels of a store's features; None where there are none of its present contents."""
        if path not in self._labels:
            self._labels[path] = stored_labels(self.folder, self.store(path)) if path.is_file() else None
        return self._labels[path]

    def tokenizer(self, model: str) -> Tokenizer | None:
        """Load the tokenizer of a model once; None where the corpus was given as token ids."""
        file = self.folder.own_tokenizer(model) if self.config.models.tokenizers else self.folder.tokenizer
        if file not in self._tokenizers:
            self._tokenizers[file] = load_tokenizer(file) if file.is_file() else None
        return self._tokenizers[file]

    def forget_labels(self) -> None:
        """Read labels anew when they are next asked for."""
        self._labels.clear()

    def grid(self) -> list[tuple[str, int, int]]:
        """List (model, width, SAE seed) of every store that exists."""
        return [
            item
            for item in sae_grid(self.config)
            if self.has(f"the features of {item[0]}, {item[1]} wide, seed {item[2]}", self.folder.store(*item))
        ]

    @cached_property
    def headline(self) -> ComparisonResult | None:
        """The comparison that answers the question, None without any.

        It compares the first two models, or two SAE seeds of one model, at the largest width that is available.
        """
        across = [c for c in self.compared if c.comparison.of in ("models", "seeds")]
        return next((c for c in across if c.comparison.level == min(c.comparison.level for c in across)), None)

    @property
    def headline_peers(self) -> list[ComparisonResult]:
        """Comparisons of the headline's type and width, the headline first; several with three models or seeds."""
        headline = self.headline
        if headline is None:
            return []
        type_and_level = headline.comparison.of, headline.comparison.level
        return [c for c in self.compared if (c.comparison.of, c.comparison.level) == type_and_level]

    def of_type(self, comparison_type: str, models: tuple[str, str]) -> ComparisonResult | None:
        """Return the comparison of a type, such as "neurons", of two models; None if not available."""
        same_type = (c for c in self.compared if c.comparison.of == comparison_type)
        return next((c for c in same_type if c.comparison.models == models), None)

    def ceilings(self, compared: ComparisonResult) -> list[ComparisonResult]:
        """List the available ceilings of the models of a comparison."""
        return [result for result in self._second_saes(compared) if self.likeness(result).is_ceiling]

    def no_ceilings(self, compared: ComparisonResult) -> list[ComparisonResult]:
        """List comparisons of two SAEs of one model that differ in more than their seed, so that they bound nothing."""
        return [result for result in self._second_saes(compared) if not self.likeness(result).is_ceiling]

    def _second_saes(self, compared: ComparisonResult) -> list[ComparisonResult]:
        results = (self.of_type("ceiling", (name, name)) for name in dict.fromkeys(compared.comparison.models))
        return [result for result in results if result is not None]

    def likeness(self, compared: ComparisonResult) -> Likeness:
        """Return how the two SAEs of a comparison differ, as far as their files record it."""
        return likeness(self.config, self.folder, compared.comparison)

    def label(self, compared: ComparisonResult) -> str:
        """Name a comparison of two SAEs of one model: two seeds, or what else they differ in."""
        return self.likeness(compared).label(compared.comparison.models[0])

    def quality(self, model: str, width: int, seed: int) -> SaeQuality:
        """Read the quality of one SAE on held-out tokens; NaN where it was not measured."""
        path, store = self.folder.sae(model, width, seed) / "quality.json", self.folder.store(model, width, seed)
        alive = int(self.store(store).alive.sum()) if store.exists() else width
        if not self.has(f"the quality of the SAE {model}, {width} wide, seed {seed}", path):
            return SaeQuality(model, width, seed, alive)
        measured = read_json(path)
        recovered = measured["loss"]["recovered_over_zero"]
        return SaeQuality(
            model=model,
            width=width,
            seed=seed,
            alive=alive,
            explained_variance=measured["explained_variance"],
            l0=measured["l0"],
            loss_recovered=NAN if recovered is None else recovered,
            typical_explained_variance=measured.get("typical_explained_variance", NAN),  # added after the first runs
        )


def _logit_calibration(path: Path) -> Calibration | None:
    """Load a matching by logit weights; None where there is none, or one of a version that did not calibrate it."""
    if not path.exists():
        return None
    try:
        return Calibration.load(path)
    except FormatError:
        Match.load(path)  # raises if the file is damaged
        return None


@contextmanager
def open_results(config: Config, folder: RunFolder) -> Iterator[RunResults]:
    """Open the results of a run; its stores are closed at the end."""
    with OpenStores() as stores:
        yield RunResults(config, folder, stores)
