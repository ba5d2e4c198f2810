"""Live display of training numbers in TensorBoard or Weights & Biases, in addition to the log."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from universality.errors import ConfigError

Watch = Literal["none", "tensorboard", "wandb"]
Numbers = Mapping[str, Mapping[str, float]]


class Watcher(Protocol):
    """A destination of training numbers."""

    def write(self, tokens: int, numbers: Numbers) -> None:
        """Write the numbers of every SAE, by name, after ``tokens`` tokens."""

    def close(self) -> None:
        """End the display; no numbers follow."""


def watcher(kind: Watch, folder: Path, run: str) -> Watcher:
    """Return the watcher of this name.

    Parameters
    ----------
    folder
        Folder of the run: TensorBoard's files go to its ``tensorboard/``, those of Weights & Biases to ``wandb/``.
    run
        Name of the run; the project is "universality". ``WANDB_MODE`` decides whether anything is sent.

    Raises
    ------
    ConfigError
        If the package is not installed, or you are not logged in to Weights & Biases.
    """
    if kind == "none":
        return _Nobody()
    if importlib.util.find_spec(kind) is None:
        raise ConfigError(
            f"saes.watch is {kind}, but the package {kind} is not installed: pip install {kind}, or set saes.watch to "
            "none (train.jsonl has the same numbers)"
        )
    return _TensorBoard(folder) if kind == "tensorboard" else _WandB(folder, run)


class _Nobody:
    def write(self, tokens: int, numbers: Numbers) -> None:
        pass

    def close(self) -> None:
        pass


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def write(self, tokens: int, numbers: Numbers) -> None:
        for sae, values in numbers.items():
            for name, value in values.items():
                if math.isfinite(value):
                    self._writer.add_scalar(f"{name}/{sae}", value, tokens)

    def close(self) -> None:
        self._writer.close()


class _WandB:
    def __init__(self, folder: Path, run: str) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._run: Any = wandb.init(project="universality", name=run, dir=str(folder))
        except wandb.errors.Error as error:
            raise ConfigError(
                f"saes.watch is wandb, which reports: {error} Or set WANDB_MODE=offline, and nothing is sent"
            ) from None

    def write(self, tokens: int, numbers: Numbers) -> None:
        flat = {f"{name}/{sae}": value for sae, values in numbers.items() for name, value in values.items()}
        self._run.log({**flat, "tokens": tokens})

    def close(self) -> None:
        self._run.finish()
