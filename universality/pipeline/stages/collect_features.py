"""The stage ``collect``: which features fire on which held-out tokens, one store for each SAE."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from universality.arrays import evenly_spaced
from universality.config import Config
from universality.errors import MismatchError
from universality.pipeline.open_stores import OpenStores, about_file
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import basis_of, blocks_of, cached_dtype, make_sites, sites_out
from universality.pipeline.study import basis_settings, hook_settings, sae_grid
from universality.pipeline.task import Task

if TYPE_CHECKING:
    from universality.activations import Site
    from universality.corpus import TokenBlocks
    from universality.models.unembedding import Unembedding
    from universality.sae import SAE
    from universality.sae.training.distributed import Ranks

STAGE, VERSION = "collect", 3


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return one task a model; with a shared basis it depends on all models, whose hashes name that basis."""
    names = config.models.names
    features = config.features.model_dump(exclude=set() if config.models.tokenizers else {"pool"})
    grid, basis = [list(item) for item in sae_grid(config)], basis_settings(config)
    return [
        Task(
            f"{STAGE}/{name}",
            [
                *hook_settings(config, name),
                features,
                [item for item in grid if item[0] == name],
                cached_dtype(config),
                *basis,
            ],
            ("corpus", *(f"train-models/{model}" for model in (names if basis else [name])), "train-saes"),
            partial(make_features, config, folder, name, ranks),
            VERSION,
            together=True,
        )
        for name in names
    ]


def make_features(config: Config, folder: RunFolder, name: str, ranks: Ranks | None = None) -> list[Path]:
    """Write the stores of one model: every SAE's features on held-out documents, and the neurons on some.

    Raises
    ------
    MismatchError
        If an SAE was trained on other weights than those of the model.
    """
    from universality.corpus import TokenBlocks
    from universality.sae import SAE
    from universality.sae.training.distributed import Ranks

    ranks = ranks or Ranks()
    blocks = blocks_of(config, folder, name)
    site = make_sites(config, folder, [name])[name]
    common = TokenBlocks.load(folder.blocks).select("choose", "report") if config.models.tokenizers else None
    unembedding = model_unembedding(config, folder, name, site, blocks.select("train"))
    out = sites_out(config, folder, {name: site}).get(name)
    rows: dict[str, Any] = {
        "common": common,
        "pool": config.features.pool,
        "basis": basis_of(config, folder, (out or site).hook, config.hooks_written),
        "site_out": out,
    }
    held_out = blocks.select("choose", "report")
    saes: dict[str | Path, SAE | None] = {
        folder.store(name, width, seed): SAE.load(folder.sae(name, width, seed))
        for owner, width, seed in sae_grid(config)
        if owner == name
    }
    for path, sae in saes.items():
        if sae is not None and not config.saes.load:  # loaded SAEs were checked when they were copied into the run
            _check_trained_on(path, sae, site)
    (folder.root / "features").mkdir(exist_ok=True)
    collect_together(site, saes, held_out, unembedding, ranks, **rows)
    files = [Path(path) for path in saes]
    share = config.features.neuron_documents
    if share:
        part = np.flatnonzero(np.isin(held_out.document, sample_documents(held_out, share)))
        rows |= {"common": None if common is None else common.take(part), "site_out": None}
        rows["basis"] = basis_of(config, folder, site.hook, config.hooks)
        collect_together(site, {folder.neurons(name): None}, held_out.take(part), unembedding, ranks, **rows)
        files.append(folder.neurons(name))
    with OpenStores() as stores:
        for path in files[ranks.rank :: ranks.size]:
            stores.described(path)
    ranks.wait()
    files += [about_file(path) for path in files]
    sidecar = folder.root / "features" / unembedding.file_name
    return [*files, sidecar] if sidecar.exists() else files  # absent where the site writes nothing to the logits


def model_unembedding(config: Config, folder: RunFolder, name: str, site: Site, train: TokenBlocks) -> Unembedding:
    """Read a model's unembedding, with the strings of its vocabulary where the corpus is text."""
    from universality.corpus import load_tokenizer
    from universality.models.vocabulary import Vocabulary

    unembedding = site.unembedding(train, config.features.min_token_count)
    tokenizer = folder.own_tokenizer(name) if config.models.tokenizers else folder.tokenizer
    if not tokenizer.is_file():  # the corpus is a .npy of token ids
        return unembedding
    return replace(unembedding, vocabulary=Vocabulary.of(load_tokenizer(tokenizer), train, unembedding.d_vocab))


def _check_trained_on(store: str | Path, sae: SAE, site: Any) -> None:
    """Refuse an SAE of this run that was trained on other weights than those of the site's model."""
    recorded = (sae.metadata.get("model") or {}).get("hash")
    if recorded not in (None, site.model_hash):
        raise MismatchError(
            f"{store}: its SAE was trained on model {recorded[:12]}, and the model {site.name!r} now has hash "
            f"{site.model_hash[:12]}; its files have changed since. Delete the run's saes folder, and they are trained "
            "anew"
        )


def sample_documents(held_out: TokenBlocks, share: float) -> NDArray[np.int64]:
    """Sample documents of each half, spread evenly; at least two, since a single one cannot be re-paired.

    Parameters
    ----------
    share
        Share of each half's documents, from 0 to 1.
    """
    halves = (np.unique(held_out.select(split).document) for split in ("choose", "report"))
    return np.concatenate([half[evenly_spaced(len(half), max(2, round(share * len(half))))] for half in halves])


def collect_together(
    site: Site,
    stores: Mapping[str | Path, SAE | None],
    blocks: TokenBlocks,
    unembedding: Unembedding | None,
    ranks: Ranks,
    **rows: Any,
) -> None:
    """Run `collect` on all ranks: each reads a shard of the blocks, then joins the shards of some stores.

    The contents are those of one process. ``rows`` are ``common``, ``pool``, ``basis`` and ``site_out`` of `collect`.
    """
    from universality.activations.site import BATCH_BLOCKS
    from universality.features import concatenate
    from universality.features.collection import collect
    from universality.sae.training.distributed import Ranks, shard

    if ranks.size == 1:
        collect(site, stores, blocks, unembedding=unembedding, overwrite=True, resume=True, **rows)
        return
    paths = [Path(path) for path in stores]
    folders = [paths[0].parent / f".rank{rank}" for rank in range(ranks.size)]
    # Shards end at whole batches, so that every model call sees the blocks that one process would give it.
    parts = [
        range(len(blocks))[shard(len(blocks), BATCH_BLOCKS, Ranks(rank, ranks.size))] for rank in range(ranks.size)
    ]
    shard_folder, part = folders[ranks.rank], parts[ranks.rank]
    shutil.rmtree(shard_folder, ignore_errors=True)
    shard_folder.mkdir()
    if len(part):
        shards: dict[str | Path, SAE | None] = {shard_folder / Path(path).name: sae for path, sae in stores.items()}
        collect(site, shards, blocks, unembedding=unembedding, part=part, **rows)
    ranks.wait()
    filled = [folder for folder, part in zip(folders, parts, strict=True) if len(part)]
    for path in paths[ranks.rank :: ranks.size]:
        concatenate([folder / path.name for folder in filled], path, overwrite=True).close()
    ranks.wait()  # until then the others read this rank's shards
    shutil.rmtree(shard_folder)
