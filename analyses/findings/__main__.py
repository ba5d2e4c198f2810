"""Do the published findings about the features of SAEs hold on models trained here?

    universality run configs/quickstart.yaml --out runs/quickstart
    python analyses/findings --run runs/quickstart --out runs/findings [--training early late] [--seeds N] [--inits N]
    python analyses/findings --only agreement --seeds 3 --cost     # what it has yet to train, and for how long

Findings of Bricken et al. (2023) are tested on the quickstart's run, which is made first if it is missing. Questions
that need many SAEs (differing in seed, width, sparsity or training) train them into OUT on the shipped models,
together with small models of crossed seeds. Those that depend on the length of training (`lengths.py`) are answered
early in training and at its end; both are rows of one table. Completed work is reused, and an interrupted training
resumes: a second call is quick, and a call with more seeds trains only those. Tables, figures and ``findings.json`` are
written to OUT/results; the printed output is the same.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import agreement
import bricken
import causes
import drawings
import numpy as np
import pandas as pd
import stability
from compare import compare
from cost import estimate
from intervals import Estimate, of_differences, over_seeds
from laboratory import Laboratory, Wanted, topk
from lengths import LENGTHS, Length
from matplotlib.figure import Figure

from universality import run
from universality.config import load_config
from universality.export import write_csv
from universality.files import write_json
from universality.report.figures import save_figure

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
BRICKEN = "TopK SAEs of 2,048 rather than ReLU, other text, scored on documents that did not choose the partner"
PAULO = "1,024 features, a model of one layer; theirs 32,768, Pythia-160M, MLP of layer 6"
SONG = "1,024 features, a model of one layer; theirs 16,384, Pythia-160M, residual stream of layer 8"
JEDRYSZEK = "1,024 features, a model of one layer, unit decoder rows; theirs 16,384, Pythia-70M, layer 3"
Line = dict[str, Any]


class Findings:
    """All findings; each is a method that yields lines with our number beside the published one."""

    def __init__(self, run_folder: Path, out: Path, seeds: int, inits: int, lengths: list[Length], tokens: int) -> None:
        self.run_folder, self.seeds, self.inits = run_folder, range(seeds), inits
        self.lengths, self.tokens = lengths, tokens
        self.lab, self.results = Laboratory(out), out / "results"
        self.results.mkdir(parents=True, exist_ok=True)

    @cached_property
    def study(self) -> bricken.Study:
        """The quickstart's run, made on first use if it is missing."""
        if not (self.run_folder / "config.yaml").exists():
            run(load_config(QUICKSTART), self.run_folder, until="match")
        return bricken.Study.of(self.run_folder)

    @cached_property
    def settings(self) -> dict[stability.Key, stability.Setting]:
        """SAEs of one model that differ in their seeds."""
        return stability.settings(self.lab, self.seeds, self.lengths)

    def wanted(self, name: str) -> list[Wanted]:
        """Return the SAEs that a finding needs, beside those of the quickstart's run."""
        if name == "agreement":
            return agreement.all_wanted(self.seeds, self.tokens)
        if name == "causes":
            return [sae for length in self.lengths for sae in self._of_causes(length)]
        return stability.all_wanted(self.seeds, self.lengths) if name in OF_SETTINGS else []

    def _of_causes(self, length: Length) -> list[Wanted]:
        return [*causes.crossed(length, inits=self.inits).values(), *self._of_shipped(length)]

    def _of_shipped(self, length: Length) -> list[Wanted]:
        """Return one SAE of each shipped model."""
        return [
            Wanted(topk(stability.K, stability.WIDTH, 1000 * place), model, length.tokens)
            for place, model in enumerate(causes.SHIPPED.values())
        ]

    def universal(self) -> Iterator[Line]:
        """Features are more alike across models than neurons, and than both nulls."""
        table = bricken.best_match(self.study)
        self._keep("universal", "Best partner in the other model: median r, held out", table)
        features, neurons = table.iloc[-2], table.iloc[-1]
        for name, published, row in (("features", 0.72, features), ("neurons", 0.46, neurons)):
            yield line(
                f"median best-match r, {name}", "Bricken et al.", published, _of(row, "best"), "documents", BRICKEN
            )
        for null in ("global", "kind"):
            value = Estimate(float(features[f"null_{null}"]), np.nan, np.nan)
            yield line(f"median best-match r, features, {null} null", "", None, value, "", "not published")

    def concepts(self) -> Iterator[Line]:
        """Both models have the features that Bricken et al. name."""
        table = bricken.concepts(self.study)
        self._keep("concepts", "The feature that knows a kind best, its partner, and the best single neuron", table)
        published = {"hebrew": (0.92, 0.10), "arabic-script": (0.91, None), "dna": (0.92, None), "base64": (0.85, 0.18)}
        for row in table.to_dict("records"):
            feature, neuron = published.get(row["kind"], (None, None))
            value = Estimate(row["held_out"], row["ci_low"], row["ci_high"])
            yield line(
                f"{row['kind']} feature, r with its partner", "Bricken et al.", feature, value, "documents", BRICKEN
            )
            best_neuron = Estimate(row["best_neuron"], np.nan, np.nan)
            yield line(
                f"{row['kind']} feature, r with the best neuron", "Bricken et al.", neuron, best_neuron, "", BRICKEN
            )

    def writing(self) -> Iterator[Line]:
        """Attribution tracks activation similarity; logit weights do not."""
        measures = bricken.three_measures(self.study)
        lowest = measures.pairs[measures.pairs["activation"] >= bricken.HIGH].nsmallest(10, "logit")
        self._keep("writing", f"Pairs with activation r ≥ {bricken.HIGH} whose logit weights agree least", lowest)
        self._draw("writing", drawings.three_measures(measures.pairs))
        lines = (
            ("rank correlation of attribution and activation r", "tracks", measures.attribution_follows),
            ("rank correlation of logit and activation r", "does not track", measures.logit_follows),
            (f"share of pairs with r ≥ {bricken.HIGH} and negative logit r", "a pair of r 0.98", measures.negative),
        )
        for name, published, ours in lines:
            yield line(name, "Bricken et al.", published, ours, "pairs", BRICKEN)

    def splits(self) -> Iterator[Line]:
        """One feature of a kind becomes several as the dictionary grows."""
        table = bricken.splits(self.study)
        self._keep("splits", "Features with F1 ≥ 0.5 for a kind, and with most of their mass in it", table)
        base64 = table[(table["kind"] == "base64") & (table["model"] == self.study.a)]
        published = {512: 1, 4096: 3}
        for row in base64.to_dict("records"):
            value, published_count = Estimate(row["mostly_this_kind"], np.nan, np.nan), published.get(row["width"])
            differs = "ours: most of their mass on base64; there: found by looking"
            yield line(
                f"base64 features at width {row['width']:,}", "Bricken et al.", published_count, value, "", differs
            )

    def seeds_of_saes(self) -> Iterator[Line]:
        """Two SAE seeds share less with width and k, more with training."""
        table = stability.table(self.settings)
        self._keep("seeds", "SAEs of one model that differ in their seed alone; intervals over seeds", table)
        self._draw("seeds", drawings.stability(table))
        chance = Estimate(stability.untrained(stability.WIDTH), np.nan, np.nan)
        yield line(f"PW-MCC of two random dictionaries of {stability.WIDTH:,}", "", None, chance, "", "chance")
        for length in self.lengths:
            yield from self._seeds_after(length)

    def _seeds_after(self, length: Length) -> Iterator[Line]:
        settings, k, width, full = self.settings, stability.K, stability.WIDTH, length.tokens
        shared = over_seeds(settings["topk", 32, width, full].each("shared"))
        yield line(f"shared by two SAE seeds, k 32, {length}", "Paulo & Belrose", 0.42, shared, "seeds", PAULO)
        for architecture, sparsity, published in (("topk", k, 0.818), ("relu", length.penalties[-1], 0.474)):
            setting = settings[architecture, sparsity, width, full]
            l0 = np.mean(list(setting.l0.values()))
            name = f"PW-MCC of two SAE seeds, {architecture}, L0 {l0:.0f}, {length}"
            yield line(name, "Song et al.", published, over_seeds(setting.each("pw_mcc")), "seeds", SONG)
        first, last = length.trend[0], length.trend[-1]
        more = f"{first / 1e6:g} M → {last / 1e6:g} M tokens"
        trends = (
            (f"width 256 → 2,048, {length}", "falls", ("topk", k, 2048, full), ("topk", k, 256, full)),
            (f"k 8 → 64, {length}", "falls", ("topk", 64, width, full), ("topk", 8, width, full)),
            (more, "rises", ("topk", k, width, last), ("topk", k, width, first)),
        )
        for name, published, after, before in trends:
            change = over_seeds(of_differences(settings[after].each("shared"), settings[before].each("shared")))
            yield line(f"change of the shared part, {name}", "Paulo & Belrose", published, change, "seeds", PAULO)

    def by_frequency(self) -> Iterator[Line]:
        """Frequent features are more stable."""
        settings, width = self.settings, stability.WIDTH
        keys = {
            f"{name}, {length}": key
            for length in self.lengths
            for name, key in (
                *((f"TopK, k {k}", ("topk", k, width, length.tokens)) for k in (16, 32)),
                *((f"ReLU, l1 {l1:g}", ("relu", l1, width, length.tokens)) for l1 in length.penalties[1:3]),
            )
        }
        classes = {name: stability.frequency(settings, key) for name, key in keys.items()}
        table = pd.concat([part.assign(sae=name) for name, part in classes.items()])
        self._keep("frequency", "PW-MCC by firings per million tokens; intervals over seeds", table)
        for length in self.lengths:
            of_length = {name: part for name, part in classes.items() if name.endswith(f", {length}")}
            self._draw(f"frequency{length.suffix}", drawings.frequency(of_length))
            first = classes[f"TopK, k 32, {length}"]
            for published, row in zip(drawings.SONG, first.to_dict("records"), strict=True):
                if row["n"] >= 10:
                    name = f"PW-MCC of features with {row['low']:g}–{row['high']:g} firings a million, {length}"
                    yield line(name, "Song et al.", published, _of(row, "pw_mcc"), "seeds", SONG)

    def topk_or_relu(self) -> Iterator[Line]:
        """Which is more stable at equal L0 and equally many living features?"""
        table = stability.topk_against_relu(self.settings)
        self._keep("topk_or_relu", "TopK less ReLU at the ReLU SAEs' L0 and living features; over seeds", table)
        for length in self.lengths:
            self._draw(f"topk_or_relu{length.suffix}", drawings.topk_and_relu(stability.table(self.settings), length))
        wanted = {(length.name, l1) for length in self.lengths for l1 in length.penalties}
        matched = set(zip(table["training"], table["l1"], strict=True)) if len(table) else set()
        if left_out := wanted - matched:
            print(f"left out, since their L0 or living features lie outside of what TopK spans: {sorted(left_out)}")
        published = {"shared": "TopK 0.42, ReLU > 0.90 (Paulo)", "pw_mcc": "TopK 0.818, ReLU 0.474 (Song)"}
        differs = "there neither L0 nor living features matched; for the share, SAEs of other models"
        for row in table.to_dict("records"):
            after = LENGTHS[row["training"]]
            name = f"TopK − ReLU, {row['measure']}, L0 {row['l0']:.0f}, {row['alive']:.0f} living, {after}"
            ours = _of(row, "difference")
            yield line(name, "the open question", published.get(row["measure"]), ours, "seeds", differs)

    def causes(self) -> Iterator[Line]:
        """Language model's weights and data order, SAE's seed and data order: which makes features differ?"""
        self.lab.make(self.wanted("causes"))
        pairs = {length: causes.pairs(self.lab, causes.crossed(length, inits=self.inits)) for length in self.lengths}
        by_factors, drops = (
            pd.concat([make(of).assign(training=length.name) for length, of in pairs.items()])
            for make in (causes.by_factors, causes.drops)
        )
        self._keep(
            "causes", "Held-out r by the factors in which two SAEs differ: mean, lowest, highest pair", by_factors
        )
        self._keep("causes_drops", "r where only a factor differs, and the drop where it differs as well", drops)
        for length, of_length in pairs.items():
            self._draw(f"causes{length.suffix}", drawings.causes(of_length))
            for row in drops[drops["training"] == length.name].to_dict("records"):
                value = Estimate(row["alone"], row["alone_lowest"], row["alone_highest"])
                name = f"mean r, {row['factor']} alone differs, {length.name}"
                yield line(name, "", None, value, "range of pairs", "not published")
            yield self._across_shipped(length)

    def _across_shipped(self, length: Length) -> Line:
        across = self._of_shipped(length)
        r = {(i, j): float(np.nanmean(compare(self.lab, across[i], across[j]).r)) for i, j in combinations(range(3), 2)}
        value = Estimate(float(np.mean(list(r.values()))), min(r.values()), max(r.values()))
        name = f"mean r, the shipped models (all but the SAE's data order differs), {length.name}"
        return line(name, "", None, value, "range of pairs", "not published")

    def agreement(self) -> Iterator[Line]:
        """What raises the agreement of seeds and of models: an L2 penalty on the encoder, or nested widths?"""
        table = agreement.table(self.lab, self.seeds, self.tokens)
        self._keep("agreement", "Agreement at equal L0, and its gain over the plain trainer", table)
        self._draw("agreement", drawings.agreement(table))
        for row in table[table["variant"] != agreement.PLAIN].to_dict("records"):
            published = ("Jedryszek & Crook", "rises") if "decay" in row["variant"] else ("", None)
            for measure in ("recurs", "shared") if row["pairs"] == "two seeds" else ("recurs",):
                for gain in ("gain", "gain_at_equal_variance"):
                    name = f"{measure}, {row['variant']} − TopK, {row['pairs']}, {gain.replace('_', ' ')}"
                    yield line(name, *published, _of(row, f"{measure}_{gain}"), "seeds", JEDRYSZEK)

    def _keep(self, name: str, title: str, table: pd.DataFrame) -> None:
        write_csv(table, self.results / f"{name}.csv", float_format="%.4f")
        print(f"\n{title}\n{table.to_string(index=False, float_format='{:.3f}'.format, na_rep='–')}", flush=True)

    def _draw(self, name: str, figure: Figure) -> None:
        save_figure(figure, self.results / name)
        (self.results / f"{name}.svg").unlink()  # thousands of points; the table is beside it


