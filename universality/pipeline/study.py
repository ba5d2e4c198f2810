"""The design of a study: its grid of SAEs, and what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from universality.config import Config
from universality.hooks import holds_neurons
from universality.pipeline.paths import RunFolder

ASSUMED_L0 = 64
"""Features taken to fire on a token where that is not known beforehand: of relu, jumprelu and some loaded SAEs."""


@dataclass(frozen=True)
class Comparison:
    """Two stores to match.

    Attributes
    ----------
    name
        Base name of its files.
    of
        ``models``: SAE features of two language models; ``neurons``: their neurons; ``ceiling``: two SAE seeds of one
        model, beside ``models``; ``seeds``: the same in a study of one model, where nothing else is compared.
    seeds
        SAE seeds of the two sides.
    a, b
        Paths of the two stores.
    loaded
        Whether the SAEs come from elsewhere: ``seeds`` are then their numbers, and they may differ in more than a seed
        (``universality.pipeline.stages.sae_likeness``).
    """

    name: str
    of: Literal["models", "neurons", "ceiling", "seeds"]
    models: tuple[str, str]
    width: int | None
    seeds: tuple[int, int]
    a: Path
    b: Path
    loaded: bool = False

    @property
    def sides(self) -> tuple[str, str]:
        """Names of the two sides for readers: the models, or the SAEs of one model."""
        (a, b), (first, second) = self.models, self.seeds
        word = "SAE" if self.loaded else "seed"
        return (f"{a} {word} {first}", f"{b} {word} {second}") if a == b else (a, b)

    def like(self, other: Comparison) -> bool:
        """Tell whether the other compares the same two sides, perhaps at another width."""
        return (self.of, self.models, self.seeds) == (other.of, other.models, other.seeds)


def units_of(config: Config, *models: str) -> str:
    """Name the single activations at the models' hooks (default: of the first two): neurons in an MLP."""
    hooks = dict.fromkeys(config.hooks[name] for name in models or config.models.names[:2])
    return "neurons" if all(map(holds_neurons, hooks)) else f"basis directions of {' and '.join(hooks)}"


def basis_settings(config: Config) -> list[str]:
    """Return what a basis shared by all models adds to the settings of tasks that use it."""
    if not config.models.one_basis:
        return []
    several = any(len(set(hooks.values())) > 1 for hooks in (config.hooks, config.hooks_written))
    return ["one basis", "of several hooks"] if several else ["one basis"]


def hook_settings(config: Config, name: str) -> list[str]:
    """Return the settings of tasks that depend on where a model's SAEs read, and transcoders write."""
    return [config.hooks[name], *([config.hooks_out[name]] if name in config.hooks_out else [])]


def headline_width(config: Config) -> int:
    """Return the width of the headline and of the ceilings: the largest, which explains most."""
    return config.saes.widths[-1]


def sae_grid(config: Config) -> list[tuple[str, int, int]]:
    """List (model, width, SAE seed) of every SAE of the study."""
    saes, names = config.saes, config.models.names
    grid = [(model, width, seed) for model in names for width in saes.widths for seed in saes.seeds]
    extra = {model: _extra_seed(config, model) for model in names}
    return grid + [(model, headline_width(config), seed) for model, seed in extra.items() if seed is not None]


def _extra_seed(config: Config, model: str) -> int | None:
    """Return the seed of a model's SAE for the ceiling, where it is none of ``saes.seeds``."""
    saes = config.saes
    if saes.load and len(saes.load[model]) <= len(saes.widths) * len(saes.seeds):
        return None  # no file is left for a second SAE of this model
    return saes.extra_seed


def second_seed(config: Config, model: str) -> int | None:
    """Return the seed of the second SAE that gives a model's ceiling; None without one."""
    extra = _extra_seed(config, model)
    return next(iter(config.saes.seeds[1:]), None) if extra is None else extra


def family_stores(config: Config, model: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """List (width, SAE seed) of a model's dictionaries by rising width, and of one reseeded a width."""
    first = config.saes.seeds[0]
    reseeded = {width: (width, seed) for name, width, seed in sae_grid(config) if name == model and seed != first}
    return [(width, first) for width in config.saes.widths], list(reseeded.values())


def comparisons(config: Config, folder: RunFolder) -> list[Comparison]:
    """List what is matched: each pair of models at each width, their neurons, and each ceiling.

    In a study of one model, each pair of its SAE seeds is matched at each width that has both.
    """
    names, saes = config.models.names, config.saes
    seed = saes.seeds[0]
    if len(names) == 1:
        return _seeds_of_one(config, folder)
    pairs = []
    for a, b in combinations(names, 2):
        for width in saes.widths:
            stores = folder.store(a, width, seed), folder.store(b, width, seed)
            pairs.append(Comparison(f"{a}-{b}.w{width}", "models", (a, b), width, (seed, seed), *stores))
        if config.features.neuron_documents:
            stores = folder.neurons(a), folder.neurons(b)
            pairs.append(Comparison(f"{a}-{b}.neurons", "neurons", (a, b), None, (seed, seed), *stores))
    seconds = {name: second_seed(config, name) for name in names}
    return pairs + [
        _of_seeds("ceiling", config, folder, name, headline_width(config), (seed, second))
        for name, second in seconds.items()
        if second is not None
    ]


def ceilings_of(config: Config, folder: RunFolder, comparison: Comparison) -> list[Comparison | None]:
    """Return the ceilings of both models of a comparison; None where a model has none at its width."""
    ceilings = {
        c.models[0]: c for c in comparisons(config, folder) if c.of == "ceiling" and c.width == comparison.width
    }
    return [ceilings.get(name) if comparison.of == "models" else None for name in comparison.models]


def headline_comparison(config: Config, folder: RunFolder) -> Comparison:
    """Return the comparison that answers the study's question, at the largest width.

    It compares the first two models, or the first two SAE seeds of a single one. The study must compare something.
    """
    compared = comparisons(config, folder)
    return next(c for c in reversed(compared) if c.like(compared[0]))  # widths rise within a pair


def _seeds_of_one(config: Config, folder: RunFolder) -> list[Comparison]:
    grid = sae_grid(config)
    seeds = list(dict.fromkeys(seed for _, _, seed in grid))
    return [
        _of_seeds("seeds", config, folder, name, width, pair)
        for pair in combinations(seeds, 2)
        for name in config.models.names
        for width in config.saes.widths
        if {(name, width, seed) for seed in pair} <= set(grid)
    ]


def _of_seeds(
    of: Literal["ceiling", "seeds"],
    config: Config,
    folder: RunFolder,
    model: str,
    width: int,
    seeds: tuple[int, int],
) -> Comparison:
    a, b = (folder.store(model, width, seed) for seed in seeds)
    name = f"{model}-{model}.w{width}.s{seeds[0]}-s{seeds[1]}"
    return Comparison(name, of, (model, model), width, seeds, a, b, loaded=bool(config.saes.load))
