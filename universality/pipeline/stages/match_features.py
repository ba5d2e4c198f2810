"""The stage ``match``: one-to-one partners of every comparison, against chance and ceilings."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from universality.arrays import evenly_spaced
from universality.config import Config
from universality.errors import CommonStartWarning, FewTokenTypesError
from universality.execution import connected
from universality.files import read_json, replacing
from universality.formatting import plural
from universality.pipeline.open_stores import OpenStores
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.sae_likeness import Likeness, likeness
from universality.pipeline.study import Comparison, basis_settings, ceilings_of, comparisons, matching_device
from universality.pipeline.task import Task

if TYPE_CHECKING:
    from universality.features import FeatureStore
    from universality.sae.training.distributed import Ranks
    from universality.similarity import Similarity
    from universality.statistics import Calibration

STAGE, VERSION = "match", 5
NEAREST = 5
"""Best partners of every feature that are stored for the report."""
_BY_CHANCE = 1  # stream of random numbers of the run's seed, beside those of its nulls
_SAMPLE, _BEST = 256, 64  # pairs whose similarities are drawn: spread over all pairs, and the best


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return one task a comparison, ceilings first: the pairs of models are stored with theirs."""
    statistics, basis = config.statistics.as_dict(), basis_settings(config)
    return [
        Task(
            f"{STAGE}/{comparison.name}",
            [statistics, *basis] if basis else statistics,
            [
                *sorted({f"collect/{name}" for name in comparison.models}),
                *(
                    f"{STAGE}/{ceiling.name}"
                    for ceiling in ceilings_of(config, folder, comparison)
                    if ceiling is not None
                ),
            ],
            partial(make_match, config, folder, comparison),
            VERSION,
        )
        for comparison in _in_order(config, folder)
    ]


def _in_order(config: Config, folder: RunFolder) -> list[Comparison]:
    """Order the comparisons, ceilings first."""
    return sorted(comparisons(config, folder), key=lambda comparison: comparison.of != "ceiling")


def make_match(config: Config, folder: RunFolder, comparison: Comparison) -> list[Path]:
    """Match two stores by activation, calibrate the match, and store similarities for the figures.

    Stores with logit weights are also matched and calibrated by these, and models in one basis matched by decoder rows.
    """
    from universality.matching import match
    from universality.similarity import Similarity
    from universality.statistics import calibrate

    (folder.root / "matches").mkdir(exist_ok=True)
    (folder.root / "similarity").mkdir(exist_ok=True)
    with OpenStores() as stores, warnings.catch_warnings(), connected(config.scheduler) as executor:
        warnings.simplefilter("ignore", CommonStartWarning)  # told once, by warn_of_common_start
        a, b = (stores[path] for path in (comparison.a, comparison.b))
        warn_of_unfit(config, folder, comparison, (a, b))  # first: matching may take hours
        warn_of_common_start(comparison, likeness(config, folder, comparison))
        where: dict[str, Any] = {"executor": executor, "device": matching_device(config)}
        calibration = calibrate(a, b, **config.statistics.for_calibrate(), **where)
        calibration = with_own_ceilings(config, folder, comparison, calibration, folder.calibration)
        files = [calibration.save(folder.calibration(comparison.name))]
        matched = calibration.match
        activation = Similarity.activation(a, b, executor=executor).on(where["device"])
        tables = _drawn_similarities(calibration, activation)
        if a.unembedding() is not None and b.unembedding() is not None:
            try:
                logit = Similarity.logit(a, b)
            except FewTokenTypesError as error:
                _say_that_logit_weights_are_left_out(comparison, str(error))
            else:
                tables |= _logit_of_pairs(logit, calibration, config.statistics.seed)
                n_types = logit.provenance["n_vocab"]
                files += _match_by_logit_weights(config, folder, comparison, (a, b), n_types, where)
        if config.models.one_basis and comparison.of == "models":
            decoder = Similarity.decoder(a, b)
            files.append(match(decoder.on(where["device"])).save(folder.decoder_match(comparison.name)))
            tables["decoder"] = decoder.pairs(matched.rows, matched.cols).astype(np.float32)
    target = folder.similarity(comparison.name)
    with replacing(target) as partial_file, partial_file.open("wb") as file:  # savez would add .npz to a bare name
        np.savez(file, **tables)
    for path in {folder.logit_calibration(comparison.name), folder.decoder_match(comparison.name)} - set(files):
        path.unlink(missing_ok=True)  # of an earlier configuration: it would be taken for this one's
    return [*files, target]


def _drawn_similarities(calibration: Calibration, activation: Any) -> dict[str, Any]:
    """Return similarities among a sample of pairs, among the best pairs, and to nearest partners."""
    matched = calibration.match
    order = calibration.by_quality()
    sample, best = order[evenly_spaced(len(order), min(_SAMPLE, len(order)))], order[:_BEST]
    tables = {
        "rows": matched.rows,
        "cols": matched.cols,
        "sample": sample,
        "sample_matrix": activation.block(matched.rows[sample])[:, matched.cols[sample]].astype(np.float32),
        "best": best,
        "best_matrix": activation.block(matched.rows[best])[:, matched.cols[best]].astype(np.float32),
    }
    (near_a, r_a), (near_b, r_b) = activation.topk(min(NEAREST, *activation.shape), axis=None)
    tables |= {"near_a": near_a.astype(np.int32), "near_a_r": r_a.astype(np.float32)}
    return tables | {"near_b": near_b.astype(np.int32), "near_b_r": r_b.astype(np.float32)}


