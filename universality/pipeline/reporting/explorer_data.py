"""Data files of the report's explorer: every dictionary once, every comparison, and what several models share.

In ``data/`` beside the page: ``index.js``, ``words.js``, ``groups.js``; ``sides/NAME/`` for each dictionary and
``comparisons/NAME/`` for each comparison. A page loads what is opened.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from universality.family import Families
from universality.matching.multimodel import Groups
from universality.pipeline.reporting.explored_comparison import comparison_files
from universality.pipeline.reporting.explored_map import side_map
from universality.pipeline.reporting.explored_side import CHUNK, SHOWN, ExploredSide, open_side, side_files
from universality.pipeline.reporting.label_rows import score_of_tables
from universality.pipeline.reporting.run_results import RunResults
from universality.pipeline.reporting.shared_groups import shared_groups
from universality.report.data import THRESHOLDS
from universality.report.explorer import Words, packed, packed_whole, write_data

Json = dict[str, Any]


def write_explorer(results: RunResults, folder: Path, families: Mapping[str, Families]) -> list[Path]:
    """Write the data files ``folder/data/**/*.js`` of one page, and remove those of an earlier configuration.

    Parameters
    ----------
    results
        Results of the run; the page shows the headline and its peers.
    folder
        Folder of the page.
    families
        Families of the models that have them.
    """
    words, files = Words(results.decode), []
    sides = _sides(results, families)
    score = score_of_tables([side.labels for side in sides.values()])
    places: dict[Path, NDArray[np.uint8]] = {}
    entries = []
    for path, side in sides.items():
        contents, places[path] = side_files(results, side, words, score)
        placed = side_map(results, side, words)
        contents |= {} if placed is None else {"map": placed}
        files += [write_data(folder, f"sides/{side.folder}/{name}", value) for name, value in contents.items()]
        entries.append(_side_entry(side, contents))
    compared = []
    for result in results.headline_peers:
        a, b = result.comparison.a, result.comparison.b
        contents, entry = comparison_files(results, result, (sides[a], sides[b]), (places[a], places[b]), words)
        name = result.comparison.name
        files += [write_data(folder, f"comparisons/{name}/{part}", value) for part, value in contents.items()]
        compared.append({"sides": [list(sides).index(path) for path in (a, b)], **entry})
    groups = shared_groups(results, THRESHOLDS[0])
    if groups is not None:
        files.append(write_data(folder, "groups", _groups(groups, list(sides.values()))))
    files.append(write_data(folder, "words", words.texts))
    index = {
        "title": results.config.name,
        "chunk": CHUNK,
        "tokens_shown": SHOWN,
        "examples": next(iter(sides.values())).views.own.shape[1],
        "window": next(iter(sides.values())).views.own.shape[2],
        "kinds": list(next(iter(sides.values())).store.tokens.kinds),
        "sides": entries,
        "comparisons": compared,
        "groups": groups is not None,
        "label_score": score,
    }
    files.append(write_data(folder, "index", index))
    _remove_old(folder / "data", set(files))
    return files


def _sides(results: RunResults, families: Mapping[str, Families]) -> dict[Path, ExploredSide]:
    """Open every dictionary that a comparison of the page has, by the path of its store."""
    sides: dict[Path, ExploredSide] = {}
    for result in results.headline_peers:
        comparison = result.comparison
        stores = zip((comparison.a, comparison.b), comparison.sides, comparison.models, strict=True)
        for path, name, model in stores:
            if path not in sides:
                sides[path] = open_side(results, path, name, model, families)
    return sides


def _side_entry(side: ExploredSide, files: Mapping[str, Any]) -> Json:
    return {
        "name": side.name,
        "folder": side.folder,
        "width": side.store.n_features,
        "files": [name for name in files if not name.startswith("features-")],
    }


def _groups(groups: Groups, sides: list[ExploredSide]) -> Json:
    """Pack the features found in several models: groups with one feature of each model or none, by dictionary."""
    columns = [groups.names.index(side.name) for side in sides]
    return {
        "least": THRESHOLDS[0],
        "members": packed_whole(groups.members[:, columns]),
        "score": packed(groups.score, "f4"),
        "agreement": packed(groups.agreement, "f4"),
    }


def _remove_old(folder: Path, current: set[Path]) -> None:
    """Remove the data files that an earlier configuration wrote and this one does not."""
    for old in set(folder.rglob("*.js")) - current:
        old.unlink()
    for emptied in sorted(folder.rglob("*"), reverse=True):
        if emptied.is_dir() and not any(emptied.iterdir()):
            emptied.rmdir()
