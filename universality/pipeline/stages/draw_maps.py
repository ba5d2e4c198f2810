"""The stage ``map``: features of the widest dictionaries as points, of each and of every two that are compared."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from universality.config import Config
from universality.execution import connected
from universality.export import write_csv
from universality.pipeline.paths import RunFolder
from universality.pipeline.study import Comparison, comparisons
from universality.pipeline.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from universality.sae.training.distributed import Ranks

STAGE, VERSION = "map", 2


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return one task a dictionary and one a comparison, of those at the largest width; none without ``map.draw``."""
    if not config.map.draw:
        return []
    compared = [c for c in comparisons(config, folder) if c.of in ("models", "seeds") and c.level == 0]
    owners = {path: model for c in compared for path, model in zip((c.a, c.b), c.models, strict=True)}
    layout = [config.map.neighbours, config.map.min_dist, config.statistics.seed]
    s = config.statistics
    single = [
        Task(f"{STAGE}/{path.stem}", layout, (f"collect/{model}",), partial(make_map, config, folder, path), VERSION)
        for path, model in owners.items()
    ]
    return single + [
        Task(
            f"{STAGE}/{comparison.name}",
            [*layout, s.alpha, s.min_firings, s.n_strata],
            sorted({f"collect/{name}" for name in comparison.models}),
            partial(make_joint_map, config, folder, comparison),
            VERSION,
        )
        for comparison in compared
    ]


def make_map(config: Config, folder: RunFolder, store: Path) -> list[Path]:
    """Draw the map of one dictionary by decoder directions, and write it with its table."""
    from universality.features import FeatureStore
    from universality.maps import feature_map

    with FeatureStore.open(store) as opened:
        rows, alive = opened.decoder_rows(), opened.alive
    made = feature_map(rows, alive, config.map.neighbours, config.map.min_dist, config.statistics.seed)
    target = folder.map(store.stem)
    target.parent.mkdir(exist_ok=True)
    return [made.save(target), _write_table(made.to_frame(), target)]


def make_joint_map(config: Config, folder: RunFolder, comparison: Comparison) -> list[Path]:
    """Draw the map of two dictionaries, and write it with its table."""
    from universality.features import FeatureStore
    from universality.maps import joint_map

    s = config.statistics
    with (
        FeatureStore.open(comparison.a) as a,
        FeatureStore.open(comparison.b) as b,
        connected(config.scheduler) as executor,
    ):
        made = joint_map(
            a, b, n_neighbours=config.map.neighbours, min_dist=config.map.min_dist, alpha=s.alpha,
            min_firings=s.min_firings, n_strata=s.n_strata, seed=s.seed, executor=executor,
        )  # fmt: skip
    target = folder.map(comparison.name)
    target.parent.mkdir(exist_ok=True)
    return [made.save(target), _write_table(made.to_frame(), target)]


def _write_table(frame: pd.DataFrame, target: Path) -> Path:
    return write_csv(frame, target.parent / f"{target.name.removesuffix('.npz')}.csv", float_format="%.4f")
