"""A finished run, opened for a server: its stores, matching and labels, and its models when they are first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from universality.arrays import IntArray
from universality.errors import ModelError, UniversalityError
from universality.features.descriptions import Described
from universality.files import as_path
from universality.labels.label_file import FeatureLabel
from universality.labels.shown import shown_text
from universality.locks import is_locked
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.report.explorer import Words

if TYPE_CHECKING:
    from universality.activations import ModelSite
    from universality.sae import SAE

Json = dict[str, Any]
_NUMBERS = ("held_out", "ci_low", "ci_high", "q", "q_kind", "effect_r", "effect_q", "effect_n", "logit")


class RunChangedError(UniversalityError):
    """The run's files have changed since they were opened, or are being written."""


@dataclass(frozen=True, eq=False)
class LiveSide:
    """Features of one side of the comparison.

    Attributes
    ----------
    name
        Name for readers.
    model, width, seed
        The SAE.
    described
        Its store, with descriptions of its features.
    labels
        Feature → its label, where there are any.
    pair_of : int64 [n_features]
        Pair of each feature; -1 without one.
    """

    name: str
    model: str
    width: int
    seed: int
    described: Described
    labels: Mapping[int, FeatureLabel]
    pair_of: IntArray

    @property
    def n_features(self) -> int:
        """Number of features, those that never fire included."""
        return len(self.pair_of)

    def label(self, feature: int) -> str:
        """Return the explanation of a feature as lists show it; empty without one."""
        label = self.labels.get(feature)
        return "" if label is None else shown_text(label)

    @cached_property
    def maxima(self) -> NDArray[np.float32]:
        """Largest activation of each feature on held-out text, float32 [n_features]."""
        return np.asarray(self.described.store.moments().max, np.float32)

    @cached_property
    def directions(self) -> NDArray[np.float32]:
        """Decoder rows of unit length, float32 [n_features, d_out]; zero rows stay zero.

        Raises
        ------
        UniversalityError
            If the store holds no dictionary.
        """
        rows = self.described.store.decoder_rows()
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-12))


@dataclass(frozen=True, eq=False)
class LiveComparison:
    """Two sides of a run that were matched, open for questions.

    Attributes
    ----------
    run : LiveRun
    compared : ComparisonResult
    sides : tuple of LiveSide
        First and second side.
    """

    run: LiveRun
    compared: ComparisonResult
    sides: tuple[LiveSide, LiveSide]

    @cached_property
    def _numbers(self) -> dict[str, NDArray[np.float64]]:
        """Columns of the table of pairs that the page shows, float64 [n_pairs]."""
        frame = self.compared.frame
        return {name: np.round(frame[name].to_numpy(np.float64), 4) for name in _NUMBERS if name in frame}

    def pairs(self, pairs: IntArray) -> list[Json]:
        """Return the numbers of some pairs: features, held-out r, q, and effects where they were measured.

        A column at a time: a row of a table costs 0.3 ms, and a sentence has hundreds of pairs.
        """
        match = self.compared.calibration.match
        names = ("pair", "features", *self._numbers)
        features = np.stack([match.rows[pairs], match.cols[pairs]], axis=1).tolist()
        columns = (_without_nan(values[pairs]) for values in self._numbers.values())
        return [dict(zip(names, row, strict=True)) for row in zip(pairs.tolist(), features, *columns, strict=True)]


