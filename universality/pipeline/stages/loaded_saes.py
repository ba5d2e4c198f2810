"""SAEs that ``train-saes`` loads instead of training, in this package's or another tool's format.

The grid of a study is models × widths × seeds. Widths come from the files. SAEs of one width and model are numbered in
the order listed, from 0; the seed that a file records stays in its metadata, since two tools count their seeds
differently. `universality.pipeline.stages.sae_likeness` finds out whether two of them differ in their seed only. Each
SAE is copied into the run in this package's format, with the hashes of its files, so that the folder is complete.
"""

import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from universality.config import Config, SAEConfig
from universality.config_errors import explain
from universality.errors import ConfigError, MismatchError
from universality.files import sha256
from universality.hooks import block_of, place_of
from universality.hub import repository
from universality.pipeline.input_hashes import hash_inputs
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import shared_sites, sites_out
from universality.pipeline.stages.sae_likeness import LIKENESS_VERSION, file_of, write_likeness
from universality.pipeline.study import ASSUMED_L0, sae_grid

if TYPE_CHECKING:
    from universality.activations import Site
    from universality.sae import SAE
    from universality.sae.training.distributed import Ranks

SCALE_BLOCKS = 1024
"""Training blocks over which the mean norm of the activations is taken; 128 positions each give 0.1% accuracy."""
LEAST_ALIGNED = 0.02
"""Least mean cosine of encoder and decoder rows; transcoders and random weights have about 1 / √(d_in · d_sae)."""
_SUFFIXES = (".json", ".yaml", ".safetensors", ".pt", ".pth", ".npz")


@dataclass(frozen=True)
class _Outline:
    """What a file records of an SAE, read before the SAE is used."""

    path: str
    width: int
    k: int | None
    architecture: str
    transcoder: bool = False
    hook_out: str | None = None
    """Hook at which a transcoder writes, in TransformerLens's names; None if its file names none that is known."""
    hook: str | None = None
    """Hook at which it was trained, in TransformerLens's names."""
    stated: str | None = None
    """The same as the file has it."""


def with_loaded_saes(config: Config) -> Config:
    """Return the configuration with widths, seeds, sparsity and ``hook_out`` of the SAEs under ``saes.load``, if any.

    Raises
    ------
    FormatError
        If an SAE cannot be read.
    ConfigError
        If models have SAEs in numbers that do not fit each other, ``saes.widths`` or ``hook_out`` contradicts the
        files, or a model has both SAEs and transcoders, or transcoders of which it is unknown where they write.
    """
    if not config.saes.load:
        return config
    outlines = {name: [_outline(path) for path in paths] for name, paths in config.saes.load.items()}
    every = [sae for name in config.models.names for sae in outlines[name]]
    widths = sorted({sae.width for sae in every})
    widths_of = {name: sorted({sae.width for sae in saes}) for name, saes in outlines.items()}
    if "widths" in config.saes.model_fields_set and config.saes.widths != widths:
        raise ConfigError(
            f"saes.widths is {config.saes.widths}, the SAEs under saes.load have {widths}; leave saes.widths out"
        )
    seeds, ceiling = _numbers(outlines, widths_of)
    k = [next((sae.k for sae in every if sae.width == w and sae.k), min(w, ASSUMED_L0)) for w in widths]
    architectures = {sae.architecture for saes in outlines.values() for sae in saes}
    values: dict[str, Any] = {"widths": widths, "seeds": seeds, "ceiling_seed": ceiling, "k": k}
    values["widths_of"] = widths_of if len({tuple(of) for of in widths_of.values()}) > 1 else {}
    values |= {"architecture": architectures.pop()} if len(architectures) == 1 else {}
    saes = SAEConfig.model_validate(config.saes.model_dump() | values)
    _check_stated_hooks(config, outlines)
    resolved = config.model_copy(update={"saes": saes, "hook_out": _hook_out(config, outlines)})
    try:
        Config.model_validate(resolved.model_dump())
    except ValidationError as error:  # hooks from the files do not go with the configuration
        raise ConfigError(explain("saes.load", error, Config)) from None
    return resolved


