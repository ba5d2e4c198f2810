"""Families of a run: one task a model, and graphs over all widths."""

from pathlib import Path

import pytest
from run_commands import SMOKE

from universality.config import load_config
from universality.family import Families
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.build_families import tasks


@pytest.mark.parametrize(("widths", "names"), [("[32, 64]", ["families/A", "families/B"]), ("[64]", [])])
def test_each_model_of_several_widths_has_a_task(widths: str, names: list[str], tmp_path: Path) -> None:
    made = tasks(load_config(SMOKE, [f"saes.widths={widths}"]), RunFolder(tmp_path))
    assert [task.name for task in made] == names
    assert [task.after for task in made] == [(f"collect/{name[-1]}",) for name in names]


def test_the_graph_of_a_model_has_every_feature_of_every_width(finished: Path) -> None:
    graph = Families.load(RunFolder(finished).families("A")).graph
    widths = [width for _, width in graph.nodes(data="width")]
    assert {width: widths.count(width) for width in set(widths)} == {32: 32, 64: 64, 128: 128}
