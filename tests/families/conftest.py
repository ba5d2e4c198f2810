"""Three dictionaries whose families are known.

Atoms are directions that fire independently on few tokens. A feature stands for a set of atoms: it fires
where any of them does, with the sum of their activations, and its decoder row is the sum of their directions
plus noise. There is an edge exactly where the sets of two features of adjacent widths overlap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from scipy import sparse

from universality.families import Families, families
from universality.features.store import FeatureStore
from universality.features.tables import Dictionary

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


def write_into(
    folder: Path,
    name: str,
    x: npt.NDArray[np.float32],
    decoder: npt.NDArray[np.float32] | None,
    *,
    model: str = "m",
    site: str = "blocks.0.mlp.hook_post",
    token_seed: int = 0,
) -> FeatureStore:
    """Write one dictionary as a store; documents of 50 tokens, their kinds in turn k0, k1, k2."""
    place = np.arange(len(x))
    token = np.random.default_rng(token_seed).integers(0, 100, len(x))
    kind = np.array(["k0", "k1", "k2"])[place // 50 % 3]
    provenance = {"model": {"name": model, "hash": model * 8}, "site": site}
    writer = FeatureStore.create(folder / f"{name}.h5", x.shape[1], provenance)
    writer.append(sparse.csr_matrix(x), token=token, document=place // 50, position=place % 50 + 1, kind=kind)
    return writer.finish(dictionary=None if decoder is None else Dictionary(decoder=decoder))


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
