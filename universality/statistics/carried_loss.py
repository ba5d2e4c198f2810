"""Loss and variance that the shared features of an SAE carry.

A feature is *shared* if its partner in another dictionary has r ≥ τ. The codes of all features but the shared ones are
set to 0 after encoding, without a new selection, and the model reads on. With L the loss on the reporting half,

    recovered(S) = (L(mean) − L(S)) / (L(mean) − L(all)),

where "mean" replaces the activations by their mean on the choosing half, and "all" keeps all features. Recovered is 1
for all features; the row "none", b_dec alone, need not be 0. The shares of two subsets do not add up to that of both:
what one feature recovers depends on the others. Everything is measured twice: with the SAE's error left out (x̂ replaces
x) and kept (only the features that are removed are subtracted from x). Beside the shared features stand those that are
not shared, and random subsets of the SAE's features:

- *same number*;
- *same density*: the same number from each tenth of the features by firing count;
- *same mass*: features in random order until their mass, Σ f² ‖d‖² on the choosing half, is that of the shared ones.

Partners, thresholds, densities and masses come from the choosing half, and losses from the reporting half. Intervals
are over independent groups of documents, with the partners and the random subsets fixed. How far random subsets of one
kind differ stands beside them: the smallest and the largest share among the draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from universality.arrays import BoolArray, FloatArray, IntArray, evenly_spaced
from universality.errors import FormatError, MismatchError, UniversalityError
from universality.files import as_path, read_json, write_json
from universality.progress import progress
from universality.statistics.held_out import evaluation_halves
from universality.statistics.ratio_intervals import ratio_intervals
from universality.statistics.reporting_blocks import StoredBlocks, check_choosing_half, stored_blocks

if TYPE_CHECKING:
    from scipy import sparse
    from torch import Tensor

    from universality.effects import ModelFeatures
    from universality.effects.repeated_passes import RepeatedPass
    from universality.features.storage.store import FeatureStore
    from universality.matching import Match
    from universality.sae import SAE

Control = Literal["same number", "same density", "same mass"]
"""Random subsets; see the module."""
STRATA = 10
"""Groups of equal size by firing count for "same density"."""
THRESHOLDS = (0.5, 0.7, 0.9)
FORMAT, VERSION = "universality.shared_loss", 1
DRAWS = 2


@dataclass(frozen=True)
class SubsetLoss:
    """Loss and variance that remain with some of an SAE's features."""

    partners: str
    """Name of the dictionary that the partners are in; "" for all and none."""
    threshold: float
    """Least r of a partner; NaN for all and none."""
    subset: str
    """all, none, shared, unshared, same number, same density or same mass."""
    error_kept: bool
    """Whether the SAE's error was kept."""
    n_features: float
    """Number of features; the mean over the draws of random subsets."""
    mass: float
    """Share of the mass of all features, on the choosing half."""
    loss: float
    """Mean loss of a token on the reporting half, in nats."""
    recovered: float
    """Share of the recovered loss; NaN for an empty set of shared features and its controls."""
    recovered_low: float
    recovered_high: float
    """95% interval over groups of documents."""
    explained_variance: float
    """Share of the variance of the activations that remains explained."""
    explained_low: float
    explained_high: float
    """95% interval over groups of documents."""
    draws_low: float = math.nan
    draws_high: float = math.nan
    """Smallest and largest ``recovered`` of the draws of a random subset."""
    over_random: float = math.nan
    """Recovered by the shared features minus recovered by this random subset (the mean of its draws)."""
    over_random_low: float = math.nan
    over_random_high: float = math.nan
    """95% interval over groups of documents, paired."""


