"""How large the report of many models is, whose explorer holds every dictionary once and every comparison apart.

    python tests/bench/many_models.py RUN [--models 10]

Gives the two models of a finished run many names, links the run's files under each, and writes the report of them all.
Every two models are then compared, with the run's own partners, so that sizes are those of a real run of that many
models of this width. Prints megabytes and the number of files, by part. Target: 60 MB for ten models of width 2,048,
without effects.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import yaml

from universality.config import Config, load_config
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting.report_pages import report_as_it_is
from universality.pipeline.study import comparisons

FOLDERS = ("features", "families", "maps", "effects")


def renamed(config: Config, n: int) -> dict[str, str]:
    """Name of each of ``n`` models, and the run's model that it stands for."""
    first, second = config.models.names[:2]
    return {f"M{k}": (first, second)[k % 2] for k in range(n)}


def write_config(run: Path, root: Path, names: dict[str, str]) -> Config:
    """The run's configuration with other models."""
    settings = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    for way in ("load", "train"):
        given = settings["models"].get(way) or {}
        settings["models"][way] = {name: given[source] for name, source in names.items() if source in given}
    (root / "config.yaml").write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")
    return load_config(root / "config.yaml")


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.exists() and not target.exists():
        target.symlink_to(source)


def link_models(run: Path, root: Path, names: dict[str, str]) -> None:
    """Files of each model, under its new name."""
    link(run / "corpus", root / "corpus")
    for path in (run / "features").glob("unembedding*"):
        link(path, root / "features" / path.name)
    for name, source in names.items():
        for folder in ("models", "saes"):
            link(run / folder / source, root / folder / name)
        for folder in FOLDERS:
            for path in (run / folder).glob(f"{source}.*"):
                link(path, root / folder / f"{name}{path.name.removeprefix(source)}")


def link_comparisons(run: Path, root: Path, config: Config, names: dict[str, str], models: tuple[str, ...]) -> int:
    """Partners and effects of every two models: those of the run's two. Returns the number of comparisons."""
    pairs = 0
    for comparison in comparisons(config, RunFolder(root)):
        sources = models[:2] if comparison.of != "ceiling" else tuple(names[name] for name in comparison.models)
        old = comparison.name.replace("-".join(comparison.models), "-".join(sources), 1)
        for folder in ("matches", "similarity", "maps", "effects"):
            for path in (run / folder).glob(f"{old}.*"):
                if path.suffix in (".npz", ".json"):
                    link(path, root / folder / f"{comparison.name}{path.name.removeprefix(old)}")
        pairs += comparison.of == "models" and comparison.level == 0
    return pairs


def megabytes(paths: list[Path]) -> float:
    return sum(path.stat().st_size for path in paths) / 1e6


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("run", type=Path)
    options.add_argument("--models", type=int, default=10)
    given = options.parse_args()
    run = given.run.resolve()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        own = load_config(run / "config.yaml")
        names = renamed(own, given.models)
        config = write_config(run, root, names)
        link_models(run, root, names)
        n_pairs = link_comparisons(run, root, config, names, tuple(own.models.names))
        began = time.process_time()
        page = report_as_it_is(root)
        print(
            f"{given.models} models, {n_pairs} pairs of them, written in {time.process_time() - began:.0f} processor s"
        )
        files = [path for path in page.parent.rglob("*") if path.is_file()]
        parts: dict[str, list[Path]] = {}
        for path in files:
            parts.setdefault(part_of(path.relative_to(page.parent)), []).append(path)
        for part, paths in sorted(parts.items()):
            print(f"{part:<40}{megabytes(paths):8.1f} MB in {len(paths):6,} files")
        print(
            f"{'report':<40}{megabytes(files):8.1f} MB in {len(files):6,} files (target: 60 MB for ten without effects)"
        )


def part_of(path: Path) -> str:
    """Name the part of the report that a file belongs to."""
    if path.parts[0] == "data":
        if path.name.startswith(("token-effects", "effects")):
            return "explorer: effects of pairs, if measured"
        kinds = {"sides": "explorer: dictionaries", "comparisons": "explorer: comparisons"}
        return kinds.get(path.parts[1], "explorer: words, groups, index")
    return "page of the first pair" if len(path.parts) == 1 else "pages of the other pairs"


if __name__ == "__main__":
    main()
