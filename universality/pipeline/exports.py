"""Matches and families for other tools, as tables and graphs beside the files that they are made from."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from universality.config import Config
from universality.features import FeatureStore
from universality.files import read_json_value
from universality.pipeline.layout import RunFolder, comparisons, headline_width
from universality.pipeline.opened import OpenStores

TOP_TOKENS = 5


def make_exports(config: Config, folder: RunFolder) -> list[Path]:
    """Tables and graphs of every comparison, of every model's families, and of three models or more together."""
    from universality.export import match_table
    from universality.matching import Match

    decode = decoder(folder)
    files: list[Path] = []
    with OpenStores() as stores:

        def opened(*paths: Path) -> list[FeatureStore]:
            return [stores.about(path)[0] for path in paths]

        compared = comparisons(config, folder)
        for comparison in compared:
            source = folder.calibration(comparison.name)
            files += _export_match(source, opened(comparison.a, comparison.b), decode)
            if config.models.one_basis and comparison.of == "models":
                by_rows = folder.decoder_match(comparison.name)
                table = match_table(
                    Match.load(by_rows), *opened(comparison.a, comparison.b), decode=decode, k=TOP_TOKENS
                )
                files += _write_table(table, by_rows)
        for name in config.models.names if len(config.saes.widths) > 1 else []:
            paths = [folder.store(name, width, config.saes.seeds[0]) for width in config.saes.widths]
            files += _export_families(folder.families(name), opened(*paths), decode)
        if len(config.models.names) > 2:
            files += _export_partite(config, folder, opened, decode)
    return files


def decoder(folder: RunFolder) -> Callable[[Sequence[int]], list[str]]:
    """Token ids (or those of segments) to one string each; " 17" where the corpus came tokenised."""
    from universality.corpus import load_tokenizer

    if folder.segments.exists():
        segments = read_json_value(folder.segments)
        return lambda ids: [segments[int(i)] for i in ids]
    if not folder.tokenizer.exists():
        return lambda ids: [f" {int(i)}" for i in ids]  # set apart where they stand in a row
    strings = load_tokenizer(folder.tokenizer).token_strings
    return lambda ids: [strings[int(i)] for i in ids]


def _export_match(source: Path, stores: Sequence[FeatureStore], decode: Any) -> list[Path]:
    from universality.export import annotate, match_table, write_graph
    from universality.statistics import Calibration

    calibration = Calibration.load(source)
    frame = calibration.to_frame()
    table = match_table(calibration.match, *stores, calibration=frame, decode=decode, k=TOP_TOKENS)
    graph = annotate(calibration.match.to_graph(), stores, decode=decode, k=TOP_TOKENS)
    return [*_write_table(table, source), *write_graph(graph, source.with_suffix(""))]


def _export_families(source: Path, stores: Sequence[FeatureStore], decode: Any) -> list[Path]:
    from universality.export import annotate, write_graph
    from universality.families import Families

    found = Families.load(source)
    graph = annotate(found.graph, stores, decode=decode, k=TOP_TOKENS)
    edges = source.with_suffix(".edges.csv")
    return [
        *_write_table(found.to_frame(), edges),
        *_write_table(found.families_frame(), source.with_suffix(".families.csv")),
        *write_graph(graph, source.with_suffix(""), ".graph.json"),
    ]


def _export_partite(config: Config, folder: RunFolder, opened: Any, decode: Any) -> list[Path]:
    """Three models or more at the headline's width, in one graph."""
    from universality.export import annotate, partite_graph, write_graph
    from universality.statistics import Calibration

    width, names = headline_width(config), config.models.names
    matches = {
        c.models: Calibration.load(folder.calibration(c.name)).match
        for c in comparisons(config, folder)
        if c.of == "models" and c.width == width
    }
    stores = opened(*(folder.store(name, width, config.saes.seeds[0]) for name in names))
    graph = annotate(partite_graph(matches), stores, decode=decode, k=TOP_TOKENS)
    return write_graph(graph, folder.root / "matches" / f"{'-'.join(names)}.w{width}.activation")


def _write_table(table: Any, path: Path) -> list[Path]:
    """CSV, and Parquet where pyarrow is installed."""
    from universality.export import write_csv, write_parquet

    files = [write_csv(table, path.with_suffix(".csv"))]
    return files + ([write_parquet(table, path.with_suffix(".parquet"))] if find_spec("pyarrow") else [])
