"""Making of fingerprints: by ablating features where they fire, and by adding them where they need not.

Ablation asks what a feature does in its own contexts. Addition puts the feature's median activation at the same
positions of text for all features of all models, so it also compares features that never fire together. Ablation or
clamping where both features of a pair fire compares the two in the same contexts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray

from universality.activations import ModelSite
from universality.arrays import FloatArray, IntArray
from universality.corpus.blocks import TokenBlocks
from universality.effects.changes import Change, ablate_one_each, add_one_each, clamp_one_each
from universality.effects.contexts import Contexts, Positions, check_features, firings, joint_firings
from universality.effects.fingerprints import (
    WEIGHTINGS,
    Fingerprints,
    Projection,
    TokenSet,
    Weighting,
    standardised,
)
from universality.effects.interventions import check_effect
from universality.effects.model_features import ModelFeatures
from universality.effects.ordered_sums import add_rows
from universality.effects.prediction_changes import prediction_changes
from universality.effects.projection import ProjectionError, project, projection_error
from universality.errors import MismatchError, UniversalityError
from universality.features.storage.selected import read_features
from universality.models.forward import hooked_pass, logits_bytes, loss_batches, to_device
from universality.progress import progress

N_CONTEXTS = 16
MEMORY_BUDGET = 1 << 30
"""Bytes of fingerprints [n_rows, n_tokens] beyond which they are projected."""
N_COMPONENTS = 2048
"""Components of a projection; r is then off by about 0.02."""
_CHECKED = 300  # rows of which the error of a projection is measured


@dataclass(frozen=True)
class FingerprintSettings:
    """How fingerprints are computed, whichever intervention makes them.

    Parameters
    ----------
    later
        Sum changes over the position and all later ones of its block, instead of taking the position's alone.
    n_components
        Project to this number of components. None projects to ``N_COMPONENTS`` what exceeds the memory budget.
    memory_budget
        Bytes of an array [n_rows, n_tokens], with a row for each feature that is measured.
    seed
        Seed for the choice of contexts, and for the projection: the same for all fingerprints that are compared.
    silent
        Report no progress.

    Raises
    ------
    UniversalityError
        If a number is below 1.
    """

    later: bool = False
    n_components: int | None = None
    memory_budget: int = MEMORY_BUDGET
    seed: int = 0
    silent: bool = False

    def __post_init__(self) -> None:
        if self.memory_budget < 1 or (self.n_components is not None and self.n_components < 1):
            raise UniversalityError(
                f"fingerprints: expected n_components and memory_budget of at least 1, found {self.n_components} and "
                f"{self.memory_budget}"
            )

    def components(self, n_rows: int, n_tokens: int) -> int | None:
        """Number of components of the projection; None without one."""
        if self.n_components is None and 4 * n_rows * n_tokens <= self.memory_budget:
            return None
        return self.n_components or N_COMPONENTS


def ablation_fingerprints(
    features: ModelFeatures,
    tokens: TokenSet,
    *,
    n_contexts: int = N_CONTEXTS,
    chosen: npt.ArrayLike | None = None,
    documents: npt.ArrayLike | None = None,
    settings: FingerprintSettings = FingerprintSettings(),
) -> Fingerprints:
    """Average the changes of log-probabilities when a feature is set to 0 at a sample of its firings.

    Parameters
    ----------
    features
        The model's features.
    tokens
        Tokens whose log-probabilities are read.
    n_contexts
        Firings of each feature, of as many blocks as possible; all where it has fewer.
    chosen
        Features; all by default. The others have no row.
    documents
        Indices of the documents whose tokens may be taken; all by default.
    settings
        See `FingerprintSettings`.

    Raises
    ------
    ModelError
        If nothing that the model predicts depends on the hook.
    UniversalityError
        If a setting, a feature or a document is out of range.
    """
    wanted = check_features(features, chosen)
    contexts = firings(features, n_contexts, chosen=wanted, documents=documents, seed=settings.seed)
    contexts = replace(contexts, row=np.searchsorted(wanted, contexts.row))
    of = wanted, features.store.n_features
    return _fingerprints(features, tokens, contexts, of, "ablation", _ablate(contexts), settings)


def addition_fingerprints(
    features: ModelFeatures,
    tokens: TokenSet,
    positions: Positions,
    *,
    chosen: npt.ArrayLike | None = None,
    settings: FingerprintSettings = FingerprintSettings(),
) -> Fingerprints:
    """Average the changes of log-probabilities when a feature's median activation is added at given positions.

    Parameters
    ----------
    features, tokens, chosen, settings
        As for `ablation_fingerprints`.
    positions
        Blocks and columns, the same for all models: `random_positions`.

    Raises
    ------
    ModelError, UniversalityError
        As `ablation_fingerprints` does, and if a position holds no text.
    """
    block, column = (np.asarray(part, np.int64) for part in positions)
    inside = (block >= 0) & (block < len(features.blocks)) & (column >= 0) & (column < features.blocks.n_ctx)
    if not block.size or not inside.all() or not features.blocks.valid[block, column].all():
        raise UniversalityError(
            "positions: expected blocks and columns that hold text; make them with random_positions"
        )
    wanted, amount = check_features(features, chosen), median_activations(features, chosen)
    living = np.flatnonzero(amount > 0)
    each = np.repeat(living, block.size)
    row = np.searchsorted(wanted, each)
    contexts = Contexts(row, each, np.tile(block, living.size), np.tile(column, living.size))

    def added(part: IntArray) -> Change:
        return add_one_each(contexts.feature[part], amount[contexts.feature[part]])

    of = wanted, features.store.n_features
    return _fingerprints(features, tokens, contexts, of, "addition", added, settings)


def pair_fingerprints(
    a: ModelFeatures,
    b: ModelFeatures,
    tokens: tuple[TokenSet, TokenSet],
    rows: npt.ArrayLike,
    cols: npt.ArrayLike,
    *,
    times: float = 0,
    n_contexts: int = N_CONTEXTS,
    documents: npt.ArrayLike | None = None,
    settings: FingerprintSettings = FingerprintSettings(),
) -> tuple[Fingerprints, Fingerprints]:
    """Compute fingerprints of pairs at tokens where both features fire; row p is of the pair p.

    Parameters
    ----------
    a, b
        Features of the two models on the same text.
    tokens
        The shared tokens as entries of each model's vocabulary.
    rows, cols
        [n_pairs] features of A and of B.
    times
        Multiple of its largest activation to which a feature is set. 0, the default, ablates it.
    n_contexts, documents, settings
        As for `ablation_fingerprints`. Pairs that never fire together have no fingerprint.

    Raises
    ------
    MismatchError
        If the stores saw different tokens, or there are not as many features of A as of B.
    """
    options: dict[str, Any] = {"documents": documents, "seed": settings.seed}
    sides = joint_firings(a, b, rows, cols, n_contexts, **options)
    n_pairs, how = np.asarray(rows).size, f"clamping to {times:g} × maximum" if times else "ablation"
    pairs = np.arange(n_pairs), n_pairs
    made = [
        _fingerprints(side, of, contexts, pairs, how, set_to(side, contexts, times), settings)
        for side, of, contexts in zip((a, b), tokens, sides, strict=True)
    ]
    return made[0], made[1]


def mean_probabilities(site: ModelSite, blocks: TokenBlocks) -> FloatArray:
    """Average a model's next-token probabilities over the text tokens of blocks, float64 [d_vocab]."""
    total = np.zeros(site.model.d_vocab)
    bridge = site.model.bridge
    with torch.no_grad():
        for batch in loss_batches(bridge, blocks, logits_bytes(site.device)):
            tokens, text = to_device(blocks.take(batch), site.device)
            logits = hooked_pass(bridge, tokens, [])[text]
            total += logits.float().softmax(-1).sum(0).cpu().double().numpy()
    return total / blocks.n_tokens


