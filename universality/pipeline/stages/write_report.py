"""The stage ``report``: figures, the HTML page and its explorer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from universality.config import Config
from universality.pipeline.input_hashes import hashes_by_place
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages import build_families, draw_maps, match_features, measure_effects
from universality.pipeline.stored_labels import label_files, measured_files
from universality.pipeline.task import Task

if TYPE_CHECKING:
    from universality.sae.training.distributed import Ranks

STAGE, VERSION = "report", 10


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return the one task of this stage; it reads all other stages, and controls, crosscoder and labels if any."""
    names = config.models.names
    models, collected = [f"train-models/{name}" for name in names], [f"collect/{name}" for name in names]
    earlier = match_features, build_families, measure_effects, draw_maps
    results = [task.name for stage in earlier for task in stage.tasks(config, folder)]
    after = ("corpus", *models, "train-saes", *collected, *results, "export")
    # Controls, crosscoders and labels are made by commands of their own, so their files count as inputs, not as tasks.
    beside = [*(folder.root / "controls").glob("*.npz"), *(folder.root / "crosscoder").glob("features.csv")]
    beside += [*label_files(folder), *measured_files(folder)]
    inputs = hashes_by_place(sorted(beside))
    settings = [config.name, *inputs] if inputs else config.name
    return [Task(STAGE, settings, after, partial(_make_report, config, folder), VERSION)]


def _make_report(config: Config, folder: RunFolder) -> list[Path]:
    from universality.pipeline.reporting.report_pages import make_report  # matplotlib

    return make_report(config, folder)
