"""Planted partners are found, by every method, and a match survives its file, its table and its graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planted import Planted, planted, text

from universality.archive import write_archive
from universality.errors import FormatError, UniversalityError
from universality.matching import Match, match
from universality.matching.pairing import FORMAT, VERSION
from universality.similarity import Similarity

SEEN = text(40)
SCORES = np.array([[0.9, 0.2, 0.1, 0.0], [0.8, 0.3, 0.1, 0.0], [0.7, 0.1, 0.6, 0.0], [0.0, 0.0, 0.0, 0.0]])


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return planted(tmp_path_factory.mktemp("plant"), SEEN)


@pytest.fixture
def found() -> Match:
    dead = np.array([False, False, False, True])
    return match(Similarity.from_dense(SCORES, dead, dead))


@pytest.mark.parametrize("method", ["hungarian", "mutual", "nearest"])
def test_planted_partners_are_found(plant: Planted, method: str) -> None:
    m = match(Similarity.activation(plant.a, plant.b), method=method)  # type: ignore[arg-type]
    kept = np.isin(m.rows, plant.rows)
    assert_array_equal(m.rows[kept], plant.rows)
    assert_array_equal(m.cols[kept], plant.cols)
    assert m.scores[kept].min() > 0.6


@pytest.mark.parametrize("method", ["hungarian", "mutual", "nearest"])
def test_with_a_floor_the_unshared_stay_alone(plant: Planted, method: str) -> None:
    m = match(Similarity.activation(plant.a, plant.b), method=method, floor=0.4)  # type: ignore[arg-type]
    assert_array_equal(m.rows, plant.rows)
    assert_array_equal(m.cols, plant.cols)
    assert_array_equal(m.unmatched_rows, np.setdiff1d(np.arange(60), plant.rows))
    assert_array_equal(m.unmatched_cols, np.setdiff1d(np.arange(60), plant.cols))


def test_unrelated_stores_are_matched_with_scores_of_chance(tmp_path: Path) -> None:
    """The control: nothing shared, nothing found."""
    plant = planted(tmp_path, SEEN, n_shared=0, n_alone=40)
    sim = Similarity.activation(plant.a, plant.b)
    assert match(sim).scores.max() < 0.2
    assert match(sim, floor=0.4).rows.size == 0


def test_hungarian_is_one_to_one_and_complete_on_the_smaller_side(plant: Planted) -> None:
    dense = Similarity.activation(plant.a, plant.b).dense()
    for scores in (dense[:30], dense[:, :30]):
        m = match(Similarity.from_dense(scores))
        assert m.rows.size == 30 == np.unique(m.cols).size == np.unique(m.rows).size
        assert m.gap is not None
        assert m.gap < 1e-12
        assert_array_equal(m.rows, np.sort(m.rows))


def test_methods_differ_where_features_compete(found: Match) -> None:
    sim = Similarity.from_dense(SCORES, found.dead_rows, found.dead_cols)
    assert_array_equal(np.transpose([found.rows, found.cols]), [[0, 0], [1, 1], [2, 2]])
    assert_array_equal(match(sim, "nearest").cols, [0, 0, 0])
    mutual = match(sim, "mutual")
    assert_array_equal(np.transpose([mutual.rows, mutual.cols]), [[0, 0]])
    assert found.collisions == {"rows": 2, "cols": 0}
    assert_array_equal(found.nearest.best_row, [0, 1, 2, -1])
    assert_array_equal(found.nearest.best_col_score, [0.9, 0.8, 0.7, np.nan])
    assert mutual.gap is None


def test_dead_features_are_left_out_and_named(found: Match) -> None:
    assert 3 not in found.rows
    assert 3 not in found.cols
    assert_array_equal(np.flatnonzero(found.dead_rows), [3])
    assert found.unmatched_rows.size == found.unmatched_cols.size == 0
    dead = np.ones(4, bool)
    for method in ("hungarian", "mutual", "nearest"):
        nothing = match(Similarity.from_dense(SCORES, dead, ~dead), method=method)  # type: ignore[arg-type]
        assert nothing.rows.size == 0
        assert nothing.unmatched_cols.size == 4
        assert np.isnan(nothing.summary()["median_score"])


def test_frame_has_a_line_a_pair(found: Match) -> None:
    frame = found.to_frame()
    assert list(frame.columns) == ["row", "col", "score", "row_best", "col_best"]
    assert frame["row_best"].tolist() == [True, False, False]
    assert frame["col_best"].tolist() == [True, True, True]
    assert_allclose(frame["score"], [0.9, 0.3, 0.6])


def test_graph_is_bipartite_with_all_features(found: Match) -> None:
    networkx = pytest.importorskip("networkx")
    graph = found.to_graph()
    assert networkx.is_bipartite(graph)
    assert len(graph) == 8
    assert set(graph.edges) == {("a:0", "b:0"), ("a:1", "b:1"), ("a:2", "b:2")}
    assert graph.edges["a:2", "b:2"] == {"chosen": 0.6}
    assert graph.nodes["b:3"] == {"bipartite": 1, "feature": 3, "dead": True}


def test_summary_is_numbers(found: Match) -> None:
    summary = found.summary()
    assert summary["n_pairs"] == 3
    assert summary["dead_rows"] == 1
    assert_allclose(summary["mean_score"], 0.6)
    assert_allclose(summary["median_best_of_rows"], 0.8)
    assert summary["collisions_rows"] == 2


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("method", ["hungarian", "nearest"])
def test_saved_and_loaded_it_is_the_same(plant: Planted, tmp_path: Path, suffix: str, method: str) -> None:
    m = match(Similarity.activation(plant.a, plant.b), method=method, floor=0.1)  # type: ignore[arg-type]
    path = m.save(tmp_path / f"match{suffix}")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    back = Match.load(path)
    for name in ("rows", "cols", "scores", "dead_rows", "dead_cols"):
        assert_array_equal(getattr(back, name), getattr(m, name))
        assert getattr(back, name).dtype == getattr(m, name).dtype
    for name, array in vars(m.nearest).items():
        assert_array_equal(getattr(back.nearest, name), array)
    assert (back.method, back.floor, back.gap, back.provenance) == (m.method, m.floor, m.gap, m.provenance)
    assert back.provenance["a"]["tokens_hash"] == plant.a.tokens_hash


def test_other_files_are_refused(found: Match, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"expected a name ending in \.json or \.npz"):
        found.save(tmp_path / "match.pickle")
    with pytest.raises(FileNotFoundError, match="no such file"):
        Match.load(tmp_path / "none.npz")
    for suffix in (".npz", ".json"):
        path = tmp_path / f"x{suffix}"
        write_archive(path, FORMAT, VERSION + 1, {}, {})
        with pytest.raises(FormatError, match="version 3, but this program reads version 2; it was written by a newer"):
            Match.load(path)
        write_archive(path, FORMAT, 0, {}, {})
        with pytest.raises(FormatError, match=r"version 0, but .*; write it anew"):
            Match.load(path)
        write_archive(path, "something.else", VERSION, {}, {})
        with pytest.raises(FormatError, match=r"not a universality\.match file"):
            Match.load(path)
        found.save(path)
        path.write_bytes(path.read_bytes()[:-40])
        with pytest.raises(FormatError, match=r"not a whole universality\.match file"):
            Match.load(path)


def test_a_pickle_in_disguise_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(FormatError, match="not a whole"):
        Match.load(tmp_path / "x.npz")


def test_an_interrupted_save_leaves_the_old_file(found: Match, tmp_path: Path) -> None:
    path = found.save(tmp_path / "match.json")
    before = path.read_bytes()
    broken = Match(**{**vars(found), "provenance": {"not": object()}})
    with pytest.raises(TypeError, match="a header holds JSON only, found object"):
        broken.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_calls_are_refused(found: Match) -> None:
    sim = Similarity.from_dense(SCORES)
    with pytest.raises(UniversalityError, match="unknown method 'greedy'; choose one of hungarian, mutual, nearest"):
        match(sim, method="greedy")  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="floor: expected a finite number or None, found nan"):
        match(sim, floor=float("nan"))
    with pytest.raises(UniversalityError, match="unknown solver 'greedy'; choose one of auto, sparse, dense"):
        match(sim, solver="greedy")  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="an exact assignment of 4 x 4 features takes about 1,536 bytes"):
        match(sim, memory_budget=100)
    with pytest.raises(UniversalityError, match="forbidden pairs and a start are for method='hungarian', not 'mutual'"):
        match(sim, method="mutual", forbidden=([0], [0]))
    with pytest.raises(UniversalityError, match=r"forbidden: expected \(rows, cols\), .* found int64 of shape \(2,\)"):
        match(sim, forbidden=([0, 1], [0]))
    with pytest.raises(UniversalityError, match="forbidden: columns from 0 to 3 exist, found 4 to 4"):
        match(sim, forbidden=([0], [4]))
    assert match(sim, method="mutual", memory_budget=100).rows.size == 1


def test_prices_and_rounds_travel_with_a_match(plant: Planted, tmp_path: Path) -> None:
    sim = Similarity.activation(plant.a, plant.b)
    m = match(sim, solver="sparse")
    assert m.rounds >= 1
    assert m.n_edges > m.rows.size
    back = Match.load(m.save(tmp_path / "m.npz"))
    assert (back.rounds, back.n_edges) == (m.rounds, m.n_edges)
    assert_array_equal(back.col_price, m.col_price)
    assert_array_equal(match(sim, start=back, solver="sparse").cols, m.cols)
    dense = match(sim, solver="dense")
    assert dense.col_price is None
    assert_allclose(dense.scores.sum(), m.scores.sum())


def test_one_store_twice_is_matched_to_itself_and_said(plant: Planted) -> None:
    for method in ("hungarian", "mutual"):
        m = match(Similarity.activation(plant.a, plant.a), method=method)  # type: ignore[arg-type]
        assert_array_equal(m.cols, m.rows)
        assert m.summary()["same_store"]
    assert not match(Similarity.activation(plant.a, plant.b)).summary()["same_store"]


@pytest.mark.parametrize(("given", "named"), [(SCORES, "ndarray"), (SCORES.tolist(), "list"), ("a.h5", "str")])
def test_what_is_no_similarity_is_refused_with_the_way_to_one(given: object, named: str) -> None:
    message = rf"expected a Similarity, found {named}; give an array of scores as match\(Similarity.from_dense\(array"
    with pytest.raises(TypeError, match=message):
        match(given)  # type: ignore[arg-type]