def median_activations(features: ModelFeatures, chosen: npt.ArrayLike | None = None) -> NDArray[np.float32]:
    """Compute each feature's median activation where it fires, float32 [n_features]; 0 where it never fires."""
    median = np.zeros(features.store.n_features, np.float32)
    for j, _, values in read_features(features.store, check_features(features, chosen)):
        median[j] = np.median(values) if values.size else 0
    return median


def set_to(features: ModelFeatures, contexts: Contexts, times: npt.ArrayLike) -> Callable[[IntArray], Change]:
    """Return the change, for indices of contexts, that sets each one's feature to a multiple of its maximum.

    ``times`` is one number, or one for each context.
    """
    maxima = np.asarray(features.store.moments().max, np.float64)
    target = np.asarray(times, np.float64) * maxima[contexts.feature]

    def change(part: IntArray) -> Change:
        return clamp_one_each(contexts.feature[part], target[part])

    return change


def _ablate(contexts: Contexts) -> Callable[[IntArray], Change]:
    return lambda part: ablate_one_each(contexts.feature[part])


def _fingerprints(
    features: ModelFeatures,
    tokens: TokenSet,
    contexts: Contexts,
    of: tuple[IntArray, int],
    how: str,
    change: Callable[[IntArray], Change],
    settings: FingerprintSettings,
) -> Fingerprints:
    """Average the changes of each row; ``of`` holds the features that rows are of, and the number that there are."""
    n_rows, provenance = of[0].size, _provenance(features, settings)
    n_components = settings.components(n_rows, len(tokens))
    n_contexts = np.bincount(contexts.row, minlength=n_rows)
    means = mean_changes(features, tokens, contexts, n_contexts, how, change, settings)
    if n_components is None:
        values, projection = next(means, (0, np.zeros((0, len(tokens)), np.float32)))[1], None
    else:
        values, projection = _projected(means, n_rows, tokens, n_components, settings.seed)
    return Fingerprints(values, n_contexts, tokens, how, settings.later, projection, provenance, *of)


