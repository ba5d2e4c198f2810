"""Transfer of an SAE: what the dictionary of one model explains of another model's activations.

B's activations x are mapped into A's space, reconstructed by A's SAE and mapped back,

    x̂ = backward(SAE_A(forward(x))),

and x̂ is judged as any reconstruction: by explained variance, and by the loss of B with x̂ in place of x. The map is
fitted on the half of the held-out documents that chooses, and x̂ is judged on the half that reports. The null fits the
same map on tokens that are paired with tokens of other documents, and judges it on the same text.

The loss of the map alone is stated beside the result: the variance that backward(forward(x)) keeps without an SAE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from universality.arrays import evenly_spaced
from universality.errors import MismatchError, UniversalityError
from universality.statistics.activation_maps import ActivationMap, MapKind, explained_variance, fit_map
from universality.statistics.repairing import Null, plan_token_repairing

if TYPE_CHECKING:
    from torch import Tensor

    from universality.activations import Site
    from universality.corpus import TokenBlocks
    from universality.sae import SAE, LossRecovered

    Replacement = Callable[[Tensor], Tensor]

Activations = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Transfer:
    """What A's SAE explains of B through one kind of map, on tokens that the map was not fitted on."""

    kind: MapKind
    """Kind of map between the two models' activations."""
    explained_variance: float
    """Share of the variance of B's activations that A's SAE explains through the map."""
    map_alone: float
    """The same for the map to A's space and back without an SAE: 1 where the map loses nothing."""
    spaces: float
    """Share of the variance of A's activations that B's, mapped, explain."""
    loss: LossRecovered
    """Loss of B with the reconstruction in place of its activations; NaN where B is a cache."""
    null_explained_variance: tuple[float, ...]
    """``explained_variance`` with maps that were fitted on re-paired tokens; empty where nothing is fitted."""
    null_loss_recovered: tuple[float, ...]
    """``loss.over_zero`` with the same maps."""
    n_fitted: int
    """Tokens of the choosing half that the map was fitted on."""
    n_scored: int
    """Tokens of the reporting half."""

    def as_dict(self) -> dict[str, Any]:
        """Values for JSON."""
        return asdict(self) | {"loss": self.loss.as_dict()}


def transfer(
    sae: SAE,
    owner: Site,
    other: Site,
    blocks: TokenBlocks,
    kinds: Sequence[MapKind] = ("identity", "orthogonal", "affine"),
    *,
    null: Null = "global",
    replicates: int = 1,
    n_blocks: int = 512,
    seed: int = 0,
) -> list[Transfer]:
    """Measure what an SAE of one model explains of another model's activations.

    Parameters
    ----------
    sae
        The SAE, trained on ``owner``.
    owner, other
        The SAE's model and the other model, each at its hook; both read ``blocks``.
    blocks
        Token blocks with the splits "choose", on which maps are fitted, and "report", on which they are scored.
    kinds
        Kinds of maps; see `universality.statistics.activation_maps`.
    null, replicates
        Documents among which tokens are re-paired, and the number of null maps of each kind.
    n_blocks
        Largest number of blocks of each half, evenly spaced; their activations of both models are held in memory.
    seed
        Seed for the re-pairings.

    Returns
    -------
    list of Transfer
        One for each kind.

    Raises
    ------
    MismatchError
        If the SAE does not read activations of the owner's width, or a split has no blocks.
    UniversalityError
        If a map cannot be fitted, or the blocks cannot be re-paired.

    References
    ----------
    Lenc & Vedaldi 2015, *Understanding image representations by measuring their equivariance and equivalence*.
    """
    _check(sae, owner, kinds, replicates)
    choose, report = (_sample(blocks, split, n_blocks) for split in ("choose", "report"))
    fitted, scored = (_read(owner, other, part) for part in (choose, report))
    pairings = _pairings(choose, null, replicates, seed)
    losses = _Losses(other, report, scored[1])
    return [_through(kind, sae, fitted, scored, pairings, losses) for kind in kinds]


def transferred(sae: SAE, fitted: ActivationMap) -> Replacement:
    """Return the function that reconstructs the other model's activations [n, d_x] by an SAE behind a map.

    Parameters
    ----------
    sae
        SAE of the model whose activations are y.
    fitted
        Map from the other model's activations x to y.
    """
    import torch

    arrays = fitted.mean_x, fitted.mean_y, fitted.to_y, fitted.to_x
    mean_x, mean_y, to_y, to_x = (torch.from_numpy(array).to(sae.device, torch.float32) for array in arrays)

    def reconstruct(x: Tensor) -> Tensor:
        y = (x.to(sae.device, torch.float32) - mean_x) @ to_y + mean_y
        return ((sae.reconstruct(y) - mean_y) @ to_x + mean_x).to(x)

    return reconstruct


