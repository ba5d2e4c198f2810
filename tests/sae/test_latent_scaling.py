"""Rows of a crosscoder, fitted once more on other text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from two_models import WIDTHS, World, plant

from universality.activations import joined
from universality.sae import SAE, Crosscoder, LatentScaling
from universality.statistics import feature_classes

pytestmark = pytest.mark.usefixtures("one_thread")


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
