"""What do shared features carry, and can a partner stand in for its feature?

    python analyses/carried_loss.py [RUN] [--blocks 64] [--pairs 30] [--thresholds 0.3 0.5 0.7 0.9] [--draws 2]
        [--out FOLDER]

For the first model of a run (default: runs/quickstart) at its largest width: the loss and the variance that the
features with a partner at r >= τ carry, beside random subsets and a second SAE seed where the run has one; and the cost
when partners in the second model, and in the second seed, stand in for features. Partners come from the half of the
held-out documents that chooses them, losses from the half that reports. ``--blocks`` is the largest number of blocks of
each half, ``--pairs`` the largest number of pairs that are replaced one by one. Prints the tables and keeps them in
``--out`` (analyses/results/carried_loss), with the curve over τ as a figure.
"""

import argparse
import os
from pathlib import Path

import pandas as pd

from universality import Calibration, Match, Study
from universality.effects import ModelFeatures
from universality.export import write_csv
from universality.files import write_bytes, write_json
from universality.plot.style import BLUE, GREY, VERMILION, new_figure, styled
from universality.statistics import SharedLoss, shared_loss, substitute


def dictionaries(study: Study) -> tuple[ModelFeatures, dict[str, tuple[ModelFeatures, Match]]]:
    """Return the first model's features, and the other dictionaries with their matching: model B, and a second seed."""
    first, second = study.config.models.names[:2]
    features = study.model_features(first)
    width, matches = features.store.n_features, study.folder / "matches"

    def partners(comparison: str) -> Match:
        return Calibration.load(matches / f"{comparison}.activation.npz").match

    others = {second: (study.model_features(second), partners(f"{first}-{second}.w{width}"))}
    seeds = f"{first}-{first}.w{width}.s0-s1"
    if (matches / f"{seeds}.activation.npz").exists():
        others[f"{first}, second seed"] = study.model_features(first, width, 1), partners(seeds)
    return features, others


@styled
def draw(carried: SharedLoss, partners: list[str], path: Path) -> None:
    """Draw the share of the loss against τ, one panel for each dictionary of partners."""
    figure = new_figure(3.2 * len(partners), 3.2)
    panels = figure.subplots(1, len(partners), sharey=True, squeeze=False)[0]
    table = carried.to_frame()
    none = carried.row("", 0.0, "none").recovered
    colours = {"shared": BLUE, "unshared": VERMILION, "same mass": GREY}
    for axes, name in zip(panels, partners, strict=True):
        for subset, colour in colours.items():
            rows = table[(table["partners"] == name) & (table["subset"] == subset) & ~table["error_kept"]]
            error = [rows["recovered"] - rows["recovered_low"], rows["recovered_high"] - rows["recovered"]]
            label = f"random, {subset}" if subset == "same mass" else subset
            axes.errorbar(rows["threshold"], rows["recovered"], error, fmt="o-", ms=3, color=colour, label=label)
        axes.axhline(none, color="black", ls=":", lw=1, label="no feature")
        axes.set(xlabel="least r of a partner, τ", title=f"partners in {name}")
    panels[0].set_ylabel("share of the recovered loss")
    panels[0].legend(fontsize=7)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Measure both, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, default=Path("runs/quickstart"))
    parser.add_argument("--blocks", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--thresholds", nargs="+", type=float, default=[0.3, 0.5, 0.7, 0.9])
    parser.add_argument("--draws", type=int, default=2, help="random subsets of each kind")
    parser.add_argument("--out", type=Path, default=Path("analyses/results/carried_loss"))
    given = parser.parse_args()
    with Study.open(given.run) as study:
        features, others = dictionaries(study)
        matches = {name: matched for name, (_, matched) in others.items()}
        carried = shared_loss(features, matches, thresholds=given.thresholds, draws=given.draws, n_blocks=given.blocks)
        stood_in = {
            name: substitute(features, other, matched, n_blocks=given.blocks, n_pairs=given.pairs)
            for name, (other, matched) in others.items()
        }
    second, *seeds = others
    said = [carried.sentence(second, threshold, *seeds) for threshold in given.thresholds]
    pooled = pd.concat([found.pooled_frame().assign(partners=name) for name, found in stood_in.items()])
    lines = [
        f"{carried.n_tokens:,} tokens in {carried.n_groups} groups of documents; loss {carried.clean:.3f}, with the "
        f"SAE {carried.spliced:.3f}, with the mean {carried.mean:.3f} nats a token",
        carried.to_frame().to_string(index=False, float_format="{:.3f}".format),
        "\n".join(said),
        *(f"{name} stands in; the map explains {found.map_explained:.0%}" for name, found in stood_in.items()),
        pooled.to_string(index=False, float_format="{:.4f}".format),
        f"{sum(os.times()[:4]):.0f} s of processor",
    ]
    given.out.mkdir(parents=True, exist_ok=True)
    write_csv(carried.to_frame(), given.out / "shared_loss.csv", float_format="%.5g")
    write_csv(pooled, given.out / "substitution.csv", float_format="%.5g")
    numbers = {"shared_loss": carried.as_dict(), "sentences": said}
    write_json(given.out / "carried_loss.json", numbers | {name: x.as_dict() for name, x in stood_in.items()})
    write_bytes(given.out / "carried_loss.txt", ("\n\n".join(lines) + "\n").encode())
    draw(carried, list(others), given.out / "curve.png")
    print("\n\n".join(lines))


if __name__ == "__main__":
    main()
