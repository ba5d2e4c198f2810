"""Three dictionaries whose families are known.

Atoms are directions that fire independently on few tokens. A feature stands for a set of atoms: it fires
where any of them does, with the sum of their activations, and its decoder row is the sum of their directions
plus noise. There is an edge exactly where the sets of two features of adjacent widths overlap.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from universality.family import Families, families
from universality.features.storage.store import FeatureStore

sys.path.append(str(Path(__file__).parent))  # whatever pytest's import mode

from stores import write_into
from world import World

N_TOKENS, D_IN, N_ATOMS = 12_000, 256, 40
Sets = Sequence[frozenset[int]]


def _sets(*groups: Sequence[int]) -> list[frozenset[int]]:
    return [frozenset(group) for group in groups]


# Atoms 0-11 are known to all widths, 12-17 from the second on, 18-23 only to the third.
NARROW = _sets([0, 1, 2, 3], [4, 5], [6], [7], [8, 9, 10, 11])
MIDDLE = _sets([0, 1], [2, 3], [4], [5], [6, 7], [8, 9, 10], [11], [12, 13], [14], [15, 16, 17])
WIDE = _sets(*[[atom] for atom in range(18)], [18, 19], [20], [21, 22, 23])
PLANTED = (NARROW, MIDDLE, WIDE)


@dataclass(frozen=True)
class Plant:
    """Activations [n_tokens, n_features] and decoder rows of one dictionary, whose features are in random
    order."""

    x: npt.NDArray[np.float32]
    decoder: npt.NDArray[np.float32]
    sets: tuple[frozenset[int], ...]


@pytest.fixture(scope="session")
def plants() -> tuple[Plant, ...]:
    """The three dictionaries; atom a's tokens are of kind ``k{a % 3}`` in part."""
    rng = np.random.default_rng(7)
    atoms = np.where(rng.random((N_TOKENS, N_ATOMS)) < 0.02, rng.gamma(4, 0.25, (N_TOKENS, N_ATOMS)), 0)
    directions = rng.standard_normal((N_ATOMS, D_IN)) / np.sqrt(D_IN)
    made = []
    for sets in PLANTED:
        order = rng.permutation(len(sets))
        member = np.array([[atom in sets[i] for atom in range(N_ATOMS)] for i in order], dtype=float)
        noise = 0.1 * rng.standard_normal((len(sets), D_IN)) / np.sqrt(D_IN)
        x, decoder = atoms @ member.T, member @ directions + noise
        made.append(Plant(x.astype(np.float32), decoder.astype(np.float32), tuple(sets[i] for i in order)))
    return tuple(made)


@pytest.fixture(scope="session")
def true_edges(plants: tuple[Plant, ...]) -> set[tuple[tuple[int, int], tuple[int, int]]]:
    """Pairs of nodes whose sets of atoms overlap."""
    return {
        ((level, i), (level + 1, j))
        for level in range(len(plants) - 1)
        for i, parent in enumerate(plants[level].sets)
        for j, child in enumerate(plants[level + 1].sets)
        if parent & child
    }


WriteStore = Callable[..., FeatureStore]


@pytest.fixture
def write_store(tmp_path: Path) -> WriteStore:
    """``write_store(name, x, decoder, model=…, site=…, token_seed=…)`` writes one dictionary as a store."""
    return partial(write_into, tmp_path)


@pytest.fixture(scope="session")
def stores(plants: tuple[Plant, ...], tmp_path_factory: pytest.TempPathFactory) -> list[FeatureStore]:
    """The three dictionaries as stores; nobody writes to them."""
    folder = tmp_path_factory.mktemp("planted")
    return [write_into(folder, f"w{len(plant.sets)}", plant.x, plant.decoder) for plant in plants]


@pytest.fixture(scope="session")
def planted(stores: list[FeatureStore]) -> Families:
    """Their families."""
    return families(stores, n_replicates=2)


@pytest.fixture(scope="session")
def world() -> World:
    return World(np.random.default_rng(11))


@pytest.fixture(scope="session")
def world_stores(world: World, tmp_path_factory: pytest.TempPathFactory) -> list[FeatureStore]:
    folder = tmp_path_factory.mktemp("world")
    return [write_into(folder, f"w{side}", *world.dictionary(side)) for side in (0, 1)]


@pytest.fixture(scope="session", params=["proxy", "activations"])
def linked(request: pytest.FixtureRequest, world: World, world_stores: list[FeatureStore]) -> Families:
    activations = np.array_split(world.activations, 7) if request.param == "activations" else None
    linked = families(world_stores, activations=activations, n_replicates=1, bootstrap=20)
    assert linked.reconstruction == request.param
    return linked
