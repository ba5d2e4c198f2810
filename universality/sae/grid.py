"""Training many SAEs of several models from one token stream, so that each activation is computed once."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from universality.errors import CorpusError, FormatError, MismatchError
from universality.models.training_log import keep_log_until
from universality.sae.train import SAETrainer
from universality.sae.workers import available_cores, share_out

CHECKPOINT, LOG = "checkpoint.pt", "train.jsonl"
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
) -> None:
    """Bring every trainer to its last step; each ends in the same bytes as if it were trained alone.

    ``folder`` gets ``train.jsonl`` (loss, explained variance, L0 and dead share of every SAE over steps) and
    ``checkpoint.pt``, from which a killed run goes on. The checkpoint stays, also after the last step: remove it with
    `clear_checkpoint` once the SAEs are saved.

    Parameters
    ----------
    trainers
        (model, SAE) → trainer; all with the same number of steps.
    batches
        From a step to the batches from there on, each a mapping model → [n_tokens, d_in].
    checkpoint_steps
        Steps between checkpoints.
    log_steps
        Steps between lines of the log.
    made_from
        What the batches come from (hashes, seeds; anything that JSON holds): a checkpoint made from something else
        is refused.

    Raises
    ------
    CorpusError
        If the batches end before the last step.
    MismatchError
        If a batch lacks a model, trainers differ in their steps, or the checkpoint is of another grid.
    FormatError
        If the checkpoint is torn.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    total = _total_steps(trainers)
    settings = json.dumps(made_from, sort_keys=True)
    _resume(folder / CHECKPOINT, trainers, settings)
    start = next(iter(trainers.values())).step_count
    keep_log_until(folder / LOG, start)
    stream = batches(start) if start < total else iter(())
    with (
        tqdm(total=total, initial=start, desc=f"train {len(trainers)} SAEs", unit="step", disable=None) as bar,
        (folder / LOG).open("a", encoding="utf-8") as log,
    ):
        clock, tokens = time.perf_counter(), 0
        for step in range(start, total):
            batch = _next(stream, step, total, trainers)
            report = step % log_steps == 0 or step == total - 1
            numbers = _step_all(trainers, batch, report)
            tokens += len(next(iter(batch.values())))
            if report:
                speed = tokens / (time.perf_counter() - clock)
                log.write(_log_line(step, trainers, numbers, speed))
                log.flush()
                bar.set_postfix_str(_summary(list(numbers.values()), speed), refresh=False)
            bar.update()
            if (step + 1) % checkpoint_steps == 0 or step == total - 1:
                _save(folder / CHECKPOINT, trainers, settings)


def clear_checkpoint(folder: str | Path) -> None:
    """Remove what `train_grid` keeps for resuming."""
    (Path(folder) / CHECKPOINT).unlink(missing_ok=True)


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
    """One step each. On a CPU whole steps are shared out, the dearest first, where there are enough of them."""

    def step(key: Key) -> dict[str, float]:
        return trainers[key].step(batch[key[0]], report)

    if len(trainers) < available_cores() or any(t.device.type != "cpu" for t in trainers.values()):
        return {key: step(key) for key in trainers}
    keys = sorted(trainers, key=lambda key: -trainers[key].spec.d_sae)
    found = dict(zip(keys, share_out(step, keys), strict=True))
    return {key: found[key] for key in trainers}


def _log_line(
    step: int, trainers: Mapping[Key, SAETrainer], numbers: Mapping[Key, dict[str, float]], speed: float
) -> str:
    tokens = next(iter(trainers.values())).tokens_seen
    saes = {
        "/".join(key): {name: value if math.isfinite(value) else None for name, value in found.items()}
        for key, found in numbers.items()
    }
    return json.dumps({"step": step, "tokens": tokens, "tokens_per_second": round(speed), "saes": saes}) + "\n"


def _summary(numbers: list[dict[str, float]], speed: float) -> str:
    def span(name: str, form: str) -> str:
        low, high = (format(pick(n[name] for n in numbers), form) for pick in (min, max))
        return low if low == high else f"{low}–{high}"

    return (
        f"loss {span('loss', '.3f')}, EV {span('explained_variance', '.3f')}, L0 {span('l0', '.0f')}, "
        f"dead {span('dead_share', '.1%')}, {speed:,.0f} tokens/s"
    )


def _save(path: Path, trainers: Mapping[Key, SAETrainer], settings: str) -> None:
    states = {json.dumps(key): trainer.state_dict() for key, trainer in trainers.items()}
    temporary = path.with_suffix(".partial")
    torch.save({"made_from": settings, "trainers": states}, temporary)
    os.replace(temporary, path)


def _resume(path: Path, trainers: Mapping[Key, SAETrainer], settings: str) -> None:
    if not path.exists():
        return
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
        states, made_from = state["trainers"], state["made_from"]
    except Exception as error:  # torch raises pickle, zip and runtime errors
        raise FormatError(f"{path}: a torn checkpoint ({error}); delete it to start these SAEs again") from None
    names = {json.dumps(key) for key in trainers}
    if set(states) != names:
        raise MismatchError(
            f"{path}: a checkpoint of the SAEs {', '.join(sorted(states))}; these are {', '.join(sorted(names))}. "
            "Delete it, or give another folder"
        )
    if made_from != settings:
        raise MismatchError(f"{path}: made from {made_from}, this run from {settings}; delete it to start again")
    for key, trainer in trainers.items():
        trainer.load_state_dict(states[json.dumps(key)])