@dataclass(frozen=True)
class SharedLoss:
    """Result of `shared_loss`."""

    model: str
    """Name of the model whose SAE was measured."""
    clean: float
    """Loss of the model as it is, nats a token."""
    spliced: float
    """Loss with the SAE's reconstruction."""
    mean: float
    """Loss with the mean activations."""
    n_tokens: int
    """Tokens of the reporting half."""
    n_blocks: int
    """Blocks of the reporting half."""
    n_groups: int
    """Independent groups of documents among them."""
    draws: int
    """Random subsets of each kind and threshold."""
    rows: tuple[SubsetLoss, ...]
    """One for each subset, with the error left out and kept."""

    def to_frame(self) -> pd.DataFrame:
        """Tabulate the rows."""
        return pd.DataFrame([asdict(row) for row in self.rows])

    def as_dict(self) -> dict[str, Any]:
        """Values for JSON, with None for NaN."""
        found = asdict(self)
        found["rows"] = [{name: _json(value) for name, value in row.items()} for row in found["rows"]]
        return {name: _json(value) for name, value in found.items()}

    def save(self, path: str | Path) -> Path:
        """Write everything atomically to one JSON file; return its path."""
        path = as_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"format": FORMAT, "version": VERSION, **self.as_dict()})
        return path

    @classmethod
    def load(cls, path: str | Path) -> SharedLoss:
        """Read a file that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        FormatError
            If it is truncated or corrupt, or has another format or version.
        """
        values = read_json(path)
        found = values.pop("format", None), values.pop("version", None)
        if found != (FORMAT, VERSION):
            raise FormatError(
                f"{path}: expected format {FORMAT!r}, version {VERSION}; found {found[0]!r}, version {found[1]!r}"
            )
        values.setdefault("draws", 2)  # early files do not state it
        rows = values.get("rows")
        if not isinstance(rows, list):
            raise FormatError(f"{path}: corrupt: rows must be a list, found {type(rows).__name__}")
        read = tuple(SubsetLoss(**_fields(SubsetLoss, row, f"{path}: row {i}")) for i, row in enumerate(rows))
        return cls(**_fields(cls, {**values, "rows": read}, str(path)))

    def row(self, partners: str, threshold: float, subset: str, error_kept: bool = False) -> SubsetLoss:
        """Return one row; ``partners`` is "" and the threshold does not matter for the subsets "all" and "none".

        Raises
        ------
        UniversalityError
            If there is none.
        """
        for row in self.rows:
            if (row.partners, row.subset, row.error_kept) == (partners, subset, error_kept) and (
                row.threshold == threshold or not partners
            ):
                return row
        known = sorted({(row.partners, row.threshold) for row in self.rows if row.partners})
        raise UniversalityError(
            f"no row {subset!r} of partners {partners!r} at r >= {threshold}; measured were {known}"
        )

    def sentence(self, partners: str, threshold: float, ceiling: str | None = None) -> str:
        """State the result in a sentence, with the SAE's error left out.

        Parameters
        ----------
        partners
            Name of the other model's dictionary.
        threshold
            One of the thresholds.
        ceiling
            Name of the dictionary of a second SAE seed of the same model.
        """
        shared = self.row(partners, threshold, "shared")
        if not shared.n_features:
            return f"No feature of {self.model} has a partner in {partners} at r ≥ {threshold:g}."
        random = self.row(partners, threshold, "same mass")
        said = (
            f"Of the loss that {self.model}'s SAE of {round(self.row('', math.nan, 'all').n_features):,} features "
            f"recovers (against mean ablation), features with a partner in {partners} at r ≥ {threshold:g} alone "
            f"recover {_percent(shared)}, those without {_percent(self.row(partners, threshold, 'unshared'))}; "
            f"random subsets of equal mass {_percent(random)}{_spread_of_draws(random, self.draws)}"
        )
        if ceiling is not None:
            said += f"; two SAE seeds {_percent(self.row(ceiling, threshold, 'shared'))}"
        return f"{said}; no feature at all {_percent(self.row('', math.nan, 'none'))}."


