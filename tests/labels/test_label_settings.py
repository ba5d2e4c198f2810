"""Settings of labels are checked when they are made."""

from typing import Any

import pytest

from universality.errors import ConfigError
from universality.labels import LabelSettings


def test_the_numbers_of_the_study() -> None:
    settings = LabelSettings()
    assert (settings.n_explaining, settings.n_scoring, settings.width) == (49, 60, 9)
    assert LabelSettings(per_interval=0, explain_other=0).n_explaining == 15


def test_lists_become_tuples_as_a_configuration_gives_them() -> None:
    assert LabelSettings(scores=["fuzzing"]).scores == ("fuzzing",)  # type: ignore[arg-type]
    assert LabelSettings(scores=("fuzzing",)).as_dict()["scores"] == ["fuzzing"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scores": ("simulation", "simulation")}, "scores must be among simulation, detection, fuzzing, each once"),
        ({"scores": ("guessing",)}, "scores must be simulation or detection or fuzzing, found 'guessing'"),
        ({"scores": ()}, "scores must hold at least 1"),
        ({"explain_top": 0}, "explain_top must be at least 1"),
        ({"before": -1}, "before must be at least 0"),
        ({"level": 1.0}, "level must be more than 0 and less than 1"),
        ({"min_answered": 1.5}, "min_answered must be at least 0 and at most 1"),
        ({"examples_a_prompt": 2.5}, "examples_a_prompt must be a whole number"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LabelSettings(**values)
