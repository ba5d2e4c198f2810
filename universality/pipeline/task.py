"""One unit of work of a run: done once, and skipped while nothing that it depends on has changed.

A finished task leaves a stamp ``.done/<name>.json`` with a key (settings, the version of the stage's code and the
hashes of the files it read), the hashes of the files it wrote, and the versions of the packages. The stamp is written
last, so a task that was killed has none.
"""

import ctypes
import errno
import gc
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from universality.errors import FormatError, UniversalityError
from universality.files import read_json, sha256, write_json
from universality.pipeline.provenance import package_versions

_LONG = 3  # seconds of a task after which reference cycles are looked for, which takes about 0.3
_PATIENCE = 90.0  # seconds; NFS may take 60 by default to see a new name in a folder


@dataclass(frozen=True)
class Task:
    """A unit of work: its inputs, its settings, and the function that does it.

    Attributes
    ----------
    name
        As in ``collect/A``; the part before the slash is the stage.
    settings
        JSON values that decide the outcome.
    after
        Names of the tasks whose outputs it reads.
    make
        Function that does the work and returns the files that it wrote, inside the run's folder.
    version
        Version of the stage's code, part of the task's key.
    together
        Whether all processes of a run take part; otherwise one does the work.
    """

    name: str
    settings: Any
    after: Sequence[str]
    make: Callable[[], Iterable[Path]]
    version: int = 1
    together: bool = False

    @property
    def stage(self) -> str:
        """Name of the stage that the task belongs to."""
        return self.name.split("/", 1)[0]


@dataclass(frozen=True)
class Outcome:
    """Result of a task: whether it was skipped, and how long it took in seconds."""

    name: str
    skipped: bool
    seconds: float


class Processes(Protocol):
    """The processes of a run, as `universality.sae.training.distributed.Ranks` implements them."""

    @property
    def rank(self) -> int:
        """Number of this process, from 0."""

    @property
    def size(self) -> int:
        """Number of processes."""

    @property
    def first(self) -> bool:
        """True for the process that decides what is to be done."""

    def wait(self) -> None:
        """Wait until all processes have arrived."""

    def broadcast(self, value: Any) -> Any:
        """Broadcast the first process's value (collective)."""


class _Alone:
    rank, size, first = 0, 1, True

    def wait(self) -> None:
        pass

    def broadcast(self, value: Any) -> Any:
        return value


def run_tasks(
    tasks: Sequence[Task],
    folder: Path,
    report: Callable[[Outcome], None],
    processes: Processes | None = None,
    announce: Callable[[str], None] = lambda line: None,
) -> list[Outcome]:
    """Run the tasks in order, skipping those that are up to date.

    Several processes divide consecutive tasks of a stage among them, unless one comes after another.

    Parameters
    ----------
    folder
        The run's folder; created.
    report
        Called after each task.
    processes
        The processes that run the same tasks over the same folder; the first decides which are to be done.
    announce
        Called by the first process before tasks are made again, with a line that says which and why.
    """
    processes = processes or _Alone()
    outcomes: list[Outcome] = []

    def end(name: str, seconds: float, skipped: bool = False) -> None:
        outcomes.append(Outcome(name, skipped, seconds))
        report(outcomes[-1])

    for group in _independent(tasks):
        begin = time.monotonic()
        keys = {task.name: _key(task, folder) for task in group} if processes.first else {}  # one process reads hashes
        pending = [task for task in group if processes.first and not _is_done(task, folder, keys[task.name])]
        for line in _made_again(pending, folder):
            announce(line)
        keys = processes.broadcast({task.name: keys[task.name] for task in pending})
        for task in group:
            if task.name not in keys:
                end(task.name, time.monotonic() - begin, skipped=True)
        assigned = {name: i % processes.size for i, name in enumerate(keys)}
        for task in group:
            if task.together and keys:
                end(task.name, _make(task, folder, keys[task.name], stamps=processes.first))
            elif assigned.get(task.name) == processes.rank:
                end(task.name, _make(task, folder, keys[task.name]))
        if keys:
            processes.wait()
        if processes.first:
            for name, rank in assigned.items():
                if rank != processes.rank and not group[0].together:
                    end(name, _stamp_of_another(folder, name)["seconds"])
    return outcomes


def _independent(tasks: Sequence[Task]) -> Iterator[list[Task]]:
    """Cut the tasks into runs of one stage in which none comes after another; one that needs all processes is alone."""
    group: list[Task] = []
    for task in tasks:
        names = {before.name for before in group}
        if group and (
            task.stage != group[0].stage or task.together or group[0].together or not names.isdisjoint(task.after)
        ):
            yield group
            group = []
        group.append(task)
    if group:
        yield group


def _made_again(pending: Sequence[Task], folder: Path) -> Iterator[str]:
    """Say for each reason which of the tasks, all of one stage, were made before."""
    reasons: dict[str, list[str]] = {}
    for task in pending:
        try:
            stamp = read_stamp(folder, task.name)
        except UniversalityError:
            continue
        reasons.setdefault(_why_again(task, stamp), []).append(task.name)
    for why, names in reasons.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"made again, since {why}: {', '.join(names[:3])}{more}"


def _why_again(task: Task, stamp: dict[str, Any]) -> str:
    if stamp.get("version", 1) != task.version:
        return "another version of universality made it"
    if json.dumps(stamp.get("settings"), sort_keys=True) != json.dumps(task.settings, sort_keys=True):
        return "its settings have changed"
    return "a file of its own or one that it reads has changed"


