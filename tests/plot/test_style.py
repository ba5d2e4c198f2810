"""Names in figures."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from universality.plot.firing_rates import DensitySample
from universality.plot.matched_share import CoverageCurve
from universality.plot.style import _advance, drawable, drawable_names
from universality.plot.training_log import TrainingCurve
from universality.report import ConceptRow, figures, sample
from universality.report.data import FamilyLevel, FamilyTable
from universality.report.figures.coverage import quality_against_coverage

WIDEST = "W" * 70
SHORT, LONG = ("A", "B"), (f"one-{WIDEST}-first", f"one-{WIDEST}-second")
KINDS = {"short": [f"kind {i}" for i in range(6)], "long": [f"{i}-{WIDEST}-of-{i} שלום" for i in range(6)]}
DRAW = np.random.default_rng(0)


def rooms(figure: Figure) -> list[float]:
    """Share of the figure's width that each panel has; the figure is laid out first, which warns where it cannot."""
    figure.draw_without_rendering()
    return [axes.get_position().width for axes in figure.axes]


def concepts(kinds: list[str], names: tuple[str, str]) -> Figure:
    rows = [
        ConceptRow(kind=kind, n_tokens=9, feature=i, f1=0.7, held_out=0.1 * i, ci_low=0.0, ci_high=0.9, n_groups=3)
        for i, kind in enumerate(kinds)
    ]
    return figures.concept_dots(rows, names)


def icicle(kinds: list[str], names: tuple[str, str]) -> Figure:
    n = len(kinds)
    nodes = pd.DataFrame({"level": 0, "feature": range(n), "width": n, "kind": kinds, "status": "root"})
    edges = pd.DataFrame(columns=["parent_width", "parent", "child_width", "child", "in_tree"]).astype(
        {"in_tree": bool}
    )
    return figures.family_icicle(nodes, edges)


def heatmap(kinds: list[str], names: tuple[str, str]) -> Figure:
    return figures.matched_heatmap(figures.MatchedMatrix(np.eye(4), np.eye(2), 4, names))


def clustered(kinds: list[str], names: tuple[str, str]) -> Figure:
    return figures.clustered_heatmap(figures.MatchedMatrix(np.eye(4), np.eye(2), 4, names))


def samples(names: tuple[str, str]) -> list[CoverageCurve]:
    return [sample("features", f"two SAE seeds of {name}", DRAW.random(40)) for name in names]  # type: ignore[misc]


def best_match(kinds: list[str], names: tuple[str, str]) -> Figure:
    return figures.best_match_distribution(samples(names))  # type: ignore[arg-type]


def coverage(kinds: list[str], names: tuple[str, str]) -> Figure:
    return quality_against_coverage([CoverageCurve.of(one) for one in samples(names)])  # type: ignore[arg-type]


def densities(kinds: list[str], names: tuple[str, str]) -> Figure:
    density = 10 ** DRAW.uniform(-4, -1, 64)
    return figures.feature_densities([DensitySample(n, w, density) for n in names for w in (64, 128, 256, 512)])


def splitting(kinds: list[str], names: tuple[str, str]) -> Figure:
    levels = tuple(FamilyLevel(width=w, eligible=w, children_per_parent=2.0, tree_children_per_parent=1.5,
                               merge_rate=0.1, novel_share=0.2, absorbed_share=0.1) for w in (64, 128))  # fmt: skip
    return figures.splitting_factors([FamilyTable(name, levels) for name in names])


def training(kinds: list[str], names: tuple[str, str]) -> Figure:
    runs = [f"{name}/w{width}-s0" for name in names for width in (64, 128, 256)]
    return figures.training_curves(
        [TrainingCurve(run, key, (1.0, 2.0), (0.1, 0.2)) for run in runs for key in ("loss", "l0")]
    )


def crosscoder(kinds: list[str], names: tuple[str, str]) -> Figure:
    return figures.relative_norms(DRAW.random(50), DRAW.random(50) > 0.5, DRAW.random(9), names)


@pytest.mark.parametrize(
    ("picture", "least"),
    [(concepts, 0.45), (icicle, 0.75), (heatmap, 0.8), (clustered, 0.9), (best_match, 0.65), (coverage, 0.9),
     (densities, 0.9), (splitting, 0.9), (training, 0.9), (crosscoder, 0.85)],
)  # fmt: skip
def test_long_names_leave_room(picture, least: float) -> None:  # type: ignore[no-untyped-def]
    short, long = rooms(picture(KINDS["short"], SHORT)), rooms(picture(KINDS["long"], LONG))
    for before, after in zip(short, long, strict=True):
        assert after >= least * before, f"{after:.2f} of the figure, {before:.2f} with short names"


@pytest.mark.parametrize("picture", [concepts, heatmap, clustered])
def test_long_names_of_axes_are_not_cut_off_by_the_figure(picture) -> None:  # type: ignore[no-untyped-def]
    figure = picture(KINDS["long"], LONG)
    figure.draw_without_rendering()
    for axes in figure.axes[:2]:
        for label in (axes.xaxis.label, axes.yaxis.label):
            box = label.get_window_extent()
            inside = figure.bbox
            assert inside.x0 <= box.x0
            assert box.x1 <= inside.x1
            assert inside.y0 <= box.y0
            assert box.y1 <= inside.y1


def test_long_kinds_leave_the_label_of_short_names_whole() -> None:
    figure = concepts(KINDS["long"], ("A", "__proto__"))
    figure.draw_without_rendering()
    assert figure.axes[0].xaxis.label.get_window_extent().x1 <= figure.bbox.x1


@pytest.mark.parametrize("picture", [best_match, coverage, densities, splitting, training, icicle])
def test_legends_name_what_begins_with_an_underscore(picture) -> None:  # type: ignore[no-untyped-def]
    figure = picture([f"_kind {i}" for i in range(6)], ("_a", "_b"))
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    said = " ".join(text.get_text() for legend in legends for text in legend.get_texts())
    for name in ("_kind 0", "_kind 5") if picture is icicle else ("_a", "_b"):
        assert name in said


def test_the_kinds_of_a_picture_stay_apart() -> None:
    figure = concepts([f"{WIDEST}{i}{WIDEST}" for i in range(6)], SHORT)
    said = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(said)) == 6


def test_the_middle_of_a_long_name_gives_way() -> None:
    text = "beginning" + WIDEST + "the end"
    cut = drawable(text, most=20)
    assert cut.startswith("begin")
    assert cut.endswith("the end")
    assert "…" in cut
    assert sum(map(_advance, cut)) <= 20
    assert drawable("A", most=20) == "A"
    widths = [sum(map(_advance, drawable(text, most=most))) for most in (6, 12, 24, 48)]
    assert all(less <= more for less, more in pairwise(widths))


def test_names_that_are_cut_alike_get_a_number() -> None:
    names = [f"a{'x' * 30}{i}{'x' * 30}z" for i in (0, 1, 0, 2)]
    cut = drawable_names(names, 10)
    assert cut[0] == cut[2]
    assert len(set(cut)) == 3
    assert cut[1].endswith(" 2")
    assert cut[3].endswith(" 3")
    assert sum(map(_advance, cut[3])) <= 10.5
