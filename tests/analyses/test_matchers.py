"""Peers' ways of matching, and how their pairs are judged, on worlds small enough to see through."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of the benchmarks on the path."""
    for folder in (BENCH / "peers", BENCH):
        monkeypatch.syspath_prepend(str(folder))


def test_all_ways_of_pairing_agree_with_the_whole_matrix(bench: None) -> None:
    import matcher

    scores = np.array([[0.9, 0.8, 0.0], [0.85, 0.1, 0.0], [0.7, 0.2, 0.1]])
    assert matcher.argmax(scores)[1].tolist() == [0, 0, 0]
    assert sorted(zip(*matcher.greedy(scores)[:2], strict=True)) == [(0, 0), (1, 2), (2, 1)]
    assert matcher.hungarian(scores)[1].tolist() == [1, 0, 2]  # the largest sum, which greedy misses
    assert matcher.greedy(scores)[2].sum() < matcher.hungarian(scores)[2].sum()


def test_dense_ways_find_the_pairs_of_ours_and_a_shuffled_text_has_none(bench: None, tmp_path: Path) -> None:
    import matcher
    import matchers
    from scipy import sparse

    truth = matchers.activations(tmp_path, 6000, 64)
    found = {one.matcher: one.pairs for way in ("exact", "streamed", "corrcoef") for one in matcher.WAYS[way](tmp_path)}
    rows, cols, scores = found["universality, exact"]
    exact = set(zip(rows.tolist(), cols.tolist(), strict=True))
    for name in ("dense batches, hungarian", "numpy.corrcoef, hungarian"):
        assert set(zip(*(end.tolist() for end in found[name][:2]), strict=True)) == exact
        np.testing.assert_allclose(found[name][2], scores, atol=1e-5)
    judged = truth.judge({"rows": rows, "cols": cols, "scores": scores}, exact)
    assert judged["planted found"] == judged["as exact"] == "100.0%"
    assert (judged["wrong"], judged["of them wrong"]) == ("50.0%", "0")
    b = sparse.load_npz(tmp_path / "b.npz")
    sparse.save_npz(tmp_path / "b.npz", b[np.random.default_rng(0).permutation(b.shape[0])])
    shuffled = next(found.pairs for found in matcher.streamed(tmp_path))
    judged = truth.judge(dict(zip(("rows", "cols", "scores"), shuffled, strict=True)), set())
    assert judged["pairs >= 0.5"] == "0"
    assert float(judged["planted found"].rstrip("%")) < 20


def test_truth_knows_split_concepts_and_dead_features(bench: None) -> None:
    import matchers

    alive = np.array([True, True, True, False])
    truth = matchers.Truth(np.array([0, 1, 2, 3]), np.array([0, 1, 1, 3]), alive, alive)
    assert truth.n_planted == 2  # 2 is A's alone, 3 never fires
    pairs = {"rows": np.array([0, 1, 2]), "cols": np.array([0, 2, 1]), "scores": np.array([0.9, 0.6, 0.3])}
    judged = truth.judge(pairs, {(0, 0), (1, 1)})
    assert (judged["planted found"], judged["wrong"], judged["as exact"]) == ("100.0%", "33.3%", "33.3%")
    assert (judged["pairs >= 0.5"], judged["of them wrong"]) == ("2", "0")


def test_a_limit_is_told_from_a_failure(bench: None) -> None:
    import matchers

    limits = matchers.Limits(memory=0.5, seconds=3)

    def ended(code: int, message: str = "") -> str:
        return matchers.outcome(subprocess.CompletedProcess(["matcher"], code, "", message), limits)

    assert ended(0) == ""
    assert ended(-signal.SIGXCPU) == "stopped: more than 3 s"
    assert ended(1, "numpy._core._exceptions._ArrayMemoryError: Unable to allocate") == "stopped: more than 0.5 GiB"
    with pytest.raises(SystemExit, match=r"failed:\nKeyError"):
        ended(1, "KeyError")


@pytest.mark.slow
def test_memory_and_time_of_a_way_are_limited_for_real(bench: None, tmp_path: Path) -> None:
    import matchers

    matchers.decoders(tmp_path, 4096)
    python, roomy = Path(sys.executable), matchers.Limits(memory=2, seconds=60)
    found, reason = matchers.measured("cosine", python, tmp_path, roomy)
    assert (len(found), reason) == (3, "")
    assert found[0]["peak"] > 4096**2 * 4 / 2**30
    tight = matchers.Limits(memory=0.05, seconds=60)
    assert matchers.measured("cosine", python, tmp_path, tight) == ([], "stopped: more than 0.05 GiB")