def shared_loss(
    features: ModelFeatures,
    partners: Mapping[str, Match],
    *,
    thresholds: Sequence[float] = THRESHOLDS,
    draws: int = DRAWS,
    n_blocks: int = 128,
    seed: int = 0,
) -> SharedLoss:
    """Measure what the features of an SAE that have partners carry of the model's loss and of the variance.

    Parameters
    ----------
    features
        Features of an SAE on held-out text, with the splits "choose" and "report".
    partners
        Name of each other dictionary → a match of the store with it (on either side) on the choosing half: another
        model's, and as a ceiling that of a second SAE seed of this model.
    thresholds
        Least r of a partner, at which each subset is measured.
    draws
        Random subsets of each kind and threshold. The cost grows with their number; so does what their spread says.
    n_blocks
        Largest number of blocks of each half, evenly spaced.
    seed
        Seed for the random subsets and the resampled groups.

    Returns
    -------
    SharedLoss

    Raises
    ------
    MismatchError
        If the features are neurons or of segments, a match does not hold their store or was not made on the choosing
        half, or a half has no documents.
    UniversalityError
        If the SAE recovers nothing of the loss, or an argument is out of range.
    """
    _check(thresholds, draws, n_blocks, partners)
    store = features.store
    scores = {name: partner_scores(match, store) for name, match in partners.items()}
    choose, report = (stored_blocks(features, split) for split in ("choose", "report"))
    choose, report = (part.take(evenly_spaced(len(part), n_blocks)) for part in (choose, report))
    count, square = counts_and_squares(store)
    mass = square * np.square(store.decoder_rows(), dtype=np.float64).sum(axis=1)
    subsets = list(_subsets(scores, thresholds, count, mass, draws, seed))
    masks = np.unique(np.stack([part.mask for part in subsets]), axis=0)  # equal subsets are measured once
    sums = _measure(features, report, masks, _mean_written(features, choose))
    return _result(features.site.name, report, sums, subsets, masks, mass, draws, seed)


def partner_scores(match: Match, store: FeatureStore) -> FloatArray:
    """Return the score of the partner of each feature of a store, float64 [n_features]; NaN where it has none.

    Raises
    ------
    MismatchError
        If neither or both sides of the match are this store, or partners were not chosen on the choosing half.
    """
    own = store.content_hash()
    sides = [name for name in ("a", "b") if match.provenance.get(name, {}).get("content_hash") == own]
    if len(sides) != 1:
        raise MismatchError(
            f"{store.path}: {'both sides' if sides else 'neither side'} of the match is this store; give a match of it "
            "with another dictionary"
        )
    check_choosing_half(match, store)
    scores = np.full(store.n_features, np.nan)
    scores[match.rows if sides == ["a"] else match.cols] = match.scores
    return scores


@dataclass(frozen=True, eq=False)
class _Subset:
    partners: str
    threshold: float
    name: str
    mask: BoolArray
    """[d_sae], features that are kept."""


@dataclass(frozen=True, eq=False)
class _Sums:
    """Sums over the tokens of each group of documents, float64 [2, n_masks, n_groups]: error left out, and kept."""

    loss: FloatArray
    squared_error: FloatArray
    clean: FloatArray
    """[n_groups], as are all that follow."""
    mean: FloatArray
    variance: FloatArray
    """Squared distance from the mean of all tokens."""


def _subsets(
    scores: Mapping[str, FloatArray],
    thresholds: Sequence[float],
    count: IntArray,
    mass: FloatArray,
    draws: int,
    seed: int,
) -> Iterator[_Subset]:
    """List all subsets of the features, one after the other for each dictionary and threshold."""
    n = count.size
    yield _Subset("", math.nan, "all", np.ones(n, bool))
    yield _Subset("", math.nan, "none", np.zeros(n, bool))
    for i, (name, score) in enumerate(scores.items()):
        for j, threshold in enumerate(thresholds):
            with np.errstate(invalid="ignore"):
                shared = score >= threshold
            yield _Subset(name, threshold, "shared", shared)
            yield _Subset(name, threshold, "unshared", ~shared)
            for control in get_args(Control):
                for draw in range(draws):
                    rng = np.random.default_rng([seed, i, j, get_args(Control).index(control), draw])
                    yield _Subset(name, threshold, control, random_subset(shared, control, count, mass, rng))


