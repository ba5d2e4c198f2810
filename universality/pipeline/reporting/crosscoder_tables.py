"""Comparison of a run's crosscoder with its matching: tables, the figure, and lines for the terminal."""

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from universality.errors import FormatError
from universality.export import read_csv, write_csv
from universality.features import FeatureStore
from universality.files import read_json, write_json
from universality.obstacles import check_openable
from universality.pipeline.study import Comparison
from universality.statistics import Calibration, crosscoder_agreement, feature_classes
from universality.statistics.crosscoder_classes import EXCLUSIVE
from universality.statistics.null_settings import NullSettings

if TYPE_CHECKING:
    from universality.report.figures.figure_table import Table


def compare(home: Path, store: Path, matched: Comparison, calibration: Path, settings: NullSettings) -> list[Path]:
    """Write ``features.csv``, ``classes.csv``, ``summary.json`` and the figure into the crosscoder's folder.

    Parameters
    ----------
    home
        Folder of the crosscoder, with ``norms.csv``.
    store
        Feature store of the crosscoder.
    matched, calibration
        The comparison of the two models' SAEs, and the file of its calibration.
    settings
        Settings of the null.

    Returns
    -------
    list of Path
        The files that were written.
    """
    from universality.report import figures
    from universality.report.figures.figure_registry import draw_picture

    norms = _read(home / "norms.csv")
    null_settings = settings.nulls, settings.replicates, settings.seed, settings.min_firings
    relative_norm, pairs = norms["relative_norm"], Calibration.load(calibration)
    with FeatureStore.open(store) as joint, FeatureStore.open(matched.a) as a, FeatureStore.open(matched.b) as b:
        agreement = crosscoder_agreement(joint, a, b, pairs, relative_norm, *null_settings)
    features = agreement.features.merge(norms[["feature", "refitted", "cosine"]], on="feature")
    by_class = features.groupby("class")[["refitted", "cosine"]].median()
    unpaired = pd.Series(feature_classes(norms["unpaired"])).value_counts(normalize=True)
    classes = agreement.to_frame().merge(by_class, on="class", how="left")
    classes.insert(3, "share_unpaired", classes["class"].map(unpaired).fillna(0.0))
    exclusive = features[features["class"].str.startswith("exclusive")]
    remain_exclusive = (exclusive["refitted"] - 0.5).abs() >= 0.5 - EXCLUSIVE
    summary = {
        "models": list(matched.models),
        "matching": matched.name,
        **agreement.summary(),
        "exclusive_when_refitted": float(remain_exclusive.mean()) if len(exclusive) else math.nan,
    }
    for name, table in (("features", features), ("classes", classes)):
        write_csv(table, home / f"{name}.csv")
    write_json(home / "summary.json", _plain(summary))
    drawn = draw_picture("crosscoder", figure_table(home, matched.models))
    files = [home / name for name in ("features.csv", "classes.csv", "summary.json")]
    return [*files, *figures.save_picture(drawn, home)]


def figure_table(home: Path, models: tuple[str, str]) -> "Table":
    """Make the table of the figure: the living features, and those of the control."""
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
relative norm: share of B in the decoder norms; exclusive to A up to 0.1, shared 0.3 to 0.7, exclusive to B from 0.9
unpaired text: share of the class in a crosscoder trained on unrelated tokens of A and B
r in A, in B: median held-out r with the closest SAE feature of that model; all features of the class count, and
    those without a score (too rare where scores are taken) lie below every score
partners: share whose closest SAE features in A and B are partners in the matching; of all features, of those with
    both r >= 0.5, and by chance
pair's r: r of the closest SAE feature, in the model of the larger norm, with its partner; unmatched: below 0.5
twins: share of exclusive features for which a feature exclusive to the other model fires alike (r >= 0.5)
refitted: relative norm of decoder rows fitted to held-out text"""


def describe_crosscoder(home: Path) -> list[str]:
    """Format the comparison of the crosscoder with the matching, for the terminal."""
    quality, summary = (read_json(home / f"{name}.json") for name in ("quality", "summary"))
    classes = _read(home / "classes.csv")
    chances = [name.removeprefix("chance_") for name in classes if name.startswith("chance_")]
    table = classes[[name for name in SHOWN if name in classes]].rename(columns=SHOWN)
    (a, in_a), (b, in_b) = ((name, part["explained_variance"]) for name, part in quality["models"].items())
    numbers = {name: _number(value) for name, value in summary.items() if isinstance(value, float | None)}
    chance = "/".join(numbers[f"chance_r_{null}"] for null in chances)
    return [
        f"crosscoder of A = {a} and B = {b}, compared with the matching {summary['matching']}: "
        f"{summary['n_living']:,} living features, {quality['l0']:.1f} active, explained variance "
        f"{in_a:z.3f} of A, {in_b:z.3f} of B",
        table.to_string(index=False, float_format="{:z.3f}".format, na_rep="–"),
        LEGEND,
        f"SAE features of A: {numbers['unmatched']} are unmatched, {numbers['nearest_is_partner']} have their nearest "
        f"feature as partner; the crosscoder has (r >= 0.5) {numbers['matched_in_crosscoder']} of the matched and "
        f"{numbers['unmatched_in_crosscoder']} of the unmatched",
        f"by chance ({'/'.join(chances)}) 95% of closest SAE features have r below {chance}; rank correlation of "
        f"how evenly a feature is shared with the r of its pair: {numbers['evenness_against_pair']}; exclusive when "
        f"refitted: {numbers['exclusive_when_refitted']}",
        str(home),
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:z.3f}"


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN by null."""
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}


def _read(path: Path) -> pd.DataFrame:
    check_openable(path)
    try:
        return read_csv(path)
    except (ValueError, csv.Error) as error:
        raise FormatError(f"{path}: truncated or corrupt table: {error}") from None
