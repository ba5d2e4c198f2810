"""The numbers of a training, for those who watch it: TensorBoard or Weights & Biases, beside the log."""

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
    """Where numbers go."""

    def write(self, tokens: int, numbers: Numbers) -> None:
        """Numbers of every SAE, by name, after so many tokens."""

    def close(self) -> None:
        """Nothing follows."""


def watcher(kind: Watch, folder: Path, run: str) -> Watcher:
    """What was asked for.

    Parameters
    ----------
    folder
        Of the run: TensorBoard's files go to ``tensorboard/`` in it, those of Weights & Biases to ``wandb/``.
    run
        Its name; the project is "universality". Whether anything is sent is for ``WANDB_MODE`` to say.

    Raises
    ------
    ConfigError
        If the package is not installed, or Weights & Biases does not know you.
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
        for sae, found in numbers.items():
            for name, value in found.items():
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
                f"saes.watch is wandb, which says: {error} Or set WANDB_MODE=offline, and nothing is sent"
            ) from None

    def write(self, tokens: int, numbers: Numbers) -> None:
        flat = {f"{name}/{sae}": value for sae, found in numbers.items() for name, value in found.items()}
        self._run.log({**flat, "tokens": tokens})

    def close(self) -> None:
        self._run.finish()