def _check_stated_hooks(config: Config, outlines: Mapping[str, list[_Outline]]) -> None:
    """Refuse SAEs whose files name another block or place than the hook, before a model is run.

    Raises
    ------
    MismatchError
        If one does. Names that only a model can resolve are checked when it is loaded.
    """
    from universality.sae.formats.stated_hook import same_place

    for name, saes in outlines.items():
        hook = config.hooks[name]
        for sae in saes:
            if sae.hook is None or None in (place_of(sae.hook), place_of(hook)) or same_place(sae.hook, {hook}):
                continue
            if (place_of(sae.hook), block_of(sae.hook)) != (place_of(hook), block_of(hook)):
                raise MismatchError(_at_another_hook(config, name, sae.path, sae.hook, sae.stated))


def _at_another_hook(config: Config, name: str, path: str, hook: str, stated: str | None) -> str:
    place = hook if stated == hook else f"{stated}, in TransformerLens's names {hook}"
    setting = hook if isinstance(config.hook, str) else f"{{{name}: {hook}}} for this model"
    return (
        f"saes.load of {name}: {path} was trained at {place}, the study reads {config.hooks[name]}; set hook: {setting}"
    )


def _hook_out(config: Config, outlines: Mapping[str, list[_Outline]]) -> str | dict[str, str] | None:
    """Return the hook at which each model's transcoders write: as configured, else as the files say."""
    hooks: dict[str, str] = {}
    for name, saes in outlines.items():
        kinds = {sae.transcoder: sae.path for sae in saes}
        if len(kinds) > 1:
            raise ConfigError(
                f"saes.load of {name}: {kinds[True]} is a transcoder and {kinds[False]} an SAE; to compare them, name "
                "the model twice under models.load, with SAEs for one name and transcoders for the other"
            )
        if False in kinds:
            if isinstance(config.hook_out, dict) and name in config.hook_out:
                raise ConfigError(f"hook_out names {name}, but {kinds[False]} is an SAE, which writes where it reads")
            continue
        stated = config.hooks_out.get(name) or saes[0].hook_out
        if stated is None:
            raise ConfigError(
                f"saes.load of {name}: {saes[0].path} is a transcoder, and its file names no hook that is known as the "
                "one where it writes; set hook_out, as in hook_out: blocks.0.hook_mlp_out"
            )
        hooks[name] = stated
    if config.hook_out is not None and not hooks:
        raise ConfigError(f"hook_out is {config.hook_out!r}, but the SAEs under saes.load write where they read")
    alike = len(hooks) == len(outlines) and len(set(hooks.values())) == 1
    return next(iter(hooks.values())) if alike else hooks or None


def _outline(path: str) -> _Outline:
    from universality.sae import formats
    from universality.sae.formats.hub_names import local_sae
    from universality.sae.formats.stated_hook import stated_hook, stated_hook_out, stated_name

    fields = formats.read(local_sae(path))
    width, k, architecture = int(fields["W_dec"].shape[0]), fields.get("k"), str(fields["architecture"])
    transcoder = bool(fields.get("transcoder", False))
    metadata = fields.get("metadata", {})
    return _Outline(
        path,
        width,
        k,
        architecture,
        transcoder,
        hook_out=stated_hook_out(metadata) if transcoder else None,
        hook=stated_hook(metadata),
        stated=stated_name(metadata),
    )


def _numbers(
    outlines: Mapping[str, list[_Outline]], widths_of: Mapping[str, list[int]]
) -> tuple[list[int], int | None]:
    """Return the numbers of SAEs that all models have at each of their widths, and of a further widest one.

    Some or all models may have that further SAE, which gives their ceiling.
    """
    counts = {name: [sum(sae.width == w for sae in outlines[name]) for w in of] for name, of in widths_of.items()}
    n = min(of[0] for of in counts.values())
    if any(of not in ([n] * len(of), [n] * (len(of) - 1) + [n + 1]) for of in counts.values()):
        listed = "; ".join(f"{name} {', '.join(str(sae.width) for sae in saes)}" for name, saes in outlines.items())
        raise ConfigError(
            f"saes.load: expected equally many SAEs of each width, for every model (each model may have one more of "
            f"its largest, for its ceiling); found the widths {listed}. Leave out those that are too many, or add the "
            "missing ones"
        )
    return list(range(n)), n if any(of[-1] == n + 1 for of in counts.values()) else None


