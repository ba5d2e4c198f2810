"""What a run's crosscoder and its matching say of each other: tables, the picture, and lines for the terminal."""

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from universality.config import StatisticsConfig
from universality.errors import FormatError
from universality.export import read_csv, write_csv
from universality.features import FeatureStore
from universality.files import read_json, write_json
from universality.obstacles import check_openable
from universality.pipeline.study import Comparison
from universality.statistics import Calibration, crosscoder_agreement, feature_classes
from universality.statistics.crosscoder_classes import EXCLUSIVE

if TYPE_CHECKING:
    from universality.report.figures.figure_table import Table


def compare(home: Path, store: Path, matched: Comparison, calibration: Path, settings: StatisticsConfig) -> list[Path]:
    """``features.csv``, ``classes.csv``, ``summary.json`` and the picture, in the crosscoder's folder."""
    from universality.report import figures
    from universality.report.figures.figure_registry import draw_picture

    norms, s = _read(home / "norms.csv"), settings
    chance = s.nulls, s.replicates, s.seed, s.min_firings
    with FeatureStore.open(store) as own, FeatureStore.open(matched.a) as a, FeatureStore.open(matched.b) as b:
        found = crosscoder_agreement(own, a, b, Calibration.load(calibration), norms["relative_norm"], *chance)
    features = found.features.merge(norms[["feature", "refitted", "cosine"]], on="feature")
    by_class = features.groupby("class")[["refitted", "cosine"]].median()
    unpaired = pd.Series(feature_classes(norms["unpaired"])).value_counts(normalize=True)
    classes = found.to_frame().merge(by_class, on="class", how="left")
    classes.insert(3, "share_unpaired", classes["class"].map(unpaired).fillna(0.0))
    exclusive = features[features["class"].str.startswith("exclusive")]
    still = (exclusive["refitted"] - 0.5).abs() >= 0.5 - EXCLUSIVE
    summary = {
        "models": list(matched.models),
        "matching": matched.name,
        **found.summary(),
        "exclusive_when_refitted": float(still.mean()) if len(exclusive) else math.nan,
    }
    for name, table in (("features", features), ("classes", classes)):
        write_csv(table, home / f"{name}.csv")
    write_json(home / "summary.json", _plain(summary))
    drawn = draw_picture("crosscoder", figure_table(home, matched.models))
    files = [home / name for name in ("features.csv", "classes.csv", "summary.json")]
    return [*files, *figures.save_picture(drawn, home)]


def figure_table(home: Path, models: tuple[str, str]) -> "Table":
    """What the picture is drawn from: the living features, and those of the control."""
    features, norms = (_read(home / f"{name}.csv") for name in ("features", "norms"))
    return {
        "relative_norm": features["relative_norm"].to_numpy(np.float64),
        "partners": features["partners"].to_numpy(bool),
        "unpaired": norms["unpaired"].to_numpy(np.float64),
        "models": np.asarray(models, dtype=np.str_),
    }


SHOWN = {
    "class": "relative norm",
    "n": "features",
    "share": "share",
    "share_unpaired": "unpaired text",
    "r_a": "r in A",
    "r_b": "r in B",
    "partners": "partners",
    "partners_good": "if both r >= 0.5",
    "chance_global": "by chance",
    "chance_kind": "within kinds",
    "pair_r": "pair's r",
    "unmatched": "unmatched",
    "twins": "twins",
    "refitted": "refitted",
}
LEGEND = """\
relative norm: of B; exclusive to A up to 0.1, shared 0.3 to 0.7, exclusive to B from 0.9
unpaired text: share in a crosscoder whose tokens of A and B did not belong together
r in A, in B: median held-out r with the SAE feature of that model that fires most alike, its own partner;
    of all features of the class, those without a score (too rare where scores are taken) below every score
partners: the own partners in A and B are each other's in the matching; of all, of those with both r >= 0.5, by chance
pair's r: of the own partner in the model of the larger norm, with its partner in the matching; unmatched: below 0.5
twins: exclusive, and a feature exclusive to the other model fires alike (r >= 0.5); refitted: relative norm of rows
fitted to held-out text"""


def describe_crosscoder(home: Path) -> list[str]:
    """What was found, for the terminal."""
    quality, found = (read_json(home / f"{name}.json") for name in ("quality", "summary"))
    classes = _read(home / "classes.csv")
    chances = [name.removeprefix("chance_") for name in classes if name.startswith("chance_")]
    shown = classes[[name for name in SHOWN if name in classes]].rename(columns=SHOWN)
    (a, in_a), (b, in_b) = ((name, part["explained_variance"]) for name, part in quality["models"].items())
    numbers = {name: _number(value) for name, value in found.items() if isinstance(value, float | None)}
    chance = "/".join(numbers[f"chance_r_{null}"] for null in chances)
    return [
        f"crosscoder of A = {a} and B = {b}, beside the matching {found['matching']}: {found['n_living']:,} living "
        f"features, {quality['l0']:.1f} active, explained variance {in_a:z.3f} of A, {in_b:z.3f} of B",
        shown.to_string(index=False, float_format="{:z.3f}".format, na_rep="–"),
        LEGEND,
        f"A's SAE features: {numbers['unmatched']} are unmatched, {numbers['nearest_is_partner']} have their nearest "
        f"as partner; in the crosscoder (r >= 0.5) are {numbers['matched_in_crosscoder']} of the matched and "
        f"{numbers['unmatched_in_crosscoder']} of the unmatched",
        f"by chance ({'/'.join(chances)}) 95% of own partners have r below {chance}; rank correlation of how evenly a "
        f"feature is shared with its pair's r: {numbers['evenness_against_pair']}; exclusive also when refitted: "
        f"{numbers['exclusive_when_refitted']}",
        str(home),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON values: NaN becomes null."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _read(path: Path) -> pd.DataFrame:
    check_openable(path)
    try:
        return read_csv(path)
    except (ValueError, csv.Error) as error:
        raise FormatError(f"{path}: not a whole table: {error}") from None
