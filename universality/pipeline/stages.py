"""What each stage makes. Every function reads and writes files of one run's folder and returns those it wrote."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from universality.config import Config
from universality.pipeline.layout import Comparison, RunFolder, sae_grid

NEAREST = 5
"""Best partners of every feature that are kept for the report."""
SPEC_FIELDS = {"architecture", "l1", "learning_rate", "apply_b_dec_to_input"}


def make_corpus(config: Config, folder: RunFolder) -> list[Path]:
    """Token blocks, the tokenizer, and what counting alone achieves on the held-out documents."""
    from universality.corpus import build_corpus, build_from_arrays
    from universality.models.baselines import baselines

    c = config.corpus
    folder.blocks.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(c.source, str) and c.source.endswith(".npy"):
        corpus = build_from_arrays(
            c.source,
            d_vocab=c.d_vocab,
            bos_id=c.bos_id,
            n_ctx=c.n_ctx,
            document_separator=c.document_separator,
            held_out=c.held_out,
            split_seed=c.split_seed,
        )
    else:
        corpus = build_corpus(
            c.source,
            tokenizer=c.tokenizer,
            d_vocab=c.d_vocab,
            n_ctx=c.n_ctx,
            held_out=c.held_out,
            split_seed=c.split_seed,
            max_documents=c.max_documents,
        )
    blocks = corpus.blocks
    blocks.save(folder.blocks)
    train, held_out = blocks.select("train"), blocks.select("choose", "report")
    counted = baselines(train, held_out) if len(train) and len(held_out) else None
    summary = {
        "blocks_hash": blocks.hash,
        "documents": len(blocks.documents),
        "tokens": {split: blocks.select(split).n_tokens for split in ("train", "choose", "report")},
        "flagged_kinds": list(blocks.flagged_kinds),
        "unigram_loss": counted and round(counted.unigram, 4),
        "bigram_loss": counted and round(counted.bigram, 4),
    }
    _write_json(folder.corpus_summary, summary)
    if corpus.tokenizer is None:
        return [folder.blocks, folder.corpus_summary]
    corpus.tokenizer.save(folder.tokenizer)
    return [folder.blocks, folder.corpus_summary, folder.tokenizer]


def make_model(config: Config, folder: RunFolder, name: str) -> list[Path]:
    """Train a language model, or check a loaded one and note where it came from and how well it predicts."""
    import torch

    from universality.activations import check_models, resolve_hook
    from universality.corpus import TokenBlocks
    from universality.models.forward import mean_loss
    from universality.models.language_model import load_model, save_model
    from universality.models.train import train_model

    blocks = TokenBlocks.load(folder.blocks)
    target = folder.model(name)
    if name in config.models.train:
        m = config.models
        model = train_model(
            blocks, target, seeds=m.train[name], architecture=m.architecture, training=m.training, name=name
        )
        resolve_hook(model, config.hook)
        save_model(model, target, getattr(torch, m.dtype))
        return [target / "config.json", target / "model.safetensors", target / "train.jsonl"]
    model = load_model(config.models.load[name], name)
    check_models({name: model}, blocks)
    resolve_hook(model, config.hook)
    same_text = model.metadata.get("corpus_hash") == blocks.hash
    held_out = blocks.select("choose", "report")
    if same_text:
        loss = model.metadata.get("held_out_loss")
    else:
        loss = round(mean_loss(model.bridge, held_out.take(_spread(len(held_out), 512))), 4) if len(held_out) else None
    note = {
        "source": config.models.load[name],
        "hash": model.hash,
        "held_out_loss": loss,
        "trained_on_these_splits": same_text,
        "seeds": model.metadata.get("seeds"),
    }
    target.mkdir(parents=True, exist_ok=True)
    _write_json(target / "source.json", note)
    return [target / "source.json"]


def make_saes(config: Config, folder: RunFolder) -> list[Path]:
    """Train the grid of SAEs on one token stream, then measure each on held-out tokens."""
    from universality.activations import shuffled_batches
    from universality.corpus import TokenBlocks
    from universality.sae import SAESpec, SAETrainer, clear_checkpoint, fast_products, summarise, train_grid

    blocks = TokenBlocks.load(folder.blocks)
    train = blocks.select("train")
    models = _models(config, folder)
    s = config.saes
    steps = -(-s.tokens // s.batch_size)
    stream = partial(
        shuffled_batches,
        models,
        train,
        config.hook,
        batch_size=s.batch_size,
        seed=s.order_seed,
        buffer_tokens=s.buffer_tokens,
    )
    summaries = {name: summarise(rows) for name, rows in next(stream(batch_size=_sample_size(train.n_tokens))).items()}
    products = fast_products(models[config.models.names[0]].device) if s.products == "auto" else s.products
    trainers = {}
    for model, width, seed in sae_grid(config):
        spec = SAESpec(d_sae=width, k=s.k_of(width), seed=seed, products=products, **s.model_dump(include=SPEC_FIELDS))
        trainers[model, f"w{width}-s{seed}"] = SAETrainer(spec, summaries[model], steps)
    made_from = {
        "hook": config.hook,
        "models": {name: model.hash for name, model in models.items()},
        "blocks_hash": blocks.hash,
        "order_seed": s.order_seed,
        "batch_size": s.batch_size,
        "buffer_tokens": s.buffer_tokens,
    }
    train_grid(
        trainers,
        lambda start: stream(start=start),
        folder.root / "saes",
        checkpoint_steps=s.checkpoint_steps,
        made_from=made_from,
    )
    files = []
    for model, width, seed in sae_grid(config):
        metadata = {**made_from, "model": {"name": model, "hash": models[model].hash}}
        del metadata["models"]
        target = trainers[model, f"w{width}-s{seed}"].finish(metadata).save(folder.sae(model, width, seed))
        files += [target / "cfg.json", target / "sae_weights.safetensors"]
    clear_checkpoint(folder.root / "saes")
    return files + _measure_quality(config, folder, models, blocks)


def _sample_size(n_tokens: int) -> int:
    """Activations that initialise the SAEs: some thousand, fewer where there are fewer."""
    return min(8192, max(1, n_tokens // 2))


def _measure_quality(config: Config, folder: RunFolder, models: dict[str, Any], blocks: Any) -> list[Path]:
    """``quality.json`` beside each SAE: reconstruction, sparsity, and the model's loss with it spliced in."""
    import torch

    from universality.activations import harvest, spliced_loss
    from universality.sae import SAE, LossRecovered, Quality

    held_out = blocks.select("choose", "report")
    part = held_out.take(_spread(len(held_out), config.saes.quality_blocks))
    files = []
    for name, model in models.items():
        folders = [folder.sae(owner, width, seed) for owner, width, seed in sae_grid(config) if owner == name]
        measured = {target: Quality(SAE.load(target)) for target in folders}
        for _, activations in harvest({name: model}, part, config.hook):
            for quality in measured.values():
                quality.update(activations[name])
        loss = partial(spliced_loss, model, part, config.hook)
        mean = next(iter(measured.values())).mean  # of the activations: the same for all SAEs of a model
        clean, zero, average = (
            loss(lambda x: x),
            loss(torch.zeros_like),
            loss(lambda x, m=mean: m.to(x.device).expand_as(x)),
        )
        for target, quality in measured.items():
            losses = LossRecovered(clean=clean, spliced=loss(quality.sae.reconstruct), zero=zero, mean=average)
            _write_json(target / "quality.json", {**quality.compute().as_dict(), "loss": losses.as_dict()})
            files.append(target / "quality.json")
    return files


