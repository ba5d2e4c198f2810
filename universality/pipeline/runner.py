"""The runner: all stages in order, skipping completed tasks and resuming interrupted ones."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import yaml

from universality.config import Config
from universality.devices import AUTO, CPU, card_of, describe_device
from universality.errors import ConfigError, DeviceWarning, UniversalityError
from universality.execution import connected
from universality.extras import check_installed
from universality.files import as_path, replacing_text
from universality.formatting import listed
from universality.locks import take_lock
from universality.pipeline.paths import RunFolder
from universality.pipeline.provenance import write_provenance
from universality.pipeline.stages import (
    build_families,
    collect_features,
    make_corpus,
    match_features,
    measure_effects,
    train_models,
    train_saes,
    write_exports,
    write_report,
)
from universality.pipeline.stages.hook_check import check_hooks
from universality.pipeline.stages.loaded_saes import with_loaded_saes
from universality.pipeline.study import comparisons, matching_device
from universality.pipeline.task import Outcome, Task, is_done, run_tasks

if TYPE_CHECKING:
    from universality.sae.training.distributed import Ranks


class StageModule(Protocol):
    """A module of `universality.pipeline.stages`, which says how to write one."""

    STAGE: str
    VERSION: int

    def tasks(self, config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
        """Return the tasks of the stage."""


STAGE_MODULES: tuple[StageModule, ...] = (
    make_corpus,
    train_models,
    train_saes,
    collect_features,
    match_features,
    build_families,
    measure_effects,
    write_exports,
    write_report,
)
"""The stages of a run, each behind those that it reads from."""
STAGES = tuple(stage.STAGE for stage in STAGE_MODULES)
"""Names of the stages, in order."""
_LIBRARIES = dict.fromkeys(("train-models", "train-saes", "collect"), ("torch",)) | {"report": ("jinja2", "matplotlib")}
"""Libraries of extras that a stage cannot do without. TransformerLens is none: activations may come from a cache."""
_COMPUTED_BY_WORKERS = ("match", "families")
"""Stages whose work goes to the workers of a scheduler, where the configuration names one, or else to a card."""
_ON_DEVICE = ("train-models", "train-saes", "collect")
"""Stages that run models or train SAEs, and need torch."""
_CHECKED_STAGES = ("corpus", "train-models")  # once they are done, text, models and hook are known to fit


def run(config: Config, out: str | Path, until: str = "report") -> Path:
    """Run an experiment, skipping stages that are up to date.

    Parameters
    ----------
    config
        The experiment, as `universality.config.load_config` reads it.
    out
        The run's folder; created if it does not exist.
    until
        The last stage to run: one of ``STAGES``.

    Returns
    -------
    Path
        The run's folder; after the stage ``report``, ``report/index.html`` in it is the page to open.

    Raises
    ------
    UniversalityError
        If the configuration cannot be run, with what to change, or another process is at work in the folder. Stages
        that were completed before stay as they are.
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
    _make_folder(folder.root)
    with _joined_ranks(config.device) as ranks:
        _run_stages(config, folder, until, ranks)
    return folder.root


def all_tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """List the tasks of all stages, each behind those that it reads from.

    Parameters
    ----------
    ranks
        The processes that share the work, as `universality.sae.training.distributed.Ranks`; None for one.
    """
    return [task for stage in STAGE_MODULES for task in stage.tasks(config, folder, ranks)]


def is_finished(config: Config, out: str | Path) -> bool:
    """Return whether every stage of an experiment is done and up to date in a folder."""
    config, folder = with_loaded_saes(config), RunFolder(as_path(out))
    return all(is_done(task, folder.root) for task in all_tasks(config, folder))


def _run_stages(config: Config, folder: RunFolder, until: str, ranks: Ranks | None) -> None:
    first = ranks is None or ranks.first
    with alone_in(folder.root) if first else nullcontext():
        wanted = STAGES[: STAGES.index(until) + 1]
        tasks = [task for task in all_tasks(config, folder, ranks) if task.stage in wanted]
        pending = dict.fromkeys(task.stage for task in tasks if first and not is_done(task, folder.root))
        check_installed("this run", [library for stage in pending for library in _LIBRARIES.get(stage, ())])
        if matching_device(config) not in (AUTO, CPU):
            check_installed(f"device {config.device}", ["torch"])
        if not pending.keys().isdisjoint(_COMPUTED_BY_WORKERS):
            with connected(config.scheduler):  # an error now, and not after hours of training
                pass
        if not pending.keys().isdisjoint(_CHECKED_STAGES):
            check_hooks(config, download=True)
        if first:
            _print_device(config, pending)
        # Every rank walks the same tasks, but one alone holds the lock, prints and writes what belongs to the run.
        report = partial(_report_and_keep_config, config, folder, tasks) if first else _stay_silent
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*computing on the CPU", DeviceWarning)  # told once, by _print_device
            outcomes = run_tasks(tasks, folder.root, report, ranks, _announce)
        if first:
            write_provenance(folder.root)
            _print_end(outcomes, folder, until)


