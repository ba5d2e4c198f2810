"""Do the published findings about the features of SAEs hold on models trained here?

    universality run configs/quickstart.yaml --out runs/quickstart
    python analyses/findings --run runs/quickstart --out runs/findings [--seeds N] [--inits N] [--only NAME …]

Findings of Bricken et al. (2023) are tested on the quickstart's run, which is made first if it is missing. Questions
that need many SAEs (differing in seed, width, sparsity or training) train them into OUT on the shipped models,
together with small models of crossed seeds. Completed work is reused: a second call is quick, and a call with more
seeds trains only those. Tables, figures and ``findings.json`` are written to OUT/results; the printed output is the
same.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import bricken
import causes
import drawings
import numpy as np
import pandas as pd
import stability
from compare import compare
from intervals import Estimate, of_differences, over_seeds
from laboratory import Laboratory, Wanted, topk
from matplotlib.figure import Figure

from universality import run
from universality.config import load_config
from universality.export import write_csv
from universality.files import write_json
from universality.report.figures import save_figure

QUICKSTART = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SHIPPED = ("starter/seed0", "starter/seed1", "starter/seed2")
BRICKEN = "TopK SAEs of 2,048 rather than ReLU, other text, scored on documents that did not choose the partner"
PAULO = "1,024 features, 1 M tokens, a model of one layer; theirs 32,768, Pythia-160M, MLP of layer 6"
SONG = "1,024 features, 1 M tokens, a model of one layer; theirs 16,384, Pythia-160M, residual stream of layer 8"
Line = dict[str, Any]


class Findings:
    """All findings; each is a method that yields lines with our number beside the published one."""

    def __init__(self, run_folder: Path, out: Path, seeds: int, inits: int) -> None:
        self.run_folder, self.seeds, self.inits = run_folder, range(seeds), inits
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
        return stability.settings(self.lab, self.seeds)

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
        settings = self.settings
        table = stability.table(settings)
        self._keep("seeds", "SAEs of one model that differ in their seed alone; intervals over seeds", table)
        self._draw("seeds", drawings.stability(table))
        k, width, full = stability.K, stability.WIDTH, stability.FULL
        at = settings["topk", 32, width, full]
        yield line("shared by two SAE seeds, k 32", "Paulo & Belrose", 0.42, over_seeds(at.each("shared")), "seeds",
                   PAULO)  # fmt: skip
        for architecture, sparsity, published in (("topk", k, 0.818), ("relu", stability.PENALTIES[-1], 0.474)):
            setting = settings[architecture, sparsity, width, full]
            name = f"PW-MCC of two SAE seeds, {architecture}, L0 {np.mean(list(setting.l0.values())):.0f}"
            yield line(name, "Song et al.", published, over_seeds(setting.each("pw_mcc")), "seeds", SONG)
        chance = Estimate(stability.untrained(width), np.nan, np.nan)
        yield line(f"PW-MCC of two random dictionaries of {width:,}", "", None, chance, "", "chance")
        trends = (
            ("width 256 → 2,048", "falls", ("topk", k, 2048, full), ("topk", k, 256, full)),
            ("k 8 → 64", "falls", ("topk", 64, width, full), ("topk", 8, width, full)),
            ("0.125 M → 1 M tokens", "rises", ("topk", k, width, full), ("topk", k, width, 125_000)),
        )
        for name, published, after, before in trends:
            change = over_seeds(of_differences(settings[after].each("shared"), settings[before].each("shared")))
            yield line(f"change of the shared part, {name}", "Paulo & Belrose", published, change, "seeds", PAULO)

    def by_frequency(self) -> Iterator[Line]:
        """Frequent features are more stable."""
        settings, width, full = self.settings, stability.WIDTH, stability.FULL
        keys = {f"TopK, k {k}": ("topk", k, width, full) for k in (16, 32)}
        keys |= {f"ReLU, l1 {l1:g}": ("relu", l1, width, full) for l1 in stability.PENALTIES[1:3]}
        classes = {name: stability.frequency(settings, key) for name, key in keys.items()}
        table = pd.concat([part.assign(sae=name) for name, part in classes.items()])
        self._keep("frequency", "PW-MCC by firings per million tokens; intervals over seeds", table)
        self._draw("frequency", drawings.frequency(classes))
        first = classes["TopK, k 32"]
        for published, row in zip(drawings.SONG, first.to_dict("records"), strict=True):
            if row["n"] >= 10:
                name = f"PW-MCC of features with {row['low']:g}–{row['high']:g} firings a million"
                yield line(name, "Song et al.", published, _of(row, "pw_mcc"), "seeds", SONG)

    def topk_or_relu(self) -> Iterator[Line]:
        """Which is more stable at equal L0 and equally many living features?"""
        table = stability.topk_against_relu(self.settings)
        self._keep("topk_or_relu", "TopK less ReLU at the ReLU SAEs' L0 and living features; over seeds", table)
        self._draw("topk_or_relu", drawings.topk_and_relu(stability.table(self.settings)))
        published = {"shared": "TopK 0.42, ReLU > 0.90 (Paulo)", "pw_mcc": "TopK 0.818, ReLU 0.474 (Song)"}
        differs = "there neither L0 nor living features matched; for the share, SAEs of other models"
        for row in table.to_dict("records"):
            name = f"TopK − ReLU, {row['measure']}, L0 {row['l0']:.0f}, {row['alive']:.0f} living"
            ours = _of(row, "difference")
            yield line(name, "the open question", published.get(row["measure"]), ours, "seeds", differs)

    def causes(self) -> Iterator[Line]:
        """Language model's weights and data order, SAE's seed and data order: which makes features differ?"""
        pairs = causes.pairs(self.lab, causes.crossed(inits=self.inits))
        self._keep("causes", "Held-out r by the factors in which two SAEs differ: mean, lowest, highest pair",
                   causes.by_factors(pairs))  # fmt: skip
        drops = causes.drops(pairs)
        self._keep("causes_drops", "r where only a factor differs, and the drop where it differs as well", drops)
        self._draw("causes", drawings.causes(pairs))
        for row in drops.to_dict("records"):
            value = Estimate(row["alone"], row["alone_lowest"], row["alone_highest"])
            yield line(f"mean r, {row['factor']} alone differs", "", None, value, "range of pairs", "not published")
        across = [Wanted(topk(stability.K, stability.WIDTH, 1000 * m), model) for m, model in enumerate(SHIPPED)]
        self.lab.make(across)
        r = {(i, j): float(np.nanmean(compare(self.lab, across[i], across[j]).r)) for i, j in combinations(range(3), 2)}
        value = Estimate(float(np.mean(list(r.values()))), min(r.values()), max(r.values()))
        name = "mean r, the shipped models (all but the SAE's data order differs)"
        yield line(name, "", None, value, "range of pairs", "not published")

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
}


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
    options = parser.parse_args()
    findings = Findings(options.run, options.out, options.seeds, options.inits)
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
