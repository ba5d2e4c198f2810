"""Models that are trained or loaded: what their tasks depend on, and how a hook's path to the logits is described."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from universality.config import Config, parse_config
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.train_models import _path_to_logits, tasks


def study(**values: object) -> Config:
    models = {"load": {"A": "starter/seed0"}, "train": {"B": {"init": 0, "order": 1}}}
    return parse_config({"models": models, **values})


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({}, []),
        ({"saes": {"quality_blocks": 3}}, ["train-models/A"]),  # the blocks on which a loaded model's loss is measured
        ({"hook": {"A": "blocks.0.mlp.hook_post", "B": "blocks.0.mlp.hook_pre"}}, ["train-models/B"]),
        ({"statistics": {"replicates": 9}}, []),
    ],
)
def test_a_model_depends_on_its_own_settings(change: dict[str, object], changed: list[str], tmp_path: Path) -> None:
    before, after = (tasks(config, RunFolder(tmp_path)) for config in (study(), study(**change)))
    assert [a.name for a, b in zip(after, before, strict=True) if a.settings != b.settings] == changed


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (None, "none: no direct path from the hook into the residual stream"),
        ((None, None, ""), "direct"),
        ((1, None, ""), "through the matrix behind the hook"),
        ((1, 1, "ln2_post"), "through the matrix behind the hook, times the gain of ln2_post, its scale held fixed"),
    ],
)
def test_the_path_to_the_logits_is_described(path: tuple[object, object, str] | None, said: str) -> None:
    fields = None if path is None else SimpleNamespace(weight=path[0], norm=path[1], norm_at=path[2])
    assert _path_to_logits(SimpleNamespace(path=fields)) == said  # type: ignore[arg-type]
