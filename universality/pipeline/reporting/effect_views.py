"""Data files of the explorer about what the two features of a pair do, made from the stage ``effects``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from universality.effects.pair_effects import DIRECTIONS, INTERVENTIONS, PairEffects
from universality.features import FeatureStore
from universality.models.vocabulary import Vocabulary
from universality.pipeline.reporting.run_results import ComparisonResult, RunResults
from universality.report.explorer import Words, packed

LEAST = 1e-5
"""Changes of a probability that are shown at least: a thousandth of a percentage point."""
_LOSS = {
    "n": "n", "r": "r_per_norm", "low": "ci_low", "high": "ci_high", "null": "null_r", "q": "q",
    "opposite": "q_opposite", "sign": "sign_agreement", "sign_chance": "sign_chance", "control_r": "control_r",
    "rank": "control_rank", "n_controls": "n_controls", "ceiling_a": "ceiling_a", "ceiling_b": "ceiling_b",
}  # fmt: skip
Json = dict[str, Any]


@dataclass(frozen=True, eq=False)
class EffectViews:
    """Effects of the pairs of a comparison, as far as they were measured.

    Parameters
    ----------
    places
        [n_pairs] row of each pair of the comparison in ``pairs``; -1 for none.
    pairs
        Tokens that the features raise and lower; None if this was not measured.
    loss
        One row a pair of the comparison, with the columns of `EffectAgreement.to_frame`; None if not measured.
    stores
        Stores of both sides, whose unembeddings name tokens.
    """

    places: NDArray[np.int64]
    pairs: PairEffects | None
    loss: pd.DataFrame | None
    stores: tuple[FeatureStore, FeatureStore]

    @classmethod
    def open(cls, results: RunResults, compared: ComparisonResult) -> EffectViews:
        """Read the results of the stage ``effects`` about a comparison."""
        comparison, frame = compared.comparison, compared.frame[["row", "col"]]
        path = results.folder.pair_effects(comparison.name)
        measured_now = results.config.effects.measure  # a file may be left from an earlier configuration
        pairs = PairEffects.load(path) if measured_now and path.exists() else None
        places = np.full(len(frame), -1)
        if pairs is not None:
            measured = pd.DataFrame({"row": pairs.rows, "col": pairs.cols, "place": np.arange(len(pairs))})
            places = frame.merge(measured, how="left", on=["row", "col"])["place"].fillna(-1).to_numpy(np.int64)
        loss = None
        if compared.effects is not None:
            loss = frame.merge(compared.effects.to_frame(), how="left", on=["row", "col"])
        return cls(places, pairs, loss, (results.store(comparison.a), results.store(comparison.b)))

    def index(self) -> Json:
        """Return the entry of the explorer's index; empty where nothing was measured."""
        if self.pairs is None and self.loss is None:
            return {}
        tokens: Json = {}
        if self.pairs is not None:
            tokens = {"times": self.pairs.times, "chance": _numbers(self.pairs.chance())}
        return {"pair_effects": {"tokens": tokens or None, "loss": self.loss is not None}}

    def of(self, chunk: slice, words: Words) -> list[Json | None]:
        """Return the tokens that each pair of a chunk raises and lowers; None where that was not measured."""
        return [self._tokens(place, words) for place in self.places[chunk].tolist()]

    def _tokens(self, place: int, words: Words) -> Json | None:
        pairs = self.pairs
        if pairs is None or place < 0:
            return None
        return {
            "n": int(pairs.n_contexts[place]),
            "r": _numbers(pairs.r[place]),
            "control": int(pairs.controls[place]),
            "share": round(float(pairs.control_share[place]), 3),
            "control_r": _numbers(pairs.control_r[place]),
            "sides": [
                [
                    [self._list(side, place, how, direction, words) for direction in range(len(DIRECTIONS))]
                    for how in range(len(INTERVENTIONS))
                ]
                for side in range(2)
            ],
        }

    @cached_property
    def _vocabularies(self) -> list[Vocabulary | None]:
        """Vocabulary of each side; a store reads its unembedding anew whenever it is asked."""
        unembeddings = [store.unembedding() for store in self.stores]
        return [None if unembedding is None else unembedding.vocabulary for unembedding in unembeddings]

    def _list(self, side: int, place: int, how: int, direction: int, words: Words) -> list[list[Any]]:
        """List words and changes of their probabilities, the largest first."""
        assert self.pairs is not None
        tokens, changes = (x[side, place, how, direction] for x in (self.pairs.tokens, self.pairs.changes))
        shown = (tokens >= 0) & (np.abs(changes) >= LEAST)
        vocabulary = self._vocabularies[side]
        named = words.decode if vocabulary is None else vocabulary.strings
        ids: Sequence[int] = tokens[shown].tolist()
        texts = named(ids) if ids else []
        return [[words.text(text), _rounded(x)] for text, x in zip(texts, changes[shown].tolist(), strict=True)]


def token_effects(effects: EffectViews, n_chunk: int, words: Words) -> Iterator[tuple[str, Any]]:
    """Yield name and content of the files with the tokens of ``n_chunk`` pairs each; none if not measured."""
    if effects.pairs is not None:
        for start in range(0, len(effects.places), n_chunk):
            yield f"token-effects-{start // n_chunk}", effects.of(slice(start, start + n_chunk), words)


def loss_columns(loss: pd.DataFrame) -> Json:
    """Pack the effects of the pairs on the loss as columns, NaN where they are not known."""
    missing = np.full(len(loss), np.nan)
    return {name: packed(loss.get(column, missing), "f4") for name, column in _LOSS.items()}


def _rounded(x: float) -> float:
    """Round to three significant digits, which keeps files small."""
    return float(f"{x:.3g}")


def _number(x: Any) -> float | None:
    return _rounded(float(x)) if np.isfinite(x) else None


def _numbers(array: NDArray[Any]) -> list[Any]:
    """Nested lists with null for NaN."""
    return [_numbers(part) if part.ndim else _number(part) for part in array]