def make_features(config: Config, folder: RunFolder, name: str) -> list[Path]:
    """The stores of one model: every SAE's features on the held-out documents, and the neurons on some of them."""
    from universality.corpus import TokenBlocks
    from universality.features.collect import collect
    from universality.models.directions import read_unembedding
    from universality.sae import SAE

    blocks = TokenBlocks.load(folder.blocks)
    model = _models(config, folder)[name]
    unembedding = read_unembedding(model, blocks.select("train"), config.features.min_token_count)
    held_out = blocks.select("choose", "report")
    saes: dict[str | Path, SAE | None] = {
        folder.store(name, width, seed): SAE.load(folder.sae(name, width, seed))
        for owner, width, seed in sae_grid(config)
        if owner == name
    }
    (folder.root / "features").mkdir(exist_ok=True)
    options: dict[str, Any] = {"unembedding": unembedding, "overwrite": True}
    collect(model, saes, held_out, config.hook, **options)
    files = [Path(path) for path in saes]
    share = config.features.neuron_documents
    if share:
        documents = np.unique(held_out.document)
        sampled = documents[_spread(len(documents), max(1, round(share * len(documents))))]
        part = held_out.take(np.flatnonzero(np.isin(held_out.document, sampled)))
        collect(model, {folder.neurons(name): None}, part, config.hook, **options)
        files.append(folder.neurons(name))
    return files + sorted((folder.root / "features").glob("unembedding-*.safetensors"))


