"""The stages in order: skip what is done, resume what was killed, record provenance."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from universality.config import Config
from universality.errors import ConfigError, FormatError, UniversalityError
from universality.files import as_path, read_json, replacing_text, write_json
from universality.pipeline.input_hashes import hash_inputs
from universality.pipeline.paths import RunFolder
from universality.pipeline.run_lock import alone_in
from universality.pipeline.stages import making as stages
from universality.pipeline.stages.hook_check import check_hooks
from universality.pipeline.stages.loaded_saes import loaded_inputs, make_loaded_saes, with_loaded_saes
from universality.pipeline.stages.write_exports import make_exports
from universality.pipeline.study import Comparison, ceilings_of, comparisons, family_stores, sae_grid
from universality.pipeline.task import Outcome, Task, is_done, run_tasks
from universality.pipeline.versions import package_versions

if TYPE_CHECKING:
    from universality.sae.training.distributed import Ranks

STAGES = ("corpus", "train-models", "train-saes", "collect", "match", "families", "export", "report")
"""In their order."""
_HOW = {"watch", "checkpoint_steps", "load"}  # settings that change nothing in SAEs that are trained


def run(config: Config, out: str | Path, until: str = "report") -> Path:
    """Do an experiment, or what of it has not been done.

    Parameters
    ----------
    config
        What `universality.config.load_config` reads.
    out
        The run's folder; made if it is not there.
    until
        The last stage to do: one of ``STAGES``.

    Returns
    -------
    Path
        The run's folder; after the stage ``report``, ``report/index.html`` in it is the page to open.

    Raises
    ------
    UniversalityError
        If the configuration cannot be run, with what to change, or another process is at work in the folder. What
        was finished before stays.
    """
    if until not in STAGES:
        raise UniversalityError(f"unknown stage {until!r}; expected one of {', '.join(STAGES)}")
    config, folder = with_loaded_saes(config), RunFolder(as_path(out))
    if until == "report" and not comparisons(config, folder):
        raise ConfigError(
            "a report compares two models or more, or SAE seeds of one; the configuration names "
            f"{config.models.names[0]} alone, with SAE seed {config.saes.seeds[0]}; name another under models.load or "
            "models.train, or a second seed as in saes.seeds=[0, 1], or stop before the report, with one of the "
            f"commands {', '.join(STAGES[1:-1])}"
        )
    if folder.root.exists() and not folder.root.is_dir():
        raise UniversalityError(f"{folder.root}: expected a folder for the run, found a file; name another with --out")
    folder.root.mkdir(parents=True, exist_ok=True)
    with _together() as ranks:
        _run_stages(config, folder, until, ranks)
    return folder.root


def _run_stages(config: Config, folder: RunFolder, until: str, ranks: Ranks | None) -> None:
    first = ranks is None or ranks.first
    with alone_in(folder.root) if first else nullcontext():
        wanted = STAGES[: STAGES.index(until) + 1]
        tasks = [task for task in plan(config, folder, ranks) if task.stage in wanted]
        if first and not all(is_done(task, folder.root) for task in tasks if task.stage in ("corpus", "train-models")):
            check_hooks(config, download=True)
        say = partial(_note_down, config, folder, tasks) if first else _say_nothing
        outcomes = run_tasks(tasks, folder.root, say, ranks)
        if first:
            _write_provenance(folder)
            _say_end(outcomes, folder, until)


def _note_down(config: Config, folder: RunFolder, tasks: list[Task], outcome: Outcome) -> None:
    """Say what was done, and keep the configuration once text, models and hook are known to fit.

    A configuration that is refused must not stand beside the results of the one before.
    """
    _say(outcome)
    checked = [task.name for task in tasks if task.stage in ("corpus", "train-models")]
    target = folder.root / "config.yaml"
    if outcome.name == checked[-1] or not target.exists():
        text = yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            with replacing_text(target) as file:
                file.write(text)


def run_controls(config: Config, out: str | Path) -> Path:
    """Match a study, then make its controls (see `universality.pipeline.stages.run_controls`); returns their table.

    Of several processes (torchrun) all take part in the study; the first alone makes the controls.
    """
    from universality.pipeline.stages.run_controls import control_tasks

    config, folder = with_loaded_saes(config), RunFolder(as_path(out))
    _run_after_match(config, folder, control_tasks(config, folder))
    return folder.root / "controls" / "controls.csv"


def run_crosscoder(config: Config, out: str | Path) -> list[str]:
    """Match a study, then train a crosscoder and compare the two; returns lines that describe it.

    Of several processes (torchrun) all take part in the study; the first alone trains the crosscoder.
    """
    from universality.pipeline.reporting.crosscoder_tables import describe_crosscoder
    from universality.pipeline.stages.train_crosscoder import crosscoder_tasks

    config, folder = with_loaded_saes(config), RunFolder(as_path(out))
    _run_after_match(config, folder, crosscoder_tasks(config, folder))
    return describe_crosscoder(folder.root / "crosscoder")


def _run_after_match(config: Config, folder: RunFolder, tasks: list[Task]) -> None:
    folder.root.mkdir(parents=True, exist_ok=True)
    with _together() as ranks:
        _run_stages(config, folder, "match", ranks)
        if ranks is None or ranks.first:
            with alone_in(folder.root):
                _say_end(run_tasks(tasks, folder.root, _say), folder, "match")
                _write_provenance(folder)
        if ranks is not None:
            ranks.wait()


def make_cache(config: Config, out: str | Path) -> Path:
    """Harvest the activations of all models into ``activations.cache``, doing first what must come before.

    Parameters
    ----------
    config, out
        As for `run`.

    Returns
    -------
    Path
        The folder of the caches.

    Raises
    ------
    UniversalityError
        If ``activations.cache`` is not set, or as `run`.
    """
    from universality.pipeline.stages.model_sites import make_sites

    if config.activations.cache is None:
        raise UniversalityError("activations.cache names no folder: set it, as in --set activations.cache=cache")
    root = run(config, out, until="train-models")
    if is_first_process():
        make_sites(config, RunFolder(root))
    return Path(config.activations.cache)


def is_first_process() -> bool:
    """Whether this process speaks for all that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def _together() -> Iterator[Ranks | None]:
    """The processes that torchrun started; None for one alone, which needs no torch yet."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield None
        return
    from universality.sae.training.distributed import join_ranks

    ranks = join_ranks()
    yield ranks
    ranks.leave()  # not where one has failed: the others learn of it by its end


def plan(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """All tasks of an experiment, each after those that it reads from.

    Parameters
    ----------
    ranks
        The processes that share the work, as `universality.sae.training.distributed.Ranks`; None for one.
    """
    c = config
    names = c.models.names
    memory = folder.root / ".inputs.json"
    text = [c.corpus.model_dump(), _corpus_inputs(c, memory), *([names] if c.models.tokenizers else [])]
    corpus = Task("corpus", text, (), partial(stages.make_corpus, c, folder))
    collected_as = c.features.model_dump(exclude=set() if c.models.tokenizers else {"pool"})
    models = [
        Task(
            f"train-models/{name}",
            [c.hooks[name], *_model_inputs(c, name, memory)],
            ("corpus",),
            partial(stages.make_model, c, folder, name),
        )
        for name in names
    ]
    model_tasks = [task.name for task in models]
    grid = [list(item) for item in sae_grid(c)]
    read_as = c.activations.dtype if c.activations.cache else None
    settings: list[Any] = [c.hook, c.saes.model_dump(exclude=_HOW), grid, read_as]
    if c.saes.load:
        settings = [c.hook, c.saes.quality_blocks, grid, read_as, loaded_inputs(c, memory)]
    saes = Task("train-saes", settings, ("corpus", *model_tasks), partial(_make_saes, c, folder, ranks), together=True)
    shared = ["one basis"] if c.models.one_basis else []
    shared += ["of several hooks"] if shared and len(set(c.hooks.values())) > 1 else []
    collected = [
        Task(
            f"collect/{name}",
            [c.hooks[name], collected_as, [item for item in grid if item[0] == name], read_as, *shared],
            ("corpus", *(model_tasks if shared else [f"train-models/{name}"]), "train-saes"),
            partial(_make_features, c, folder, name, ranks),
            together=True,
        )
        for name in names
    ]
    compared = comparisons(c, folder)
    matched = [
        Task(
            f"match/{comparison.name}",
            [c.statistics.model_dump(), *shared] if shared else c.statistics.model_dump(),
            sorted({f"collect/{name}" for name in comparison.models}) + _ceiling_tasks(c, folder, comparison),
            partial(stages.make_match, c, folder, comparison),
        )
        for comparison in sorted(compared, key=lambda one: one.of != "ceiling")  # pairs of models are given ceilings
    ]
    grown = [
        Task(
            f"families/{name}",
            [c.families.model_dump(), *family_stores(c, name)],
            (f"collect/{name}",),
            partial(stages.make_families, c, folder, name),
        )
        for name in (names if len(c.saes.widths) > 1 else [])
    ]
    done = [task.name for task in (*matched, *grown)]
    exports = Task("export", None, ("corpus", *done), partial(make_exports, c, folder))
    everything = ("corpus", *model_tasks, "train-saes", *(t.name for t in collected), *done, "export")
    beside = [*(folder.root / "controls").glob("*.npz"), *(folder.root / "crosscoder").glob("features.csv")]
    shown = _by_content(sorted(beside))
    report = Task("report", [c.name, *shown] if shown else c.name, everything, partial(_make_report, c, folder))
    return [corpus, *models, saes, *collected, *matched, *grown, exports, report]


def _ceiling_tasks(config: Config, folder: RunFolder, comparison: Comparison) -> list[str]:
    return [f"match/{one.name}" for one in ceilings_of(config, folder, comparison) if one is not None]


def _make_saes(config: Config, folder: RunFolder, ranks: Ranks | None) -> list[Path]:
    from universality.pipeline.stages.train_saes import make_saes  # torch
    from universality.sae.training.distributed import Ranks

    return (make_loaded_saes if config.saes.load else make_saes)(config, folder, ranks or Ranks())


def _make_features(config: Config, folder: RunFolder, name: str, ranks: Ranks | None) -> list[Path]:
    from universality.sae.training.distributed import Ranks

    return stages.make_features(config, folder, name, ranks or Ranks())


def _make_report(config: Config, folder: RunFolder) -> list[Path]:
    from universality.pipeline.reporting.report_pages import make_report  # matplotlib

    return make_report(config, folder)


def _corpus_inputs(config: Config, memory: Path | None = None) -> list[list[Any]]:
    from universality.corpus.passages import STARTER
    from universality.corpus.tokenizer import tokenizer_files

    c = config.corpus
    sources = [c.source] if isinstance(c.source, str) else c.source
    paths = [STARTER if source == "starter" else Path(source) for source in sources]
    names = config.models.names if config.models.tokenizers else []
    read_with = [config.models.tokenizer_of(name, c.tokenizer) for name in names] or [c.tokenizer]
    for source in (source for source in read_with if source != "train"):
        paths += tokenizer_files(source)
    return _by_content(paths, memory)


def _model_inputs(config: Config, name: str, memory: Path) -> list[Any]:
    m = config.models
    if name in m.train:
        return [m.train[name].model_dump(), m.architecture.model_dump(), m.training.model_dump(), m.dtype]
    from universality.models.shipped import model_folder

    return [m.load[name], config.saes.quality_blocks, _by_content([model_folder(m.load[name])], memory)]


def _by_content(paths: list[Path], memory: Path | None = None) -> list[list[Any]]:
    """[place, path inside, hash] of every file, without the folders above, so that a copied run is not made again."""
    found: list[list[Any]] = []
    for place, path in enumerate(paths):
        for file, value in hash_inputs([path], memory).items():
            inside = Path(file).relative_to(path).as_posix() if path.is_dir() else Path(file).name
            found.append([place, inside, value])
    return sorted(found)


def _write_provenance(folder: RunFolder) -> None:
    """What everything was made from and by: the stamps of all tasks, and the versions of the last call's packages."""
    stamps = {}
    for path in sorted((folder.root / ".done").glob("*.json")):
        try:
            stamp = read_json(path)
            stamps[stamp.pop("task")] = stamp
        except (FormatError, KeyError):  # torn: its task runs again when it is asked for
            continue
    record = {"last_call": package_versions(), "platform": platform.platform(), "tasks": stamps}
    target = folder.root / "provenance.json"
    try:
        known = read_json(target).get("tasks")
    except (FileNotFoundError, FormatError):  # a kill tore it: the stamps have all of it
        known = None
    if known != stamps:
        write_json(target, record)


def _say_nothing(outcome: Outcome) -> None:
    pass


def _say(outcome: Outcome) -> None:
    if not outcome.skipped:
        print(f"{outcome.name:<28} {outcome.seconds:7.1f} s", flush=True)


def _say_end(outcomes: list[Outcome], folder: RunFolder, until: str) -> None:
    made = [outcome for outcome in outcomes if not outcome.skipped]
    if not made:
        print("nothing to do: every stage is done and nothing it depends on has changed")
    else:
        rest = "" if len(made) == len(outcomes) else "; the others were done"
        print(f"{len(made)} of {len(outcomes)} tasks in {sum(o.seconds for o in made):.0f} s{rest}")
    if until == "report":
        from universality.pipeline.reporting.terminal_summary import print_summary

        print_summary(folder)
    print(folder.report if until == "report" else folder.root)
