"""Splits and merges by width."""

from universality.report.data import FamilyLevel, FamilyTable
from universality.report.figures import describe_splitting, splitting_factors
from universality.report.figures.saving import figure_bytes


def test_splitting_factors_show_every_step_of_every_model() -> None:
    levels = (
        FamilyLevel(512, 500, children_per_parent=2.5, tree_children_per_parent=1.5),
        FamilyLevel(1024, 1000, novel_share=0.2, absorbed_share=0.01, merge_rate=0.3, children_per_parent=2.0),
        FamilyLevel(2048, 2000, novel_share=0.1, merge_rate=0.4),
    )
    tables = [FamilyTable("A", levels), FamilyTable("B", levels[:2])]
    figure = splitting_factors(tables)
    drawn = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[0].lines}
    assert drawn["A, all edges"] == [[1024, 2.5], [2048, 2.0]]
    assert drawn["B, best parent only"] == [[1024, 1.5]]
    assert figure.axes[1].lines[0].get_xydata().tolist() == [[1024, 0.3], [2048, 0.4]]
    figure_bytes(figure)
    assert "A into 1,024: 2.50 children per parent, 30% merged, 20% novel" in describe_splitting(tables).alt


def test_one_width_has_nothing_to_split_into() -> None:
    figure = splitting_factors([FamilyTable("A", (FamilyLevel(512, 500),))])
    assert "one width only" in [text.get_text() for axes in figure.axes for text in axes.texts]
    assert "One width only" in describe_splitting([]).alt
    figure_bytes(splitting_factors([]))
