"""Features that are specific to a kind of text, at each size and in both models."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from markdown_table import markdown
from rungs import Rung

from universality import FeatureStore
from universality.features.specificity import specificity
from universality.features.top_tokens import token_strings
from universality.pipeline.stages.write_exports import decoder
from universality.statistics import evaluation_halves

KINDS = ("arabic-script", "hebrew", "base64", "dna", "python")
PRECISION, FIRINGS = 0.8, 10
"""A feature is specific to a kind on a half of the text if it fires there at least `FIRINGS` times, and this share of
its activation is on the kind."""
MODELS = ("A", "B")
SHOWN = 4


def concepts(rungs: Sequence[Rung], root: Path) -> pd.DataFrame:
    """Count specific features; one row for each kind, model and size.

    ``chosen`` are specific on the half that chooses partners, ``confirmed`` on the reporting half, too. ``share`` is
    that of ``confirmed`` among the features that fire `FIRINGS` times on both halves, and ``tokens`` are the heaviest
    ones of those that fire most.
    """
    rows = []
    for rung, model, store in stores(rungs, root):
        halves = evaluation_halves(store)
        found = [specificity(store, half) for half in (halves.choose, halves.report)]
        often = np.stack([half.firings.sum(axis=1) >= FIRINGS for half in found])
        for kind in (kind for kind in KINDS if kind in store.tokens.kinds):
            code = store.tokens.kinds.index(kind)
            specific = often & np.stack([half.precision[:, code] >= PRECISION for half in found])
            confirmed = specific.all(axis=0)
            of_kind = sum(half.firings[:, code] for half in found)
            shown = sorted(np.flatnonzero(confirmed), key=lambda feature: -of_kind[feature])[:SHOWN]
            words = token_strings(store, shown, 3, decoder(rung.folder(root))) if shown else []
            rows.append(
                {
                    "kind": kind,
                    "model": model,
                    "width": rung.width,
                    "chosen": int(specific[0].sum()),
                    "confirmed": int(confirmed.sum()),
                    "share": confirmed.sum() / max(1, often.all(axis=0).sum()),
                    "tokens": "; ".join(" ".join(map(quoted, each)) for each in words) or "none",
                }
            )
    return pd.DataFrame(rows)


def quoted(token: str) -> str:
    """Return a token as code in Markdown."""
    return f"`{repr(token)[1:-1]}`".replace("|", "\\|")


def described(table: pd.DataFrame) -> str:
    """Return the heaviest tokens of the features in a table of `concepts`, as Markdown."""
    columns = ["kind", "width", "model", "features that fire most, by their heaviest tokens"]
    rows = table.sort_values(["kind", "width", "model"])[["kind", "width", "model", "tokens"]].to_numpy()
    return f"{markdown(columns, [[kind, f'{width:,}', model, words] for kind, width, model, words in rows])}\n"


def stores(rungs: Sequence[Rung], root: Path) -> Iterator[tuple[Rung, str, FeatureStore]]:
    """Open the store of each rung and model in turn."""
    for rung in rungs:
        for model in MODELS:
            with FeatureStore.open(rung.folder(root).store(model, rung.width, 0)) as store:
                yield rung, model, store