@dataclass(frozen=True, eq=False)
class _Losses:
    """Losses of a model on some blocks, with its activations replaced."""

    site: Site
    blocks: TokenBlocks
    activations: Activations

    @cached_property
    def baselines(self) -> dict[str, float]:
        """Losses with the activations as they are, zero and their mean."""
        import torch

        mean = torch.from_numpy(self.activations.mean(axis=0, dtype=np.float64).astype(np.float32))
        return {
            "clean": self.of(lambda x: x),
            "zero": self.of(torch.zeros_like),
            "mean": self.of(lambda x: mean.to(x).expand_as(x)),
        }

    def of(self, replace: Replacement) -> float:
        """Return the loss with a function applied to the activations."""
        return self.site.spliced_loss(self.blocks, replace)


def _through(
    kind: MapKind,
    sae: SAE,
    fitted: tuple[Activations, Activations],
    scored: tuple[Activations, Activations],
    pairings: Sequence[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]],
    losses: _Losses,
) -> Transfer:
    from universality.sae import LossRecovered

    owner, other = fitted
    found = fit_map(other, owner, kind)
    nulls = [] if kind == "identity" else [fit_map(other[b], owner[a], kind) for a, b in pairings]
    recovered = [
        LossRecovered(spliced=losses.of(transferred(sae, each)), **losses.baselines) for each in (found, *nulls)
    ]
    explained = [_explained(sae, each, scored[1]) for each in (found, *nulls)]
    return Transfer(
        kind=kind,
        explained_variance=explained[0],
        map_alone=explained_variance(scored[1], found.backward(found.forward(scored[1]))),
        spaces=found.explained_variance(scored[1], scored[0]),
        loss=recovered[0],
        null_explained_variance=tuple(explained[1:]),
        null_loss_recovered=tuple(each.over_zero for each in recovered[1:]),
        n_fitted=found.n_tokens,
        n_scored=len(scored[1]),
    )


def _explained(sae: SAE, fitted: ActivationMap, x: Activations) -> float:
    import torch

    with torch.no_grad():
        return explained_variance(x, transferred(sae, fitted)(torch.from_numpy(x)).numpy())


def _pairings(
    blocks: TokenBlocks, null: Null, replicates: int, seed: int
) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Draw rows of the one model, and rows of other documents for the other model."""
    from universality.activations import rows_of

    if not replicates:
        return []
    rows = rows_of(blocks)
    plan = plan_token_repairing(rows.position, rows.document, blocks.documents, null)
    return [plan.draw(seed, replicate) for replicate in range(replicates)]


def _sample(blocks: TokenBlocks, split: str, n_blocks: int) -> TokenBlocks:
    part = blocks.select(split)
    if not len(part):
        raise MismatchError(
            f"blocks: none of split {split!r}; maps are fitted on the choosing half and scored on the reporting half"
        )
    return part.take(evenly_spaced(len(part), n_blocks))


def _read(owner: Site, other: Site, blocks: TokenBlocks) -> tuple[Activations, Activations]:
    """Read both models' activations, float32 [n_tokens, d_in] each."""
    from universality.activations import harvest

    parts = [found for _, found in harvest({"owner": owner, "other": other}, blocks)]
    first, second = (np.concatenate([part[name].cpu().numpy() for part in parts]) for name in ("owner", "other"))
    return first, second


def _check(sae: SAE, owner: Site, kinds: Sequence[MapKind], replicates: int) -> None:
    if sae.transcoder:
        raise MismatchError(
            "transfer measures what an SAE reconstructs of what it reads; a transcoder writes elsewhere"
        )
    if sae.d_in != owner.d_in:
        raise MismatchError(
            f"the SAE reads {sae.d_in} activations a token, its model {owner.name!r} has {owner.d_in} at {owner.hook}"
        )
    if isinstance(kinds, str) or not kinds:
        raise UniversalityError(f"kinds: expected a list such as ['orthogonal', 'affine'], found {kinds!r}")
    if replicates < 0:
        raise UniversalityError(f"replicates: expected at least 0, found {replicates}")
