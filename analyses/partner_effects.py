"""Do matched features do the same where both fire, and how good are first-order effects?

    python analyses/partner_effects.py [RUN] [--blocks 800] [--firings 2000] [--out FOLDER] [--scratch FOLDER]

For the first two models of a run (default: runs/quickstart) at the largest width, on blocks of the half of the held-out
documents that did not choose the partners:

1. agreement of effects (`universality.statistics.compare_effects`) of the run's partners between the models, between
   two SAE seeds of each, and of neurons, beside the null of permuted slopes and features that fire alike;
2. exact against first-order effects on a sample of firings of the first model (`universality.effects.exact_effects`);
3. planted features that fire alike with independent effects: the share that passes by this test, and by a permutation
   of single effects over all tokens.

Prints the tables and keeps them in ``--out`` (analyses/results/effects): partner_effects.txt, .json and .png.
``--scratch`` names a folder that keeps the stores of effects for another call, such as of analyses/effects.py.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from effect_sides import EffectSides, Side

from universality import Match, Similarity, match
from universality.arrays import FloatArray
from universality.effects import exact_effects
from universality.files import write_bytes, write_json
from universality.plot.style import new_figure, styled
from universality.similarity import DEFAULT_BUDGET
from universality.statistics import EffectAgreement, compare_effects, evaluation_halves
from universality.statistics.co_firing_effects import MIN_TOKENS, co_firing, pearson
from universality.statistics.effect_firings import CountedTokens, read_effects
from universality.statistics.synthetic import World
from universality.statistics.synthetic_effects import EffectWorld, PlantedEffects, plant_effects

NEURON_BLOCKS = 6  # neurons fire ten times as often as features: one block in so many
PLANTED_WORLDS, NAIVE_DRAWS = 4, 99
WORLD = World(n_documents=60, blocks=2, n_shared=60, n_alone=0, density=(0.02, 0.1), topic_share=1.0)
COLUMNS = {
    "n_pairs": "pairs", "n_compared": "compared", "median_n": "tokens", "r": "r", "r_per_norm": "r per norm",
    "null_r": "null r", "control_r": "controls r", "overlap": "their overlap", "sign_agreement": "signs",
    "sign_chance": "by chance", "n_tested": "tested", "share_agree": "q ≤ 0.05", "share_disagree": "opposite",
    "share_first": "first of controls", "share_first_chance": "by chance ",
}  # fmt: skip


def comparisons(measured: EffectSides, neurons: EffectSides) -> Iterator[tuple[str, Match, Side, Side]]:
    """Iterate over name, partners and sides of what the run has matched: models, seeds and neurons."""
    first, second = measured.names[:2]
    sides = {name: measured.measure(name, measured.saes(name)[:2]) for name in (first, second)}
    yield (
        f"{first} and {second}",
        measured.partners(f"{first}-{second}.w{measured.width}"),
        *(sides[name][0] for name in (first, second)),
    )
    for name, of_model in sides.items():
        if len(of_model) == 2:
            yield f"two seeds of {name}", measured.partners(measured.seeds(name)), *of_model
    if (measured.folder.root / "matches" / f"{first}-{second}.neurons.activation.npz").exists():
        of_neurons = [neurons.measure(name, ["neurons"])[0] for name in (first, second)]
        yield f"neurons of {first} and {second}", measured.partners(f"{first}-{second}.neurons"), *of_neurons


def summary_row(name: str, found: EffectAgreement) -> dict[str, Any]:
    """Summarise a comparison, with the interval of the median over documents, and the reasons without p."""
    numbers, (low, high) = asdict(found.summary()), found.median_ci
    interval = {"r_per_norm_low": low, "r_per_norm_high": high, "documents": found.n_groups}
    reasons = found.pairs["note"].str.replace(r"on \d+ tokens", "on too few tokens", regex=True)
    without = {str(reason): int(n) for reason, n in reasons[reasons != ""].value_counts().items()}
    return {"comparison": name} | {key: numbers[key] for key in COLUMNS} | interval | {"without_p": without}


def planted_rows() -> Iterator[dict[str, Any]]:
    """Measure the share of planted features that pass, by this test and by a permutation of single effects."""
    for relation in ("independent", "equal"):
        ours, naive, q = [], [], []
        for seed in range(PLANTED_WORLDS):
            with TemporaryDirectory() as folder:
                _, inputs = plant_effects(WORLD, EffectWorld(relation), Path(folder), seed)
                choose = evaluation_halves(inputs.a).choose
                chosen = match(Similarity.activation(inputs.a, inputs.b, documents=choose))
                found = compare_effects(chosen, *inputs, controls=0, bootstrap=0).to_frame()
                naive.append(naive_p(chosen, inputs, seed))
            ours.append(found["p"].dropna())
            q.append(found["q"].dropna())
        p, levels, of_effects = np.concatenate(ours), np.concatenate(q), np.concatenate(naive)
        yield {
            "planted slopes": relation, "pairs": p.size, "p ≤ 0.05": float((p <= 0.05).mean()),
            "q ≤ 0.05": float((levels <= 0.05).mean()), "single effects permuted, p ≤ 0.05":
            float((of_effects <= 0.05).mean()),
        }  # fmt: skip


def naive_p(chosen: Match, inputs: PlantedEffects, seed: int) -> FloatArray:
    """Test r of effects by permuting single effects over all tokens, whatever their document, activation and norm."""
    tokens = CountedTokens.of(inputs.a, inputs.norm_a, inputs.norm_b)
    sides = (
        read_effects(store, effects, tokens, DEFAULT_BUDGET)
        for store, effects in ((inputs.a, inputs.effects_a), (inputs.b, inputs.effects_b))
    )
    a, b = sides
    rng, found = np.random.default_rng(seed), []
    for row, col in zip(chosen.rows.tolist(), chosen.cols.tolist(), strict=True):
        pair = co_firing(a, b, row, col, tokens)
        if pair.n >= MIN_TOKENS:
            drawn = (pearson(rng.permutation(pair.effect_a), pair.effect_b) for _ in range(NAIVE_DRAWS))
            found.append((1 + sum(r >= pair.r for r in drawn)) / (1 + NAIVE_DRAWS))
    return np.array(found)


@styled
def draw(agreements: dict[str, EffectAgreement], path: Path) -> None:
    """Draw the share of pairs up to each r, for partners and for the controls of the first comparison."""
    axes = (figure := new_figure(6.4, 3.4)).subplots()
    curves = {name: found.pairs["r_per_norm"] for name, found in agreements.items()}
    first = next(iter(agreements))
    curves |= {f"{first}: features that fire alike": agreements[first].pairs["control_r"]}
    curves |= {f"{first}: null of equal firing": agreements[first].pairs["null_r"]}
    for name, values in curves.items():
        known = np.sort(values.dropna().to_numpy())
        axes.plot(known, np.arange(1, known.size + 1) / known.size, label=name)
    axes.set(
        xlim=(-0.5, 1), ylim=(0, 1), xlabel="r of effects per norm, where both fire", ylabel="share of pairs up to r"
    )
    figure.legend(loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--blocks", type=int, default=800, help="blocks of the reporting half")
    parser.add_argument("--firings", type=int, default=2000)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/effects"))
    parser.add_argument("--scratch", type=Path, help="folder that keeps the stores of effects")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        scratch = given.scratch or Path(folder)
        measured = EffectSides(given.run, scratch, given.blocks)
        neurons = EffectSides(given.run, scratch / "neurons", -(-given.blocks // NEURON_BLOCKS))
        agreements, rows, text = {}, [], {}
        for name, pairs, a, b in comparisons(measured, neurons):
            print(name, file=sys.stderr, flush=True)
            found = compare_effects(pairs, a.store, b.store, a.effects, b.effects, a.norms, b.norms)
            agreements[name], text[name] = found, f"{a.store.n_tokens:,} tokens"
            rows.append(summary_row(name, found))
            if len(agreements) == 1:
                accuracy = exact_effects(a.features, a.effects, n=given.firings).summary()
    planted = list(planted_rows())
    shown = pd.DataFrame(rows).rename(columns=COLUMNS)[["comparison", *COLUMNS.values()]]
    bounds = [f"{row['r_per_norm_low']:.3f} to {row['r_per_norm_high']:.3f}" for row in rows]
    shown.insert(list(shown).index("r per norm") + 1, "over documents", bounds)
    tables = [
        table.to_string(index=False, float_format="{:.3f}".format) for table in (shown, accuracy, pd.DataFrame(planted))
    ]
    reasons = [f"{row['comparison']}, without p: {row['without_p'] or 'none'}" for row in rows]
    seconds = round(sum(os.times()[:4]))
    printed = "\n\n".join([*tables, "\n".join(reasons), f"{text}\n{seconds} s of processor"])
    given.out.mkdir(parents=True, exist_ok=True)
    write_bytes(given.out / "partner_effects.txt", f"{printed}\n".encode())
    numbers = {"agreement": rows, "exact": accuracy.to_dict("records"), "planted": planted, "text": text}
    write_json(given.out / "partner_effects.json", numbers | {"processor_seconds": seconds})
    draw(agreements, given.out / "partner_effects.png")
    print(printed)


if __name__ == "__main__":
    main()