ASKED: dict[str, Callable[[Findings], Iterator[Line]]] = {
    "universal": Findings.universal,
    "concepts": Findings.concepts,
    "writing": Findings.writing,
    "splits": Findings.splits,
    "seeds": Findings.seeds_of_saes,
    "frequency": Findings.by_frequency,
    "topk_or_relu": Findings.topk_or_relu,
    "causes": Findings.causes,
    "agreement": Findings.agreement,
}
OF_SETTINGS = ("seeds", "frequency", "topk_or_relu")
"""Findings about SAEs of one model that differ in their seeds."""


def line(finding: str, source: str, published: object, ours: Estimate, over: str, differs: str) -> Line:
    """Put a published figure beside ours."""
    return {"finding": finding, "source": source, "published": published, "ours": ours.value, "low": ours.low,
            "high": ours.high, "interval over": over, "what differs": differs}  # fmt: skip


def _of(row: Any, name: str) -> Estimate:
    return Estimate(*(float(row[f"{name}{bound}"]) for bound in ("", "_low", "_high")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/quickstart"), help="a finished run of two models")
    parser.add_argument("--out", type=Path, default=Path("runs/findings"), help="folder for SAEs and results")
    parser.add_argument("--seeds", type=int, default=4, help="SAE seeds of each setting; three or more for intervals")
    parser.add_argument("--inits", type=int, default=2, help="seeds of the crossed models' weights")
    parser.add_argument("--only", nargs="+", choices=ASKED, default=list(ASKED), help="compute only these findings")
    parser.add_argument("--training", nargs="+", choices=LENGTHS, default=list(LENGTHS), help="lengths of training")
    parser.add_argument("--tokens", type=int, default=agreement.TOKENS, help="tokens of the SAEs of: agreement")
    parser.add_argument("--cost", action="store_true", help="print what has yet to be trained and its cost, and stop")
    options = parser.parse_args()
    lengths = [LENGTHS[name] for name in LENGTHS if name in options.training]
    findings = Findings(options.run, options.out, options.seeds, options.inits, lengths, options.tokens)
    print(estimate(findings.lab, (sae for name in options.only for sae in findings.wanted(name))), flush=True)
    if options.cost:
        return
    record = findings.results / "findings.json"
    lines: dict[str, list[Line]] = json.loads(record.read_text(encoding="utf-8")) if record.exists() else {}
    for name in options.only:
        lines[name] = [
            {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}
            for row in ASKED[name](findings)
        ]
        write_json(record, lines)
    table = pd.DataFrame([row for name in ASKED for row in lines.get(name, [])])
    write_csv(table, findings.results / "findings.csv", float_format="%.4f")
    print(f"\nPublished and ours\n{table.to_string(index=False, float_format='{:.3f}'.format, na_rep='–')}")


if __name__ == "__main__":
    main()
