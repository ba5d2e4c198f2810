"""What happens to features as a dictionary grows, beyond what two dictionaries of one size differ by?

    universality collect configs/families.yaml --out runs/families
    python analyses/growth.py [RUN] [MODEL]

Links the widths of one model, and links each width with another SAE seed of the same width, which cannot have split.
"""

import sys
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import pandas as pd

from universality import FeatureStore, families
from universality.config import load_config
from universality.pipeline.paths import RunFolder

run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/families")
folder, config = RunFolder(run), load_config(run / "config.yaml")
model = sys.argv[2] if len(sys.argv) > 2 else config.models.names[0]
if len(config.saes.seeds) < 2:
    sys.exit(f"{run}: SAEs of one seed only; set saes.seeds to two, as configs/families.yaml does")
widths, (seed, other) = config.saes.widths, config.saes.seeds[:2]
with ExitStack() as stack:
    stores, others = (
        [stack.enter_context(FeatureStore.open(folder.store(model, width, s))) for width in widths]
        for s in (seed, other)
    )
    summary = families(stores, reseeded=others, n_replicates=2, bootstrap=100, seed=config.statistics.seed).summary()
levels, rows = summary["levels"], []
for level, wider in pairwise(levels):
    rows.append(
        {
            "from": level["width"],
            "to": f"{wider['width']}",
            "edges": wider["edges_in"],
            "by chance": wider["chance_edges_in"],
            "children a parent": level["children_per_parent"],
            "parents that split": level["split"] / level["eligible"],
            "vanished": level["childless"] / level["eligible"],
            "children that merge": wider["merge_rate"],
            "without a parent": wider["novel_share"] + wider["absorbed_share"],
        }
    )
rows += [
    {
        "from": level["width"],
        "to": f"{level['width']}, other seed",
        "edges": same["edges"],
        "by chance": float("nan"),
        "children a parent": same["children_per_parent"],
        "parents that split": same["split_share"],
        "vanished": same["childless_share"],
        "children that merge": same["merge_rate"],
        "without a parent": same["without_parent_share"],
    }
    for level in levels
    for same in level["same_width"]
]
print(pd.DataFrame(rows).to_string(index=False, float_format="{:.2f}".format))
for wider in levels[1:]:
    print(f"\nPairs that each rule lets through into {wider['width']}, and on re-paired documents")
    for rule, counts in wider["rules"].items():
        print(f"  {rule:<28} {counts['pairs']:>9,} {counts['chance']:>10,.1f}")
for path in summary["paths"]:
    print(f"\nTwo steps and one, {path['widths']}: Jaccard {path['jaccard']:.2f}, chance {path['chance']:.3f}")
print(
    f"Families of three or more: purity {summary['families']['purity']:.2f}, chance {summary['families']['chance']:.2f}"
)
