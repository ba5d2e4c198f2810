"""The pictures of a run, its report, and the numbers of both as JSON."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from universality.config import Config
from universality.errors import UniversalityError
from universality.export.about import shown_tokens
from universality.families import Families
from universality.pipeline import gather
from universality.pipeline.explorer import write_explorer
from universality.pipeline.gather import Compared, Findings, findings
from universality.pipeline.layout import RunFolder, sae_grid
from universality.report import figures, write_report
from universality.report.data import ConceptRow, FamilyLevel, FamilyTable, FileLink, Picture, Report, Sample
from universality.report.numbers import listed


def make_report(config: Config, folder: RunFolder) -> list[Path]:
    """Figures, ``report/index.html`` and ``report/summary.json``.

    Raises
    ------
    UniversalityError
        If the study holds one model only: there is nothing to compare.
    """
    if len(config.models.names) < 2:
        raise UniversalityError(
            "a report compares two models or more, the configuration names one; add another under models, or stop at "
            "the stage `families`"
        )
    with findings(config, folder) as found:
        samples = gather.samples(found)
        headline = gather.headline(found, samples)
        concepts = gather.concept_rows(found)
        grown = {
            name: Families.load(folder.families(name))
            for name in _with_families(config)
            if found.has(f"the families of {name}", folder.families(name))
        }
        pictures = tuple(_pictures(found, samples, concepts, grown))
        explored = write_explorer(found, folder.report.parent, grown) if found.headline else []
        report = Report(
            title=config.name,
            headline=headline,
            facts=_facts(found),
            commands=("universality run config.yaml --out RUN", "universality info RUN --verify"),
            models=gather.language_models(found),
            widths=gather.width_rows(found),
            saes=gather.other_saes(found),
            concepts=concepts,
            pairs=gather.pair_groups(found),
            families=tuple(_table(name, some) for name, some in grown.items()),
            pictures=pictures,
            files=_files(config, folder),
            controls=gather.controls(found),
            explorer=bool(explored),
            warnings=_warnings(found),
        )
    files = [file for drawn in pictures for file in figures.save_picture(drawn, folder.root / "figures")]
    summary = folder.report.with_name("summary.json")
    return [*files, *explored, write_report(report, folder.report), _write_summary(report, summary)]


def _with_families(config: Config) -> list[str]:
    return config.models.names if len(config.saes.widths) > 1 else []


def _pictures(
    found: Findings, samples: list[Sample], concepts: tuple[ConceptRow, ...], grown: dict[str, Families]
) -> Iterator[Picture]:
    if found.headline is not None:
        yield from _matched(found.headline, samples)
    f = figures
    densities = [
        f.DensitySample(model, width, found.store(found.folder.store(model, width, seed)).moments().density)
        for model, width, seed in found.grid()
        if seed == found.config.saes.seeds[0]
    ]
    if densities:
        drawn, caption = f.feature_densities(densities), f.describe_densities(densities)
        yield f.picture("densities", "widths", "How often features fire", drawn, caption)
    if concepts:
        yield f.picture(
            "concepts",
            "concepts",
            "One feature a kind of text",
            f.concept_dots(concepts),
            f.describe_concepts(concepts),
        )
    for name, families in list(grown.items())[:1]:
        yield from _tree(found, name, families)
    yield from _training(found)


def _matched(head: Compared, samples: list[Sample]) -> Iterator[Picture]:
    f = figures
    frame, calibration = head.frame, head.calibration
    yield f.picture(
        "best_match",
        "answer",
        "How alike are partners?",
        f.best_match_distribution(samples),
        f.describe_distribution(samples),
    )
    matrix = f.MatchedMatrix(head.drawn["sample_matrix"], head.drawn["best_matrix"], len(frame))
    yield f.picture("heatmap", "answer", "The matched matrix", f.matched_heatmap(matrix), f.describe_heatmap(matrix))
    chosen, held_out = frame["score"].to_numpy(), frame["held_out"].to_numpy()
    yield f.picture(
        "held_out",
        "answer",
        "Chosen on one half, scored on the other",
        f.chosen_against_held_out(chosen, held_out),
        f.describe_held_out(chosen, held_out),
    )
    firings = np.minimum(frame["count_a"], frame["count_b"])
    classes = f.strata(firings, held_out, calibration.edges, calibration.strata()["tau"].to_numpy())
    yield f.picture(
        "strata", "answer", "By how often they fire", f.similarity_by_firings(classes), f.describe_strata(classes)
    )
    if "logit" in head.drawn:
        logit = frame["logit"].to_numpy()
        yield f.picture(
            "logit",
            "pairs",
            "Firing alike and writing alike",
            f.activation_against_logit(held_out, logit),
            f.describe_logit(held_out, logit),
        )


def _tree(found: Findings, name: str, families: Families) -> Iterator[Picture]:
    graph = families.graph
    root = figures.choose_family(graph, 8)
    if root is None:
        return
    tokens: dict[Any, tuple[str, ...]] = {}
    members = [root, *nx.descendants(graph, root)]
    for level, width in enumerate(found.config.saes.widths):
        here = sorted(node for node in members if node[0] == level)
        store = found.store(found.folder.store(name, width, found.config.saes.seeds[0]))
        strings = shown_tokens(store, [feature for _, feature in here], 4, found.decode) if here else []
        tokens |= dict(zip(here, strings, strict=True))
    drawn = figures.family_tree(graph, root, tokens, most=8)
    caption = figures.describe_family(graph, root, tokens, most=8)
    yield figures.picture("family", "families", f"A family of model {name}", drawn, caption)


def _training(found: Findings) -> Iterator[Picture]:
    log = found.folder.root / "saes" / "train.jsonl"
    if log.is_file():
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        drawn, unit = figures.curves(rows)
        yield figures.picture(
            "training",
            "training",
            "How the SAEs learned",
            figures.training_curves(drawn, unit),
            figures.describe_training(drawn, unit),
        )


def _table(name: str, families: Families) -> FamilyTable:
    return FamilyTable(name, tuple(FamilyLevel.from_summary(level) for level in families.summary()["levels"]))


def _facts(found: Findings) -> tuple[tuple[str, str], ...]:
    c, tokens = found.config, found.corpus["tokens"]
    s = c.saes
    return (
        ("Corpus", f"{c.corpus.source}: {found.corpus['documents']:,} documents, blocks of {c.corpus.n_ctx}"),
        ("Tokens", ", ".join(f"{tokens[split]:,} {what}" for split, what in _SPLITS)),
        ("Token blocks", found.corpus["blocks_hash"]),
        ("Hook", c.hook),
        ("SAEs", f"{s.architecture}, widths {', '.join(map(str, s.widths))}, k {s.k}, {s.tokens:,} tokens each"),
        ("SAE seeds", ", ".join(f"{m} {w}: {seed}" for m, w, seed in sae_grid(c))),
        (
            "Nulls",
            f"{', '.join(c.statistics.nulls)}, {c.statistics.replicates} replicates each, seed {c.statistics.seed}",
        ),
        ("Intervals", f"{c.statistics.bootstrap} resamples of works"),
    )


_SPLITS = (("train", "train"), ("choose", "choose partners"), ("report", "report"))


def _files(config: Config, folder: RunFolder) -> tuple[FileLink, ...]:
    a, b = config.models.names[:2]
    name = f"{a}-{b}.w{config.saes.widths[-1]}.activation"
    links = [
        FileLink(f"../matches/{name}.csv", "matched features with top tokens, scores, q and intervals"),
        FileLink(f"../matches/{name}.graphml", "the same as a graph, for igraph, networkx, Gephi"),
        FileLink(f"../matches/{name}.cyjs", "the same for Cytoscape; .gexf for Gephi, .json as node-link JSON"),
        FileLink("../figures/", "every picture as PNG and SVG"),
        FileLink("../features/", "the stores: which features fire on which tokens"),
        FileLink("summary.json", "the numbers of this page"),
        FileLink("../config.yaml", "the resolved configuration"),
        FileLink("../provenance.json", "what everything was made from"),
    ]
    if len(config.saes.widths) > 1:
        links.insert(3, FileLink(f"../families/{a}.graphml", f"the families of model {a}"))
    later = ("summary.json", "../provenance.json", "../figures/")  # made after the page
    return tuple(link for link in links if link.path in later or (folder.report.parent / link.path).exists())


def _warnings(found: Findings) -> tuple[str, ...]:
    head = found.headline
    # kinds of few works are named by the report itself
    notes = head.calibration.notes if head else ()
    lines = [note for note in notes if not note.startswith("kinds of few groups")]
    if found.missing:
        lines.insert(0, f"This run is not finished. Not there: {listed(found.missing)}. The command `run` goes on.")
    for name in found.config.models.load:
        path = found.folder.model(name) / "source.json"
        note = gather.read_json(path) if path.exists() else {"trained_on_these_splits": True}
        if not note["trained_on_these_splits"]:
            lines.append(f"Model {name} was not trained on these splits: it may have seen the held-out documents.")
    return tuple(lines)


def _write_summary(report: Report, path: Path) -> Path:
    """The numbers of the page; pictures and example texts are left out."""
    values = {
        name: _plain(asdict(part) if hasattr(part, "__dataclass_fields__") else [asdict(item) for item in part])
        for name in ("headline", "models", "widths", "saes", "concepts", "families")
        if (part := getattr(report, name)) is not None
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def _plain(value: Any) -> Any:
    """JSON values: NaN becomes null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
