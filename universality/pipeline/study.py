"""The design of a study: its grid of SAEs, and what is compared with what."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

from universality.config import Config
from universality.devices import CPU
from universality.hooks import holds_neurons
from universality.pipeline.paths import RunFolder

ASSUMED_L0 = 64
"""Features taken to fire on a token where that is not known beforehand: of relu, jumprelu and some loaded SAEs."""


def matching_device(config: Config) -> str:
    """Return the device that matches and families are computed on; the workers of a scheduler have their CPUs."""
    return config.device if config.scheduler is None else CPU


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
    level
        Number of wider comparisons of the same two sides; 0 for the widest.
    width_b
        Width of the second side where it differs from ``width``, that of the first; None where it does not.
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
    level: int = 0
    width_b: int | None = None

    @property
    def widths(self) -> tuple[int, int]:
        """Dictionary sizes of both sides; 0 for neurons."""
        first = self.width or 0
        return first, self.width_b or first

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


def headline_width(config: Config, model: str | None = None) -> int:
    """Return the width of the headline and of a model's ceiling: its largest, which explains most.

    Where models have SAEs of different widths, ``model`` says whose; by default the first one's.
    """
    return config.saes.widths_for(model or config.models.names[0])[-1]


def paired_widths(config: Config, a: str, b: str) -> list[tuple[int, int]]:
    """Pair the dictionary sizes of two models, rising: equal sizes, or by rank from the largest where they differ."""
    of_a, of_b = (config.saes.widths_for(name) for name in (a, b))
    if of_a == of_b:
        return [(width, width) for width in of_a]
    n = min(len(of_a), len(of_b))
    return list(zip(of_a[-n:], of_b[-n:], strict=True))


def sae_grid(config: Config) -> list[tuple[str, int, int]]:
    """List (model, width, SAE seed) of every SAE of the study."""
    saes, names = config.saes, config.models.names
    grid = [(model, width, seed) for model in names for width in saes.widths_for(model) for seed in saes.seeds]
    extra = {model: _extra_seed(config, model) for model in names}
    return grid + [(model, headline_width(config, model), seed) for model, seed in extra.items() if seed is not None]


def _extra_seed(config: Config, model: str) -> int | None:
    """Return the seed of a model's SAE for the ceiling, where it is none of ``saes.seeds``."""
    saes = config.saes
    if saes.load and len(saes.load[model]) <= len(saes.widths_for(model)) * len(saes.seeds):
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
    return [(width, first) for width in config.saes.widths_for(model)], list(reseeded.values())


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
        widths = paired_widths(config, a, b)
        for level, (of_a, of_b) in zip(reversed(range(len(widths))), widths, strict=True):
            stores = folder.store(a, of_a, seed), folder.store(b, of_b, seed)
            name = f"{a}-{b}.w{of_a}" + ("" if of_a == of_b else f"-w{of_b}")
            other = None if of_a == of_b else of_b
            pairs.append(Comparison(name, "models", (a, b), of_a, (seed, seed), *stores, level=level, width_b=other))
        if config.features.neuron_documents:
            stores = folder.neurons(a), folder.neurons(b)
            pairs.append(Comparison(f"{a}-{b}.neurons", "neurons", (a, b), None, (seed, seed), *stores))
    seconds = {name: second_seed(config, name) for name in names}
    return pairs + [
        _of_seeds("ceiling", config, folder, name, headline_width(config, name), (seed, second))
        for name, second in seconds.items()
        if second is not None
    ]


def ceilings_of(config: Config, folder: RunFolder, comparison: Comparison) -> list[Comparison | None]:
    """Return the ceilings of both models of a comparison; None where a model has none at its width."""
    ceilings = {(c.models[0], c.width): c for c in comparisons(config, folder) if c.of == "ceiling"}
    sides = zip(comparison.models, comparison.widths, strict=True)
    return [ceilings.get(side) if comparison.of == "models" else None for side in sides]


def effect_comparisons(config: Config, folder: RunFolder) -> list[Comparison]:
    """List the comparisons whose partners' effects are compared: those at the largest widths, ceilings first."""
    if not config.effects.measure:
        return []
    widest = [comparison for comparison in comparisons(config, folder) if comparison.level == 0]
    return sorted(widest, key=lambda comparison: comparison.of != "ceiling")


def effect_dictionaries(config: Config, folder: RunFolder, model: str) -> list[tuple[int, int]]:
    """List (width, SAE seed) of a model's SAEs whose effects are measured."""
    sides = [
        (width, seed)
        for comparison in effect_comparisons(config, folder)
        for name, width, seed in zip(comparison.models, comparison.widths, comparison.seeds, strict=True)
        if name == model and width
    ]
    return sorted(set(sides))


def families_have_effects(config: Config, folder: RunFolder, model: str) -> bool:
    """Tell whether the effects of parents and children in a model's families are compared."""
    has_families = len(config.saes.widths_for(model)) > 1
    return config.effects.families and has_families and bool(effect_dictionaries(config, folder, model))


def family_dictionaries(config: Config, folder: RunFolder, model: str) -> list[tuple[int, int]]:
    """List (width, SAE seed) of a model's SAEs whose effects are measured for the edges of its families alone."""
    if not families_have_effects(config, folder, model):
        return []
    first, known = config.saes.seeds[0], effect_dictionaries(config, folder, model)
    return [(width, first) for width in config.saes.widths_for(model) if (width, first) not in known]


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
        for width in config.saes.widths_for(name)
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
    level = len(config.saes.widths_for(model)) - 1 - config.saes.widths_for(model).index(width)
    return Comparison(name, of, (model, model), width, seeds, a, b, loaded=bool(config.saes.load), level=level)
