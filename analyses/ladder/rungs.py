"""Rungs of the ladder: what is trained at each width, in which run, and at which cost."""

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from universality.config import Config, load_config
from universality.files import read_json_lines
from universality.pipeline import RunFolder
from universality.pipeline.cost.machine import total_cost
from universality.sae import SAESpec

CONFIG = Path("configs/ladder.yaml")
EPOCH = 5_117_840
"""Training tokens of the corpus."""


@dataclass(frozen=True)
class Rung:
    """One dictionary size, trained for both models in a run of its own.

    Attributes
    ----------
    width, k
        Number of features, and how many fire on a token.
    tokens
        Tokens on which each SAE is trained.
    seeds
        SAE seeds of each model; two where the ceiling is measured.
    replicates
        Replicates of each null. Scores are pooled over features, so wide dictionaries need few.
    """

    width: int
    k: int = 32
    tokens: int = EPOCH
    seeds: tuple[int, ...] = (0, 1)
    replicates: int = 5

    @property
    def dead_after(self) -> int:
        """Tokens of silence after which a feature counts as dead: more in wide dictionaries, which fire more rarely."""
        return SAESpec.dead_after_tokens * max(1, self.width // 8192)

    @property
    def epochs(self) -> float:
        """How often each SAE sees the training text."""
        return round(self.tokens / EPOCH, 3)

    def overrides(self) -> list[str]:
        """Return the settings in which the rung differs from ``configs/ladder.yaml``."""
        values = {
            "name": f"Ladder, {self.width:,} features",
            "saes.widths": [self.width],
            "saes.k": [self.k],
            "saes.dead_after_tokens": self.dead_after,
            "saes.tokens": self.tokens,
            "saes.seeds": list(self.seeds),
            "saes.ceiling_seed": None,
            "statistics.replicates": self.replicates,
        }
        return [f"{key}={json.dumps(value)}" for key, value in values.items()]

    def config(self) -> Config:
        """Return the configuration of the rung's run."""
        return load_config(CONFIG, self.overrides())

    def folder(self, root: Path) -> RunFolder:
        """Return the folder of the rung's run."""
        longer = "" if self.tokens == EPOCH else f"-{self.tokens / 1e6:g}M"
        return RunFolder(root / f"w{self.width}{longer}")


LADDER = (
    Rung(512, k=16),
    Rung(1024, k=24),
    Rung(2048),
    Rung(4096),
    Rung(8192),
    Rung(16384),
    Rung(32768, seeds=(0,)),
    Rung(65536, seeds=(0,), replicates=2),
    Rung(131072, seeds=(0,), replicates=2),
)
"""The nine dictionary sizes, from the cheapest, each trained on all text once: agreement rises with training, so sizes
are compared after equally many tokens. A second seed of a wider dictionary than 16,384 would double the cost of its
rung."""

LONGER = (Rung(512, k=16, tokens=10_000_000), Rung(2048, tokens=10_000_000))
"""Two sizes trained on almost twice the text: what does seeing it again change?"""


def plan(rungs: tuple[Rung, ...]) -> pd.DataFrame:
    """Estimate the cost of each rung on this machine: hours within a factor of three, GB of memory and disk."""
    rows = []
    for rung in rungs:
        _, cost, hours = total_cost(rung.config())
        rows.append(
            {
                "width": rung.width,
                "k": rung.k,
                "SAEs": 2 * len(rung.seeds),
                "M tokens": rung.tokens / 1e6,
                "epochs": rung.epochs,
                "hours": hours,
                "GB memory": cost.memory / 1e9,
                "GB disk": cost.disk / 1e9,
            }
        )
    return pd.DataFrame(rows)


def finished(rung: Rung, root: Path) -> bool:
    """Return whether the rung's report is written, which is the last thing that a run does."""
    return rung.folder(root).report.is_file()


def curve(rung: Rung, root: Path) -> pd.DataFrame:
    """Read the training curve: one row for each SAE and measurement on held-out text."""
    rows = []
    for line in read_json_lines(rung.folder(root).root / "saes" / "train.jsonl"):
        for name, numbers in line["saes"].items():
            model, sae = name.split("/")
            rows.append(
                {
                    "width": rung.width,
                    "epochs": rung.epochs,
                    "model": model,
                    "seed": int(sae.rpartition("-s")[2]),
                    "tokens": line["tokens"],
                    "training": numbers["explained_variance"],
                    "held_out": numbers.get("held_out_explained_variance"),
                }
            )
    return pd.DataFrame(rows)
