"""SAEs that someone else trained, ours or another tool's, in place of the stage ``train-saes``.

The grid of a study is models × widths × seeds. Widths come from the files; of several SAEs of one width and model the
first listed is number 0, the next 1: the seed that a file tells stays in its metadata, since two tools count their
seeds differently. Each SAE is copied into the run in this package's format, so that the folder is complete, with the
hashes of the files that it came from.
"""

import hashlib
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.config import Config, SAEConfig
from universality.errors import ConfigError, MismatchError
from universality.pipeline.inputs import hash_inputs
from universality.pipeline.layout import RunFolder, sae_grid

if TYPE_CHECKING:
    from universality.activations import Site
    from universality.sae import SAE
    from universality.sae.distributed import Ranks

_UNKNOWN_L0 = 64  # of an SAE without k, for the plan alone; as universality.pipeline.plan assumes it
_SUFFIXES = (".json", ".safetensors", ".pt", ".npz")


@dataclass(frozen=True)
class _Found:
    """What a file tells of an SAE before it is used."""

    path: str
    width: int
    k: int | None
    architecture: str


def with_loaded_saes(config: Config) -> Config:
    """The configuration with widths, seeds and sparsity as the SAEs under ``saes.load`` have them; else itself.

    Raises
    ------
    FormatError
        If one cannot be read.
    ConfigError
        If the models have SAEs of different widths, not equally many, or ``saes.widths`` says otherwise.
    """
    if not config.saes.load:
        return config
    found = {name: [_look(path) for path in paths] for name, paths in config.saes.load.items()}
    first = found[config.models.names[0]]
    widths = sorted({sae.width for sae in first})
    if "widths" in config.saes.model_fields_set and config.saes.widths != widths:
        raise ConfigError(
            f"saes.widths is {config.saes.widths}, the SAEs under saes.load have {widths}; leave saes.widths out"
        )
    seeds, ceiling = _numbers(config, found, widths)
    k = [next((sae.k for sae in first if sae.width == w and sae.k), min(w, _UNKNOWN_L0)) for w in widths]
    kinds = {sae.architecture for saes in found.values() for sae in saes}
    values: dict[str, Any] = {"widths": widths, "seeds": seeds, "ceiling_seed": ceiling, "k": k}
    values |= {"architecture": kinds.pop()} if len(kinds) == 1 else {}
    return config.model_copy(update={"saes": SAEConfig.model_validate(config.saes.model_dump() | values)})


def _look(path: str) -> _Found:
    from universality.sae import formats

    fields = formats.read(Path(path))
    return _Found(path, int(fields["W_dec"].shape[0]), fields.get("k"), str(fields["architecture"]))


def _numbers(config: Config, found: Mapping[str, list[_Found]], widths: list[int]) -> tuple[list[int], int | None]:
    """The numbers that every model's SAEs have at every width, and of one more of the first at the largest."""
    counts = {name: [sum(sae.width == w for sae in saes) for w in widths] for name, saes in found.items()}
    names = config.models.names
    n = counts[names[0]][0] if len(widths) > 1 else min(counts[name][0] for name in names)
    full = [n] * len(widths)
    spare = [*full[:-1], n + 1]
    alike = all(
        sum(counts[name]) == len(found[name]) and counts[name] in ([full, spare] if name == names[0] else [full])
        for name in names
    )
    if not n or not alike:
        had = "; ".join(f"{name} {', '.join(str(sae.width) for sae in saes)}" for name, saes in found.items())
        raise ConfigError(
            f"saes.load: expected SAEs of the same widths of every model, and equally many of each (the first model "
            f"may have one more of the largest, for the ceiling); found the widths {had}. Leave out those without a "
            "counterpart; SAEs of two widths are matched in Python, with collect(...) and match(...)"
        )
    return list(range(n)), n if counts[names[0]] == spare else None


def loaded_inputs(config: Config, memory: Path | None = None) -> list[Any]:
    """What of the files decides whether the SAEs are read again: hashes; ``memory`` as for `hash_inputs`."""
    return [
        [name, [sorted(hash_inputs(_files(Path(path)), memory).values()) for path in paths]]
        for name, paths in config.saes.load.items()
    ]


def make_loaded_saes(config: Config, folder: RunFolder, ranks: "Ranks") -> list[Path]:
    """Check each SAE against its model, copy it into the run, and measure it on held-out tokens.

    Raises
    ------
    FormatError
        If one cannot be read.
    MismatchError
        If it reads another number of activations than the hook has, was trained at another hook, or is listed twice.
    """
    from universality.pipeline.saes import measure_quality, shared_sites

    sites = shared_sites(config, folder, ranks)
    if ranks.first:
        for name, site in sites.items():
            for target, sae in _checked(config, folder, name, site):
                sae.save(target)
    ranks.wait()
    keys = [(model, f"w{width}-s{seed}") for model, width, seed in sae_grid(config)]
    measure_quality(config, folder, sites, keys[ranks.rank :: ranks.size])
    ranks.wait()
    names = ("cfg.json", "sae_weights.safetensors", "quality.json")
    return [folder.sae(*item) / name for item in sae_grid(config) for name in names]


def _checked(config: Config, folder: RunFolder, name: str, site: "Site") -> Iterator[tuple[Path, "SAE"]]:
    from universality.sae import SAE

    numbers: dict[int, int] = defaultdict(int)
    hashes: dict[str, str] = {}
    for path in config.saes.load[name]:
        sae = SAE.load(path)
        _check(config, name, site, path, sae)
        if (before := hashes.setdefault(sae.hash, path)) != path:
            raise MismatchError(f"saes.load of {name}: {before} and {path} are one SAE; it would agree with itself")
        target = folder.sae(name, sae.d_sae, numbers[sae.d_sae])
        numbers[sae.d_sae] += 1
        yield target, replace(sae, metadata={**sae.metadata, "loaded": _origin(path)})


def _check(config: Config, name: str, site: "Site", path: str, sae: "SAE") -> None:
    from universality.sae.place import same_place, stated_hook

    if sae.d_in != site.d_in:
        raise MismatchError(
            f"saes.load of {name}: {path} reads {sae.d_in} activations a token, the model has {site.d_in} at "
            f"{config.hooks[name]}; set hook to where this SAE was trained, or name an SAE of this model"
        )
    hook = stated_hook(sae.metadata)
    aliases = {config.hooks[name], site.hook, *getattr(site, "aliases", ())}
    if hook is not None and not same_place(hook, aliases):
        raise MismatchError(
            f"saes.load of {name}: {path} was trained at {hook}, the study reads {config.hooks[name]}; set hook: "
            + (hook if isinstance(config.hook, str) else f"{{{name}: {hook}}} for this model")
        )
    model = sae.metadata.get("model")
    known = model.get("hash") if isinstance(model, Mapping) else None
    if known is not None and known != site.model_hash:
        print(f"warning: {path} was trained on another model than {name} (its weights differ)", file=sys.stderr)


def _origin(path: str) -> dict[str, Any]:
    from universality.sae import formats

    files = {file.name: _sha256(file) for file in _files(Path(path))}
    return {"from": path, "format": formats.name_of(Path(path)), "sha256": files}


def _files(path: Path) -> list[Path]:
    """The files of an SAE: of a folder those of an SAE's kinds, of a file itself and what configures it."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir():
        return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix in _SUFFIXES)
    beside = (folder / name for name in ("cfg.json", "config.json"))
    return [path, *(file for file in beside if file.is_file())] if path.is_file() else []


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
