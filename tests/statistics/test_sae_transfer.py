"""An SAE explains another model exactly where that model is its own in another basis."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from universality.corpus import DocumentTable, TokenBlocks, cut_blocks
from universality.errors import MismatchError, UniversalityError
from universality.sae import SAE
from universality.statistics import Transfer, transfer
from universality.statistics.activation_maps import MapKind

D, N_TYPES, N_DOCUMENTS = 16, 400, 24
DRAW = np.random.default_rng(0)
BASIS = np.linalg.qr(DRAW.standard_normal((D, D)))[0]


def codes(seed: int) -> NDArray[np.float64]:
    """Codes of each token type: three features fire."""
    rng = np.random.default_rng(seed)
    firing = rng.random((N_TYPES, D)).argsort(axis=1) < 3
    return firing * rng.gamma(4.0, 0.5, (N_TYPES, D))


@dataclass(frozen=True)
class PlantedSite:
    """A model whose activations depend on the token alone, and whose loss is the error of its activations."""

    name: str
    table: NDArray[np.float64]
    hook: str = "planted"
    d_in: int = D

    def read(self, blocks: TokenBlocks) -> Tensor:
        return torch.from_numpy(self.table[blocks.tokens[blocks.valid]]).float()

    def spliced_loss(self, blocks: TokenBlocks, replace: Callable[[Tensor], Tensor]) -> float:
        x = self.read(blocks)
        return 1.0 + float((replace(x) - x).square().sum(dim=1).mean())


@pytest.fixture(scope="module")
def blocks() -> TokenBlocks:
    rng = np.random.default_rng(1)
    names = tuple(f"d{i}" for i in range(N_DOCUMENTS))
    splits = tuple(("choose", "report")[i % 2] for i in range(N_DOCUMENTS))
    table = DocumentTable(names, ("prose",) * N_DOCUMENTS, names, splits)
    texts = [rng.integers(1, N_TYPES, 200) for _ in names]
    return cut_blocks(texts, table, n_ctx=41, bos_id=0, d_vocab=N_TYPES)


A = PlantedSite("A", codes(0) @ BASIS)


@pytest.fixture(scope="module")
def sae() -> SAE:
    """The dictionary behind A's activations, exactly."""
    basis = torch.from_numpy(BASIS).float()
    return SAE(basis.T, torch.zeros(D), basis, torch.zeros(D), architecture="topk", k=3)


def measured(sae: SAE, other: PlantedSite, blocks: TokenBlocks) -> dict[MapKind, Transfer]:
    return {each.kind: each for each in transfer(sae, A, other, blocks, replicates=2)}  # type: ignore[arg-type]


def test_a_model_in_another_basis_is_explained_after_a_rotation(sae: SAE, blocks: TokenBlocks) -> None:
    rotation = np.linalg.qr(DRAW.standard_normal((D, D)))[0]
    found = measured(sae, PlantedSite("B", 0.5 * A.table @ rotation + 1), blocks)
    assert found["identity"].explained_variance < 0.5
    for kind in ("orthogonal", "affine"):
        assert found[kind].explained_variance == pytest.approx(1, abs=1e-5)
        assert found[kind].map_alone == pytest.approx(1)
        assert found[kind].spaces == pytest.approx(1)
        assert found[kind].loss.over_zero == pytest.approx(1, abs=1e-5)
        assert max(found[kind].null_explained_variance) < 0.6  # three of 16 dimensions keep half of any vector
        assert max(found[kind].null_loss_recovered) < 0.95  # the mean alone recovers most of this loss
    assert found["identity"].null_explained_variance == ()
    assert found["orthogonal"].n_fitted == found["orthogonal"].n_scored == 12 * 200
    assert found["orthogonal"].as_dict()["loss"]["clean"] == 1


def test_another_linear_map_needs_the_affine_fit(sae: SAE, blocks: TokenBlocks) -> None:
    found = measured(sae, PlantedSite("B", A.table @ DRAW.standard_normal((D, D))), blocks)
    assert found["affine"].explained_variance == pytest.approx(1, abs=1e-4)
    assert found["orthogonal"].explained_variance < 0.9


def test_a_model_that_shares_nothing_is_at_the_null(sae: SAE, blocks: TokenBlocks) -> None:
    """The control that must fail: B has codes of its own on the same text."""
    found = measured(sae, PlantedSite("B", codes(7) @ BASIS), blocks)
    for kind in ("orthogonal", "affine"):
        null = np.mean(found[kind].null_explained_variance)
        assert found[kind].explained_variance == pytest.approx(null, abs=0.1)
        assert found[kind].explained_variance < 0.6
        assert found[kind].spaces < 0.1


def test_the_map_never_sees_the_reporting_half(sae: SAE, blocks: TokenBlocks) -> None:
    """Documents that report hold other token types, on which B is A turned another way: the fit does not carry over."""
    report = np.array(blocks.documents.split)[blocks.document] == "report"
    tokens = blocks.tokens.copy()
    tokens[report] = np.where(tokens[report] > 0, 200 + tokens[report] % 200, 0)
    tokens[~report] = np.where(tokens[~report] > 0, 1 + tokens[~report] % 199, 0)
    table = A.table.copy()
    table[200:] = A.table[200:] @ np.linalg.qr(DRAW.standard_normal((D, D)))[0]
    found = measured(sae, PlantedSite("B", table), replace(blocks, tokens=tokens))
    assert found["orthogonal"].explained_variance < 0.7


def test_what_does_not_fit_is_refused(sae: SAE, blocks: TokenBlocks) -> None:
    with pytest.raises(MismatchError, match="the SAE reads 16 activations a token, its model 'A' has 3 at planted"):
        transfer(sae, replace(A, d_in=3), A, blocks)  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match="none of split 'report'"):
        transfer(sae, A, A, blocks.select("choose"))  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="expected a list such as"):
        transfer(sae, A, A, blocks, "affine")  # type: ignore[arg-type]
    with pytest.raises(UniversalityError, match="replicates: expected at least 0, found -1"):
        transfer(sae, A, A, blocks, replicates=-1)  # type: ignore[arg-type]
