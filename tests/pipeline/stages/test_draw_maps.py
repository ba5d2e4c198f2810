"""The stage ``map`` draws each widest dictionary and every two that are compared, once."""

from pathlib import Path

import pandas as pd
from numpy.testing import assert_array_equal

from universality.config import load_config
from universality.maps import FeatureMap, JointMap
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.draw_maps import tasks

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"


def test_one_map_a_dictionary_and_a_comparison_at_the_largest_width() -> None:
    config = load_config(SMOKE)
    width = config.saes.widths[-1]
    made = tasks(config, RunFolder(Path("run")))
    assert [task.name for task in made] == [f"map/A.w{width}-s0", f"map/B.w{width}-s0", f"map/A-B.w{width}"]
    assert [list(task.after) for task in made] == [["collect/A"], ["collect/B"], ["collect/A", "collect/B"]]
    off = config.model_copy(update={"map": config.map.model_copy(update={"draw": False})})
    assert tasks(off, RunFolder(Path("run"))) == []


def test_a_run_has_maps_and_their_tables(finished: Path) -> None:
    folder = RunFolder(finished)
    width = load_config(finished / "config.yaml").saes.widths[-1]
    one, both = FeatureMap.load(folder.map(f"A.w{width}-s0")), JointMap.load(folder.map(f"A-B.w{width}"))
    assert len(one.xy) == len(both.xy_a) == len(both.xy_b) == width
    assert both.settings["within"] == "decoder"
    table = pd.read_csv(finished / "maps" / f"A-B.w{width}.csv")
    assert_array_equal(table["feature"], both.to_frame()["feature"])
    assert list(table) == ["side", "feature", "x", "y", "cluster", "best_r", "alone"]
