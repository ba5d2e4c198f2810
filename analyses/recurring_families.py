"""Do families recur in another model: where a feature splits in A, does its partner split in B?

    universality collect configs/families.yaml --out runs/families
    python analyses/recurring_families.py [RUN] [--models A B …] [--csv FILE]

Compares every pair of models (the first SAE seed of each) and, as the ceiling, two SAE seeds of the first model.
Partners are the one-to-one matching by activation correlation on the documents that choose. Families cover all stored
tokens. `universality.family.recurring` defines each question. Families and partners are kept in RUN/families for the
next call.
"""

import argparse
from functools import cache
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from universality import Families, FeatureStore, Similarity, families, match
from universality.config import load_config
from universality.export import read_csv, write_csv
from universality.family import recurrence
from universality.pipeline.paths import RunFolder

FLOORS = (None, 0.3, 0.5, 0.7)

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("run", nargs="?", type=Path, default=Path("runs/families"), help="a run with two SAE seeds")
parser.add_argument("--models", nargs="+", help="compare only these models of the run; default all")
parser.add_argument("--csv", type=Path, help="write the whole table to this file")
options = parser.parse_args()
folder, config = RunFolder(options.run), load_config(options.run / "config.yaml")
widths, seeds, names = config.saes.widths, config.saes.seeds, options.models or config.models.names
(folder.root / "families").mkdir(exist_ok=True)


@cache
def store(name: str, width: int, seed: int) -> FeatureStore:
    return FeatureStore.open(folder.store(name, width, seed))


@cache
def tree(name: str, seed: int) -> Families:
    """Return the families of one model's SAEs of one seed, built on the first call."""
    path = folder.root / "families" / f"{name}-s{seed}.json"
    if not path.exists():
        families([store(name, width, seed) for width in widths], n_replicates=0, bootstrap=0).save(path)
    return Families.load(path)


def partners(a: tuple[str, int], b: tuple[str, int], width: int) -> pd.DataFrame:
    """Return one-to-one partners by correlation on the documents that choose, matched on the first call."""
    path = folder.root / "families" / f"{a[0]}-s{a[1]}.{b[0]}-s{b[1]}.w{width}.csv"
    if not path.exists():
        left, right = store(a[0], width, a[1]), store(b[0], width, b[1])
        choosing = np.flatnonzero(np.array(left.documents.split) == "choose")
        write_csv(match(Similarity.activation(left, right, documents=choosing)).to_frame(), path)
    return read_csv(path)


pairs = [("models", (a, seeds[0]), (b, seeds[0])) for a, b in combinations(names, 2)]
pairs.append(("SAE seeds", (names[0], seeds[0]), (names[0], seeds[1])))
tables = []
for of, a, b in pairs:
    matched = [partners(a, b, width) for width in widths]
    for floor in FLOORS:
        settings = {"partners": matched, "floor": floor, "replicates": 100, "seed": 1}
        answers = recurrence(tree(*a), tree(*b), **settings).to_frame()
        answers["chance in kind"] = recurrence(tree(*a), tree(*b), **settings, null="kind").to_frame()["chance"]
        answers.insert(0, "of", of)
        answers.insert(1, "pair", f"{a[0]}{a[1]}-{b[0]}{b[1]}")
        answers.insert(2, "r at least", "any" if floor is None else str(floor))
        tables.append(answers)
table = pd.concat(tables, ignore_index=True)
if options.csv:
    write_csv(table, options.csv, float_format="%.4f")

print("Edges between widths that recur, by the score that partners have at least; all steps and pairs together")
columns = ["asked", "yes", "share", "chance", "chance in kind"]
pooled = table.groupby(["question", "r at least", "of"], sort=False)[columns].apply(
    lambda rows: pd.Series(
        {
            "asked": rows["asked"].sum(),
            "recur": rows["yes"].sum() / max(1, rows["asked"].sum()),
            "lowest": rows["share"].min(),
            "highest": rows["share"].max(),
            **{
                name: np.average(rows[name].fillna(0), weights=rows["asked"]) if rows["asked"].sum() else np.nan
                for name in ("chance", "chance in kind")
            },
        }
    )
)
print(pooled.to_string(float_format="{:.3f}".format))
print("\nEach pair and step, partners of any score")
print(
    table[table["r at least"] == "any"].drop(columns="r at least").to_string(index=False, float_format="{:.3f}".format)
)