def random_subset(
    like: BoolArray, control: Control, count: IntArray, mass: FloatArray, rng: np.random.Generator
) -> BoolArray:
    """Draw living features at random, bool [n_features].

    Parameters
    ----------
    like : bool [n_features]
        The subset whose number, densities or mass are kept.
    control
        See the module.
    count, mass : [n_features]
        Firings and mass of each feature.

    Examples
    --------
    >>> like = np.array([True, True, False, False, False, False])
    >>> count, mass = np.full(6, 5), np.array([1.0, 1, 1, 1, 1, 1])
    >>> int(random_subset(like, "same mass", count, mass, np.random.default_rng(0)).sum())
    2
    """
    drawn = np.zeros(like.size, bool)
    living = np.flatnonzero(count > 0)
    if control == "same number":
        drawn[rng.choice(living, int(like[living].sum()), replace=False)] = True
    elif control == "same density":
        by_density = living[np.argsort(count[living], kind="stable")]
        for stratum in np.array_split(by_density, STRATA):
            drawn[rng.choice(stratum, int(like[stratum].sum()), replace=False)] = True
    else:
        # A feature that would exceed the mass is passed over, and smaller ones fill what is left.
        left = mass[like].sum() * (1 + 1e-9)
        for feature in rng.permutation(living):
            if mass[feature] <= left:
                drawn[feature] = True
                left -= mass[feature]
    return drawn


def counts_and_squares(store: FeatureStore) -> tuple[IntArray, FloatArray]:
    """Count firings and sum f² of each feature on the choosing half, in one pass over the features."""
    chosen = np.isin(store.tokens.document, evaluation_halves(store).choose)
    count, square = np.zeros(store.n_features, np.int64), np.zeros(store.n_features)
    for start, columns in store.column_blocks():
        inside = chosen[columns.indices]
        feature = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))[inside]
        part = slice(start, start + columns.shape[1])
        count[part] = np.bincount(feature, minlength=columns.shape[1])
        square[part] = np.bincount(feature, columns.data[inside].astype(np.float64) ** 2, columns.shape[1])
    return count, square


def _mean_written(features: ModelFeatures, choose: StoredBlocks) -> Tensor:
    """Mean of the activations that the SAE reconstructs on the choosing half, [d_out]."""
    from universality.effects.repeated_passes import repeated_passes

    passes = repeated_passes(features.site, choose.blocks, features.site_out)
    sums = [batch.written.double().sum(dim=0) for _, batch in passes]
    return (sum(sums[1:], sums[0]) / choose.blocks.n_tokens).float()


def _measure(features: ModelFeatures, report: StoredBlocks, masks: BoolArray, mean: Tensor) -> _Sums:
    """Run the model with each subset of the features, and sum losses and squared errors over groups."""
    from universality.effects.repeated_passes import repeated_passes

    sae = features.require_sae()
    loss, squared, one = np.zeros((2, len(masks), len(report))), np.zeros((2, len(masks), len(report))), []
    n_passes = 2 * len(masks) + 1
    with progress(
        total=n_passes * report.blocks.n_tokens, desc="shared features", unit="token", unit_scale=True
    ) as bar:
        for index, batch in repeated_passes(features.site, report.blocks, features.site_out):
            one.append((index, *_baselines(batch, mean)))
            codes = sae.encode(batch.read)
            error = _error(sae, codes, batch)
            for i, mask in enumerate(masks):
                removed = _removed(sae, codes, mask, batch.read)
                for kept, shift in enumerate((removed - error, removed)):
                    loss[kept, i, index] = batch.block_losses(shift)
                    squared[kept, i, index] = _by_block(batch, shift)
                bar.update(2 * len(batch.block))
            bar.update(2 * len(batch.block))
    order = np.concatenate([index for index, *_ in one])
    clean, replaced, variance = (np.concatenate(values) for values in list(zip(*one, strict=True))[1:])
    groups = report.by_group(report.units)
    return _Sums(loss @ groups, squared @ groups, *(values @ groups[order] for values in (clean, replaced, variance)))