def _report_and_keep_config(config: Config, folder: RunFolder, tasks: list[Task], outcome: Outcome) -> None:
    """Print an outcome, and save the configuration once text, models and hook are known to fit.

    A configuration that is refused must not stand beside the results of the one before.
    """
    _print_outcome(outcome)
    checked = [task.name for task in tasks if task.stage in _CHECKED_STAGES]
    target = folder.root / "config.yaml"
    if outcome.name == checked[-1] or not target.exists():
        text = yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            with replacing_text(target) as file:
                file.write(text)


def run_controls(config: Config, out: str | Path) -> Path:
    """Run a study up to its matching, then its controls; return the table of controls.

    Several processes (torchrun) take the controls in turn.
    """
    from universality.pipeline.stages.run_controls import tasks

    config, folder = with_loaded_saes(config), RunFolder(as_path(out))
    _run_after_match(config, folder, tasks(config, folder))
    return folder.root / "controls" / "controls.csv"


def run_crosscoder(config: Config, out: str | Path) -> list[str]:
    """Run a study up to its matching, then train a crosscoder; return lines that compare the two.

    With several processes (torchrun) all take part in the study, and the first alone trains the crosscoder.
    """
    from universality.pipeline.reporting.crosscoder_tables import describe_crosscoder
    from universality.pipeline.stages.train_crosscoder import tasks

    config, folder = with_loaded_saes(config), RunFolder(as_path(out))
    _run_after_match(config, folder, tasks(config, folder))
    return describe_crosscoder(folder.root / "crosscoder")


def _make_folder(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, FileNotFoundError) as error:  # other errors are explained by the command line
        raise UniversalityError(
            f"{root}: the run's folder cannot be created ({error.strerror}), as where a link leads to a place that is "
            "missing; mount that place, or name another with --out"
        ) from None


def _run_after_match(config: Config, folder: RunFolder, tasks: list[Task]) -> None:
    _make_folder(folder.root)
    with _joined_ranks(config.device) as ranks:
        _run_stages(config, folder, "match", ranks)
        first = ranks is None or ranks.first
        with alone_in(folder.root) if first else nullcontext():
            outcomes = run_tasks(tasks, folder.root, _print_outcome if first else _stay_silent, ranks, _announce)
            if first:
                _print_end(outcomes, folder, "match")
                write_provenance(folder.root)


def make_cache(config: Config, out: str | Path) -> Path:
    """Harvest the activations of all models into ``activations.cache``; run earlier stages if needed.

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
    """Tell whether this process speaks for all that torchrun started."""
    return int(os.environ.get("RANK", "0")) == 0


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's ``.lock``: two runs would overwrite each other's files.

    The system drops the lock with the process, however that ends.

    Raises
    ------
    UniversalityError
        If another process holds it.
    """
    path = folder / ".lock"
    with path.open("a", encoding="utf-8") as file:
        if not take_lock(file.fileno(), path):
            raise UniversalityError(
                f"{folder}: another process is at work in this folder; wait for it, or take another --out"
            )
        yield


@contextmanager
def _joined_ranks(device: str) -> Iterator[Ranks | None]:
    """Join the processes that torchrun started; None for a single one, which needs no torch yet."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield None
        return
    import torch

    from universality.sae.training.distributed import join_ranks

    ranks = join_ranks(device)
    try:
        yield ranks
    except Exception:
        # Gloo's threads call std::terminate if they still run when the interpreter shuts down, which would replace our
        # message and exit code by an abort. NCCL may wait in vain for a failed rank; there the process just ends.
        if not torch.cuda.is_available():
            ranks.shut_down()
        raise
    ranks.shut_down()


def _print_device(config: Config, pending: Collection[str]) -> None:
    """Say what a card computes, where one is there or was asked for."""
    computed = [] if set(_ON_DEVICE).isdisjoint(pending) else ["models", "SAEs"]
    if matching_device(config) == config.device and not set(_COMPUTED_BY_WORKERS).isdisjoint(pending):
        computed += ["matches", "families"]
    if not computed:
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DeviceWarning)
        card = card_of(config.device)
    for warning in caught:
        print(f"note: {warning.message}", file=sys.stderr, flush=True)
    if card is not None:
        print(f"{listed(computed)} are computed on {describe_device(card)}", flush=True)


def _stay_silent(outcome: Outcome) -> None:
    pass


def _announce(line: str) -> None:
    print(line, flush=True)


def _print_outcome(outcome: Outcome) -> None:
    if not outcome.skipped:
        print(f"{outcome.name:<28} {outcome.seconds:7.1f} s", flush=True)


def _print_end(outcomes: list[Outcome], folder: RunFolder, until: str) -> None:
    run_now = [outcome for outcome in outcomes if not outcome.skipped]
    if not run_now:
        print("nothing to do: every stage is done and nothing it depends on has changed")
    else:
        skipped = "" if len(run_now) == len(outcomes) else "; the others were done"
        print(f"{len(run_now)} of {len(outcomes)} tasks in {sum(o.seconds for o in run_now):.0f} s{skipped}")
    if until == "report":
        from universality.pipeline.reporting.terminal_summary import print_summary

        print_summary(folder)
    print(folder.report if until == "report" else folder.root)
