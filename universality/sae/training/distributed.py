"""Training in several processes, one for each device: SAEs are assigned to processes, or learn in parallel on all.

Processes are started by ``torchrun --nproc-per-node N -m universality …`` (or anything that sets RANK, WORLD_SIZE,
MASTER_ADDR and MASTER_PORT), and share a folder. A *rank* is a process and its number.

- *Spread*: each SAE is assigned to one rank, which trains it as if alone. Nothing is exchanged, and the bytes are those
  of a single process. The most expensive SAEs are assigned first, each to the rank that then has the least load; every
  rank that trains on a model also pays for computing its activations.
- *Data-parallel*: every rank holds all SAEs, computes every batch of activations and learns from its share of the
  rows. Gradients are averaged, weighted by the number of tokens, and firings are added up, so weights stay equal on all
  ranks. They equal those of a single process up to rounding, except for what is computed over a whole batch: AuxK's
  residual energy and a selection across tokens concern the rank's share (the threshold is the mean over ranks on which
  something fired), and resampling uses the inputs of the first rank.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from universality.devices import AUTO, choose_device
from universality.errors import ConfigError, UniversalityError
from universality.sae.compute.batch_gradients import Step
from universality.sae.training.spec import SAESpec
from universality.sae.training.trainer import SAETrainer

Key = tuple[str, str]
PATIENCE = timedelta(days=14)  # all ranks wait while one trains a language model


@dataclass(frozen=True)
class Ranks:
    """The processes of this run, and the number of this process."""

    rank: int = 0
    """Number of this process, from 0."""
    size: int = 1
    """Number of processes."""

    @property
    def first(self) -> bool:
        """True for the process that does the work that is done once."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all ranks have called this; raise UniversalityError if one has ended."""
        if self.size > 1:
            # A sum needs every rank; after a broadcast a rank may go on before the others have begun.
            with self._naming_lost_ranks():
                dist.all_reduce(torch.zeros(1))

    def broadcast(self, value: Any) -> Any:
        """Return the first rank's value; all ranks must call this.

        Raises
        ------
        UniversalityError
            If another process has ended.
        """
        if self.size == 1:
            return value
        values = [value]
        with self._naming_lost_ranks():
            dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    @contextmanager
    def _naming_lost_ranks(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise UniversalityError(
                f"process {self.rank} of {self.size} stops because another has ended; its message says why"
            ) from error

    def shut_down(self) -> None:
        """Leave the process group, without waiting for the others."""
        if self.size > 1:
            dist.destroy_process_group()


def join_ranks(device: str = AUTO) -> Ranks:
    """Join the other processes, by gloo between CPUs and NCCL between GPUs; alone if WORLD_SIZE is 1 or not set.

    Parameters
    ----------
    device
        As `universality.devices.choose_device` takes it. Each process computes on a card of its own.

    Raises
    ------
    ConfigError
        If a machine with GPUs has more processes than GPUs, or all are to compute on one.
    """
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if size == 1:
        return Ranks()
    chosen = choose_device(device)
    if chosen.index is not None:
        raise ConfigError(
            f"device {device}: {size} processes cannot share a card; give device cuda, and each takes one of its own"
        )
    if on_cards := chosen.type == "cuda":
        local, gpus = int(os.environ.get("LOCAL_RANK", str(rank))), torch.cuda.device_count()
        if local >= gpus:
            raise ConfigError(f"process {local} of this machine has no GPU, there are {gpus}; start as many processes")
        torch.cuda.set_device(local)
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if on_cards else "gloo", timeout=PATIENCE)
    return Ranks(rank, size)


def assign_to_ranks(
    specs: Mapping[Key, SAESpec], d_in: Mapping[str, int], harvest: Mapping[str, int], n: int
) -> list[list[Key]]:
    """Assign SAEs to ``n`` ranks; some ranks may get none.

    Parameters
    ----------
    specs
        (model, SAE) → settings.
    d_in
        Model → width of its activations. A step costs about d_in · d_sae multiply-adds a token: the encoder's product.
    harvest
        Model → multiply-adds a token to compute its activations.
    """
    # Longest processing time first: but for the harvest, the largest load is at most 4/3 of the best (Graham 1969).
    cost = {key: d_in[key[0]] * spec.d_sae for key, spec in specs.items()}
    parts: list[list[Key]] = [[] for _ in range(n)]
    load = [0] * n
    for key in sorted(specs, key=lambda key: -cost[key]):
        after = [
            load[i] + cost[key] + (0 if any(other[0] == key[0] for other in parts[i]) else harvest[key[0]])
            for i in range(n)
        ]
        rank = after.index(min(after))
        parts[rank].append(key)
        load[rank] = after[rank]
    return [[key for key in specs if key in part] for part in parts]