def _baselines(batch: RepeatedPass, mean: Tensor) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sum over each block: the loss as it is, the loss with the mean, and the squared distance from the mean."""
    from_mean = mean.to(batch.written) - batch.written
    return batch.block_losses(), batch.block_losses(from_mean), _by_block(batch, from_mean)


def _error(sae: SAE, codes: sparse.csr_matrix, batch: RepeatedPass) -> Tensor:
    """Return what the SAE does not reconstruct, [n_tokens, d_out]."""
    return batch.written - batch.written.new_tensor(sae.decode(codes, like=batch.read))


def _removed(sae: SAE, codes: sparse.csr_matrix, kept: BoolArray, read: Tensor) -> Tensor:
    """Return the shift that removes all features but those that are kept, [n_tokens, d_out]."""
    from universality.effects.changes import ablate_all_but

    return sae.contribution(ablate_all_but(np.flatnonzero(kept))(codes), like=read)


def _by_block(batch: RepeatedPass, shift: Tensor) -> FloatArray:
    return batch.block_sums(shift.double().square().sum(dim=1).cpu().numpy())


def _result(
    model: str,
    report: StoredBlocks,
    sums: _Sums,
    subsets: Sequence[_Subset],
    masks: BoolArray,
    mass: FloatArray,
    draws: int,
    seed: int,
) -> SharedLoss:
    """Turn sums over groups into shares with intervals."""
    place = {mask.tobytes(): i for i, mask in enumerate(masks)}
    n_tokens, everything = report.blocks.n_tokens, place[np.ones(mass.size, bool).tobytes()]
    spliced = sums.loss[0, everything]
    if sums.mean.sum() <= spliced.sum():
        raise UniversalityError(
            f"the SAE recovers nothing of the loss of model {model!r} against mean ablation, so there are no shares of "
            f"it: {spliced.sum() / n_tokens:.4f} nats with the SAE, {sums.mean.sum() / n_tokens:.4f} with the mean"
        )
    rows = [
        row
        for kept in (False, True)
        for row in _rows(kept, sums, _by_name(subsets), place, mass, everything, n_tokens, seed)
    ]
    return SharedLoss(
        model=model,
        clean=float(sums.clean.sum() / n_tokens),
        spliced=float(spliced.sum() / n_tokens),
        mean=float(sums.mean.sum() / n_tokens),
        n_tokens=n_tokens,
        n_blocks=len(report),
        n_groups=report.n_groups,
        draws=draws,
        rows=tuple(rows),
    )


def _by_name(subsets: Sequence[_Subset]) -> dict[tuple[str, float, str], list[BoolArray]]:
    """Collect the draws of each subset."""
    found: dict[tuple[str, float, str], list[BoolArray]] = {}
    for part in subsets:
        found.setdefault((part.partners, part.threshold, part.name), []).append(part.mask)
    return found


def _rows(
    kept: bool,
    sums: _Sums,
    subsets: Mapping[tuple[str, float, str], Sequence[BoolArray]],
    place: Mapping[bytes, int],
    mass: FloatArray,
    everything: int,
    n_tokens: int,
    seed: int,
) -> Iterator[SubsetLoss]:
    losses, errors = sums.loss[int(kept)], sums.squared_error[int(kept)]
    recoverable = sums.mean - losses[everything]
    shared_loss_sums = np.zeros(0)
    for (partners, threshold, name), drawn in subsets.items():
        at = [place[mask.tobytes()] for mask in drawn]
        loss, error = losses[at].mean(axis=0), errors[at].mean(axis=0)
        if name == "shared":
            shared_loss_sums, empty = loss, not drawn[0].any()
        random = name in get_args(Control)
        tops = [sums.mean - loss, loss - shared_loss_sums] if random else [sums.mean - loss]
        share, low, high = ratio_intervals(np.stack(tops), recoverable, seed=seed)
        if name not in ("all", "none", "unshared") and empty:
            share, low, high = (np.full_like(values, np.nan) for values in (share, low, high))
        unexplained, less, more = ratio_intervals(error[None], sums.variance, seed=seed)
        each = (sums.mean.sum() - losses[at].sum(axis=1)) / recoverable.sum()
        yield SubsetLoss(
            partners,
            threshold,
            name,
            kept,
            n_features=float(np.mean([mask.sum() for mask in drawn])),
            mass=float(np.mean([mass[mask].sum() for mask in drawn]) / mass.sum()),
            loss=float(loss.sum() / n_tokens),
            recovered=float(share[0]),
            recovered_low=float(low[0]),
            recovered_high=float(high[0]),
            explained_variance=float(1 - unexplained[0]),
            explained_low=float(1 - more[0]),
            explained_high=float(1 - less[0]),
            **_draws(each, share, low, high) if random else {},
        )


def _draws(each: FloatArray, share: FloatArray, low: FloatArray, high: FloatArray) -> dict[str, float]:
    """Return the fields of random subsets alone."""
    defined = not np.isnan(share[0])
    return {
        "draws_low": float(each.min()) if defined else math.nan,
        "draws_high": float(each.max()) if defined else math.nan,
        "over_random": float(share[1]),
        "over_random_low": float(low[1]),
        "over_random_high": float(high[1]),
    }


def _check(thresholds: Sequence[float], draws: int, n_blocks: int, partners: Mapping[str, Match]) -> None:
    if not thresholds or not np.isfinite(thresholds).all() or len(set(thresholds)) < len(thresholds):
        raise UniversalityError(f"thresholds: expected different finite numbers, found {list(thresholds)}")
    if draws < 1 or n_blocks < 1:
        raise UniversalityError(f"expected draws and n_blocks of at least 1, found {draws} and {n_blocks}")
    if not partners or "" in partners:
        raise UniversalityError("partners: expected at least one match, each with a name")


def _percent(row: SubsetLoss) -> str:
    """Write a share with its interval."""
    if math.isnan(row.recovered):
        return "nothing that can be stated (no such feature)"
    share, low, high = map(_rounded, (row.recovered, row.recovered_low, row.recovered_high))
    return share if math.isnan(row.recovered_low) else f"{share} ({low} to {high})"


def _spread_of_draws(row: SubsetLoss, draws: int) -> str:
    """Write how far the draws of a random subset differ; empty for a single draw."""
    if draws < 2 or math.isnan(row.draws_low):
        return ""
    return f", {_rounded(row.draws_low)} to {_rounded(row.draws_high)} over {draws} draws"


def _rounded(share: float) -> str:
    return f"{round(share, 2) + 0.0:.0%}"  # never "-0%"


def _json(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


_JSON_TYPES = {"str": str, "bool": bool, "int": int, "float": (int, float), "tuple[SubsetLoss, ...]": tuple}


def _fields(of: type[SharedLoss] | type[SubsetLoss], values: Any, where: str) -> dict[str, Any]:
    """Check the fields of a result that was read from JSON; None stands for NaN."""
    if not isinstance(values, dict):
        raise FormatError(f"{where}: corrupt: expected an object, found {type(values).__name__}")
    expected = {field.name: str(field.type) for field in fields(of)}
    if set(values) != set(expected):
        different = sorted(set(values) ^ set(expected))
        raise FormatError(f"{where}: corrupt: missing or unknown fields {different}")
    read = dict(values)
    for name, kind in expected.items():
        if read[name] is None and kind == "float":
            read[name] = math.nan
        exact_bool = isinstance(read[name], bool) == (kind == "bool")  # a bool is an int, too
        if not (isinstance(read[name], _JSON_TYPES[kind]) and exact_bool):  # type: ignore[arg-type]
            raise FormatError(f"{where}: corrupt: {name} must be of type {kind}, found {read[name]!r}")
    return {name: float(value) if expected[name] == "float" else value for name, value in read.items()}
