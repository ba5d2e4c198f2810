"""Gain of a split: found where children are more specific than their parent, and not where all of a width are."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.labels.planted import MARKED, decode
from tests.labels.planted_pairs import Blur, Reader, write_model
from universality.errors import MismatchError
from universality.family import Edges
from universality.labels import LabelSettings, SplitGain, explanation_scores, label, split_gain


def tree(parents: list[list[int]]) -> Any:
    """Families with the parent of each feature of each level but the first; -1 for none."""
    rows = [
        (level, parent, child) for level, of in enumerate(parents) for child, parent in enumerate(of) if parent >= 0
    ]
    level, parent, child = map(np.asarray, zip(*rows, strict=True))
    nothing = [np.full(len(rows), np.nan)] * 6
    widths = [1 + max(parents[0]), *map(len, parents)]
    edges = Edges(level, parent, child, *nothing, np.ones(len(rows)))
    return SimpleNamespace(levels=[SimpleNamespace(width=width) for width in widths], edges=edges)


def gains(found: SplitGain, step: str = "8 → 12") -> dict[str, Any]:
    return {row.parents: row for row in found.summary().itertuples() if row.step == step}


SETTINGS = LabelSettings(scores=("detection",), floors=False, logit_tokens=0, draws=0)
PARENTS = [0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7]
"""Of twelve children; the first four parents split in two."""


def explained(path: Path, words: list[str]) -> dict[int, float]:
    with write_model(path, words, [Blur()] * len(words)) as store:
        return explanation_scores(label(store, decode, explainer=Reader(), settings=SETTINGS))


def test_children_that_are_more_specific(tmp_path: Path) -> None:
    """A parent fires on two words, of which its explanation names one; each child fires on one."""
    pairs = [("not", "sea"), ("ship", "red"), ("king", "seven"), ("song", "glass")]
    single = ["the", "water", "people", "first"]
    narrow = explained(tmp_path / "narrow.h5", ["|".join(pair) for pair in pairs] + single)
    wide = explained(tmp_path / "wide.h5", [word for pair in pairs for word in pair] + single)
    found = gains(split_gain(tree([PARENTS]), [narrow, wide]))
    assert found["split"].n == found["split"].n_families == found["not split"].n == 4
    assert found["split"].parent_score < 0.9 < found["split"].score
    assert found["split"].low > 0.03
    assert found["not split"].gain == pytest.approx(0, abs=0.02)
    assert found["difference"].low > 0.03
    assert found["difference"].gain == pytest.approx(found["split"].gain - found["not split"].gain)


def test_children_that_are_as_specific_as_their_parent(tmp_path: Path) -> None:
    """Children fire on one word, as their parent does: an explanation of either is as good."""
    words = [*MARKED[:4], "the", "water", "people", "first"]
    narrow = explained(tmp_path / "narrow.h5", words)
    wide = explained(tmp_path / "wide.h5", [words[parent] for parent in PARENTS])
    found = gains(split_gain(tree([PARENTS]), [narrow, wide]))
    assert found["split"].score > 0.95
    assert abs(found["split"].gain) < 0.02
    assert abs(found["difference"].gain) < 0.03


def test_a_width_whose_explanations_are_all_better_is_no_gain_of_splitting() -> None:
    rng = np.random.default_rng(0)
    parents = np.repeat(np.arange(60), 2).tolist() + list(range(60, 120))
    narrow = dict(enumerate(0.6 + rng.normal(0, 0.05, 120)))
    wide = dict(enumerate(0.75 + rng.normal(0, 0.05, 180)))
    found = gains(split_gain(tree([parents]), [narrow, wide]), "120 → 180")
    assert found["split"].low > 0.1
    assert found["not split"].low > 0.1
    assert found["difference"].low < 0 < found["difference"].high


def test_intervals_cover() -> None:
    """Of two steps together, in which a child is a parent in turn, so that its error enters twice."""
    rng, covered, n, truth = np.random.default_rng(1), 0, 60, 0.1
    first = np.repeat(np.arange(20), 2).tolist() + list(range(20, 40))  # 20 split, 20 do not
    second = list(range(60))  # nothing splits
    families = tree([first, second])
    for _ in range(n):
        bottom = rng.normal(0, 0.1, 40)
        middle = bottom[first] + truth * (np.arange(60) < 40) + rng.normal(0, 0.1, 60)
        last = middle + rng.normal(0, 0.1, 60)
        scores = [dict(enumerate(values.tolist())) for values in (bottom, middle, last)]
        row = gains(split_gain(families, scores), "all")["difference"]
        covered += row.low <= truth <= row.high
    assert covered / n >= 0.87  # of 300 worlds, 92% to 99% cover


def test_parents_without_enough_scores_are_left_out() -> None:
    families = tree([[0, 0, 0, 1, 2, 2]])
    found = split_gain(families, [{0: 0.5, 1: float("nan"), 2: 0.5}, {0: 0.6, 1: 0.8, 2: float("nan"), 3: 1.0, 4: 1.0}])
    assert found.n_without == 2  # one has no score itself, one has a single child with a score
    (row,) = found.to_frame().itertuples()
    assert (row.parent, row.n_children, row.n_scored, row.score) == (0, 3, 2, pytest.approx(0.7))
    assert np.isnan(gains(found, "3 → 6")["split"].low)
    assert "2 without" in repr(found)
    assert "gain of split parents" in found._repr_html_()
    with pytest.raises(MismatchError, match="one mapping for each of 2 levels, got 1"):
        split_gain(families, [{}])


def test_nothing_to_compare() -> None:
    found = split_gain(tree([[0, 0, 1]]), [{}, {}])
    assert found.n_without == 2
    assert len(found.summary()) == 0
    assert found._repr_html_()
