"""The study's models at their hooks: run on demand, or read from a cache without TransformerLens."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.config import Config
from universality.corpus.blocks import TokenBlocks
from universality.devices import choose_device
from universality.errors import MismatchError, ModelError
from universality.files import read_json
from universality.hub import repository
from universality.models.shipped import model_folder
from universality.pipeline.paths import RunFolder

if TYPE_CHECKING:
    from universality.models.language_model import LanguageModel
    from universality.sae.training.distributed import Ranks


def make_sites(config: Config, folder: RunFolder, names: list[str] | None = None) -> dict[str, Any]:
    """Return a `Site` for each model; with ``activations.cache`` set, harvest first what the cache lacks.

    Raises
    ------
    ModelError
        If the cache lacks a model and TransformerLens, which could run it, is not installed.
    """
    names = config.models.names if names is None else names
    if config.activations.cache is None:
        return live_sites(config, folder, names)
    return {name: _cached(config, folder, name, config.hooks[name]) for name in names}


def shared_sites(config: Config, folder: RunFolder, ranks: "Ranks") -> dict[str, Any]:
    """Run `make_sites` on every rank; the first alone harvests what a cache lacks, while the others wait."""
    if config.activations.cache is not None:
        if ranks.first:
            sites_out(config, folder, make_sites(config, folder))
        ranks.wait()
    return make_sites(config, folder)


def sites_out(config: Config, folder: RunFolder, sites: Mapping[str, Any]) -> dict[str, Any]:
    """Return, for those of the models that have transcoders, the model at the hook where these write."""
    written = {name: hook for name, hook in config.hooks_out.items() if name in sites}
    if config.activations.cache is not None:
        return {name: _cached(config, folder, name, hook) for name, hook in written.items()}
    return {name: at_hook(sites[name], hook) for name, hook in written.items()}


def at_hook(site: Any, hook: str) -> Any:
    """Return the loaded model of a site at another hook."""
    from universality.activations import ModelSite

    return ModelSite(site.model, hook)


def cached_dtype(config: Config) -> str | None:
    """Return the number format of cached activations; None where models are run instead."""
    return config.activations.dtype if config.activations.cache else None


def blocks_of(config: Config, folder: RunFolder, name: str) -> TokenBlocks:
    """Load the blocks in the tokens that a model reads."""
    return TokenBlocks.load(folder.own_blocks(name) if config.models.tokenizers else folder.blocks)


def live_site(config: Config, folder: RunFolder, name: str) -> Any:
    """Return a model that can be run, at the hook where its SAEs read."""
    return live_sites(config, folder, [name])[name]


def live_sites(
    config: Config, folder: RunFolder, names: list[str], load: "Callable[[str, int], LanguageModel] | None" = None
) -> dict[str, Any]:
    """Return models that can be run, at their hooks; names of one source share a model.

    Parameters
    ----------
    load
        Maps a source and its number among the distinct sources to the model; by default the model stored there.
    """
    from universality.activations import ModelSite
    from universality.models.language_model import load_model, move_model

    sites: dict[str, Any] = {}
    for number, (first, *others) in enumerate(by_source(config, names)):
        source = config.models.load.get(first, str(folder.model(first)))
        model = load(source, number) if load else load_model(source, first)
        _check_same_weights(config, folder, first, model)
        model = move_model(model, config.device)
        sites |= {name: ModelSite(replace(model, name=name), config.hooks[name]) for name in (first, *others)}
    return {name: sites[name] for name in names}


def check_architectures(config: Config) -> None:
    """Refuse models whose ``config.json`` says that they cannot take part, before anything else is done.

    Raises
    ------
    ModelError
        As `universality.models.config_check.check_architecture`.
    """
    if not can_run_models():
        return
    from universality.models.config_check import check_architecture

    for first, *_ in by_source(config, list(config.models.load)):
        check_architecture(model_folder(config.models.load[first]))


def _check_same_weights(config: Config, folder: RunFolder, name: str, model: "LanguageModel") -> None:
    """Compare a loaded model's hash with the one that the run recorded when it first met the model."""
    record = folder.model(name) / "source.json"
    if name not in config.models.load or not record.is_file():
        return
    recorded = _model_hash(config, folder, name)
    # A control shuffles the weights after loading; it keeps the hash of what was loaded.
    loaded = model.metadata["shuffled"]["hash"] if "shuffled" in model.metadata else model.hash
    if loaded != recorded:
        raise MismatchError(
            f"model {name!r}: the weights loaded from {config.models.load[name]} have hash {loaded[:12]}, and this run "
            f"records {recorded[:12]} in {record}; the files have changed since. Give the run the files that it began "
            "with, or delete that file, and the run begins anew with these"
        )


def by_source(config: Config, names: list[str]) -> list[list[str]]:
    """Group the names of each distinct model: they load one folder, or one revision of one repository."""
    groups: dict[Any, list[str]] = {}
    for name in names:
        source = config.models.load.get(name)
        key = name if source is None else repository(source) or model_folder(source).resolve()
        groups.setdefault(key, []).append(name)
    return list(groups.values())


def basis_of(config: Config, folder: RunFolder, hook: str, hooks: Mapping[str, str]) -> str | None:
    """Name the basis that a hook shares with the hooks of all other models; None without one.

    Parameters
    ----------
    hook
        Hook of one of the models at which decoder rows are directions.
    hooks
        Model → that hook.
    """
    if not config.models.one_basis:
        return None
    hashes = sorted({_model_hash(config, folder, name) for name in config.models.names})
    place = hook if len(set(hooks.values())) == 1 else "the residual stream"
    return f"{hashlib.sha256(' '.join(hashes).encode()).hexdigest()[:16]} at {place}"


def can_run_models() -> bool:
    """Tell whether TransformerLens is installed."""
    return find_spec("transformer_lens") is not None


def _cached(config: Config, folder: RunFolder, name: str, hook: str) -> Any:
    from universality.activations import find_cache, write_cache

    assert config.activations.cache is not None
    root, dtype = Path(config.activations.cache), config.activations.dtype
    blocks = blocks_of(config, folder, name)
    device = choose_device(config.device)
    model_hash = _model_hash(config, folder, name)
    wanted = {"model_hash": model_hash, "hook": hook, "blocks_hash": blocks.hash, "dtype": dtype}
    cached = find_cache(root, **wanted, device=device)
    if cached is None and not can_run_models():
        raise ModelError(
            f"{root}: no activations of model {name!r} (hash {model_hash[:12]}) at {hook} on the blocks "
            f"{blocks.hash[:12]} in {dtype}, and transformer_lens, which could run the model, is not installed. "
            "Harvest them with `universality cache` where it is"
        )
    return cached or write_cache(root, at_hook(live_site(config, folder, name), hook), blocks, dtype)


def _model_hash(config: Config, folder: RunFolder, name: str) -> str:
    """Return a model's hash without running it: as recorded for loaded models, else from its file."""
    from universality.models.weights_hash import saved_hash

    if name in config.models.train:
        return saved_hash(folder.model(name))
    return str(read_json(folder.model(name) / "source.json")["hash"])
