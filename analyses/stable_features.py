"""Which features does every SAE seed find, and do the others write where every seed does?

    universality run configs/stability.yaml --out runs/stability
    python analyses/stable_features.py [RUN] [--out FOLDER] [--replicates 5]

For the first two models of a run with several SAE seeds of one width (default: runs/stability):

- stability: the share of the other seeds in which a feature recurs (q <= 0.05 and held-out r >= 0.7, matched exactly),
  beside chance;
- stability against the density of features, the size of their effects (of seed 0, where the run measured effects), and
  whether the other model has them (the same rule, between SAEs of one seed of each model);
- pooled dictionaries: one feature of each group that at least half of the seeds share, and of each that all share, with
  the variance that they explain, beside as many random features of the same seeds;
- the part of the reconstruction that features recurring in no seed write: do two seeds agree on its subspace of rank 8
  to 64? Beside it the agreement of other features of equal mass, of random subspaces drawn with the activations'
  covariance, and with the top principal components of all activations.

Calibrations are kept in RUN/stability, so that a call that was interrupted goes on. Writes stability.csv, subspaces.csv
and table.md into FOLDER (analyses/results/stability).
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from universality import SAE, Calibration, FeatureStore, Study, calibrate
from universality.arrays import FloatArray, IntArray, evenly_spaced
from universality.config import load_config
from universality.corpus import TokenBlocks
from universality.export import write_csv
from universality.files import write_bytes
from universality.formatting import fixed, percent
from universality.pipeline import RunFolder
from universality.progress import progress
from universality.sae import Quality
from universality.statistics import Stability, evaluation_halves, stability_of
from universality.statistics.feature_stability import RECURS_AT
from universality.statistics.feature_subspaces import (
    features_of_equal_mass,
    random_subspaces,
    reconstruction_moment,
    share_within,
    subspace_agreement,
    top_subspace,
)

RANKS = (8, 16, 32, 64)
DRAWS = 8  # subspaces, and replacements of a group of features
BLOCKS = 256  # reporting blocks on which activations are read
Q = 0.05
COLUMNS = {
    "within": "share of it within", "seeds": "two seeds", "equal_mass": "two seeds, features of equal mass",
    "random": "random, same covariance", "isotropic": "random, isotropic", "components": "with the top components",
    "equal_mass_components": "equal mass, with the top components",
}  # fmt: skip


def main() -> None:
    """Measure all of it for two models, and write the tables."""
    given = parsed()
    config, folder = load_config(given.run / "config.yaml"), RunFolder(given.run)
    models, (width,) = config.models.names[:2], config.saes.widths
    seeds = list(config.saes.seeds)
    stores = {m: {f"seed {s}": FeatureStore.open(folder.store(m, width, s)) for s in seeds} for m in models}
    kept = given.run / "stability"
    kept.mkdir(exist_ok=True)
    pairs = [(m, a, m, b) for m in models for a, b in combinations(stores[m], 2)]
    pairs += [(models[0], s, models[1], s) for s in stores[models[0]]] if len(models) == 2 else []
    found = {
        pair: calibrated(kept, pair, stores, given.replicates)
        for pair in progress(pairs, desc="calibrate", unit="pair")
    }
    features, subspaces, lines = [], [], []
    for model in models:
        measured = stability_of({(a, b): c for (m, a, n, b), c in found.items() if m == n == model})
        table = feature_table(model, measured, stores[model], folder, width)
        elsewhere = in_other_model(model, found)
        table["in_other_model"] = [
            elsewhere.get((s, f), np.nan) for s, f in zip(table.seed, table.feature, strict=True)
        ]
        acts = activations(given.run, model, folder)
        rows = list(subspace_rows(model, measured, stores[model], acts))
        lines += [*described(model, measured, table), *pooled(model, measured, folder, width, acts), *agreements(rows)]
        features.append(table)
        subspaces += rows
    given.out.mkdir(parents=True, exist_ok=True)
    write_csv(pd.concat(features), given.out / "stability.csv", float_format="%.4g")
    write_csv(pd.DataFrame(subspaces), given.out / "subspaces.csv", float_format="%.4g")
    write_bytes(given.out / "table.md", ("\n".join(lines) + "\n").encode())
    print("\n".join(lines))
    print(f"\n{given.out / 'table.md'}; {sum(os.times()[:4]):.0f} s of processor")


def parsed() -> argparse.Namespace:
    """Read the command line; exit where the run cannot answer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/stability"))
    parser.add_argument("--out", type=Path, default=Path("analyses/results/stability"))
    parser.add_argument("--replicates", type=int, default=5)
    given = parser.parse_args()
    if not (given.run / "config.yaml").is_file():
        sys.exit(f"{given.run}: no run; make it with: universality run configs/stability.yaml --out {given.run}")
    saes = load_config(given.run / "config.yaml").saes
    if len(saes.seeds) < 3 or len(saes.widths) != 1:
        sys.exit(f"{given.run}: expected SAEs of one width and three seeds or more, found {saes.widths}, {saes.seeds}")
    return given


