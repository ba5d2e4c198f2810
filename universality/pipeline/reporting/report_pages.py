"""The pictures of a run, its report, and the numbers of both as JSON."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from universality.config import Config, load_config
from universality.errors import UniversalityError
from universality.files import as_path, read_json, write_bytes
from universality.pipeline.paths import RunFolder
from universality.pipeline.reporting import pair_pages as several
from universality.pipeline.reporting import run_results as gather
from universality.pipeline.reporting.explorer_data import write_explorer
from universality.pipeline.reporting.figure_data import figure_tables
from universality.pipeline.reporting.run_results import Findings, findings
from universality.pipeline.stages.sae_likeness import file_of
from universality.pipeline.stages.training_overlap import seen_in_training
from universality.pipeline.study import comparisons, headline_comparison, headline_width, sae_grid
from universality.report import write_report
from universality.report.data import FileLink, LanguageModel, LanguageModels, Report
from universality.report.figures import save_picture
from universality.report.figures.figure_table import save_table
from universality.report.figures.redrawing import DRAWINGS, draw_picture
from universality.report.formatting import listed


def make_report(config: Config, folder: RunFolder) -> list[Path]:
    """Figures, ``report/index.html`` and ``report/summary.json``.

    Raises
    ------
    UniversalityError
        If the study holds one model with one SAE seed: there is nothing to compare.
    """
    if not comparisons(config, folder):
        raise UniversalityError(
            "a report compares two models or more, or SAE seeds of one; the configuration names one of each: add "
            "another under models or saes.seeds, or stop at the stage `families`"
        )
    with findings(config, folder) as found:
        head = found.headline
        samples = gather.samples(found, head)
        headline = gather.headline(found, head, samples)
        concepts = gather.concept_rows(found)
        grown = gather.families(found)
        models = gather.language_models(found)
        facts = _facts(found, models)
        tables = dict(figure_tables(found, samples, concepts, grown))
        pictures = tuple(draw_picture(name, tables[name]) for name in DRAWINGS if name in tables)
        explored = write_explorer(found, head, folder.report.parent, grown) if head else []
        others = several.write_pages(found, grown, facts)
        summary = folder.report.with_name("summary.json")
        several.remove_old_pages(found, summary)
        report = Report(
            title=config.name,
            headline=headline,
            facts=facts,
            commands=("universality run config.yaml --out RUN", "universality info RUN --verify"),
            models=models,
            widths=gather.width_rows(found, head),
            saes=gather.other_saes(found),
            concepts=concepts,
            pairs=gather.pair_groups(found),
            families=tuple(gather.family_levels(name, some) for name, some in grown.items()),
            pictures=pictures,
            files=_files(config, folder),
            controls=gather.controls(found),
            pairings=several.pairings(found, head),
            shared=several.shared(found),
            explorer=bool(explored),
            warnings=_warnings(found, models),
        )
    drawings = folder.root / "figures"
    files = [file for drawn in pictures for file in save_picture(drawn, drawings)]
    files += [save_table(table, drawings / "tables" / name) for name, table in tables.items()]
    return [*files, *explored, *others, write_report(report, folder.report), _write_summary(report, summary)]


def report_as_it_is(run: Path) -> Path:
    """Write the report of what a run's folder holds, finished or not, and return its path.

    Raises
    ------
    UniversalityError
        If the folder is no run's.
    """
    run = as_path(run)
    config = run / "config.yaml"
    if not config.is_file():
        raise UniversalityError(f"{run}: expected a run's folder, with config.yaml in it")
    folder = RunFolder(run)
    make_report(load_config(config), folder)
    return folder.report


def _facts(found: Findings, models: LanguageModels) -> tuple[tuple[str, str], ...]:
    c, tokens = found.config, found.corpus["tokens"]
    return (
        ("Corpus", f"{c.corpus.source}: {found.corpus['documents']:,} documents, blocks of {c.corpus.n_ctx}"),
        ("Tokens", ", ".join(f"{tokens[split]:,} {what}" for split, what in _SPLITS)),
        *_left_out(found),
        *([("A token here", _segments(found))] if c.models.tokenizers else []),
        ("Token blocks", found.corpus["blocks_hash"]),
        ("Trained on held-out text", "; ".join(_seen(model) for model in models.rows)),
        ("Hook", _hook(c)),
        ("SAEs", _saes(c)),
        ("SAE seeds", ", ".join(f"{m} {w}: {seed}" for m, w, seed in sae_grid(c))),
        ("Dictionaries at step 0", _beginnings(found)),
        (
            "Nulls",
            f"{', '.join(c.statistics.nulls)}, {c.statistics.replicates} replicates each, seed {c.statistics.seed}",
        ),
        ("Intervals", f"{c.statistics.bootstrap} resamples of works"),
    )


def _left_out(found: Findings) -> list[tuple[str, str]]:
    """Text that was not read, and text that occurs twice."""
    special, repeated = found.corpus.get("special_left_out", 0), found.corpus.get("repeated_documents", 0)
    facts = [("Left out of the text", note) for note in found.corpus.get("notes", [])]
    if special:
        facts.append(("Special tokens in the text", f"{special:,}, left out; the text behind each begins a new block"))
    if repeated:
        facts.append(("Held-out documents whose exact text stands in another split too", f"{repeated:,}"))
    return facts


def _hook(config: Config) -> str:
    hooks = config.hooks
    return config.hook if isinstance(config.hook, str) else "; ".join(f"{name} {hook}" for name, hook in hooks.items())


def _segments(found: Findings) -> str:
    own = ", ".join(f"{name} {n:,}" for name, n in found.corpus.get("own_tokens", {}).items())
    return (
        f"is a stretch of text between boundaries that all tokenizers share; of own tokens: {own}. A feature's "
        f"activation there is the {found.config.features.pool} over its tokens"
    )


def _saes(config: Config) -> str:
    s = config.saes
    widths = f"widths {', '.join(map(str, s.widths))}"
    if s.load:
        return f"loaded, {widths}: {'; '.join(path for paths in s.load.values() for path in paths)}"
    return f"{s.architecture}, {widths}, k {s.k}, {s.tokens:,} tokens each"


def _beginnings(found: Findings) -> str:
    """How far apart the compared dictionaries began; what starts equal may end equal for that reason alone."""
    if found.config.saes.load:
        return _beginnings_of_loaded(found)
    path = found.folder.root / "saes" / "beginnings.json"
    if not found.has("how the SAEs began", path):
        return "not known"
    pairs = read_json(path)["pairs"]
    here = f"/w{headline_width(found.config)}-"
    said = [f"{pair['a']} and {pair['b']} {pair['distance']:.2f}" for pair in pairs if here in pair["a"]]
    return f"distance {'; '.join(said)} (0: drawn alike)" if said else "no two of equal width"


def _beginnings_of_loaded(found: Findings) -> str:
    """Which loaded SAEs of the headline's width agree index by index, as only those that began alike do."""
    path = file_of(found.folder)
    if not found.has("the comparison of the loaded SAEs", path):
        return "not known"
    here = f"/w{headline_width(found.config)}-"
    pairs = [pair for pair in read_json(path)["pairs"] if here in pair["a"]]
    alike = [f"{pair['a']} and {pair['b']}" for pair in pairs if pair["began_alike"]]
    if alike:
        return f"began from the same weights, as their order of features tells: {'; '.join(alike)}"
    return "no two loaded SAEs of this width agree index by index, as those that began alike do"