def loaded_inputs(config: Config, memory: Path | None = None) -> list[Any]:
    """Hash the files, which decides whether the SAEs are read again; ``memory`` as for `hash_inputs`.

    The version of their comparison is part of it: SAEs that are trained in a run need not be trained again for it.
    """
    from universality.sae.formats.hub_names import local_sae

    return [
        LIKENESS_VERSION,
        *(
            [name, [sorted(hash_inputs(_files(local_sae(path)), memory).values()) for path in paths]]
            for name, paths in config.saes.load.items()
        ),
    ]


def make_loaded_saes(config: Config, folder: RunFolder, ranks: "Ranks | None" = None) -> list[Path]:
    """Check each SAE against its model, copy it into the run and measure it; return the files.

    Raises
    ------
    FormatError
        If an SAE cannot be read.
    MismatchError
        If an SAE does not fit the activations at the hook, was trained at another hook, or is listed twice; or if a
        transcoder does not fit those at ``hook_out``, or writes at another hook.
    """
    from universality.pipeline.stages.sae_quality import measure_quality
    from universality.sae.training.distributed import Ranks

    ranks = ranks or Ranks()
    sites = shared_sites(config, folder, ranks)
    if ranks.first:
        written = sites_out(config, folder, sites)
        for name, site in sites.items():
            for target, sae in _checked(config, folder, name, site, written.get(name)):
                sae.save(target)
    ranks.wait()
    keys = [(model, f"w{width}-s{seed}") for model, width, seed in sae_grid(config)]
    measure_quality(config, folder, sites, keys[ranks.rank :: ranks.size])
    ranks.wait()
    if ranks.first:
        write_likeness(config, folder)
    ranks.wait()
    names = ("cfg.json", "sae_weights.safetensors", "quality.json")
    return [file_of(folder), *(folder.sae(*item) / name for item in sae_grid(config) for name in names)]


def _checked(
    config: Config, folder: RunFolder, name: str, site: "Site", site_out: "Site | None" = None
) -> Iterator[tuple[Path, "SAE"]]:
    from universality.sae import SAE

    numbers: dict[int, int] = defaultdict(int)
    norm: tuple[float, int] | None = None
    hashes: dict[str, str] = {}
    for path in config.saes.load[name]:
        sae = SAE.load(path)
        _check(config, name, site, path, sae)
        if site_out is not None:
            _check_written(config, name, site_out, path, sae)
        if sae.awaits_scale:
            norm = norm or _mean_norm(config, folder, name, site)
            sae = _scaled(name, path, sae, *norm)
        # The hash leaves out scale and metadata: files that differ in these alone hold one SAE.
        if (before := hashes.setdefault(sae.hash, path)) != path:
            raise MismatchError(f"saes.load of {name}: {before} and {path} are one SAE; it would agree with itself")
        target = folder.sae(name, sae.d_sae, numbers[sae.d_sae])
        numbers[sae.d_sae] += 1
        yield target, replace(sae, metadata={**sae.metadata, "loaded": _origin(path)})


def _mean_norm(config: Config, folder: RunFolder, name: str, site: "Site") -> tuple[float, int]:
    """Return the mean norm of a model's activations on training tokens, and the number of tokens."""
    import torch

    from universality.activations import harvest
    from universality.arrays import evenly_spaced
    from universality.pipeline.stages.model_sites import blocks_of

    train = blocks_of(config, folder, name).select("train")
    total, n = 0.0, 0
    for _, activations in harvest({name: site}, train.take(evenly_spaced(len(train), SCALE_BLOCKS))):
        rows = activations[name].to(torch.float32)
        total += float(torch.linalg.vector_norm(rows, dim=1).sum(dtype=torch.float64))
        n += len(rows)
    if not total > 0:
        raise MismatchError(
            f"saes.load of {name}: an SAE asks for activations scaled by their mean norm, but the {n} training tokens "
            f"of this study have none at {config.hooks[name]}; lower corpus.held_out, or check hook"
        )
    return total / n, n


def _scaled(name: str, path: str, sae: "SAE", norm: float, n: int) -> "SAE":
    """Rescale an SAE to activations in their own units, by the factor that SAELens would use."""
    factor = math.sqrt(sae.d_in) / norm
    scaling = sae.metadata["normalize_activations"]
    print(
        f"saes.load of {name}: {path} leaves scaling to its caller (normalize_activations: {scaling}); activations are "
        f"multiplied by {factor:.4g}, √d_in over their mean norm on {n:,} training tokens",
        file=sys.stderr,
        flush=True,
    )
    return sae.scaled(factor, mean_norm=norm, n_tokens=n, split="train")


