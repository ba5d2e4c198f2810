"""Train one SAE with one tool on activations from a file; print what it cost and how good it is, as JSON.

Runs in an environment of the tool's own, so it imports nothing but that tool, NumPy and PyTorch. Every tool does what
its own users call: its trainer's step, with its defaults where `sae_tools.py` does not set them. Quality is measured
here, by the same lines for all: a trained SAE becomes a function from activations to (codes, reconstruction).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Step = Callable[[Tensor], object]
Apply = Callable[[Tensor], tuple[Tensor, Tensor]]
ARCHITECTURES = ("topk", "relu", "batchtopk", "matryoshka")


@dataclass(frozen=True)
class Training:
    """A tool's trainer: its step on a batch, then what it learnt."""

    step: Step
    apply: Apply
    """Codes and reconstruction of activations."""
    dictionary: Callable[[], Tensor]
    """Decoder rows [width, d_in]."""


def universality(options: argparse.Namespace, sample: Tensor) -> Training:
    from universality.sae import SAESpec, SAETrainer

    spec = SAESpec(
        options.width, options.architecture, k=options.k, l1=options.penalty, learning_rate=options.rate or None,
        products=options.products, dead_after_tokens=options.dead_after, nested=tuple(options.nested),
        seed=options.seed,
    )  # fmt: skip
    trainer = SAETrainer(spec, sample, options.steps)

    def apply(x: Tensor) -> tuple[Tensor, Tensor]:
        sae = trainer.finish()
        codes = sae.encode(x)
        return torch.from_numpy(codes.toarray()), torch.from_numpy(sae.decode(codes))

    return Training(trainer.step, apply, lambda: trainer.finish().W_dec)


def dictionary_learning(options: argparse.Namespace, sample: Tensor) -> Training:
    from dictionary_learning.trainers.standard import StandardTrainer
    from dictionary_learning.trainers.top_k import TopKTrainer

    shared = {
        "steps": options.steps, "activation_dim": sample.shape[1], "dict_size": options.width, "layer": 0,
        "lm_name": "none", "lr": options.rate or 1e-3, "warmup_steps": options.steps // 10,
        "decay_start": int(0.7 * options.steps), "seed": options.seed, "device": options.device,
    }  # fmt: skip
    if options.architecture == "topk":
        trainer = TopKTrainer(k=options.k, threshold_start_step=options.steps, **{**shared, "lr": options.rate or None})
    else:
        trainer = StandardTrainer(l1_penalty=options.penalty, sparsity_warmup_steps=None, **shared)
    count = iter(range(options.steps + 1))

    def apply(x: Tensor) -> tuple[Tensor, Tensor]:
        more = {"use_threshold": False} if options.architecture == "topk" else {}
        codes = trainer.ae.encode(x, **more)
        return codes, trainer.ae.decode(codes)

    def dictionary() -> Tensor:
        return trainer.ae.decoder.weight.detach().T

    return Training(lambda batch: trainer.update(next(count), batch), apply, dictionary)


def sae_lens(options: argparse.Namespace, sample: Tensor) -> Training:
    import sae_lens as tool
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    of_matryoshka = {"k": options.k, "matryoshka_widths": options.nested, "use_matryoshka_aux_loss": True}
    kind, settings = {
        "topk": ("TopK", {"k": options.k}),
        "batchtopk": ("BatchTopK", {"k": options.k}),
        "matryoshka": ("MatryoshkaBatchTopK", of_matryoshka),  # the auxiliary loss as in SynthSAEBench's experiments
        "relu": ("Standard", {"l1_coefficient": options.penalty}),
    }[options.architecture]
    shape = {"d_in": sample.shape[1], "d_sae": options.width, "device": options.device}
    settings = getattr(tool, f"{kind}TrainingSAEConfig")(**shape, **settings)
    sae = getattr(tool, f"{kind}TrainingSAE")(settings)
    config = SAETrainerConfig(
        total_training_samples=options.steps * options.batch, train_batch_size_samples=options.batch,
        lr=options.rate or 3e-4, lr_end=0.0, lr_warm_up_steps=options.steps // 10,
        lr_decay_steps=int(0.3 * options.steps), device=options.device, logger=LoggingConfig(log_to_wandb=False),
        dead_feature_window=max(1, options.dead_after // options.batch),
    )  # fmt: skip
    trainer = SAETrainer(config, sae, iter(()))

    def step(batch: Tensor) -> None:
        trainer.step(batch)
        trainer.n_training_steps += 1

    def apply(x: Tensor) -> tuple[Tensor, Tensor]:
        codes = sae.encode(x)
        codes = codes.to_dense() if codes.is_sparse else codes
        return codes, sae.decode(codes)

    return Training(step, apply, sae.W_dec.detach)


TOOLS = {"universality": universality, "dictionary_learning": dictionary_learning, "sae_lens": sae_lens}


def batches(x: Tensor, size: int, steps: int) -> Iterator[Tensor]:
    """The same batches for every tool."""
    order, at = torch.empty(0, dtype=torch.int64), 0
    for epoch in range(steps):
        order, at = torch.from_numpy(np.random.default_rng(epoch).permutation(len(x))), 0
        while at + size <= len(x):
            yield x[order[at : at + size]]
            at += size


@torch.no_grad()
def quality(apply: Apply, held: Tensor) -> dict[str, float]:
    """Explained variance, active features and the share that fires at all, on tokens that trained nothing."""
    error = fired = 0.0
    alive = torch.zeros(0, dtype=torch.bool)
    for part in held.split(2048):
        codes, reconstruction = apply(part)
        error += float((reconstruction - part).square().sum())
        fired += float((codes > 0).sum())
        fires = (codes > 0).any(dim=0)
        alive = fires if not len(alive) else alive | fires
    total = float((held - held.mean(dim=0)).square().sum())
    share = float(alive.float().mean())
    return {"explained_variance": 1 - error / total, "l0": fired / len(held), "alive_share": share}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tool", choices=TOOLS, required=True)
    parser.add_argument("--architecture", choices=ARCHITECTURES, default="topk")
    parser.add_argument("--data", required=True)
    parser.add_argument("--held", required=True)
    parser.add_argument("--products", default="float32")
    parser.add_argument("--device", default="cpu")
    counts = {"width": 4096, "k": 32, "batch": 4096, "steps": 4, "threads": 2, "dead_after": 10**9, "seed": 0}
    for name, default in counts.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    for name, default in {"penalty": 3e-3, "rate": 0.0}.items():
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--nested", type=int, nargs="*", default=[])
    parser.add_argument("--timed", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    x, held = (torch.from_numpy(np.load(path)) for path in (options.data, options.held))
    training = TOOLS[options.tool](options, x[:8192])
    wall, cpu = [], []
    for _, batch in zip(range(options.steps), batches(x, options.batch, options.steps), strict=False):
        start, busy = time.perf_counter(), time.process_time()
        training.step(batch)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - busy)
    last = slice(-options.timed, None)
    speed = {
        "tokens_per_second": options.batch / min(wall[last]),
        "cpu_seconds_per_step": min(cpu[last]),
        "seconds_per_step": statistics.median(wall[last]),
    }
    print(json.dumps({**speed, **quality(training.apply, held)}))


if __name__ == "__main__":
    main()
