"""Which matcher names pairs that do the same? Agreement of effects on held-out text for each matcher's best pairs.

    python analyses/effects.py [RUN] [--seeds MODEL] [--pairs 100 500 2000] [--contexts 8] [--blocks 800]

Every matcher names pairs of the first two models of a run (default: runs/quickstart) at the largest width, from the
half of the held-out documents that chooses partners. On blocks of the half that reports, each pair gets

- effects: r of the two features' first-order effects over the tokens where both fire, divided by the norms of the
  gradient (`universality.statistics.compare_effects`);
- fingerprint, by_probability, rank: r of their ablation fingerprints over the vocabulary, by equal weight of all tokens
  and by their probability, and Spearman's correlation.

A row of the table is a matcher at its N best pairs, by its own score: medians with 95% intervals, the number of pairs
that have the number, and Spearman's correlation of the matcher's score with it. Intervals of effects are over groups of
documents, with the pairs fixed: other text may rank the matchers otherwise. Those of fingerprints are over pairs as
independent draws, since a fingerprint is one mean over its contexts; the files hold such an interval of effects, too.
Beside the matchers stand random partners and, as ceilings, two SAE seeds of each model. ``--seeds`` compares two SAE
seeds of one model instead. Soft matching needs POT (``pip install POT==0.9.7.post1``), and is left out without it.
Fingerprints are made for the ``--fingerprint-pairs`` best pairs of each matcher. Writes CSV, JSON and a figure into
``--out``, by default analyses/results/effects; ``--scratch`` names a folder that keeps the stores of effects for
another call.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from effect_sides import EffectSides, Side
from scipy.stats import rankdata, spearmanr

from universality import FeatureStore, Match, Similarity, match
from universality.effects import Fingerprints, TokenSet, ablation_fingerprints, mean_probabilities
from universality.export import write_csv
from universality.files import write_json
from universality.formatting import interval
from universality.plot.style import new_figure, styled
from universality.similarity import shared_tokens
from universality.similarity.measures.alignment import align
from universality.statistics import EffectAgreement, compare_effects, evaluation_halves

FLOOR = 0.5
SINKHORN = 0.05
"""Entropic regularisation of the soft matching, in units of r."""
PROBABILITY_BLOCKS = 128
MOST_TOKENS = 8192  # of a vocabulary whose model has no logit weights
DRAWS = 200  # of groups of documents
MEASURES = ("effects", "fingerprint", "by_probability", "rank")


@dataclass(frozen=True)
class Named:
    """A matcher's pairs, best first."""

    matcher: str
    pairs: Match
    sides: tuple[Side, Side]

    @classmethod
    def best(cls, matcher: str, pairs: Match, sides: tuple[Side, Side], n: int) -> "Named":
        """Keep the n best pairs by score."""
        kept = np.argsort(-pairs.scores, kind="stable")[:n]
        chosen = replace(pairs, rows=pairs.rows[kept], cols=pairs.cols[kept], scores=pairs.scores[kept])
        return cls(matcher, chosen, sides)

    def first(self, n: int) -> "Named":
        """Keep the n best pairs."""
        pairs = self.pairs
        return replace(
            self, pairs=replace(pairs, rows=pairs.rows[:n], cols=pairs.cols[:n], scores=pairs.scores[:n], gap=None)
        )

    def compare(self, fingerprints: dict[str, Similarity] | None = None, bootstrap: int = 0) -> EffectAgreement:
        """Compare the effects of the pairs, without their nulls."""
        a, b = self.sides
        return compare_effects(
            self.pairs, a.store, b.store, a.effects, b.effects, a.norms, b.norms, fingerprints=fingerprints,
            permutations=0, controls=0, bootstrap=bootstrap,
        )  # fmt: skip


def matchings(a: FeatureStore, b: FeatureStore) -> Iterator[tuple[str, Match]]:
    """Match by each method on the choosing half."""
    choose = evaluation_halves(a).choose
    activation = Similarity.activation(a, b, documents=choose)
    hungarian = match(activation)
    yield "activation, Hungarian", hungarian
    yield f"activation, Hungarian, floor {FLOOR}", match(activation, floor=FLOOR)
    yield "activation, mutual", match(activation, "mutual")
    yield "activation, nearest", match(activation, "nearest")
    one_model = a.provenance["model"]["hash"] == b.provenance["model"]["hash"]
    decoder = Similarity.decoder(a, b, alignment=None if one_model else align(a, b, choose))
    of_decoder = "decoder" if one_model else "decoder after Procrustes"
    if find_spec("ot") is None:
        print("soft matching is left out: pip install POT==0.9.7.post1", file=sys.stderr)
    else:
        yield "activation, Sinkhorn", soft(activation, hungarian)
        yield f"{of_decoder}, Sinkhorn", soft(decoder, hungarian)
    yield f"{of_decoder}, Hungarian", match(decoder)
    yield f"{of_decoder}, nearest", match(decoder, "nearest")
    if a.unembedding() is not None:
        yield "logit weights, Hungarian", match(Similarity.logit(a, b))
    rng = np.random.default_rng(0)
    yield (
        "random partners",
        replace(hungarian, cols=rng.permutation(hungarian.cols), scores=rng.random(hungarian.rows.size)),
    )