_SPLITS = (("train", "train"), ("choose", "choose partners"), ("report", "report"))


def _files(config: Config, folder: RunFolder) -> tuple[FileLink, ...]:
    answers = headline_comparison(config, folder)
    name, a = f"{answers.name}.activation", answers.models[0]
    links = [
        FileLink(f"../matches/{name}.csv", "matched features with top tokens, scores, q and intervals"),
        FileLink(f"../matches/{name}.graphml", "the same as a graph, for igraph, networkx, Gephi"),
        FileLink(f"../matches/{name}.cyjs", "the same for Cytoscape; .gexf for Gephi, .json as node-link JSON"),
        FileLink("../figures/", "every picture as PNG and SVG; in tables/ what each is drawn from"),
        FileLink("../features/", "the stores: which features fire on which tokens"),
        FileLink("summary.json", "the numbers of this page"),
        FileLink("../config.yaml", "the resolved configuration"),
        FileLink("../provenance.json", "what everything was made from"),
    ]
    if len(config.saes.widths) > 1:
        links.insert(3, FileLink(f"../families/{a}.graphml", f"the families of model {a}"))
    later = ("summary.json", "../provenance.json", "../figures/")  # made after the page
    return tuple(link for link in links if link.path in later or (folder.report.parent / link.path).exists())


def _seen(model: LanguageModel) -> str:
    """Whether a model was trained on documents that the study holds out."""
    return seen_in_training(model.name, model.held_out, model.seen)


def _warnings(found: Findings, models: LanguageModels) -> tuple[str, ...]:
    lines = gather.notes(found.headline) + gather.likeness_notes(found, found.headline) if found.headline else []
    if found.missing:
        lines.insert(
            0,
            f"This run is not finished. Not there: {listed(found.missing)}. `universality run "
            "RUN/config.yaml --out RUN`, with this folder for RUN, goes on where it stopped.",
        )
    for model in models.rows:
        if model.seen is None and model.name in found.config.models.load:
            lines.append(f"{_capital(_seen(model))}: it may have seen the held-out ones.")
        elif model.seen:
            lines.append(f"{_seen(model)}: there its activations may be of text known by heart.")
    return tuple(lines)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _write_summary(report: Report, path: Path) -> Path:
    """The numbers of the page; pictures and example texts are left out."""
    values = {
        name: _plain(asdict(part) if hasattr(part, "__dataclass_fields__") else [asdict(item) for item in part])
        for name in ("headline", "models", "widths", "saes", "concepts", "families", "pairings", "shared")
        if (part := getattr(report, name)) is not None
    }
    return write_bytes(path, (json.dumps(values, indent=1, allow_nan=False) + "\n").encode())


def _plain(value: Any) -> Any:
    """JSON values: NaN becomes null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