def _make(task: Task, folder: Path, key: str, stamps: bool = True) -> float:
    """Do the work of a task, and write its stamp in one of the processes that do; return the seconds."""
    begin = time.monotonic()
    if stamps:  # before any file changes: a kill must not leave a stamp beside half-written files
        _stamp_path(folder, task.name).unlink(missing_ok=True)
    with _explained(task, folder):
        files = sorted(set(task.make()))
    seconds = time.monotonic() - begin
    if stamps:
        _write_stamp(task, folder, key, files, seconds)
    _release_memory(cycles=seconds > _LONG)
    return seconds


def _stamp_of_another(folder: Path, name: str) -> dict[str, Any]:
    """Read a stamp that another process has just written: a network file system may show it some seconds later."""
    end = time.monotonic() + _PATIENCE
    while not _stamp_path(folder, name).is_file() and time.monotonic() < end:
        time.sleep(0.1)
    return read_stamp(folder, name)


@contextmanager
def _explained(task: Task, folder: Path) -> Iterator[None]:
    """Add what to do where the disk is full, or a file that an earlier task wrote is damaged."""
    try:
        yield
    except FormatError as error:
        damaged = next((name for name in _inputs(folder, task) if str(folder / name) in str(error)), None)
        if damaged is None:
            raise
        raise FormatError(
            f"{error}\n{folder / damaged} was made by this run and has been damaged since: delete it and run the same "
            "command, which creates it again"
        ) from error
    except Exception as error:
        if not is_disk_full(error):
            raise
        raise UniversalityError(
            f"{folder}: the disk filled up while {task.name} was being made. Free space there (the files of finished "
            "tasks are still needed), then run the same command again: it resumes with this task"
        ) from error


def _inputs(folder: Path, task: Task) -> Iterator[str]:
    """Iterate over the files that the tasks before this one wrote."""
    for name in task.after:
        yield from read_stamp(folder, name)["outputs"]


def is_disk_full(error: BaseException) -> bool:
    """Tell whether an error, or an error that caused it, reports a full disk."""
    link: BaseException | None = error
    while link is not None:
        # HDF5 and safetensors raise errors without a number; only their text says that no space is left.
        if getattr(link, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(link):
            return True
        link = link.__cause__ or link.__context__
    return False


def is_done(task: Task, folder: Path) -> bool:
    """Tell whether a task is finished and nothing that it depends on has changed since."""
    try:
        key = _key(task, folder)
    except UniversalityError:  # a task that it comes after has no stamp
        return False
    return _is_done(task, folder, key)


def read_stamp(folder: Path, name: str) -> dict[str, Any]:
    """Read the stamp of a finished task.

    Raises
    ------
    UniversalityError
        If the task has not been run in this folder, or its stamp is truncated.
    """
    path = _stamp_path(folder, name)
    try:
        stamp = read_json(path)
    except FileNotFoundError:
        raise UniversalityError(f"{folder}: {name} has not been run here") from None
    except FormatError:
        stamp = {}
    if not {"task", "key", "outputs", "seconds"} <= stamp.keys():
        raise UniversalityError(f"{path}: a truncated stamp; delete it, and the task runs again")
    return stamp


def _key(task: Task, folder: Path) -> str:
    made_from = {name: _hashes(read_stamp(folder, name)) for name in task.after}
    version = [] if task.version == 1 else [task.version]  # stamps older than versions hold as version 1
    text = json.dumps([task.settings, made_from, *version], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _hashes(stamp: dict[str, Any]) -> dict[str, str]:
    return {file: output["hash"] for file, output in stamp["outputs"].items()}


def _is_done(task: Task, folder: Path, key: str) -> bool:
    try:
        stamp = read_stamp(folder, task.name)
    except UniversalityError:
        return False
    files = stamp["outputs"].items()
    return stamp["key"] == key and all(
        (folder / file).is_file() and (folder / file).stat().st_size == output["size"] for file, output in files
    )


def _write_stamp(task: Task, folder: Path, key: str, files: list[Path], seconds: float) -> None:
    outputs = {
        file.relative_to(folder).as_posix(): {"hash": artifact_hash(file), "size": file.stat().st_size}
        for file in files
    }
    stamp = {
        "task": task.name,
        "version": task.version,
        "key": key,
        "settings": task.settings,
        "after": list(task.after),
        "outputs": outputs,
        "made_by": package_versions(),
        "platform": platform.platform(),
    }
    path = _stamp_path(folder, task.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**stamp, "seconds": round(seconds, 2)})


def artifact_hash(file: Path, verify: bool = False) -> str:
    """Return the hash of a file's contents.

    A store's arrays are hashed, since its bytes depend on when it was flushed; other files are hashed by their bytes.

    Parameters
    ----------
    verify
        Read a store's arrays rather than trust its recorded hashes; raise FormatError where they differ.
    """
    if file.suffix != ".h5":
        return sha256(file)
    from universality.features.storage.store import FeatureStore

    with FeatureStore.open(file) as store:
        if verify:
            store.verify()
        return store.content_hash()


def _release_memory(cycles: bool) -> None:
    """Return freed memory to the system: glibc keeps it, so a run would peak at the sum of its tasks."""
    if cycles:
        gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _stamp_path(folder: Path, name: str) -> Path:
    return folder / ".done" / f"{name.replace('/', '.')}.json"
