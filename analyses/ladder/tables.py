"""Tables of the finished rungs."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from concepts import concepts, described
from family_steps import appearing, family_trees, recurring, steps
from pictures import draw
from rungs import EPOCH, Rung, curve
from scaling import describe_law

from universality import Calibration, FeatureStore
from universality.export import write_csv
from universality.files import read_json, write_bytes
from universality.pipeline import RunFolder
from universality.statistics import EffectAgreement

FALLS = 0.002
"""Fall of the explained variance of held-out text, from its best to the end, that counts."""
KEYS = {
    "quality": ["epochs", "width", "model", "seed"],
    "shared": ["epochs", "width", "models"],
    "curves": ["epochs", "width", "model", "seed"],
    "families": ["model", "from", "to"],
    "recurring": ["question", "parent_width", "child_width"],
    "appearing": ["width", "models"],
    "concepts": ["kind", "model", "width"],
}
"""Columns by which the rows of a table are told apart; those of one training curve stay together."""
LAST = 10  # measurements on training batches whose mean is quoted: one batch of 2,048 tokens varies


def write_tables(trained: Sequence[Rung], root: Path, out: Path) -> None:
    """Write all tables and pictures of the rungs, and print the tables.

    Rungs trained for longer stand in quality, shared and curves alone. Rows of sizes whose runs are elsewhere stay.
    """
    out.mkdir(parents=True, exist_ok=True)
    tables = {"quality": quality(trained, root), "shared": shared(trained, root)}
    tables["curves"] = pd.concat([curve(rung, root) for rung in trained]).dropna(subset="held_out")
    rungs = [rung for rung in trained if rung.tokens == EPOCH]
    trees = family_trees(rungs, root)
    tables["families"] = steps(trees)
    tables["recurring"] = recurring(trees, rungs, root)
    tables["appearing"], tables["concepts"] = appearing(trees, rungs, root), concepts(rungs, root)
    for name, table in tables.items():
        path = out / f"{name}.csv"
        write_csv(with_kept_rows(table, path, KEYS[name]), path, float_format="%.5g")
        tables[name] = kept = pd.read_csv(path)
        if name != "curves":
            shown = kept.drop(columns="tokens", errors="ignore")
            print(f"\n{name}\n{shown.to_string(index=False, float_format='{:.3f}'.format, na_rep='-')}", flush=True)
    write_bytes(out / "concepts.md", described(tables["concepts"]).encode())
    write_bytes(out / "scaling.md", describe_law(tables["quality"]).encode())
    draw(tables, out)
    print(f"\n{out}: tables and pictures of {len(rungs)} sizes", file=sys.stderr)


def with_kept_rows(table: pd.DataFrame, path: Path, keys: list[str]) -> pd.DataFrame:
    """Add to a table the rows of its file that it does not make anew, and sort it by its keys."""
    if path.is_file():
        kept = pd.read_csv(path)
        made = pd.MultiIndex.from_frame(table[keys])
        table = pd.concat([table, kept[~pd.MultiIndex.from_frame(kept[keys]).isin(made)]])
    return table.sort_values(keys, kind="stable")


def quality(rungs: Sequence[Rung], root: Path) -> pd.DataFrame:
    """Tabulate how well each SAE reconstructs training and held-out text; one row each."""
    rows: list[dict[str, Any]] = []
    for rung in rungs:
        folder = rung.folder(root)
        for (model, seed), lines in curve(rung, root).groupby(["model", "seed"]):
            measured = read_json(folder.sae(model, rung.width, seed) / "quality.json")
            known = lines.dropna(subset="held_out")
            best = known.loc[known["held_out"].idxmax()]
            with FeatureStore.open(folder.store(model, rung.width, seed)) as store:
                silent, n_tokens = float((store.moments().count == 0).mean()), store.n_tokens
            loss = measured["loss"]
            rows.append(
                {
                    "width": rung.width, "k": rung.k, "model": model, "seed": seed,
                    "epochs": rung.epochs,
                    "training": lines["training"].iloc[-LAST:].mean(),
                    "held_out": measured["explained_variance"],
                    "gap": lines["training"].iloc[-LAST:].mean() - known["held_out"].iloc[-1],
                    "best_at_tokens": best["tokens"],
                    "falls": bool(best["held_out"] - known["held_out"].iloc[-1] > FALLS),
                    "silent": silent, "stored_tokens": n_tokens,
                    "loss_recovered": (loss["mean"] - loss["spliced"]) / (loss["mean"] - loss["clean"]),
                    "steps": -(-rung.tokens // 2048),
                }
            )  # fmt: skip
    return pd.DataFrame(rows)


def shared(rungs: Sequence[Rung], root: Path) -> pd.DataFrame:
    """Tabulate what both models share at each width, beside two SAE seeds of one model; one row for each comparison."""
    rows: list[dict[str, Any]] = []
    for rung in rungs:
        folder = rung.folder(root)
        named = {"A-B": f"A-B.w{rung.width}"}
        if len(rung.seeds) > 1:
            low, high = rung.seeds
            named |= {f"{m}-{m}": f"{m}-{m}.w{rung.width}.s{low}-s{high}" for m in "AB"}
        for label, name in named.items():
            rows.append({"width": rung.width, "epochs": rung.epochs, "models": label, **compared(folder, name)})
    return pd.DataFrame(rows)


def compared(folder: RunFolder, name: str) -> dict[str, Any]:
    """Return the numbers of one comparison: partners by activation, by logit weights, and their effects."""
    calibration = Calibration.load(folder.calibration(name))
    numbers = calibration.summary(q_level=0.05)
    row = {
        "living": numbers.n_living,
        "scored": numbers.n_scored,
        "median": numbers.held_out_median,
        "low": numbers.median_ci[0],
        "high": numbers.median_ci[1],
        "null": numbers.null.median,
        "q05": numbers.null.share_significant,
        "r05": numbers.shares[0],
        "r07": numbers.shares[1],
    }
    path = folder.logit_calibration(name)
    if path.is_file():
        row["logit"] = Calibration.load(path).summary().held_out_median
    return row | effects(folder, name)


def effects(folder: RunFolder, name: str) -> dict[str, Any]:
    """Return how well the effects of partners agree, of the pairs that could be compared."""
    path = folder.effect_agreement(name)
    if not path.is_file():
        return {}
    found = asdict(EffectAgreement.load(path).summary())
    kept = {"n_compared": "pairs_effects", "r_per_norm": "effects", "control_r": "effects_control"}
    return {label: found[key] for key, label in kept.items()} | {"effects_agree": found["share_agree"]}