class LiveRun:
    """A finished run, open for questions about its models; nothing is written into its folder.

    The object is not safe to use from several threads at once.

    Parameters
    ----------
    folder
        The run's folder.

    Attributes
    ----------
    results : RunResults

    Raises
    ------
    UniversalityError
        If the folder is not that of a run, another process is writing it, or it has no matching yet.

    Examples
    --------
    Open a run, and list the features of its first model that fire on a sentence::

        with LiveRun("runs/quickstart") as run:
            answer = text_answer(run.comparison(), "def parse(line):")
            answer["sides"][0]["features"]
    """

    def __init__(self, folder: str | Path) -> None:
        root = as_path(folder)
        self.folder = RunFolder(root)
        self.check_idle()
        self._stamp = self._changes()
        self._stores = OpenStores(keep=False)
        self._sites: dict[str, ModelSite] = {}
        self._saes: dict[Path, SAE] = {}
        self._costs: dict[str, int] = {}
        self._comparisons: dict[str, LiveComparison] = {}
        self._shown: dict[int, str] = {}  # of tokens; to make each anew took a third of an answer's time
        self.results = RunResults.of_run(root, self._stores)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the stores."""
        self._stores.close()

    @property
    def comparisons(self) -> list[str]:
        """Names of the comparisons that the explorer shows, that of the headline first."""
        return [compared.comparison.name for compared in self.results.headline_peers]

    def comparison(self, name: str | None = None) -> LiveComparison:
        """Return a comparison of those that the explorer shows, by default that of the headline.

        Raises
        ------
        UniversalityError
            If there is none of this name.
        """
        peers = {compared.comparison.name: compared for compared in self.results.headline_peers}
        name = next(iter(peers)) if name is None else name
        if name not in peers:
            raise UniversalityError(f"comparison {name!r}: expected one of {', '.join(peers)}")
        if name not in self._comparisons:
            compared = peers[name]
            self._comparisons[name] = LiveComparison(self, compared, (self._side(compared, 0), self._side(compared, 1)))
        return self._comparisons[name]

    def _side(self, compared: ComparisonResult, which: int) -> LiveSide:
        c, match = compared.comparison, compared.calibration.match
        path = (c.a, c.b)[which]
        described, labels = self.results.described(path), self.results.labels(path)
        pair_of = np.full(described.store.n_features, -1, np.int64)
        matched = (match.rows, match.cols)[which]
        pair_of[matched] = np.arange(len(matched))
        named = {} if labels is None else labels.labels
        return LiveSide(c.sides[which], c.models[which], c.widths[which], c.seeds[which], described, named, pair_of)

    def check_idle(self) -> None:
        """Refuse a run that another process is writing.

        Raises
        ------
        RunChangedError
            If it holds the folder's lock.
        """
        if is_locked(self.folder.root / ".lock"):
            raise RunChangedError(
                f"{self.folder.root}: another process is writing this run; serve it when that has finished"
            )

    def check_unchanged(self) -> None:
        """Refuse to answer from files that were replaced: matches and stores would be of different runs.

        Raises
        ------
        RunChangedError
            If the run was written since it was opened, or is being written.
        """
        if self._changes() != self._stamp:
            self.check_idle()
            raise RunChangedError(
                f"{self.folder.root}: the run has changed since the server read it; start `universality serve` again"
            )

    def _changes(self) -> tuple[int, ...]:
        """Return the times at which the files that every stage touches were last written; 0 for one that is missing."""
        files = (self.folder.root / name for name in ("config.yaml", "provenance.json"))
        return tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)

    def words(self) -> Words:
        """Return an empty list of the texts that an answer refers to."""
        return Words(self.results.decode, self._shown)

    def site(self, model: str) -> ModelSite:
        """Return a model at the hook of its SAEs, loaded when first asked for.

        Raises
        ------
        ModelError
            If the model cannot be loaded.
        """
        from universality.pipeline.stages.model_sites import live_site

        if model not in self._sites:
            try:
                self._sites[model] = live_site(self.results.config, self.folder, model)
            except (UniversalityError, OSError) as error:
                raise ModelError(
                    f"model {model!r} cannot be loaded, so the page shows what is stored only: {error}"
                ) from None
        return self._sites[model]

    def cost(self, model: str) -> int:
        """Return an upper bound on a model's multiply-adds per token."""
        if model not in self._costs:
            self._costs[model] = self.site(model).cost
        return self._costs[model]

    def sae(self, side: LiveSide) -> SAE:
        """Return the SAE of a side on the device of its model, loaded when first asked for.

        Raises
        ------
        ModelError
            If its model cannot be loaded.
        FormatError
            If its files are damaged.
        """
        from universality.sae import SAE

        path = self.folder.sae(side.model, side.width, side.seed)
        if path not in self._saes:
            self._saes[path] = SAE.load(path).to(self.site(side.model).device)
        return self._saes[path]


def _without_nan(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers for JSON, which has no NaN and no infinity: None."""
    return [value if finite else None for value, finite in zip(values.tolist(), np.isfinite(values), strict=True)]


def number(value: Any) -> float | None:
    """Return a number for JSON: four digits after the point, None for NaN and infinity."""
    return round(float(value), 4) if np.isfinite(value) else None