def soft(similarity: Similarity, like: Match) -> Match:
    """Name each row's column with most mass in the transport plan of entropic optimal transport."""
    import ot

    rows, cols = np.flatnonzero(~like.dead_rows), np.flatnonzero(~like.dead_cols)
    scores = similarity.dense()[np.ix_(rows, cols)].astype(np.float64)
    plan = ot.sinkhorn(ot.unif(rows.size), ot.unif(cols.size), 1 - scores, SINKHORN, numItermax=2000, stopThr=1e-6)
    best = plan.argmax(axis=1)
    mass = plan[np.arange(rows.size), best]
    return replace(like, method="nearest", rows=rows, cols=cols[best], scores=mass, gap=None)


def fingerprints(
    sides: tuple[Side, Side], chosen: tuple[np.ndarray, np.ndarray], contexts: int, probabilities: list[np.ndarray]
) -> dict[str, Similarity]:
    """Compare ablation fingerprints of some features of both sides by each weighting, and by ranks."""
    tokens = token_sets(sides, probabilities)
    prints: list[Fingerprints] = [
        ablation_fingerprints(side.features, of, n_contexts=contexts, chosen=which)
        for side, of, which in zip(sides, tokens, chosen, strict=True)
    ]
    found = {
        "fingerprint": Similarity.fingerprint(*prints),
        "by_probability": Similarity.fingerprint(*prints, "probability"),
    }
    if prints[0].projection is None:
        ranks = [replace(each, values=rankdata(each.values, axis=1).astype(np.float32)) for each in prints]
        found["rank"] = Similarity.fingerprint(*ranks)
    return found


def token_sets(sides: tuple[Side, Side], probabilities: list[np.ndarray]) -> tuple[TokenSet, TokenSet]:
    """Choose the tokens of fingerprints: those that the stores count, or the most probable of one model."""
    if sides[0].held_out.unembedding() is not None:
        return shared_tokens(sides[0].held_out, sides[1].held_out, *probabilities)
    entries = np.sort(np.argsort(-probabilities[0], kind="stable")[:MOST_TOKENS])
    both = TokenSet.of(entries, probabilities[0][entries])
    return both, both


def agreement(named: Named, compared: dict[str, Similarity], n_fingerprints: int) -> pd.DataFrame:
    """Return the measures of each pair of a matcher, best first; no fingerprints beyond the best of each matcher."""
    found = named.compare(compared).to_frame()
    table = pd.DataFrame({"row": found["row"], "col": found["col"], "score": named.pairs.scores})
    table["effects"] = found["r_per_norm"]
    for name in MEASURES[1:]:
        table[name] = found[f"{name}_r"] if name in compared else np.nan
        table.loc[n_fingerprints:, name] = np.nan
    return table


def summarise(named: Named, table: pd.DataFrame, sizes: list[int], n_fingerprints: int) -> Iterator[dict[str, Any]]:
    """Summarise a matcher's best pairs, for each number of pairs that it names and for all of them."""
    for n in sorted({*(size for size in sizes if size < len(table)), min(len(table), max(sizes))}):
        top = table.iloc[:n]
        row: dict[str, Any] = {"matcher": named.matcher, "pairs": n}
        for measure in MEASURES:
            known = top[top[measure].notna()] if measure == "effects" or n <= n_fingerprints else top[:0]
            row |= {f"{measure}_n": len(known), **median(known[measure].to_numpy(), measure)}
            varies = len(known) > 2 and known["score"].nunique() > 1
            row[f"{measure}_by_score"] = float(spearmanr(known["score"], known[measure])[0]) if varies else np.nan
        numbers = named.first(n).compare(bootstrap=DRAWS).summary()
        row["effects_documents_low"], row["effects_documents_high"] = numbers.median_ci
        yield row | {"documents": numbers.n_groups}


def median(values: np.ndarray, name: str) -> dict[str, float]:
    """Median with its 95% interval over pairs as independent draws."""
    if values.size < 2:
        return {name: np.nan, f"{name}_low": np.nan, f"{name}_high": np.nan}
    drawn = np.random.default_rng(0).choice(values, (1000, values.size))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return {name: float(np.median(values)), f"{name}_low": float(low), f"{name}_high": float(high)}


