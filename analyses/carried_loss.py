"""What do shared features carry, and can a partner stand in for its feature?

    python analyses/carried_loss.py [RUN [BLOCKS [PAIRS]]]

Prints, for the first model of a run (default runs/quickstart) at its largest width: the loss and the variance that the
features with a partner at r >= 0.5, 0.7 and 0.9 carry, beside random subsets and a second SAE seed where the run has
one; and the cost when partners in the second model, and in the second seed, stand in for features. Partners come from
the half of the held-out documents that chooses them, losses from the half that reports. BLOCKS (default 128) and PAIRS
(default 30) are the largest number of blocks of each half, and of the pairs that are replaced one by one.
"""

import sys
from pathlib import Path

from universality import SAE, Calibration, FeatureStore, Study
from universality.corpus import TokenBlocks
from universality.pipeline.paths import RunFolder
from universality.statistics import shared_loss, substitute

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/quickstart")
n_blocks, n_pairs = (int(sys.argv[i]) if len(sys.argv) > i else default for i, default in ((2, 128), (3, 30)))

with Study.open(run) as study:
    folder = RunFolder(run)
    first, second = study.config.models.names[:2]
    store = study.store(first)
    width = store.n_features
    sae = SAE.load(run / "saes" / first / store.path.stem.removeprefix(f"{first}."))
    sites = {name: study.site(name) for name in (first, second)}
    blocks = TokenBlocks.load(folder.blocks)
    others: dict[str, tuple[str, FeatureStore, str]] = {
        second: (second, study.store(second), f"{first}-{second}.w{width}"),
    }
    seeds = f"{first}-{first}.w{width}.s0-s1"
    if (run / "matches" / f"{seeds}.activation.npz").exists():
        others[f"{first}, second seed"] = (first, study.store(first, width, 1), seeds)
    matches = {
        name: Calibration.load(run / "matches" / f"{comparison}.activation.npz").match
        for name, (_, _, comparison) in others.items()
    }

    carried = shared_loss(sites[first], sae, store, blocks, matches, n_blocks=n_blocks)
    ceiling = next((name for name in others if name != second), None)
    print(
        f"{carried.n_tokens:,} tokens in {carried.n_groups} groups of documents; loss {carried.clean:.3f}, "
        f"with the SAE {carried.spliced:.3f}, with the mean {carried.mean:.3f} nats a token\n"
    )
    print(carried.to_frame().to_string(index=False, float_format="{:.3f}".format), "\n")
    for threshold in (0.5, 0.7, 0.9):
        print(carried.sentence(second, threshold, ceiling))
    for name, (model, other, _) in others.items():
        found = substitute(
            sites[first], sae, store, sites[model], other, blocks, matches[name], n_blocks=n_blocks, n_pairs=n_pairs
        )
        print(f"\n{name} stands in; the map explains {found.map_explained:.0%} of the variance of {first}")
        print(found.pooled_frame().to_string(index=False, float_format="{:.4f}".format))