def check_batch_size(batch_size: int, ranks: Ranks) -> None:
    """Check that a batch can be divided among the ranks.

    Raises
    ------
    ConfigError
        If the batch has fewer tokens than there are ranks.
    """
    if batch_size < ranks.size:
        raise ConfigError(
            f"saes.batch_size is {batch_size}, but {ranks.size} processes share each batch; raise it, or start fewer"
        )


def share_of_batches(batches: Iterator[Mapping[str, Tensor]], ranks: Ranks) -> Iterator[dict[str, Tensor]]:
    """Take the rows of each batch that this rank learns from."""
    for batch in batches:
        yield {
            name: rows[len(rows) * ranks.rank // ranks.size : len(rows) * (ranks.rank + 1) // ranks.size]
            for name, rows in batch.items()
        }


class DataParallelTrainer(SAETrainer):
    """An `SAETrainer` on every rank, each with its share of every batch; all ranks take the same steps."""

    def _update(self, step: Step, rate: float) -> None:
        gradients = step.gradients(self.weights)
        parts = list(gradients.tensors().values())
        # The loss is a mean over tokens, so a rank's gradient counts by its share of the batch's tokens: shares differ
        # where a batch does not divide evenly, and where outlying tokens are left out.
        flat = torch.cat([part.reshape(-1) for part in parts]) * (self._share / self._batch_tokens)
        dist.all_reduce(flat)
        for part, summed in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
            part.copy_(summed.view_as(part))

        def rows(part: slice, encoder: Tensor, decoder: Tensor) -> None:
            encoder.add_(gradients.W_enc[part])
            decoder.add_(gradients.W_dec[part])

        whole = replace(
            step,
            rows=(rows,),
            b_enc=gradients.b_enc,
            b_dec=gradients.b_dec,
            log_threshold=gradients.log_threshold,
            parameters=gradients.parameters,
        )
        super()._update(whole, rate)

    def _mean_squared_error(self, step: Step) -> Tensor:
        error = super()._mean_squared_error(step) * (self._share / self._batch_tokens)
        dist.all_reduce(error)
        return error

    def _count(self, step: Step, n_tokens: int) -> None:
        firings = step.firings.clone()
        dist.all_reduce(firings)
        # A rank on which nothing fired adds nothing but takes part: a collective that one rank omits blocks all others.
        fired = torch.zeros(2, dtype=torch.float64, device=self.device)
        if step.lowest is not None:
            fired[0], fired[1] = step.lowest, 1
        dist.all_reduce(fired)
        total, n_ranks = fired.tolist()
        lowest = total / n_ranks if n_ranks else None
        super()._count(replace(step, firings=firings, lowest=lowest), self._batch_tokens)

    def _kept_inputs(self) -> Tensor:
        """Inputs that the first rank drew from its share of the batches."""
        inputs = super()._kept_inputs()
        count = torch.tensor([len(inputs)], device=self.device)
        dist.broadcast(count, src=0)
        received = inputs if dist.get_rank() == 0 else inputs.new_empty(int(count), self.d_in)
        dist.broadcast(received, src=0)
        return received

    def _scaled(self, batch: Tensor) -> Tensor:
        """Scale this rank's share of a batch, and count the tokens of all shares."""
        x = super()._scaled(batch)
        counts = torch.tensor([len(x)], device=self.device)
        dist.all_reduce(counts)
        self._share, self._batch_tokens = len(x), int(counts)
        return x


def shard(n: int, multiple: int, ranks: Ranks) -> slice:
    """This rank's consecutive share of n items, cut at multiples of ``multiple``."""
    pieces = -(-n // multiple)
    first, last = (multiple * (pieces * rank // ranks.size) for rank in (ranks.rank, ranks.rank + 1))
    return slice(min(first, n), min(last, n))