def calibrated(kept: Path, pair: tuple[str, str, str, str], stores: Any, replicates: int) -> Calibration:
    """Calibrate two dictionaries, or load what an earlier call kept of the same two stores."""
    (m, a, n, b) = pair
    path = kept / f"{m}.{a}-{n}.{b}.npz".replace(" ", "")
    first, second = stores[m][a], stores[n][b]
    if path.is_file():
        loaded = Calibration.load(path)
        hashes = [loaded.match.provenance[side]["content_hash"] for side in "ab"]
        if hashes == [first.content_hash(), second.content_hash()] and loaded.settings["replicates"] == replicates:
            return loaded
    made = calibrate(first, second, null="global", replicates=replicates, bootstrap=0)
    made.save(path)
    return made


def feature_table(
    model: str, measured: Stability, stores: dict[str, FeatureStore], folder: RunFolder, width: int
) -> pd.DataFrame:
    """Tabulate the living features of all seeds with stability, density and the size of their effects."""
    table = measured.to_frame()
    table.insert(0, "model", model)
    density = {name: store.moments().density for name, store in stores.items()}
    table["density"] = [density[s][f] for s, f in zip(table.seed, table.feature, strict=True)]
    table["effect"] = np.nan
    path = folder.effects(model, width, 0)
    if path.is_file():
        with FeatureStore.open(path) as store:
            moments = store.moments()
            fired = np.maximum(moments.count, 1)
            size = np.where(moments.count > 0, np.sqrt(moments.sum_sq / fired), np.nan)  # root mean square, in nats
        of_first = table["seed"] == "seed 0"
        table.loc[of_first, "effect"] = size[table.loc[of_first, "feature"]]
    return table


def in_other_model(model: str, found: dict[tuple[str, str, str, str], Calibration]) -> dict[tuple[str, int], bool]:
    """Map (seed, feature) to whether the other model's SAE of the same seed has a partner by the same rule."""
    has: dict[tuple[str, int], bool] = {}
    for (m, a, n, b), calibration in found.items():
        if m == n:
            continue
        passed = (calibration.held_out >= RECURS_AT) & (calibration.q <= Q)
        side, seed = (calibration.match.rows, a) if model == m else (calibration.match.cols, b)
        width = calibration.match.shape[0 if model == m else 1]
        has |= {(seed, feature): False for feature in range(width)}
        has |= {(seed, int(feature)): True for feature in side[passed]}
    return has


def described(model: str, measured: Stability, table: pd.DataFrame) -> Iterator[str]:
    """Describe the stability of one model's features in Markdown."""
    numbers = measured.summary()
    yield (
        f"\n## {model}\n\nA feature recurs in {percent(numbers['stability'])} of the other {numbers['seeds'] - 1} "
        f"seeds on average ({percent(numbers['stability_low'])} to {percent(numbers['stability_high'])} by seed; "
        f"chance {percent(numbers['by_chance'])}). {percent(numbers['in_all'])} of {numbers['n_living']} recur in all, "
        f"{percent(numbers['in_none'])} in none. {numbers['groups_in_all']} groups have a feature of every seed.\n"
    )
    for name, what in (("density", "density"), ("effect", "root mean square of effects"), ("in_other_model", "")):
        known = table[name].notna()
        if known.any() and what:
            rho = spearmanr(table.loc[known, "stability"], table.loc[known, name]).statistic
            yield f"- rank correlation of stability with {what}: {fixed(rho)}"
    yield "\n| recurs in | features | median density | in the other model |\n|---|---|---|---|"
    bands = pd.cut(table["stability"], [-1, 0, 0.25, 0.5, 0.75, 0.999, 1])
    names = ("no seed", "up to a quarter", "up to half", "up to three quarters", "most", "all")
    for (_, band), name in zip(table.groupby(bands, observed=False), names, strict=True):
        if len(band):
            shared = band["in_other_model"].mean()
            yield f"| {name} | {len(band)} | {band['density'].median():.2g} | {percent(shared)} |"


def activations(run: Path, model: str, folder: RunFolder) -> torch.Tensor:
    """Read the model's activations on reporting blocks: [n_tokens, d_in]."""
    report = TokenBlocks.load(folder.blocks).select("report")
    with Study.open(run) as study:
        return study.site(model).read(report.take(evenly_spaced(len(report), BLOCKS)))


