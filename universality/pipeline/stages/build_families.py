"""The stage ``families``: the graph that links one model's features across dictionary sizes."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from universality.config import Config
from universality.execution import connected
from universality.pipeline.paths import RunFolder
from universality.pipeline.study import family_stores, matching_device
from universality.pipeline.task import Task

if TYPE_CHECKING:
    from universality.sae.training.distributed import Ranks

STAGE, VERSION = "families", 2


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return one task a model; none where the study has a single width."""
    return [
        Task(
            f"{STAGE}/{name}",
            [config.families.as_dict(), *family_stores(config, name)],
            (f"collect/{name}",),
            partial(make_families, config, folder, name),
            VERSION,
        )
        for name in config.models.names
        if len(config.saes.widths_for(name)) > 1
    ]


def make_families(config: Config, folder: RunFolder, name: str) -> list[Path]:
    """Write the family graph of one model's dictionaries across the widths."""
    from universality.family import families
    from universality.features import FeatureStore

    (folder.root / "families").mkdir(exist_ok=True)
    f = config.families
    with connected(config.scheduler) as executor, ExitStack() as stack:
        # Families read features again and again, so all stores stay open.
        stores, reseeded = (
            [stack.enter_context(FeatureStore.open(folder.store(name, width, seed))) for width, seed in dictionaries]
            for dictionaries in family_stores(config, name)
        )
        grown = families(
            stores,
            reseeded=reseeded,
            min_coverage=f.min_coverage,
            min_masked_cosine=f.min_masked_cosine,
            min_decoder_cosine=f.min_decoder_cosine,
            min_recovered=f.min_recovered,
            min_firings=f.min_firings,
            n_replicates=f.replicates,
            bootstrap=f.bootstrap,
            seed=config.statistics.seed,
            executor=executor,
            device=matching_device(config),
        )
        return [grown.save(folder.families(name))]
