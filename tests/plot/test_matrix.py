"""The heat map shows the scores of the features asked for, and reads no others."""

import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from universality import FeatureStore, Similarity, match, plot
from universality.corpus.tokenizer import STARTER_TOKENIZER, load_tokenizer
from universality.errors import UniversalityError
from universality.features.storage import store as store_module
from universality.plot import labels as labels_module
from universality.statistics import Calibration
from universality.statistics.synthetic import Planted


def drawn(axes: Any) -> np.ndarray:
    return np.ma.filled(axes.images[0].get_array(), np.nan)


def test_stores_and_their_similarity_give_the_same_cells(planted: Planted) -> None:
    rows, cols = [3, 0, 8], [5, 5, 1]
    similarity = Similarity.activation(planted.a, planted.b)
    expected = similarity.block(rows)[:, cols]
    axes = Figure().subplots()
    assert plot.heatmap((planted.a, planted.b), rows=rows, cols=cols, ax=axes) is axes
    assert_allclose(drawn(axes), expected, atol=1e-12)
    assert_allclose(drawn(plot.heatmap(similarity, rows=rows, cols=cols)), expected, atol=1e-12)
    assert [text.get_text() for text in axes.get_yticklabels()] == ["3", "0", "8"]
    assert axes.get_ylabel() == f"features of {planted.a.path.stem}"
    axes.figure.draw_without_rendering()


def test_a_calibration_s_pairs_are_on_the_diagonal_with_their_held_out_scores(
    planted: Planted, calibration: Calibration
) -> None:
    axes = plot.heatmap((planted.a, planted.b), matching=calibration, n=10)
    chosen = calibration.by_quality()[np.linspace(0, calibration.match.rows.size - 1, 10).round().astype(int)]
    assert_allclose(np.diag(drawn(axes)), calibration.held_out[chosen], atol=1e-12)
    assert axes.get_title(loc="left") == f"10 evenly spaced of {calibration.match.rows.size} pairs"
    assert axes.figure.axes[1].get_ylabel() == "activation r, held out"
    best = plot.heatmap((planted.a, planted.b), matching=calibration, n=4, which="best", colorbar=False)
    assert best.get_title(loc="left").startswith("the best 4 of")
    assert len(best.figure.axes) == 1
    assert np.diag(drawn(best)).min() > np.median(np.abs(drawn(axes)))


def test_a_match_shows_all_tokens_and_all_pairs_where_there_are_few(planted: Planted) -> None:
    similarity = Similarity.activation(planted.a, planted.b)
    matched = match(similarity)
    axes = plot.heatmap(similarity, matching=matched, n=1000)
    assert_allclose(np.diag(drawn(axes)), np.sort(matched.scores)[::-1], atol=1e-12)
    assert axes.get_title(loc="left") == f"all {matched.rows.size} pairs"
    assert axes.figure.axes[1].get_ylabel() == "activation"


def test_what_has_no_score_is_grey(planted: Planted, calibration: Calibration) -> None:
    dead = Similarity.from_dense([[0.5, 0.0], [0.0, 0.0]], dead_rows=[False, True])
    assert_array_equal(np.isnan(drawn(plot.heatmap(dead, rows=[0, 1], cols=[0, 1]))), [[False] * 2, [True] * 2])
    settings = calibration.settings | {"min_firings": 10**6}
    strict = replace(calibration, settings=settings)
    assert np.isnan(drawn(plot.heatmap((planted.a, planted.b), matching=strict, n=5))).all()


