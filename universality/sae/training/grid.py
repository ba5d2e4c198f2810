"""Training of many SAEs of several models on one token stream, so that each activation is computed once."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from universality.errors import CorpusError, FormatError, MismatchError
from universality.files import as_path, read_json_lines, replacing_text
from universality.models.training_checkpoint import load_checkpoint, save_checkpoint, truncate_log
from universality.progress import progress
from universality.sae.compute.workers import available_cores, share_out
from universality.sae.quality import Quality
from universality.sae.training.trainer import SAETrainer
from universality.sae.training.watchers import Watcher

CHECKPOINTS, LOG = "checkpoints", "train.jsonl"
HELD_OUT = "held_out_explained_variance"
Key = tuple[str, str]
Batches = Callable[[int], Iterator[Mapping[str, Tensor]]]


def train_grid(
    trainers: Mapping[Key, SAETrainer],
    batches: Batches,
    folder: str | Path,
    *,
    checkpoint_steps: int = 100,
    log_steps: int = 25,
    made_from: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
    log_name: str = LOG,
    write: bool = True,
    held_out: Mapping[str, Tensor] | None = None,
    held_out_steps: int = 250,
) -> None:
    """Train every SAE to its last step; each ends in the same bytes as if it were trained alone.

    ``folder`` gets the log (loss, explained variance, L0 and dead share of every SAE over steps) and ``checkpoints/``
    with a file for every SAE, from which an interrupted training resumes, beside whichever other SAEs. Checkpoints
    remain after the last step: remove them with `clear_checkpoints` once the SAEs are saved.

    Parameters
    ----------
    trainers
        (model, SAE) → trainer; all with the same number of steps.
    batches
        Function of a step that returns the batches from that step on, each a mapping model → [n_tokens, d_in].
    checkpoint_steps
        Steps between checkpoints.
    log_steps
        Steps between lines of the log.
    made_from
        Model → provenance of its batches (hashes, seeds; anything that JSON holds). A checkpoint with another
        provenance is refused.
    watcher
        Also gets the numbers of the log.
    log_name
        File name of the log; processes that share a folder need one each.
    write
        Whether to write log and checkpoints: one of several processes that train the same SAEs does.
    held_out
        Model → activations [n_tokens, d_in] that no batch holds. The variance that an SAE explains of them enters the
        log as ``held_out_explained_variance``: where it falls while ``explained_variance`` rises, the SAE memorises its
        training text.
    held_out_steps
        Steps between these measurements; the last step is one, too.

    Raises
    ------
    CorpusError
        If the batches end before the last step.
    MismatchError
        If a batch lacks a model, trainers differ in their steps, or a checkpoint has another configuration.
    FormatError
        If a checkpoint is truncated or corrupt.
    OSError
        If a checkpoint cannot be written; the previous one is kept.

    Examples
    --------
    Two SAEs of one model, trained on the same batches:

    >>> from tempfile import TemporaryDirectory
    >>> import torch
    >>> from universality.sae import SAESpec, SAETrainer, train_grid
    >>> x = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    >>> trainers = {("A", f"w{width}"): SAETrainer(SAESpec(width, k=2), x, total_steps=4) for width in (16, 32)}
    >>> with TemporaryDirectory() as folder:
    ...     train_grid(trainers, lambda start: ({"A": rows} for rows in x.split(250)[start:]), folder)
    >>> [trainer.finish().d_sae for trainer in trainers.values()]
    [16, 32]
    """
    folder = as_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    total = _total_steps(trainers)
    settings = {key: json.dumps((made_from or {}).get(key[0]), sort_keys=True) for key in trainers}
    _resume(folder, trainers, settings)
    start = min(trainer.step_count for trainer in trainers.values())
    stream = batches(start) if start < total else iter(())
    progress = _Progress(folder / log_name if write else None, start, total, trainers, watcher)
    try:
        for step in range(start, total):
            batch = _next(stream, step, total, trainers)
            last = step == total - 1
            due = bool(held_out) and write and (step % held_out_steps == 0 or last)
            report = step % log_steps == 0 or last or due
            # a kill while checkpoints are written leaves some SAEs ahead, which wait for the others
            behind = {key: t for key, t in trainers.items() if t.step_count == step}
            measured = _on_held_out(behind, held_out) if held_out and due else {}
            numbers = _step_all(behind, batch, report)
            progress.update(step, batch, {key: numbers[key] | measured.get(key, {}) for key in numbers})
            if write and ((step + 1) % checkpoint_steps == 0 or last):
                for key, trainer in behind.items():
                    save_checkpoint(_checkpoint(folder, key), trainer.state_dict(), settings[key])
    finally:
        progress.close()
        if isinstance(stream, Generator):
            stream.close()


def clear_checkpoints(folder: str | Path) -> None:
    """Remove the checkpoints of `train_grid`."""
    shutil.rmtree(as_path(folder) / CHECKPOINTS, ignore_errors=True)


def merge_logs(folder: str | Path) -> None:
    """Merge the logs of several processes (``train*.jsonl``) into ``train.jsonl``, and remove the others."""
    folder = as_path(folder)
    lines: dict[int, dict[str, Any]] = {}
    paths = sorted(folder.glob("train*.jsonl"))
    for path in paths:
        for line in read_json_lines(path):
            merged = lines.setdefault(line["step"], line)
            merged["saes"] |= line["saes"]
            merged["tokens_per_second"] = min(merged["tokens_per_second"], line["tokens_per_second"])
    with replacing_text(folder / LOG) as file:
        file.writelines(json.dumps(lines[step]) + "\n" for step in sorted(lines))
    for path in paths:
        if path.name != LOG:
            path.unlink()


class _Progress:
    """Log, watcher and progress bar."""

    def __init__(
        self, log: Path | None, start: int, total: int, trainers: Mapping[Key, SAETrainer], watcher: Watcher | None
    ) -> None:
        self._trainers, self._watcher = trainers, watcher
        self._before = truncate_log(log, start) if log else {}
        self._log = log.open("a", encoding="utf-8") if log else None
        what = f"train {len(trainers)} SAEs"
        self._bar = progress(total=total, initial=start, desc=what, unit="step", silent=log is None)
        self._begin, self._tokens = time.perf_counter(), 0

    def update(self, step: int, batch: Mapping[str, Tensor], numbers: Mapping[Key, dict[str, float]]) -> None:
        """Record that a step is done; ``numbers`` are empty unless a report was requested."""
        self._tokens += len(next(iter(batch.values())))
        if any(numbers.values()):
            speed = self._tokens / (time.perf_counter() - self._begin)
            seen = max(self._trainers[key].tokens_seen for key in numbers)
            named = {"/".join(key): values for key, values in numbers.items()}
            if self._log:
                ahead = self._before.get(step, {}).get("saes", {})  # of SAEs whose checkpoint is ahead
                self._log.write(_log_line(step, seen, speed, {**ahead, **named}))
                self._log.flush()
            if self._watcher:
                self._watcher.write(seen, named)
            self._bar.set_postfix_str(_summary(list(numbers.values()), speed), refresh=False)
        self._bar.update()

    def close(self) -> None:
        """Close log, watcher and progress bar."""
        self._bar.close()
        if self._log:
            self._log.close()
        if self._watcher:
            self._watcher.close()


def _total_steps(trainers: Mapping[Key, SAETrainer]) -> int:
    totals = {trainer.total_steps for trainer in trainers.values()}
    if len(totals) != 1:
        raise MismatchError(f"the SAEs of a grid must have the same number of steps, found {sorted(totals) or 'none'}")
    return totals.pop()


def _next(
    stream: Iterator[Mapping[str, Tensor]], step: int, total: int, trainers: Mapping[Key, SAETrainer]
) -> Mapping[str, Tensor]:
    batch = next(stream, None)
    if batch is None:
        raise CorpusError(f"the activations ended after {step} of {total} steps; train on fewer tokens or add text")
    missing = {model for model, _ in trainers} - set(batch)
    if missing:
        raise MismatchError(f"the batch lacks activations of {sorted(missing)}; it has {sorted(batch)}")
    return batch


def _step_all(
    trainers: Mapping[Key, SAETrainer], batch: Mapping[str, Tensor], report: bool
) -> dict[Key, dict[str, float]]:
    """One step of each SAE. On a CPU, whole steps run in parallel if there are at least as many SAEs as cores."""

    def step(key: Key) -> dict[str, float]:
        return trainers[key].step(batch[key[0]], report)

    if len(trainers) < available_cores() or any(t.device.type != "cpu" for t in trainers.values()):
        return {key: step(key) for key in trainers}
    # the most expensive first, so that no core is left with a long step at the end
    keys = sorted(trainers, key=lambda key: -trainers[key].spec.d_sae)
    numbers = dict(zip(keys, share_out(step, keys), strict=True))
    return {key: numbers[key] for key in trainers}


def _on_held_out(trainers: Mapping[Key, SAETrainer], held_out: Mapping[str, Tensor]) -> dict[Key, dict[str, float]]:
    """Measure SAEs as they are before a step on activations that they do not learn from."""
    measured = {}
    for key, trainer in trainers.items():
        if key[0] in held_out:
            quality = Quality(trainer.finish())
            quality.update(held_out[key[0]])
            measured[key] = {HELD_OUT: quality.compute().explained_variance}
    return measured


def _log_line(step: int, tokens: int, speed: float, numbers: Mapping[str, Mapping[str, float | None]]) -> str:
    saes = {
        name: {
            measure: value if value is not None and math.isfinite(value) else None for measure, value in values.items()
        }
        for name, values in numbers.items()
    }
    return json.dumps({"step": step, "tokens": tokens, "tokens_per_second": round(speed), "saes": saes}) + "\n"


def _summary(numbers: list[dict[str, float]], speed: float) -> str:
    def span(name: str, form: str) -> str:
        low, high = (format(pick(n[name] for n in numbers), form) for pick in (min, max))
        return low if low == high else f"{low}–{high}"

    return (
        f"loss {span('loss', '.3f')}, EV {span('explained_variance', '.3f')} "
        f"(median token {span('typical_explained_variance', '.3f')}), L0 {span('l0', '.0f')}, "
        f"dead {span('dead_share', '.1%')}, {speed:,.0f} tokens/s"
    )


def _checkpoint(folder: Path, key: Key) -> Path:
    return folder / CHECKPOINTS / f"{'.'.join(key)}.pt"


def _resume(folder: Path, trainers: Mapping[Key, SAETrainer], settings: Mapping[Key, str]) -> None:
    for key, trainer in trainers.items():
        path = _checkpoint(folder, key)
        state = load_checkpoint(path, settings[key])
        if state is not None:
            try:
                trainer.load_state_dict(state)
            except (MismatchError, FormatError) as error:
                raise type(error)(f"{path}: {error}") from None
