"""From a cache to SAEs, stores and matches, on a machine that has neither TransformerLens nor our configuration's
packages: python tests/activations/train_from_cache.py CACHE FOLDER
"""

import sys
from functools import partial
from itertools import islice
from pathlib import Path

MISSING = ("transformer_lens", "transformers", "pydantic", "typer")


def main(cache: Path, folder: Path) -> None:
    from universality import FeatureStore, Similarity, match
    from universality.activations import open_cache, shuffled_batches
    from universality.features.collection import collect
    from universality.sae import SAESpec, SAETrainer, train_grid

    site = open_cache(cache)
    train, held_out = site.blocks.select("train"), site.blocks.select("choose", "report")
    batches = partial(shuffled_batches, {"A": site}, train, batch_size=200, seed=0, buffer_tokens=1000)
    sample = next(islice(batches(), 1))["A"]
    trainers = {("A", f"s{seed}"): SAETrainer(SAESpec(96, k=4, seed=seed), sample, 30) for seed in (0, 1)}
    train_grid(trainers, lambda start: batches(start=start), folder)
    saes = {folder / f"{name}.h5": trainer.finish() for (_, name), trainer in trainers.items()}
    collect(site, saes, held_out, unembedding=site.unembedding(train, 2))
    with FeatureStore.open(folder / "s0.h5") as a, FeatureStore.open(folder / "s1.h5") as b:
        for similarity in (Similarity.activation(a, b), Similarity.logit(a, b)):
            print(len(match(similarity).rows))


if __name__ == "__main__":
    for name in MISSING:
        sys.modules[name] = None  # type: ignore[assignment]
    main(Path(sys.argv[1]), Path(sys.argv[2]))
