"""Matches and families for other tools: CSV, GraphML and node-link JSON beside the files that they are made from."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

from universality.config import Config
from universality.pipeline.layout import RunFolder, comparisons

TOP_TOKENS = 5


def make_exports(config: Config, folder: RunFolder) -> list[Path]:
    """One CSV, one GraphML and one node-link JSON for every comparison and for every model's families."""
    from universality.features import FeatureStore

    decode = decoder(folder)
    files: list[Path] = []
    with ExitStack() as stack:

        @cache
        def opened(path: Path) -> FeatureStore:
            return stack.enter_context(FeatureStore.open(path))

        for comparison in comparisons(config, folder):
            source = folder.calibration(comparison.name)
            files += _export_match(source, opened(comparison.a), opened(comparison.b), decode)
        for name in config.models.names if len(config.saes.widths) > 1 else []:
            stores = [opened(folder.store(name, width, config.saes.seeds[0])) for width in config.saes.widths]
            files += _export_families(folder.families(name), stores, decode)
    return files


def decoder(folder: RunFolder) -> Callable[[Sequence[int]], list[str]]:
    """Token ids to one string each; decimal numbers where the corpus came tokenised."""
    from universality.corpus import load_tokenizer

    if not folder.tokenizer.exists():
        return lambda ids: [str(int(i)) for i in ids]
    strings = load_tokenizer(folder.tokenizer).token_strings
    return lambda ids: [strings[int(i)] for i in ids]


def _export_match(source: Path, a: Any, b: Any, decode: Any) -> list[Path]:
    from universality.export import annotate, match_table, write_csv, write_graphml, write_node_link
    from universality.statistics import Calibration

    calibration = Calibration.load(source)
    table = match_table(calibration.match, a, b, calibration=calibration.to_frame(), decode=decode, k=TOP_TOKENS)
    graph = annotate(calibration.match.to_graph(), (a, b), decode=decode, k=TOP_TOKENS)
    return [
        write_csv(table, source.with_suffix(".csv")),
        write_graphml(graph, source.with_suffix(".graphml")),
        write_node_link(graph, source.with_suffix(".json")),
    ]


def _export_families(source: Path, stores: Sequence[Any], decode: Any) -> list[Path]:
    from universality.export import annotate, write_csv, write_graphml, write_node_link
    from universality.families import Families

    found = Families.load(source)
    graph = annotate(found.graph, stores, decode=decode, k=TOP_TOKENS)
    return [
        write_csv(found.to_frame(), source.with_suffix(".edges.csv")),
        write_csv(found.families_frame(), source.with_suffix(".families.csv")),
        write_graphml(graph, source.with_suffix(".graphml")),
        write_node_link(graph, source.with_suffix(".graph.json")),
    ]
