"""Whether each model has its hook and reads whole blocks, from its configuration alone: before text is read."""

from dataclasses import replace
from pathlib import Path

from universality.config import Config
from universality.errors import ModelError
from universality.files import read_json
from universality.hub import cached_folder, fetch_config, repository
from universality.models.shipped import model_folder
from universality.pipeline.stages.model_sites import by_source, can_run_models


def check_hooks(config: Config, download: bool = False) -> None:
    """Refuse hooks that a model does not have, or that hold nothing of a single token, and blocks longer than it reads.

    Models whose configuration is not at hand, and those that cannot be built without weights, are not checked.

    Parameters
    ----------
    download
        Whether a configuration on the hub may be fetched; a few kB.

    Raises
    ------
    ModelError
        Naming the model, its hook and the nearest hooks; or that there is no such model.
    MismatchError
        If a model reads fewer positions than ``corpus.n_ctx``.
    """
    if not can_run_models():  # activations are read from a cache, whose names say at which hook they were taken
        return
    from universality.activations.model_site import ModelSite, check_positions
    from universality.models.weightless import outline_of, outline_to_train, positions_of

    for together in by_source(config, config.models.names):
        name = together[0]
        if name in config.models.train:
            model = outline_to_train(config.models.architecture, name)
        else:
            folder = _folder(config.models.load[name], download)
            if folder is None:
                continue
            if repository(config.models.load[name]) is None:  # what a hub's cache lacks is fetched later
                _check_shards(folder)
            found = outline_of(folder, name)
            if found is None:
                continue
            model = found
            check_positions(name, positions_of(folder, found), config.corpus.n_ctx)
        for one in together:
            site = ModelSite(replace(model, name=one), config.hooks[one])
            _ = site.d_in


def _check_shards(folder: Path) -> None:
    """Refuse a folder that lacks one of the weight files which its index names."""
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


def _folder(source: str, download: bool) -> Path | None:
    repo = repository(source)
    if repo is None:
        return model_folder(source)
    return fetch_config(repo) if download else cached_folder(repo)
