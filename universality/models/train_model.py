"""Training of a language model; an interrupted training resumes and ends in the same weights."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from universality.corpus.blocks import TokenBlocks
from universality.devices import AUTO
from universality.errors import CorpusError, FormatError
from universality.files import as_path
from universality.models.cross_entropy import NO_TARGET, linear_cross_entropy
from universality.models.forward import mean_loss, run_until, to_device
from universality.models.language_model import LanguageModel, move_model, new_model, weights
from universality.models.model_settings import ModelArchitecture, ModelSeeds, ModelTraining
from universality.models.training_checkpoint import load_checkpoint, save_checkpoint, truncate_log
from universality.models.training_documents import TrainingDocuments
from universality.progress import progress

_CHECKPOINT = "checkpoint.pt"


def train_model(
    blocks: TokenBlocks,
    folder: str | Path,
    *,
    seeds: ModelSeeds,
    architecture: ModelArchitecture,
    training: ModelTraining,
    name: str,
    device: str = AUTO,
) -> LanguageModel:
    """Train on the blocks of the split ``train``.

    Writes ``train.jsonl`` (loss over steps), ``checkpoint.pt`` and finally ``training_documents.npz`` (hashes of the
    training documents) into ``folder``. If the folder holds a checkpoint of the same settings, training resumes from
    it. The order of epoch e is a permutation drawn from (seeds.order, e).

    Parameters
    ----------
    blocks
        Whole corpus; the held-out splits are used for the final loss.
    folder
        Folder for this model alone.
    seeds, architecture, training
        Sections of the configuration under ``models``.
    name
        Name of the model in this study.
    device
        As `universality.devices.choose_device` takes it.

    Returns
    -------
    LanguageModel
        The trained model, not yet saved; its metadata hold seeds, settings, tokens seen and the held-out loss.

    Raises
    ------
    CorpusError
        If the training split is empty.
    FormatError
        If the checkpoint is truncated or corrupt.
    MismatchError
        If the checkpoint is of other settings.
    """
    folder = as_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    train = blocks.select("train")
    if len(train) == 0:
        raise CorpusError("no document is in the split 'train'; lower corpus.held_out or add documents")
    model = new_model(architecture, d_vocab=blocks.d_vocab, n_ctx=blocks.n_ctx, init_seed=seeds.init, name=name)
    move_model(model, device).bridge.train()
    steps = max(1, math.ceil(training.epochs * len(train) / training.batch_blocks))
    optimizer = _optimizer(model, training)
    settings: dict[str, object] = {
        "seeds": seeds.as_dict(),
        "architecture": architecture.as_dict(),
        "training": training.as_dict(),
        "blocks": blocks.hash,
    }
    start = _resume(folder / _CHECKPOINT, model, optimizer, settings)
    truncate_log(folder / "train.jsonl", start)
    with (
        progress(total=steps, initial=start, desc=f"train {name}", unit="step") as bar,
        (folder / "train.jsonl").open("a", encoding="utf-8") as log,
    ):
        batches = _batches(train, training.batch_blocks, seeds.order, start)
        for step in range(start, steps):
            rate = learning_rate(step, steps, training)
            loss, n_tokens = _step(model, optimizer, next(batches), rate, training)
            if step % 50 == 0 or step == steps - 1:
                value = loss.item()
                log.write(json.dumps({"step": step, "loss": value, "learning_rate": rate}) + "\n")
                log.flush()
                speed = (bar.format_dict["rate"] or 0) * n_tokens
                bar.set_postfix_str(f"loss {value:.3f}, {speed:,.0f} tokens/s", refresh=False)
            bar.update()
            if (step + 1) % training.checkpoint_steps == 0 and step + 1 < steps:
                _save_checkpoint(folder / _CHECKPOINT, model, optimizer, step + 1, settings)
    model.bridge.eval()
    metadata = {
        **model.metadata,
        "seeds": seeds.as_dict(),
        "training": training.as_dict(),
        "tokens_seen": int(training.epochs * train.n_tokens),
        "corpus_hash": blocks.hash,
        "tokenizer_hash": blocks.tokenizer_hash,
    }
    held_out = blocks.select("choose", "report")
    if len(held_out):
        metadata["held_out_loss"] = round(mean_loss(model.bridge, held_out), 4)
    TrainingDocuments.of(blocks).save(folder)
    (folder / _CHECKPOINT).unlink(missing_ok=True)
    return LanguageModel(model.bridge, name, metadata)


def learning_rate(step: int, steps: int, training: ModelTraining) -> float:
    """Return the learning rate of a step: linear warm-up to the peak, then a cosine to ``final_share`` of it."""
    warmup = max(1, round(training.warmup_share * steps))
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return training.learning_rate * (training.final_share + (1 - training.final_share) * cosine)


def _step(
    model: LanguageModel,
    optimizer: torch.optim.Optimizer,
    batch: TokenBlocks,
    rate: float,
    training: ModelTraining,
) -> tuple[Tensor, int]:
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss, n_tokens = _loss(model, batch, getattr(torch, training.products))
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], training.gradient_clip)
    optimizer.step()
    return loss.detach(), n_tokens


def _loss(model: LanguageModel, batch: TokenBlocks, products: torch.dtype) -> tuple[Tensor, int]:
    tokens, text = to_device(batch, model.device)
    target = tokens[:, 1:].masked_fill(~text[:, 1:], NO_TARGET)
    final = run_until(model.bridge, tokens, "unembed.hook_in")[0][:, :-1]
    unembed = weights(model.bridge)["head.weight"]
    loss = linear_cross_entropy(final.reshape(-1, final.shape[-1]), unembed, target.reshape(-1), products)
    return loss, batch.n_tokens


def _batches(train: TokenBlocks, batch_blocks: int, seed: int, start: int) -> Iterator[TokenBlocks]:
    """Yield batches endlessly from step ``start`` on; a batch may span two epochs."""
    position = start * batch_blocks  # every batch follows from its step, so a resumed training draws the same ones
    while True:
        picked: list[np.ndarray] = []
        needed = batch_blocks
        while needed:
            epoch, offset = divmod(position, len(train))
            order = np.random.default_rng([seed, epoch]).permutation(len(train))
            picked.append(order[offset : offset + needed])
            needed -= len(picked[-1])
            position += len(picked[-1])
        yield train.take(np.concatenate(picked))


def _optimizer(model: LanguageModel, training: ModelTraining) -> torch.optim.AdamW:
    parameters = list(weights(model.bridge).values())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": training.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def _save_checkpoint(
    path: Path, model: LanguageModel, optimizer: torch.optim.Optimizer, step: int, settings: dict[str, object]
) -> None:
    values = {name: value.detach() for name, value in weights(model.bridge).items()}
    state = {"step_count": step, "weights": values, "optimizer": optimizer.state_dict()}
    save_checkpoint(path, state, json.dumps(settings, sort_keys=True))


def _resume(path: Path, model: LanguageModel, optimizer: torch.optim.Optimizer, settings: dict[str, object]) -> int:
    state = load_checkpoint(path, json.dumps(settings, sort_keys=True))
    if state is None:
        return 0
    try:
        with torch.no_grad():
            for name, value in weights(model.bridge).items():
                value.copy_(state["weights"][name])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step_count"])
    except KeyError as error:
        raise FormatError(f"{path}: the checkpoint lacks {error}; delete it to start again") from None