def _logit_of_pairs(logit: Similarity, calibration: Calibration, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return the logit-weight r [n_pairs] of partners by activation, and what it is by chance.

    By chance every row has the partner of another pair whose features fire about as often; NaN without such a pair.
    The pairs were not chosen by logit weights, so that all token types can count.
    """
    from universality.statistics.token_types import exchanged

    rows, cols = calibration.match.rows, calibration.match.cols
    order = exchanged(calibration.stratum, np.random.default_rng((seed, _BY_CHANCE)))
    by_chance = np.where(order == np.arange(rows.size), np.nan, logit.pairs(rows, cols[order]))
    pairs = {"logit": logit.pairs(rows, cols), "logit_by_chance": by_chance}
    return {name: values.astype(np.float32) for name, values in pairs.items()}


def _match_by_logit_weights(
    config: Config,
    folder: RunFolder,
    comparison: Comparison,
    stores: tuple[FeatureStore, FeatureStore],
    n_types: int,
    where: dict[str, Any],
) -> list[Path]:
    """Match by logit weights on half of the token types, and calibrate on the other; nothing where types are few."""
    from universality.statistics import calibrate
    from universality.statistics.calibrating import LOGIT
    from universality.statistics.token_types import LEAST_TYPES

    if n_types < LEAST_TYPES:
        reason = f"{plural(n_types, 'token type')} in the vocabulary that counts, and halves of it need {LEAST_TYPES}"
        _say_that_logit_weights_are_left_out(comparison, reason)
        return []
    settings = config.statistics.for_calibrate()
    del settings["null"]  # those of a run re-pair text
    calibration = calibrate(*stores, measure=LOGIT, **settings | where)
    made = with_own_ceilings(config, folder, comparison, calibration, folder.logit_calibration)
    return [made.save(folder.logit_calibration(comparison.name))]


def _say_that_logit_weights_are_left_out(comparison: Comparison, reason: str) -> None:
    """Warn that there is no matching by logit weights."""
    print(
        f"warning: {comparison.name}: {reason}: logit weights are not matched, and have no chance level",
        file=sys.stderr,
        flush=True,
    )


def with_own_ceilings(
    config: Config,
    folder: RunFolder,
    comparison: Comparison,
    calibration: Calibration,
    path_of: Callable[[str], Path],
) -> Calibration:
    """Add each pair's ceilings, where a model has a second SAE that differs in its seed only.

    ``path_of`` gives the path of a comparison's calibration by the same measure.
    """
    from universality.statistics import Calibration

    ceilings = [
        Calibration.load(path_of(pair.name))
        if pair and likeness(config, folder, pair).is_ceiling and path_of(pair.name).exists()
        else None
        for pair in ceilings_of(config, folder, comparison)
    ]
    return calibration.with_ceilings(*ceilings)


def warn_of_common_start(comparison: Comparison, alike: Likeness) -> None:
    """Warn on stderr of two loaded SAEs that began from the same weights."""
    if alike.began_alike:
        print(
            f"warning: {comparison.name}: the SAEs of {' and '.join(comparison.sides)} began from the same weights: "
            f"{alike.beginning}. Features that agree for this reason do not show that the models agree",
            file=sys.stderr,
            flush=True,
        )


def warn_of_unfit(config: Config, folder: RunFolder, comparison: Comparison, stores: Sequence[FeatureStore]) -> None:
    """Warn on stderr which SAEs of a comparison are not good enough to match, and why.

    The first comparison of an SAE warns of it, so that none is named twice.
    """
    from universality.statistics.sae_acceptance import faults

    for model, store in zip(comparison.models, stores, strict=True):
        path = folder.root / "saes" / model / store.path.stem.removeprefix(f"{model}.")
        if comparison.of == "neurons" or not (path / "quality.json").is_file():  # never measured
            continue
        first = next((c for c in _in_order(config, folder) if store.path in (c.a, c.b)), comparison)
        if first.name != comparison.name:
            continue
        quality = read_json(path / "quality.json")
        recovered = quality["loss"]["recovered_over_zero"]
        reasons = faults(
            width=store.n_features,
            explained_variance=quality["explained_variance"],
            l0=quality["l0"],
            dead_share=1 - float(store.alive.mean()),
            loss_recovered=math.nan if recovered is None else recovered,
            typical_explained_variance=quality.get("typical_explained_variance", math.nan),  # absent from older runs
        )
        if reasons:
            print(
                f"warning: {path.relative_to(folder.root)} is not good enough to match: "
                f"{'; '.join(reason.text for reason in reasons)}",
                file=sys.stderr,
                flush=True,
            )