@styled
def draw(table: pd.DataFrame, title: str, path: Path) -> None:
    """Draw medians against the number of pairs, one line a matcher."""
    figure = new_figure(9.0, 3.6)
    panels = {"effects": "r of effects where both fire", "rank": "rank correlation of fingerprints"}
    for axes, (measure, label) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        for k, (matcher, rows) in enumerate(table.groupby("matcher", sort=False)):
            style = "k:" if matcher == "random partners" else "k--" if matcher.startswith("ceiling") else "o-"
            colour = {} if style[0] == "k" else {"color": f"C{k}"}
            axes.plot(rows["pairs"], rows[measure], style, ms=3, label=matcher, **colour)
        axes.set(xscale="log", xlabel="best pairs of the matcher", ylabel=f"median {label}", ylim=(-0.2, 1))
        sizes = sorted(n for n, rows in table.groupby("pairs") if len(rows) > 1)  # not those of one matcher alone
        axes.set_xticks(sizes, map(str, sizes), minor=False)
        axes.minorticks_off()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", fontsize=7)
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--seeds", metavar="MODEL")
    parser.add_argument("--pairs", nargs="+", type=int, default=[100, 500, 2000])
    parser.add_argument("--contexts", type=int, default=8, help="tokens at which a feature is ablated")
    parser.add_argument("--fingerprint-pairs", type=int, default=10**9, help="best pairs that get fingerprints")
    parser.add_argument("--blocks", type=int, default=800, help="blocks of the reporting half")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/effects"))
    parser.add_argument("--scratch", type=Path, help="folder that keeps the stores of effects")
    return parser.parse_args()


def compare(given: argparse.Namespace, scratch: Path) -> tuple[str, pd.DataFrame, dict[str, Any]]:
    """Name, table and description of a comparison."""
    measured = EffectSides(given.run, scratch, given.blocks)
    names = [given.seeds] if given.seeds else measured.names[:2]
    sides = {name: measured.measure(name, measured.saes(name)[:2]) for name in names}
    a, b = sides[names[0]][:2] if given.seeds else (sides[name][0] for name in names)
    called = [
        Named.best(matcher, pairs, (a, b), max(given.pairs)) for matcher, pairs in matchings(a.held_out, b.held_out)
    ]
    for name in [] if given.seeds else names:
        if len(sides[name]) == 2:  # the run has a second seed
            one, two = sides[name]
            chosen = evaluation_halves(one.held_out).choose
            pairs = match(Similarity.activation(one.held_out, two.held_out, documents=chosen))
            called.append(Named.best(f"ceiling: two seeds of {name}", pairs, (one, two), max(given.pairs)))
    probabilities = {
        name: mean_probabilities(measured.site(name), measured.text(name, most=PROBABILITY_BLOCKS)) for name in names
    }
    rows: list[dict[str, Any]] = []
    for group in {tuple(map(id, each.sides)): each.sides for each in called}.values():
        own = [each for each in called if each.sides == group]
        top = [each.pairs for each in own]
        chosen = tuple(
            np.unique(np.concatenate([getattr(pairs, of)[: given.fingerprint_pairs] for pairs in top]))
            for of in ("rows", "cols")
        )
        of_group = [probabilities[side.features.site.name] for side in group]
        compared = fingerprints(group, chosen, given.contexts, of_group) if given.contexts else {}
        for each in own:
            table = agreement(each, compared, given.fingerprint_pairs)
            rows += summarise(each, table, given.pairs, given.fingerprint_pairs)
            print(f"{each.matcher}: {len(table)} pairs", file=sys.stderr, flush=True)
    text = {
        "run": given.run.name,
        "models": names,
        "hooks": [measured.site(name).hook for name in names],
        "width": measured.width,
        "blocks": len(a.features.blocks),
        "tokens": a.store.n_tokens,
        "documents": int(np.unique(a.store.tokens.document).size),
        "contexts": given.contexts,
    }
    return f"{names[0]}-seeds" if given.seeds else "-".join(names), pd.DataFrame(rows), text


def printed(table: pd.DataFrame) -> str:
    """Table of medians with intervals, and the correlation with the matcher's score."""
    shown = table[["matcher", "pairs"]].copy()
    for measure in MEASURES:
        bounds = "effects_documents" if measure == "effects" else measure
        columns = table[[measure, f"{bounds}_low", f"{bounds}_high", f"{measure}_n"]].itertuples(index=False)
        shown[measure] = [
            "–" if np.isnan(x) else f"{x:.2f} ({interval(low, high) or 'no interval'}), {n}"
            for x, low, high, n in columns
        ]
        shown[f"~ score ({measure})"] = table[f"{measure}_by_score"].map("{:.2f}".format)
    return shown.to_string(index=False)


def main() -> None:
    """Rank the matchers, print the table and keep it."""
    given = arguments()
    with TemporaryDirectory() as folder:
        name, table, text = compare(given, given.scratch or Path(folder))
    given.out.mkdir(parents=True, exist_ok=True)
    write_csv(table, given.out / f"{name}.csv", float_format="%.4g")
    seconds = round(sum(os.times()[:4]))
    rows = [{key: None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")]
    write_json(given.out / f"{name}.json", text | {"processor_seconds": seconds, "rows": rows})
    draw(table, f"{text['run']}: {' and '.join(text['models'])}", given.out / f"{name}.png")
    print(printed(table))
    print(f"\n{text}\n{seconds} s of processor; {given.out / name}.csv, .json and .png")


if __name__ == "__main__":
    main()
