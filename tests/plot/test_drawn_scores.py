"""Scores to draw come from a similarity, from stores, or from an array."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from universality import Similarity, match
from universality.errors import UniversalityError
from universality.plot.drawn_scores import drawn_scores

SCORES = np.array([[0.9, 0.1, 0.0], [0.2, np.nan, 0.3]])


def test_an_array_is_drawn_whole_or_in_part() -> None:
    whole = drawn_scores(SCORES, None, None, None, 30, "spaced", None, True)
    assert_array_equal(whole.scores, SCORES)
    assert whole.labels == (["0", "1"], ["0", "1", "2"])
    part = drawn_scores(SCORES.tolist(), [1], [2, 0], None, 30, "spaced", None, True)
    assert_array_equal(part.scores, [[0.3, 0.2]])
    assert part.labels == (["1"], ["2", "0"])
    with pytest.raises(UniversalityError, match="heatmap: column indices from 0 to 2 exist, found 0 to 5"):
        drawn_scores(SCORES, None, [0, 5], None, 30, "spaced", None, True)
    for bad, said in (("x", "found str$"), ([1, 2], r"found list of shape \(2,\)")):
        with pytest.raises(UniversalityError, match=rf"expected a Similarity, two stores \(a, b\), or scores .*{said}"):
            drawn_scores(bad, None, None, None, 30, "spaced", None, True)


def test_ranks_span_all_pairs_or_the_best() -> None:
    similarity = Similarity.from_dense(np.eye(50) * np.linspace(0.1, 1, 50))
    matched = match(similarity)
    for which, n_ranks, first in (("spaced", 50, "49"), ("best", 5, "49")):
        drawn = drawn_scores(similarity, None, None, matched, 5, which, None, True)  # type: ignore[arg-type]
        assert (drawn.n_ranks, drawn.labels[0][0]) == (n_ranks, first)