def pooled(model: str, measured: Stability, folder: RunFolder, width: int, acts: torch.Tensor) -> Iterator[str]:
    """Compare dictionaries pooled of recurring features with as many random features, by explained variance."""
    saes = [SAE.load(folder.sae(model, width, int(name.removeprefix("seed ")))) for name in measured.names]
    members, n_models = measured.groups.members, measured.groups.n_models
    own = [explained(sae, acts) for sae in saes]
    yield "\n| dictionary | features | variance explained | random features, as many |\n|---|---|---|---|"
    yield f"| one seed | {width} | {fixed(float(np.mean(own)), 3)} | – |"
    rng = np.random.default_rng(0)
    living = [(s, f) for s, alive in enumerate(measured.alive) for f in np.flatnonzero(alive).tolist()]
    for least, name in {2: "two seeds", max(2, len(saes) // 2): "half of the seeds", len(saes): "all seeds"}.items():
        groups = members[n_models >= least]
        if not len(groups):
            continue
        first = (groups >= 0).argmax(axis=1)  # the earliest seed that has it
        chosen = list(zip(first.tolist(), groups[np.arange(len(groups)), first].tolist(), strict=True))
        draws = [rng.choice(len(living), len(chosen), replace=False) for _ in range(DRAWS)]
        chance = np.mean([explained(combined(saes, [living[i] for i in drawn]), acts) for drawn in draws])
        shared = explained(combined(saes, chosen), acts)
        yield f"| shared by {name} | {len(chosen)} | {fixed(shared, 3)} | {fixed(float(chance), 3)} |"


def combined(saes: list[SAE], chosen: list[tuple[int, int]]) -> SAE:
    """Make one TopK SAE of features of several, with the mean decoder bias; each keeps its own encoder bias.

    An encoder subtracts the decoder's bias, so that b_enc is moved by what the mean bias changes.
    """
    b_dec = torch.stack([sae.b_dec for sae in saes]).mean(0)
    W_enc = torch.stack([saes[s].W_enc[:, f] for s, f in chosen], dim=1)
    moved = torch.stack([saes[s].b_enc[f] + (b_dec - saes[s].b_dec) @ saes[s].W_enc[:, f] for s, f in chosen])
    W_dec = torch.stack([saes[s].W_dec[f] for s, f in chosen])
    k = min(saes[0].k or 1, len(chosen))
    return replace(saes[0], W_enc=W_enc, b_enc=moved, W_dec=W_dec, b_dec=b_dec, k=k)


def explained(sae: SAE, acts: torch.Tensor) -> float:
    """Return the share of the activations' variance that an SAE explains."""
    quality = Quality(sae)
    for part in acts.split(4096):
        quality.update(part)
    return quality.compute().explained_variance


def subspace_rows(
    model: str, measured: Stability, stores: dict[str, FeatureStore], acts: torch.Tensor
) -> Iterator[dict[str, Any]]:
    """Compare the subspaces that features recurring in no seed write into, with three controls."""
    centred = (acts - acts.mean(0)).double().numpy()
    covariance = centred.T @ centred / len(centred)
    documents = evaluation_halves(next(iter(stores.values()))).report
    unstable = {name: measured.unstable(name) for name in measured.names}
    moments = {n: reconstruction_moment(stores[n], f, documents) for n, f in unstable.items() if f.size}
    others = {name: replaced(stores[name], unstable[name], documents) for name in moments}
    for rank in (rank for rank in RANKS if rank < len(covariance)):
        spaces = {name: top_subspace(moment, rank) for name, moment in moments.items()}
        of_others = {name: [top_subspace(m, rank) for m in drawn] for name, drawn in others.items()}
        drawn = random_subspaces(covariance, rank, DRAWS)
        components = top_subspace(covariance, rank)
        yield {
            "model": model,
            "rank": rank,
            "isotropic": rank / len(covariance),
            "within": float(np.mean([share_within(moments[name], space) for name, space in spaces.items()])),
            "seeds": mean_agreement(list(spaces.values())),
            "equal_mass": float(np.mean([mean_agreement([of_others[n][k] for n in spaces]) for k in range(DRAWS)])),
            "random": mean_agreement(drawn),
            "components": float(np.mean([subspace_agreement(space, components) for space in spaces.values()])),
            "equal_mass_components": float(
                np.mean([subspace_agreement(s, components) for each in of_others.values() for s in each])
            ),
        }


def replaced(store: FeatureStore, features: IntArray, documents: IntArray) -> list[FloatArray]:
    """Compute the moments of other features of equal mass, once for each draw."""
    return [reconstruction_moment(store, drawn, documents) for drawn in features_of_equal_mass(store, features, DRAWS)]


def mean_agreement(spaces: list[FloatArray]) -> float:
    """Return the mean agreement of every two subspaces."""
    return float(np.mean([subspace_agreement(u, v) for u, v in combinations(spaces, 2)]))


def agreements(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Write the agreement of subspaces in Markdown."""
    yield "\nMean squared cosine of principal angles between seeds, of what features recurring in no seed write:\n"
    yield "| rank | " + " | ".join(COLUMNS.values()) + " |\n|---|" + "---|" * len(COLUMNS)
    for row in rows:
        yield f"| {row['rank']} | " + " | ".join(fixed(row[name]) for name in COLUMNS) + " |"


if __name__ == "__main__":
    main()
