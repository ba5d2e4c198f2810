"""Pictures of the ladder: what is shared, how well text is explained, and what appears, by dictionary size."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes


def draw(tables: Mapping[str, pd.DataFrame], out: Path) -> None:
    """Write ladder.png and concepts.png, of the trainings on all text once."""
    tables = {name: table[table["epochs"] == 1] if "epochs" in table else table for name, table in tables.items()}
    figure, axes = plt.subplots(2, 2, figsize=(9, 6.4), layout="constrained")
    shared(axes[0, 0], tables["shared"])
    explained(axes[0, 1], tables["quality"])
    appearing(axes[1, 0], tables["appearing"])
    held_out(axes[1, 1], tables["curves"])
    figure.savefig(out / "ladder.png", dpi=150)
    plt.close(figure)
    table = tables["concepts"]
    figure, panels = plt.subplots(
        1, table["kind"].nunique(), figsize=(12, 2.8), layout="constrained", squeeze=False, sharey=True
    )
    for axes, (kind, rows) in zip(panels[0], table.groupby("kind"), strict=True):
        for model, mine in rows.groupby("model"):
            axes.plot(mine["width"], mine["confirmed"], "o-", markersize=3, label=f"model {model}")
        sizes(axes, table["width"])
        axes.set(title=kind)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(-0.1, 1.5 * max(1, table["confirmed"].max()))
    panels[0][0].set_ylabel("specific features")
    panels[0][0].legend(loc="lower right")
    figure.savefig(out / "concepts.png", dpi=150)
    plt.close(figure)


def shared(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the share of features with a partner against width, beside the ceilings."""
    for models, rows in table.groupby("models"):
        label = "the two models" if models == "A-B" else f"two SAE seeds of {models[0]}"
        axes.plot(rows["width"], rows["r07"], "o-" if models == "A-B" else "^--", markersize=4, label=label)
    sizes(axes, table["width"])
    axes.set(ylim=(0, 1), ylabel="features with a partner, r ≥ 0.7")
    axes.legend()


def explained(axes: Axes, table: pd.DataFrame) -> None:
    """Draw explained variance on training and held-out text against width."""
    means = table.groupby("width")[["training", "held_out"]].mean()
    axes.plot(means.index, means["training"], "s--", markersize=4, label="training text")
    axes.plot(means.index, means["held_out"], "o-", markersize=4, label="held-out text")
    sizes(axes, table["width"])
    axes.set(ylabel="explained variance")
    axes.legend()


def appearing(axes: Axes, table: pd.DataFrame) -> None:
    """Draw the share with a partner of features that are new at a size and of those with a parent."""
    for models, rows in table.groupby("models"):
        other = "B" if models == "A-B" else "a second SAE seed"
        for state, mark in (("child", "-"), ("novel", ":")):
            axes.plot(rows["width"], rows[state], f"o{mark}", markersize=4, label=f"{state}, partner in {other}")
    sizes(axes, table["width"])
    axes.set(ylim=(0, 1.1), ylabel="A's features with a partner, r ≥ 0.7")
    axes.legend(fontsize=6, ncols=2, loc="upper center")


def held_out(axes: Axes, curves: pd.DataFrame) -> None:
    """Draw the explained variance of held-out text over training, one line for each width."""
    for width, rows in curves.groupby("width"):
        means = rows.groupby("tokens")["held_out"].mean()
        axes.plot(means.index / 1e6, means, label=f"{width:,}")
    axes.set(xlabel="million training tokens", ylabel="explained variance, held out")
    axes.legend(fontsize=7, ncols=2)


def sizes(axes: Axes, widths: pd.Series) -> None:
    """Mark each dictionary size on the horizontal axis."""
    marks = sorted(widths.unique())
    axes.set_xscale("log")
    axes.set_xticks(marks, [f"{width:,}" for width in marks], fontsize=7, rotation=30)
    axes.minorticks_off()
    axes.set_xlabel("dictionary size")