def _check(config: Config, name: str, site: "Site", path: str, sae: "SAE") -> None:
    from universality.sae.formats.stated_hook import maybe_same_model, stated_hook, stated_model, stated_name

    if sae.d_in != site.d_in:
        raise MismatchError(
            f"saes.load of {name}: {path} reads {sae.d_in} activations a token, the model has {site.d_in} at "
            f"{config.hooks[name]}; set hook to where this SAE was trained, or name an SAE of this model"
        )
    hook, stated = stated_hook(sae.metadata), stated_name(sae.metadata)
    if hook is None and stated is not None:
        _warn(
            f"{path} was trained at {stated!r}, which is no name of TransformerLens's: whether that is "
            f"{config.hooks[name]} was not checked"
        )
    if not sae.transcoder and abs(_alignment(sae)) < LEAST_ALIGNED:
        _warn(f"{path}: its encoder and decoder do not point the same way; a transcoder, or not trained?")
    if hook is not None and not _is_at(hook, site, config.hooks[name]):
        raise MismatchError(_at_another_hook(config, name, path, hook, stated))
    repo = repository(config.models.load.get(name, ""))  # the name of a folder says nothing
    trained_on = stated_model(sae.metadata)
    if repo is not None and trained_on is not None and not maybe_same_model(trained_on, repo.name):
        raise MismatchError(
            f"saes.load of {name}: {path} was trained on {trained_on}, and {name} is {repo}; name an SAE of this "
            "model. To use it nevertheless, load the model from a folder"
        )
    model = sae.metadata.get("model")
    recorded = model.get("hash") if isinstance(model, Mapping) else None
    if recorded is not None and recorded != site.model_hash:
        said = f"{path} was trained on another model than {name} (its weights differ)"
        if not config.models.one_basis:  # a fine-tune or another checkpoint of the SAE's model
            raise MismatchError(
                f"saes.load of {name}: {said}; name an SAE of this model, or set models.one_basis if the models are "
                "checkpoints or fine-tunes of one"
            )
        _warn(said)


def _check_written(config: Config, name: str, site: "Site", path: str, sae: "SAE") -> None:
    """Check where a transcoder writes."""
    from universality.sae.formats.stated_hook import stated_hook_out, stated_name_out

    configured = config.hooks_out[name]
    if sae.d_out != site.d_in:
        raise MismatchError(
            f"saes.load of {name}: {path} writes {sae.d_out} activations a token, the model has {site.d_in} at "
            f"{configured}; set hook_out to where this transcoder writes, or name a transcoder of this model"
        )
    hook, stated = stated_hook_out(sae.metadata), stated_name_out(sae.metadata)
    if hook is None:
        named = "its file does not say where" if stated is None else f"its file says {stated!r}, a name not known here"
        _warn(f"{path} is a transcoder that is taken to write at {configured}: {named}, which was not checked")
    elif not _is_at(hook, site, configured):
        raise MismatchError(
            f"saes.load of {name}: {path} writes at {hook}, hook_out is {configured}; set hook_out: {hook}, or name "
            "transcoders that all write at one hook"
        )


def _is_at(hook: str, site: "Site", configured: str) -> bool:
    from universality.sae.formats.stated_hook import same_place

    return same_place(hook, {configured, site.hook, *getattr(site, "aliases", ())})


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr, flush=True)


def _alignment(sae: "SAE") -> float:
    """Return the mean cosine of encoder and decoder rows: above 0 where an SAE reconstructs its input."""
    from torch.nn.functional import cosine_similarity

    return float(cosine_similarity(sae.W_enc.T, sae.W_dec, dim=1).mean())


def _origin(path: str) -> dict[str, Any]:
    from universality.sae import formats
    from universality.sae.formats.hub_names import local_sae

    local = local_sae(path)
    files = {file.name: sha256(file) for file in _files(local)}
    return {"from": path, "format": formats.name_of(local), "sha256": files}


def _files(path: Path) -> list[Path]:
    """List the files of an SAE: those of a folder with an SAE's suffixes, or a file and its configuration."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in _SUFFIXES)
    configurations = (folder / name for name in ("cfg.json", "config.json", "config.yaml", f"{path.stem}_cfg.json"))
    return [path, *(file for file in configurations if file.is_file())] if path.is_file() else []
