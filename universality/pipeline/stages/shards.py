"""Stores collected by several processes: each a shard of the token blocks, joined afterwards."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from universality.activations import Site
from universality.activations.site import BATCH_BLOCKS
from universality.corpus import TokenBlocks
from universality.features import concatenate
from universality.features.collection import collect
from universality.models.unembedding import Unembedding
from universality.sae import SAE
from universality.sae.training.distributed import Ranks, shard


def collect_together(
    site: Site,
    stores: Mapping[str | Path, SAE | None],
    blocks: TokenBlocks,
    unembedding: Unembedding | None,
    ranks: Ranks,
    **rows: Any,
) -> None:
    """`collect` by all ranks; each joins some of the stores. The contents are those of one process.

    ``rows`` are ``common``, ``pool`` and ``basis`` of `collect`.
    """
    if ranks.size == 1:
        collect(site, stores, blocks, unembedding=unembedding, overwrite=True, resume=True, **rows)
        return
    paths = [Path(path) for path in stores]
    folders = [paths[0].parent / f".rank{rank}" for rank in range(ranks.size)]
    parts = [
        range(len(blocks))[shard(len(blocks), BATCH_BLOCKS, Ranks(rank, ranks.size))] for rank in range(ranks.size)
    ]
    mine, part = folders[ranks.rank], parts[ranks.rank]
    shutil.rmtree(mine, ignore_errors=True)
    mine.mkdir()
    if len(part):
        here: dict[str | Path, SAE | None] = {mine / Path(path).name: sae for path, sae in stores.items()}
        collect(site, here, blocks, unembedding=unembedding, part=part, **rows)
    ranks.wait()
    filled = [folder for folder, part in zip(folders, parts, strict=True) if len(part)]
    for path in paths[ranks.rank :: ranks.size]:
        concatenate([folder / path.name for folder in filled], path, overwrite=True).close()
    ranks.wait()
    shutil.rmtree(mine)
