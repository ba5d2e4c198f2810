"""Do features agree across models because the models agree, or because their SAEs began from the same weights?

    python analyses/initialisation.py [--out FOLDER]

SAEs of two models (starter/seed0 and starter/seed1) are trained on the residual stream, by two recipes: one from the
literature (ReLU, L1 1e-3, Adam 5e-4, 512 features, 600 batches of 1,024 tokens), and TopK. The SAE of A is compared
with SAEs of B that have the same seed, another seed, or no training, and with a second SAE of A.

The first table shows what decoder rows say: raw, index by index, and after a rotation of the one space into the other;
beside them the held-out r of matched activations. The second shows how much of B's activations A's SAE explains,
through maps that are fitted on other text. Each fitted number has a null beside it, for which the same map was fitted
on re-paired text. The folder gets the tables (``tables.txt``, ``initialisation.json``) and the figure.
"""

import argparse
import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch

from universality import SAE, FeatureStore, Similarity, calibrate, match
from universality.activations import ModelSite, shuffled_batches
from universality.arrays import evenly_spaced
from universality.corpus import TokenBlocks, build_corpus
from universality.errors import CommonStartWarning
from universality.features.collection import collect
from universality.files import write_json
from universality.matching import index_agreement
from universality.models.language_model import load_model
from universality.plot.style import BLUE, GREY, VERMILION, new_figure, styled
from universality.sae import SAESpec, SAETrainer, fast_products, summarise
from universality.similarity import align
from universality.statistics import evaluation_halves, repaired_rows, transfer
from universality.statistics.activation_maps import MapKind

HOOK, WIDTH, STEPS, BATCH = "blocks.0.hook_resid_post", 512, 600, 1024
RECIPES = {
    "ReLU, L0 260": {"architecture": "relu", "l1": 1e-3, "learning_rate": 5e-4},
    "TopK, L0 16": {"architecture": "topk", "k": 16},
}
TRAINED = {"A": ("A", 0), "A, other SAE seed": ("A", 1), "B, same SAE seed": ("B", 0), "B, other SAE seed": ("B", 1)}
UNTRAINED = {"A, random SAE": ("A", 2), "B, random SAE": ("B", 3)}
COMPARED = ("B, same SAE seed", "B, other SAE seed", "B, random SAE", "A, other SAE seed")
STORED, TRANSFERRED = 64, 64
"""Blocks of each half on which features are stored, and on which maps are fitted and scored."""

Saes = dict[tuple[str, str], SAE]
"""(recipe, name) → SAE."""


def train(sites: dict[str, ModelSite], blocks: TokenBlocks) -> Saes:
    """Train all SAEs side by side on one stream of tokens."""
    options = {"batch_size": BATCH, "buffer_tokens": 1 << 16, "seed": 0, "stop": STEPS}
    stream = shuffled_batches(sites, blocks.select("train"), **options)
    first = [next(stream) for _ in range(8)]
    summaries = {name: summarise(torch.cat([batch[name] for batch in first])) for name in sites}
    trainers = {}
    for recipe, settings in RECIPES.items():
        for name, (model, seed) in (TRAINED | UNTRAINED).items():
            spec = SAESpec(WIDTH, seed=seed, products=fast_products(), **settings)
            trainers[recipe, name] = SAETrainer(spec, summaries[model], STEPS)
    for batch in _chained(first, stream):
        for (_, name), trainer in trainers.items():
            if name in TRAINED:
                trainer.step(batch[TRAINED[name][0]])
    return {key: trainer.finish({"hook": HOOK}) for key, trainer in trainers.items()}


def _chained(first: list[dict], rest: Iterator[dict]) -> Iterator[dict]:
    yield from first
    yield from rest


def store_features(sites: dict[str, ModelSite], saes: Saes, blocks: TokenBlocks, folder: Path) -> dict:
    """Store which features fire on a sample of the held-out text; (recipe, name) → open store."""
    halves = [blocks.select(split) for split in ("choose", "report")]
    chosen = np.concatenate([half.index[evenly_spaced(len(half), STORED)] for half in halves])
    paths = {key: folder / f"{number}.h5" for number, key in enumerate(saes)}
    for model, site in sites.items():
        of_model = {paths[key]: sae for key, sae in saes.items() if (TRAINED | UNTRAINED)[key[1]][0] == model}
        collect(site, of_model, blocks.take(np.sort(chosen)))
    return {key: FeatureStore.open(path) for key, path in paths.items()}


def compare(a: FeatureStore, b: FeatureStore) -> dict[str, float | bool]:
    """Compare two dictionaries by decoder rows, raw and rotated, and by held-out activations."""
    choose = evaluation_halves(a).choose
    agreement = index_agreement(a.decoder_rows(), b.decoder_rows())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", CommonStartWarning)
        raw = match(Similarity.decoder(a, b, force=True), "nearest")
    rotation, unrelated = align(a, b, choose), align(a, b, rows=repaired_rows(a, documents=choose))
    rotated, null = (Similarity.decoder(a, b, alignment=each).topk(1)[1] for each in (rotation, unrelated))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CommonStartWarning)
        summary = calibrate(a, b, null="global", replicates=1, bootstrap=0).summary()
    return {
        "decoder cosine": float(np.nanmean(raw.nearest.best_col_score)),
        "at same index": agreement.share,
        "cosine at same index": agreement.median_same,
        "warned": any(issubclass(each.category, CommonStartWarning) for each in told),
        "rotated": float(np.nanmean(rotated)),
        "rotated, null": float(np.nanmean(null)),
        "held-out r": summary.held_out_median,
        "r, null": summary.null.median,
    }


