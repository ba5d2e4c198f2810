"""Rows of a crosscoder, fitted once more on other text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from universality.activations import joined
from universality.sae import SAE, Crosscoder, LatentScaling
from universality.statistics import feature_classes

WIDTHS = {"A": 40, "B": 28}
N_SHARED, N_ALONE, FIRING = 40, 16, 3


@dataclass(frozen=True)
class World:
    """Activations of two models made of the same concepts; some of them only one model knows."""

    rows: dict[str, Tensor]
    """Model → what each concept adds [n_concepts, d_in]; zeros where it does not know the concept."""
    strength: Tensor
    """[n_tokens, n_concepts]."""
    activations: dict[str, Tensor]
    """Model → [n_tokens, d_in]; B in units of its own."""
    kind: NDArray[np.str_]
    """``shared``, ``exclusive A`` or ``exclusive B`` [n_concepts]."""

    @property
    def scales(self) -> dict[str, float]:
        return {name: float(x.var(dim=0, correction=0).sum()) ** -0.5 for name, x in self.activations.items()}


def plant(n_tokens: int = 20_000, seed: int = 5, unit_of_b: float = 7.0) -> World:
    generator = torch.Generator().manual_seed(seed)
    kind = np.repeat(["shared", "exclusive A", "exclusive B"], [N_SHARED, N_ALONE, N_ALONE])
    strength = torch.rand(n_tokens, kind.size, generator=generator) + 0.5
    which = torch.rand(n_tokens, kind.size, generator=generator).topk(FIRING, dim=1).indices
    strength = torch.zeros_like(strength).scatter(1, which, strength.gather(1, which))
    rows, activations = {}, {}
    for name, unit in (("A", 1.0), ("B", unit_of_b)):
        directions = torch.randn(kind.size, WIDTHS[name], generator=generator)
        directions *= unit / directions.norm(dim=1, keepdim=True)
        directions[torch.from_numpy((kind != "shared") & (kind != f"exclusive {name}"))] = 0
        rows[name] = directions
        activations[name] = strength @ directions + unit * 0.3 * torch.randn(WIDTHS[name], generator=generator)
    return World(rows, strength, activations, kind)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Steps are too small to share out; where a machine is busy, threads that wait for each other take long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world() -> World:
    return plant()


def test_rows_that_training_shrank_are_found(world: World) -> None:
    """The truth as a crosscoder, with B's row of ten shared concepts set to 0."""
    scales = world.scales
    rows = joined(world.rows, scales)
    shrunk = np.flatnonzero(world.kind == "shared")[:10]
    rows[torch.from_numpy(shrunk), WIDTHS["A"] :] = 0
    offset = {
        name: x.mean(dim=0) - world.strength.mean(dim=0) @ world.rows[name] for name, x in world.activations.items()
    }
    zeros = torch.zeros(sum(WIDTHS.values()), len(rows))
    bias = joined({name: b[None] for name, b in offset.items()}, scales)[0]
    sae = SAE(zeros, torch.zeros(len(rows)), rows, bias, "relu")
    crosscoder = Crosscoder(sae, ("A", "B"), tuple(WIDTHS.values()), tuple(scales.values()))
    features = sparse.csr_matrix(world.strength.numpy())
    features = sparse.hstack(
        [features[:, :-1], sparse.csr_matrix((features.shape[0], 1))], format="csr", dtype=np.float32
    )
    second = np.arange(features.shape[0]) % 2 == 1
    scaling = LatentScaling(crosscoder)
    for low in range(0, len(second), 10_000):
        rows_here = slice(low, low + 10_000)
        here = {name: x[rows_here] for name, x in world.activations.items()}
        scaling.update(here, features[rows_here], second[rows_here])
    found = scaling.compute()[1]
    assert np.isnan(found[-1])  # silent
    known, kind = found[:-1], world.kind[:-1]
    assert (feature_classes(crosscoder.relative_norms[1])[shrunk] == "exclusive A").all()
    assert (np.abs(known[kind == "shared"] - 0.5) < 0.1).all()
    assert (known[kind == "exclusive A"] < 0.1).all()
    assert (known[kind == "exclusive B"] > 0.9).all()
    some = np.arange(0, len(known), 7)
    np.testing.assert_allclose(known[some], _fitted(world, crosscoder, features, second, some), atol=1e-4)


def _fitted(
    world: World,
    crosscoder: Crosscoder,
    features: sparse.csr_matrix,
    second: NDArray[np.bool_],
    some: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Some rows, each by itself: least squares on the residual that the others leave."""
    made, dense = crosscoder.decode(features), features.toarray().astype(np.float64)
    out = []
    for j in some:
        norms = {}
        for name, scale in zip(crosscoder.models, crosscoder.scales, strict=True):
            row = crosscoder.of(name).W_dec[j].double().numpy()
            left = world.activations[name].numpy() - made[name] + dense[:, [j]] * row
            halves = [np.linalg.lstsq(dense[part][:, [j]], left[part], rcond=None)[0][0] for part in (~second, second)]
            norms[name] = scale * np.sqrt(max(0.0, float(halves[0] @ halves[1])))
        out.append(norms["B"] / (norms["A"] + norms["B"]))
    return np.array(out)
