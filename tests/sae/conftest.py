"""A toy model of superposition (more sparse features than dimensions, the directions known), and random SAEs."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from torch import Tensor

from universality.sae import SAE

sys.path += [str(Path(__file__).parent), str(Path(__file__).parent / "formats")]  # dense_reference, foreign


@dataclass(frozen=True)
class Superposition:
    """Activations made of known features."""

    directions: Tensor
    """Unit rows [n_features, d_in]."""
    activations: Tensor
    """[n_tokens, d_in]."""
    offset: Tensor
    """[d_in], added to every token."""

    def found_by(self, decoder: Tensor) -> Tensor:
        """For each true feature the cosine of the decoder row nearest to it."""
        rows = decoder / decoder.norm(dim=1, keepdim=True)
        return (self.directions @ rows.T).max(dim=1).values


def superposition(n_features: int, d_in: int, n_tokens: int, firing: int, seed: int) -> Superposition:
    """``firing`` of ``n_features`` fire on each token, uniformly drawn, with strengths in 0.5 … 1.5.

    ``seed`` must not be that of an SAE: both draw directions first, and would draw the same.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(n_features, d_in, generator=generator)
    directions /= directions.norm(dim=1, keepdim=True)
    strength = torch.rand(n_tokens, firing, generator=generator) + 0.5
    which = torch.rand(n_tokens, n_features, generator=generator).topk(firing, dim=1).indices
    offset = 0.3 * torch.randn(d_in, generator=generator)
    active = torch.zeros(n_tokens, n_features).scatter_(1, which, strength)
    return Superposition(directions, active @ directions + offset, offset)


@pytest.fixture(scope="session")
def toy() -> Superposition:
    """96 features in 48 dimensions, 3 on a token."""
    return superposition(n_features=96, d_in=48, n_tokens=40_000, firing=3, seed=12345)


@pytest.fixture(scope="session")
def small_toy() -> Superposition:
    """32 features in 16 dimensions, 2 on a token."""
    return superposition(n_features=32, d_in=16, n_tokens=8192, firing=2, seed=12345)


class RandomSAE(Protocol):
    """Makes an SAE [24 → 90] of random weights; fields may be given."""

    def __call__(self, architecture: str = "topk", seed: int = 0, **fields: Any) -> SAE: ...


@pytest.fixture(scope="session")
def random_sae() -> RandomSAE:
    return _random_sae


def _random_sae(architecture: str = "topk", seed: int = 0, **fields: Any) -> SAE:
    d_in, d_sae = 24, 90
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.randn(d_sae, d_in, generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    threshold = 1 + torch.rand(d_sae, generator=generator)
    made: dict[str, Any] = {
        "W_enc": torch.randn(d_in, d_sae, generator=generator),
        "b_enc": 0.1 * torch.randn(d_sae, generator=generator),
        "W_dec": decoder,
        "b_dec": torch.randn(d_in, generator=generator),
        "architecture": architecture,
        "k": 6 if "topk" in architecture or architecture == "matryoshka" else None,
        "nested": (20, 41) if architecture == "matryoshka" else (),
        "threshold": threshold if architecture in ("jumprelu", "batchtopk", "matryoshka") else None,
        "scale": 0.5,
        "metadata": {"hook": "blocks.0.mlp.hook_post", "seeds": [0, 1]},
    }
    return SAE(**{**made, **fields})


@pytest.fixture
def little_memory() -> Iterator[None]:
    """No refusal may cost more than 100 MB. The kernel counts the peak in kB (bytes on a Mac)."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Steps are too small to share out; where a machine is busy, threads that wait for each other take long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
