"""Matched by effect, are the partners the same features as matched by activation?

    python analyses/partners_by_effect.py [RUN] [--blocks 800] [--contexts 8] [--out FOLDER] [--scratch FOLDER]

For the first two models of a run (default: runs/quickstart) at the largest width, and for two SAE seeds of each model
where the run has them. The run's partners by activation, chosen on the whole choosing half, stand beside partners that
are chosen on ``--blocks`` blocks of that half by

- activation: how often the same matcher names the same partner on less text;
- effects: r of first-order effects over all tokens, which profits from firing together;
- fingerprints: r of what ablating a feature at ``--contexts`` of its own firings does to the log-probabilities of the
  vocabulary, by equal weight of all tokens and by their probability. Firing together does not enter it. 0 for none.

A row states the share of features with the same partner in both matchings, beside the share that an exchange of
partners among equally frequent features gives, and the median activation r of both partners on the reporting half. The
interval of a share is Wilson's, with features as independent. Prints the table and keeps it in ``--out``
(analyses/results/effects): partners_by_effect.txt and .json. ``--scratch`` names a folder that keeps the stores of
effects for another call.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from effect_sides import EffectSides, Side
from scipy.stats import binomtest

from universality import Match, Similarity, match
from universality.effects import ablation_fingerprints, mean_probabilities
from universality.effects.fingerprints import WEIGHTINGS
from universality.files import write_bytes, write_json
from universality.similarity import shared_tokens
from universality.statistics import evaluation_halves, partner_overlap

COLUMNS = {
    "n_both": "pairs", "share_same": "same partner", "chance": "by chance", "r": "r by activation",
    "other_r": "r of the other", "other_r_where_different": "of others where different",
}  # fmt: skip


def comparisons(measured: EffectSides) -> Iterator[tuple[str, Match, Side, Side]]:
    """Iterate over name, the run's partners and both sides: two models, then two SAE seeds of each."""
    first, second = measured.names[:2]
    sides = {name: measured.measure(name, measured.saes(name)[:2]) for name in (first, second)}
    between = measured.partners(f"{first}-{second}.w{measured.width}")
    yield f"{first} and {second}", between, sides[first][0], sides[second][0]
    for name, of_model in sides.items():
        if len(of_model) == 2:
            yield f"two seeds of {name}", measured.partners(measured.seeds(name)), *of_model


def matchings(a: Side, b: Side, contexts: int) -> Iterator[tuple[str, Match]]:
    """Match by activation, by effects over all tokens, and by fingerprints, all on the same text."""
    yield "activation, the same text", match(Similarity.activation(a.store, b.store))
    yield "effects, all tokens", match(Similarity.effect(a.effects, b.effects))
    if contexts:
        probabilities = [mean_probabilities(side.features.site, side.features.blocks) for side in (a, b)]
        tokens = shared_tokens(a.held_out, b.held_out, *probabilities)
        prints = [
            ablation_fingerprints(side.features, of, n_contexts=contexts)
            for side, of in zip((a, b), tokens, strict=True)
        ]
        for weighting in WEIGHTINGS:
            weight = "equal weights" if weighting == "equal" else "by probability"
            yield f"fingerprints, {weight}", match(Similarity.fingerprint(*prints, weighting))


def overlap_rows(name: str, by_activation: Match, a: Side, b: Side, contexts: int) -> Iterator[dict[str, Any]]:
    """Compare each matching with the partners by activation."""
    report = Similarity.activation(a.held_out, b.held_out, documents=evaluation_halves(a.held_out).report)
    for by, other in matchings(a, b, contexts):
        print(f"{name}: {by}", file=sys.stderr, flush=True)
        yield {"comparison": name, "matched by": by} | overlap_row(by_activation, other, report)


def overlap_row(first: Match, other: Match, report: Similarity) -> dict[str, Any]:
    """Summarise the overlap of two matchings, with an interval of the share over features."""
    numbers = partner_overlap(first, other, report).summary()
    n, share = numbers["n_both"], numbers["share_same"]
    bounds = binomtest(round(share * n), n).proportion_ci(method="wilson") if n else (np.nan, np.nan)
    return numbers | {"share_same_low": float(bounds[0]), "share_same_high": float(bounds[1])}


def printed(rows: list[dict[str, Any]]) -> str:
    """Table of shares beside chance, and of r."""
    table = pd.DataFrame(rows)
    shown = table[["comparison", "matched by", *COLUMNS]].rename(columns=COLUMNS)
    bounds = zip(table["share_same"], table["share_same_low"], table["share_same_high"], strict=True)
    shown["same partner"] = [f"{share:.1%} ({low:.1%} to {high:.1%})" for share, low, high in bounds]
    shown["by chance"] = table["chance"].map("{:.2%}".format)
    return shown.to_string(index=False, float_format="{:.2f}".format)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--blocks", type=int, default=800, help="blocks of the choosing half")
    parser.add_argument("--contexts", type=int, default=8, help="tokens at which a feature is ablated; 0 for none")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/effects"))
    parser.add_argument("--scratch", type=Path, help="folder that keeps the stores of effects")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        measured = EffectSides(given.run, (given.scratch or Path(folder)) / "choose", given.blocks, "choose")
        rows, n_tokens = [], 0
        for name, by_activation, a, b in comparisons(measured):
            rows += overlap_rows(name, by_activation, a, b, given.contexts)
            n_tokens = a.store.n_tokens
    seconds = round(sum(os.times()[:4]))
    text = f"{printed(rows)}\n\n{n_tokens:,} tokens of the choosing half; {seconds} s of processor"
    given.out.mkdir(parents=True, exist_ok=True)
    write_bytes(given.out / "partners_by_effect.txt", f"{text}\n".encode())
    numbers = {"run": given.run.name, "tokens": n_tokens, "contexts": given.contexts, "rows": rows}
    write_json(given.out / "partners_by_effect.json", numbers | {"processor_seconds": seconds})
    print(text)


if __name__ == "__main__":
    main()