def test_only_the_features_drawn_are_read(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    spans, real = [], store_module.read_span

    def watched(path: Path, group: Any, start: int, stop: int, n_minor: int) -> Any:
        spans.append((group.name, stop - start))
        return real(path, group, start, stop, n_minor)

    monkeypatch.setattr(store_module, "read_span", watched)
    with FeatureStore.open(planted.a.path) as a, FeatureStore.open(planted.b.path) as b:
        plot.heatmap((a, b), rows=[0, 39], cols=[2, 39])
    assert {name for name, _ in spans} == {"/by_feature"}
    assert sum(width for _, width in spans) == 4


def test_labels_are_the_tokens_where_they_can_be_decoded(planted: Planted) -> None:
    def decode(ids: list[int]) -> list[str]:
        return [f" $w{i}" for i in ids]

    axes = plot.heatmap((planted.a, planted.b), rows=[3], cols=[5], decode=decode)
    (label,) = [text.get_text() for text in axes.get_yticklabels()]
    assert label.startswith("\u200e3 ␣$w"), "no mathematics from a dollar sign"
    axes.figure.draw_without_rendering()
    given = plot.heatmap((planted.a, planted.b), rows=[3], cols=[5], labels=(["x"], ["y"]), names=("M", "N"))
    assert [text.get_text() for text in given.get_xticklabels()] == ["y"]
    assert given.get_xlabel() == "features of N"


def overlapping(axes: Any) -> int:
    """Count pairs of neighbouring labels that overlap, on both axes."""
    axes.figure.draw_without_rendering()
    boxes = [[text.get_window_extent() for text in axis.get_ticklabels()] for axis in (axes.xaxis, axes.yaxis)]
    return sum(one.overlaps(other) for side in boxes for one, other in pairwise(side))


@pytest.mark.parametrize("n", [4, 13, 40])
def test_labels_do_not_overlap_in_a_figure_of_the_default_size(n: int) -> None:
    similarity = Similarity.from_dense(np.eye(n))
    labels = [f"{i} _the _and_of" for i in range(n)]
    axes = plot.heatmap(similarity, rows=range(n), cols=range(n), labels=(labels, labels))
    assert overlapping(axes) == 0
    assert min(axes.bbox.size / axes.figure.bbox.size) > 0.5
    pyplot.close(axes.figure)
    small = Figure(figsize=(2, 2), layout="constrained").subplots()
    plot.heatmap(similarity, rows=range(n), cols=range(n), labels=(labels, labels), ax=small)
    assert bool(overlapping(small)) == (n > 4)


def test_the_tokenizer_of_the_run_is_found(tmp_path: Path, planted: Planted) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "corpus").mkdir()
    shutil.copy(STARTER_TOKENIZER, tmp_path / "corpus" / "tokenizer.json")
    columns = {"token": [5, 6], "document": [0, 0], "position": [1, 2], "kind": ["k", "k"]}
    tokenizer = load_tokenizer("starter")
    for name, recorded in (("ours", tokenizer.hash), ("other", "0" * 64)):
        writer = FeatureStore.create(tmp_path / "features" / f"{name}.h5", 1, {"tokenizer_hash": recorded})
        writer.append(sparse.csr_matrix(np.array([[1.0], [0.0]], np.float32)), **columns)
        with writer.finish() as store:
            decode = labels_module.decoder_of_run(store)
        assert (decode is not None) == (name == "ours")
        if decode is not None:
            assert decode([5, 10**6]) == [tokenizer.token_texts[5], "<|1000000|>"]


def test_what_cannot_be_drawn_is_refused(planted: Planted) -> None:
    similarity = Similarity.from_dense(np.eye(3))
    matched = match(similarity)
    for arguments, said in (
        ({"rows": [0]}, r"expected rows=\[…\] and cols=\[…\], or matching=…"),
        ({"rows": [0], "cols": [0], "matching": matched}, "give rows and cols, or matching, not both"),
        ({"matching": matched, "n": 0}, "expected n >= 1 and which 'spaced' or 'best', found n=0"),
        ({"matching": matched, "which": "worst"}, "found n=30, which='worst'"),
        ({"rows": [0], "cols": [0], "labels": (["a", "b"], ["c"])}, "expected 1 labels for 1 features, found 2"),
        ({"rows": [7], "cols": [0]}, "row indices from 0 to 2 exist, found 7 to 7"),
    ):
        with pytest.raises(UniversalityError, match=said):
            plot.heatmap(similarity, **arguments)  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="features from 0 to 39 exist, found 99 to 99"):
        plot.heatmap((planted.a, planted.b), rows=[99], cols=[0])