def transfers(sites: dict[str, ModelSite], saes: Saes, recipe: str, blocks: TokenBlocks) -> list[dict]:
    """Measure what A's SAE explains of B, beside a random SAE of A and B's own SAE."""
    every = (("A's SAE", "A", "A"), ("random SAE of A", "A, random SAE", "A"), ("B's own SAE", "B, same SAE seed", "B"))
    return [
        {
            "SAE": label,
            "map": "raw" if found.kind == "identity" else found.kind,
            "EV of B": found.explained_variance,
            "EV, null": _first(found.null_explained_variance),
            "loss recovered": found.loss.over_zero,
            "loss, null": _first(found.null_loss_recovered),
            "map alone": found.map_alone,
        }
        for label, name, owner in every
        for found in transfer(saes[recipe, name], sites[owner], sites["B"], blocks, _kinds(owner), n_blocks=TRANSFERRED)
    ]


def _kinds(owner: str) -> tuple[MapKind, ...]:
    return ("identity",) if owner == "B" else ("identity", "orthogonal", "affine")


def _first(values: tuple[float, ...]) -> float:
    return values[0] if values else float("nan")


@styled
def draw(pairs: pd.DataFrame, explained: pd.DataFrame, target: Path) -> None:
    """Draw decoder cosines of the first recipe, and explained variance of both."""
    drawn = new_figure(7.0, 2.8)
    left, right = drawn.subplots(1, 2, width_ratios=(1, 1.25))
    of_first = pairs[pairs["recipe"] == next(iter(RECIPES))].iloc[::-1]
    places = np.arange(len(of_first))
    for column, colour, offset in (("decoder cosine", VERMILION, 0.2), ("rotated", BLUE, -0.2)):
        label = {"decoder cosine": "raw", "rotated": "after a rotation"}[column]
        left.barh(places + offset, of_first[column], 0.36, color=colour, label=label)
    left.plot(of_first["rotated, null"], places - 0.2, "|", color="black", ms=9, label="its null")
    left.set(
        yticks=places, yticklabels=of_first["A's SAE with"], xlim=(0, 1), xlabel="mean cosine of nearest decoder row"
    )
    left.legend(loc="center right", bbox_to_anchor=(1.04, 0.5), handlelength=1)
    left.set_title(next(iter(RECIPES)))
    shown = explained[explained["SAE"] != "B's own SAE"].reset_index(drop=True).iloc[::-1]
    rows = np.arange(len(shown))
    colours = [BLUE if sae == "A's SAE" else GREY for sae in shown["SAE"]]
    right.barh(rows, shown["EV of B"].clip(lower=0), 0.7, color=colours)
    right.plot(shown["EV, null"], rows, "|", color="black", ms=9, label="null of the map")
    right.set(yticks=rows, xlim=(0, 1), xlabel="share of B's variance explained")
    right.set_yticklabels([f"{r.recipe.split(',')[0]}, {r.SAE}, {r.map}" for r in shown.itertuples()])
    right.legend(loc="lower right")
    drawn.savefig(target, dpi=160)


def main() -> None:
    """Run the experiment and write its tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("analyses/results/initialisation"))
    out = parser.parse_args().out
    wall, processor = time.perf_counter(), time.process_time()
    blocks = build_corpus("starter").blocks
    sites = {name: ModelSite(load_model(f"starter/seed{k}", name), HOOK) for k, name in enumerate("AB")}
    saes = train(sites, blocks)
    pairs, explained = [], []
    with TemporaryDirectory() as folder:
        stores = store_features(sites, saes, blocks, Path(folder))
        for recipe in RECIPES:
            for name in COMPARED:
                numbers = compare(stores[recipe, "A"], stores[recipe, name])
                pairs.append({"recipe": recipe, "A's SAE with": name} | numbers)
            explained += [{"recipe": recipe} | row for row in transfers(sites, saes, recipe, blocks)]
        for store in stores.values():
            store.close()
    spent = {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    out.mkdir(parents=True, exist_ok=True)
    tables = [pd.DataFrame(rows) for rows in (pairs, explained)]
    text = "\n\n".join(table.to_string(index=False, float_format="{:.3f}".format) for table in tables)
    seconds = f"{spent['wall']:.0f} s, {spent['processor']:.0f} s of processor, {torch.get_num_threads()} threads"
    (out / "tables.txt").write_text(f"{text}\n\n{seconds}\n", encoding="utf-8")
    write_json(out / "initialisation.json", json.loads(json.dumps({"pairs": pairs, "transfer": explained})))
    draw(*tables, out / "initialisation.png")
    print(f"{text}\n\n{seconds}")


if __name__ == "__main__":
    main()
