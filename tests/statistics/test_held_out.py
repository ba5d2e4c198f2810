"""Halves hold documents with tokens; held-out scores are withheld where nothing can be said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.testing import assert_allclose, assert_array_equal
from planted import Text, planted, text, write_store

from universality.corpus.documents import DocumentTable
from universality.similarity import Similarity
from universality.statistics import equal_halves, evaluation_halves, held_out_scores
from universality.statistics.held_out import optimism

SEEN = text(12, splits=("choose", "report", "train"))


def test_halves_are_the_documents_of_the_splits_that_have_tokens(tmp_path: Path) -> None:
    some = SEEN.document != 6
    seen = Text(SEEN.documents, SEEN.document[some], SEEN.position[some])
    halves = evaluation_halves(write_store(tmp_path / "a.h5", np.ones((seen.n_tokens, 1)), seen))
    assert_array_equal(halves.choose, [0, 1, 7])
    assert_array_equal(halves.report, [2, 3, 8, 9])


def test_equal_halves_keep_works_whole_and_divide_every_kind_whatever_the_splits(tmp_path: Path) -> None:
    groups = [f"work {i // 3}" for i in range(60)]
    documents = DocumentTable(
        tuple(map(str, range(60))), tuple(["en"] * 30 + ["de"] * 30), tuple(groups), ("report",) * 60
    )
    present = np.setdiff1d(np.arange(60), [0, 31])
    seen = Text(documents, np.repeat(present, 2), np.tile([1, 2], present.size))
    store = write_store(tmp_path / "a.h5", np.ones((seen.n_tokens, 1)), seen)
    halves, again, other = (equal_halves(store, seed) for seed in (0, 0, 1))
    assert_array_equal(np.sort(np.concatenate([halves.choose, halves.report])), present)
    assert_array_equal(halves.choose, again.choose)
    assert halves.choose.tolist() != other.choose.tolist()
    of_work = np.isin(present, halves.report)
    for work in set(groups):
        assert len(set(of_work[np.array(groups)[present] == work])) == 1, work
    for kind in (slice(0, 30), slice(30, 60)):
        works = {group for group, document in zip(groups[kind], range(60)[kind], strict=True)
                 if document in halves.report}  # fmt: skip
        assert len(works) == 5


def test_held_out_scores_need_a_half_and_firings(tmp_path: Path) -> None:
    plant = planted(tmp_path, SEEN, n_shared=4, n_alone=2)
    sim = Similarity.activation(plant.a, plant.b, documents=[2, 3])
    i, j = plant.rows, plant.cols
    assert_array_equal(held_out_scores(None, i, j), np.nan)
    assert_array_equal(held_out_scores(sim, i, j, min_firings=10**6), np.nan)
    assert_allclose(held_out_scores(sim, i, j), sim.pairs(i, j))
    assert sim.counts is not None
    few = np.minimum(sim.counts[0][i], sim.counts[1][j])
    found = held_out_scores(sim, i, j, min_firings=int(np.median(few)))
    assert_array_equal(np.isnan(found), few < int(np.median(few)))


def test_measures_of_weights_have_no_firings_to_ask_for() -> None:
    i = np.array([0, 1])
    assert_array_equal(held_out_scores(Similarity.from_dense(np.eye(2)), i, i, min_firings=5), 1)


def test_optimism_is_the_mean_loss_of_pairs_that_have_both() -> None:
    assert_allclose(optimism(np.array([0.5, 0.6, 0.9]), np.array([0.4, 0.2, np.nan])), 0.25)
    assert np.isnan(optimism(np.array([0.5]), np.array([np.nan])))