def make_match(config: Config, folder: RunFolder, comparison: Comparison) -> list[Path]:
    """Partners by activation correlation, calibrated; by logit weights; and what the pictures need of both."""
    from universality.features import FeatureStore
    from universality.matching import match
    from universality.similarity import Similarity
    from universality.statistics import calibrate

    (folder.root / "matches").mkdir(exist_ok=True)
    (folder.root / "similarity").mkdir(exist_ok=True)
    s = config.statistics
    with FeatureStore.open(comparison.a) as a, FeatureStore.open(comparison.b) as b:
        calibration = calibrate(a, b, null=s.nulls, replicates=s.replicates, bootstrap=s.bootstrap, seed=s.seed)
        files = [calibration.save(folder.calibration(comparison.name))]
        found = calibration.match
        tables: dict[str, Any] = {"rows": found.rows, "cols": found.cols}
        order = np.argsort(-found.scores, kind="stable")
        shown = order[_spread(len(order), min(256, len(order)))]
        activation = Similarity.activation(a, b)
        tables["sample"] = shown
        tables["sample_matrix"] = activation.block(found.rows[shown])[:, found.cols[shown]].astype(np.float32)
        best = order[:64]
        tables["best"] = best
        tables["best_matrix"] = activation.block(found.rows[best])[:, found.cols[best]].astype(np.float32)
        (near, r), (near_b, r_b) = activation.topk(min(NEAREST, *activation.shape), axis=None)
        tables |= {"near_a": near.astype(np.int32), "near_a_r": r.astype(np.float32)}
        tables |= {"near_b": near_b.astype(np.int32), "near_b_r": r_b.astype(np.float32)}
        if a.unembedding() is not None and b.unembedding() is not None:
            logit = Similarity.logit(a, b)
            files.append(match(logit).save(folder.logit_match(comparison.name)))
            tables["logit"] = logit.pairs(found.rows, found.cols).astype(np.float32)
    target = folder.similarity(comparison.name)
    _replace(target, lambda partial: _write_arrays(partial, tables))
    return [*files, target]


def make_families(config: Config, folder: RunFolder, name: str) -> list[Path]:
    """The family graph of one model's dictionaries across the widths."""
    from contextlib import ExitStack

    from universality.families import families
    from universality.features import FeatureStore

    (folder.root / "families").mkdir(exist_ok=True)
    f = config.families
    with ExitStack() as stack:
        stores = [
            stack.enter_context(FeatureStore.open(folder.store(name, width, config.saes.seeds[0])))
            for width in config.saes.widths
        ]
        found = families(
            stores,
            min_decoder_cosine=f.min_decoder_cosine,
            min_masked_cosine=f.min_masked_cosine,
            min_firings=f.min_firings,
            n_replicates=f.replicates,
            seed=config.statistics.seed,
        )
        return [found.save(folder.families(name))]


def _models(config: Config, folder: RunFolder) -> dict[str, Any]:
    from universality.models.language_model import load_model, to_fastest_device

    sources = {name: config.models.load.get(name, str(folder.model(name))) for name in config.models.names}
    return {name: to_fastest_device(load_model(source, name)) for name, source in sources.items()}


def _spread(n: int, wanted: int) -> Any:
    """``wanted`` indices spread evenly over range(n); all where there are fewer."""
    return np.unique(np.linspace(0, max(n - 1, 0), min(wanted, n)).round().astype(np.int64))


def _write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    _replace(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:  # savez would add .npz to another name
        np.savez(file, **arrays)


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    write(partial)
    os.replace(partial, path)
