"""The stage ``train-models``: language models, trained here or loaded and checked."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from universality.arrays import evenly_spaced
from universality.config import Config
from universality.files import write_json
from universality.pipeline.input_hashes import hashes_by_place
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import blocks_of
from universality.pipeline.stages.training_overlap import note_overlap
from universality.pipeline.study import hook_settings
from universality.pipeline.task import Task

if TYPE_CHECKING:
    from universality.activations import ModelSite
    from universality.corpus import TokenBlocks
    from universality.models.language_model import LanguageModel
    from universality.sae.training.distributed import Ranks

STAGE, VERSION = "train-models", 2


def tasks(config: Config, folder: RunFolder, ranks: Ranks | None = None) -> list[Task]:
    """Return one task a model; it depends on the hook, and on the training or the files that are loaded."""
    return [
        Task(
            f"{STAGE}/{name}",
            [*hook_settings(config, name), *_model_settings(config, name, folder.input_hashes)],
            ("corpus",),
            partial(make_model, config, folder, name),
            VERSION,
        )
        for name in config.models.names
    ]


def _model_settings(config: Config, name: str, memory: Path) -> list[Any]:
    m = config.models
    if name in m.train:
        return [m.train[name].as_dict(), m.architecture.as_dict(), m.training.as_dict(), m.dtype]
    from universality.models.shipped import model_folder

    return [m.load[name], config.saes.quality_blocks, hashes_by_place([model_folder(m.load[name])], memory)]


def make_model(config: Config, folder: RunFolder, name: str) -> list[Path]:
    """Train a language model, or check a loaded one and record its source; return the files."""
    blocks = blocks_of(config, folder, name)
    if name in config.models.train:
        return _train(config, folder, name, blocks)
    return _check_loaded(config, folder, name, blocks)


def _train(config: Config, folder: RunFolder, name: str, blocks: TokenBlocks) -> list[Path]:
    import torch

    from universality.activations import resolve_hook
    from universality.models.language_model import save_model
    from universality.models.train_model import train_model

    m, target = config.models, folder.model(name)
    model = train_model(
        blocks,
        target,
        seeds=m.train[name],
        architecture=m.architecture,
        training=m.training,
        name=name,
        device=config.device,
    )
    resolve_hook(model, config.hooks[name])  # raises before a model without the hook is saved
    save_model(model, target, getattr(torch, m.dtype))
    files = [target / file for file in ("config.json", "model.safetensors", "train.jsonl", "training_documents.npz")]
    return [*files, note_overlap(folder, name, target, blocks.hash, blocks)]


def _check_loaded(config: Config, folder: RunFolder, name: str, blocks: TokenBlocks) -> list[Path]:
    from universality.activations import ModelSite, check_models
    from universality.corpus import load_tokenizer
    from universality.models.language_model import load_model
    from universality.models.shipped import model_folder
    from universality.models.vocabulary_check import check_special, check_vocabulary

    model, source = load_model(config.models.load[name], name), model_folder(config.models.load[name])
    check_models({name: model}, blocks)
    tokenizer = folder.own_tokenizer(name) if config.models.tokenizers else folder.tokenizer
    if tokenizer.is_file():
        check_vocabulary(name, source, load_tokenizer(tokenizer))
    else:  # the corpus is a .npy of token ids
        check_special(name, source, blocks)
    site = ModelSite(model, config.hooks[name])
    written = ModelSite(model, config.hooks_out[name]) if name in config.hooks_out else site
    # Measured now, so that an unusable model is refused before SAEs are trained.
    site.unembedding(blocks.select("train"), config.features.min_token_count)
    note = {
        "source": config.models.load[name],
        "hash": model.hash,
        "held_out_loss": _held_out_loss(config, model, blocks),
        "seeds": model.metadata.get("seeds"),
        "revision": model.metadata.get("revision"),
        "commit": model.metadata.get("commit"),
        "hook": site.hook,
        "hook_aliases": site.aliases,
        "dtype": str(next(model.bridge.parameters()).dtype).removeprefix("torch."),
        "folding": "none: weights as published",
        **({} if written is site else {"hook_out": written.hook}),
        "logit_weights": _path_to_logits(written),
        "bos_id": int(blocks.tokens[0, 0]),
        "d_vocab": {"model": model.d_vocab, "tokenizer": blocks.d_vocab},
    }
    target = folder.model(name)
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / "source.json", note)
    overlap = note_overlap(folder, name, source, model.metadata.get("corpus_hash"), blocks)
    return [target / "source.json", overlap]


def _held_out_loss(config: Config, model: LanguageModel, blocks: TokenBlocks) -> float | None:
    """Return the recorded loss of a model trained on these blocks, else measure it; None without text."""
    from universality.models.forward import mean_loss

    if model.metadata.get("corpus_hash") == blocks.hash:
        return model.metadata.get("held_out_loss")
    held_out = blocks.select("choose", "report")
    if not len(held_out):
        return None
    sample = held_out.take(evenly_spaced(len(held_out), config.saes.quality_blocks))
    return round(mean_loss(model.bridge, sample), 4)


def _path_to_logits(site: ModelSite) -> str:
    """Describe how the site's directions reach the residual stream."""
    if site.path is None:
        return "none: no direct path from the hook into the residual stream"
    way = "direct" if site.path.weight is None else "through the matrix behind the hook"
    return way if site.path.norm is None else f"{way}, times the gain of {site.path.norm_at}, its scale held fixed"
