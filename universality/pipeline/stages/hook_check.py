"""Check from configurations alone that each model has its hook and reads whole blocks."""

from dataclasses import replace
from pathlib import Path

from universality.config import Config
from universality.errors import ModelError
from universality.files import read_json
from universality.hub import cached_folder, fetch_config, repository
from universality.models.shipped import model_folder
from universality.pipeline.stages.model_sites import by_source, can_run_models
from universality.pipeline.study import hook_settings


def check_hooks(config: Config, download: bool = False) -> None:
    """Refuse hooks that a model lacks or that hold no vector a token, and blocks longer than it reads.

    Models whose configuration is not available, and those that cannot be built without weights, are not checked.

    Parameters
    ----------
    download
        Whether a configuration may be fetched from the hub; it has a few kB.

    Raises
    ------
    ModelError
        If a model lacks its hook, with the nearest hooks, or does not exist.
    MismatchError
        If a model reads fewer positions than ``corpus.n_ctx``.
    """
    if not can_run_models():  # activations are read from a cache, whose names say at which hook they were taken
        return
    from universality.activations.model_site import ModelSite, check_positions
    from universality.models.weightless import outline_of, outline_to_train, positions_of

    for names in by_source(config, config.models.names):
        name = names[0]
        if name in config.models.train:
            model = outline_to_train(config.models.architecture, name)
        else:
            folder = config_folder(config.models.load[name], download)
            if folder is None:
                continue
            if repository(config.models.load[name]) is None:  # weights that a hub's cache lacks are fetched later
                _check_shards(folder)
            outline = outline_of(folder, name)
            if outline is None:
                continue
            model = outline
            check_positions(name, positions_of(folder, outline), config.corpus.n_ctx)
        for each in names:
            for hook in hook_settings(config, each):
                _ = ModelSite(replace(model, name=each), hook).d_in  # raises where the hook holds no vector


def _check_shards(folder: Path) -> None:
    """Refuse a folder that lacks a weight file which its index names."""
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        return
    named = sorted(set(read_json(index).get("weight_map", {}).values()))
    missing = [file for file in named if not (folder / file).is_file()]
    if missing:
        raise ModelError(
            f"{folder}: {', '.join(missing[:3])} missing ({len(missing)} of {len(named)} weight files that "
            f"{index.name} names); copy the folder again"
        )


def config_folder(source: str, download: bool = False) -> Path | None:
    """Return the folder with a model's ``config.json``; None for a model of the hub that is not in the cache.

    Parameters
    ----------
    download
        Whether it may be fetched from the hub, without weights.

    Raises
    ------
    ModelError
        If there is no such model, or the hub does not give it.
    """
    repo = repository(source)
    if repo is None:
        return model_folder(source)
    return fetch_config(repo) if download else cached_folder(repo)