def mean_changes(
    features: ModelFeatures,
    tokens: TokenSet,
    contexts: Contexts,
    n_contexts: IntArray,
    how: str,
    change: Callable[[IntArray], Change],
    settings: FingerprintSettings,
    *,
    probabilities: bool = False,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Iterate over (first row, mean changes), as many rows at a time as fit into the memory budget.

    Parameters
    ----------
    features, tokens, settings
        As for `ablation_fingerprints`.
    contexts
        Places of the interventions, and the row to which each contributes.
    n_contexts
        int64 [n_rows], contexts of each row.
    how
        Name of the intervention, for the progress bar.
    change
        From indices of contexts, the change of codes there.
    probabilities
        Average the changes of probabilities, too.

    Yields
    ------
    first_row : int
    changes : float32 [n, n_tokens]
        In nats. With ``probabilities`` [n, 2, n_tokens], those of probabilities second.

    Raises
    ------
    MismatchError
        If the tokens are of another vocabulary.
    ModelError
        If nothing that the model predicts depends on the hook.
    """
    if tokens.entries.max() >= features.site.model.d_vocab:
        raise MismatchError(
            f"tokens of fingerprints: entry {tokens.entries.max()} is none of the {features.site.model.d_vocab} of "
            f"model {features.site.name!r}; each model has a token set of its own entries"
        )
    check_effect(features.written)
    shape = (2, len(tokens)) if probabilities else (len(tokens),)
    n_rows, step = n_contexts.size, max(1, settings.memory_budget // (4 * math.prod(shape)))
    device = features.site.device
    bar = progress(desc=f"{how} {features.site.name}", total=len(contexts), silent=settings.silent, unit="edit")
    with bar:
        for low in range(0, n_rows, step):
            size = min(step, n_rows - low)
            sums = torch.zeros((size, *shape), device=device)
            which = np.flatnonzero((contexts.row >= low) & (contexts.row < low + size))
            changes = prediction_changes(
                features.written,
                features.blocks,
                contexts.take(which),
                lambda part, which=which: features.intervention(change(which[part])),  # type: ignore[misc]
                tokens.entries,
                later=settings.later,
                probabilities=probabilities,
            )
            for part, delta in changes:
                add_rows(sums, torch.from_numpy(contexts.row[which[part]] - low).to(device), delta)
                bar.update(part.size)
            n = torch.from_numpy(n_contexts[low : low + size]).clamp_min(1).to(device)
            sums /= n.reshape(-1, *[1] * len(shape))
            yield low, sums.cpu().numpy()


def _projected(
    means: Iterator[tuple[int, NDArray[np.float32]]], n_rows: int, tokens: TokenSet, n_components: int, seed: int
) -> tuple[NDArray[np.float32], Projection]:
    """Project standardised fingerprints, and measure the error in r among some of them."""
    values = np.zeros((len(WEIGHTINGS), n_rows, n_components), np.float32)
    errors: dict[Weighting, list[ProjectionError]] = {weighting: [] for weighting in WEIGHTINGS}
    for low, part in means:
        for w, weighting in enumerate(WEIGHTINGS):
            exact = standardised(part, tokens.weights(weighting))
            short = project(exact.astype(np.float32), n_components, seed)
            norm = np.linalg.norm(short, axis=1, keepdims=True)
            short /= np.where(norm == 0, 1, norm)
            values[w, low : low + len(part)] = short
            some = np.flatnonzero(exact.any(axis=1))[:_CHECKED]
            errors[weighting].append(projection_error(exact[some], short[some].astype(np.float64)))
    pooled = {weighting: _pooled(found) for weighting, found in errors.items()}
    return values, Projection(n_components, seed, pooled)


def _pooled(errors: list[ProjectionError]) -> ProjectionError:
    measured = [error for error in errors if error.n_pairs]
    if not measured:
        return ProjectionError(float("nan"), float("nan"), 0)
    n = sum(error.n_pairs for error in measured)
    rms = float(np.sqrt(sum(error.n_pairs * error.rms**2 for error in measured) / n))
    return ProjectionError(rms, max(error.largest for error in measured), n)


def _provenance(features: ModelFeatures, settings: FingerprintSettings) -> dict[str, Any]:
    return {
        "model": {"name": features.site.name, "hash": features.site.model_hash},
        "sae": features.require_sae().hash,
        "site": features.site.hook,
        "text": features.blocks.hash,
        "seed": settings.seed,
    }
