"""What each stage makes. Every function reads and writes files of one run's folder and returns those it wrote."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from universality.arrays import evenly_spaced
from universality.config import Config
from universality.errors import CorpusError, MismatchError
from universality.files import replacing, write_json
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.acceptance_warning import warn_of_unfit
from universality.pipeline.stages.sae_likeness import likeness
from universality.pipeline.stages.training_overlap import note_overlap
from universality.pipeline.study import Comparison, ceilings_of, family_stores, sae_grid

if TYPE_CHECKING:
    from universality.activations import ModelSite
    from universality.corpus import TokenBlocks
    from universality.sae import SAE
    from universality.sae.training.distributed import Ranks
    from universality.statistics import Calibration

NEAREST = 5
"""Best partners of every feature that are kept for the report."""
_LEAST_UNITS = 3  # documents or works of a kind: one for each split (universality.corpus.splits)


def make_corpus(config: Config, folder: RunFolder) -> list[Path]:
    """Token blocks, the tokenizer, and what counting alone achieves on the held-out documents."""
    from universality.corpus import build_corpus, build_from_arrays
    from universality.models.baselines import baselines
    from universality.pipeline.stages.model_sites import check_architectures

    check_architectures(config)
    c = config.corpus
    folder.blocks.parent.mkdir(parents=True, exist_ok=True)
    if config.models.tokenizers:
        return _make_common_text(config, folder)
    if isinstance(c.source, str) and c.source.endswith(".npy"):
        corpus = build_from_arrays(
            c.source,
            d_vocab=c.d_vocab,
            bos_id=c.bos_id,
            n_ctx=c.n_ctx,
            document_separator=c.document_separator,
            special_ids=c.special_ids,
            held_out=c.held_out,
            split_seed=c.split_seed,
            max_documents=c.max_documents,
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
    tokens = _tokens_of_splits(config, blocks)
    blocks.save(folder.blocks)
    train, held_out = blocks.select("train"), blocks.select("choose", "report")
    counted = baselines(train, held_out) if len(train) and len(held_out) else None
    summary = {
        "blocks_hash": blocks.hash,
        "documents": len(blocks.documents),
        "tokens": tokens,
        "flagged_kinds": list(blocks.flagged_kinds),
        "special_left_out": corpus.special_left_out,
        "repeated_documents": corpus.repeated,
        "notes": list(corpus.notes),
        "unigram_loss": counted and round(counted.unigram, 4),
        "bigram_loss": counted and round(counted.bigram, 4),
    }
    write_json(folder.corpus_summary, summary)
    if corpus.tokenizer is None:
        return [folder.blocks, folder.corpus_summary]
    return [folder.blocks, folder.corpus_summary, *corpus.tokenizer.save(folder.tokenizer)]


def _make_common_text(config: Config, folder: RunFolder) -> list[Path]:
    """Blocks of segments, and the same blocks in the tokens of each model."""
    from universality.corpus import build_common, load_tokenizer

    c, names = config.corpus, config.models.names
    tokenizers = {name: load_tokenizer(config.models.tokenizer_of(name, c.tokenizer)) for name in names}
    text = build_common(
        c.source,
        tokenizers,
        n_ctx=c.n_ctx,
        held_out=c.held_out,
        split_seed=c.split_seed,
        max_documents=c.max_documents,
    )
    tokens = _tokens_of_splits(config, text.blocks)
    text.blocks.save(folder.blocks)
    for name, own in text.own.items():
        own.save(folder.own_blocks(name))
    saved = [file for name in text.own for file in tokenizers[name].save(folder.own_tokenizer(name))]
    write_json(folder.segments, text.strings)
    summary = {
        "blocks_hash": text.blocks.hash,
        "documents": len(text.blocks.documents),
        "tokens": tokens,
        "own_tokens": {name: own.n_tokens for name, own in text.own.items()},
        "segments_left_out": text.left_out,
        "flagged_kinds": list(text.blocks.flagged_kinds),
        "special_left_out": text.special_left_out,
        "repeated_documents": text.repeated,
        "notes": list(text.notes),
        "unigram_loss": None,  # of segments it would stand beside losses of tokens
        "bigram_loss": None,
    }
    write_json(folder.corpus_summary, summary)
    own_files = [folder.own_blocks(name) for name in names]
    return [folder.blocks, folder.corpus_summary, folder.segments, *own_files, *saved]


def _tokens_of_splits(config: Config, blocks: TokenBlocks) -> dict[str, int]:
    """Tokens of each split; refused where one has none."""
    tokens = {split: blocks.select(split).n_tokens for split in ("train", "choose", "report")}
    if not all(tokens.values()):
        found = ", ".join(f"{split} {n:,}" for split, n in tokens.items())
        raise CorpusError(
            f"{config.corpus.source}: {_documents(len(blocks.documents))} a split without tokens "
            f"({found}): models learn from train, partners are chosen on choose and scored on report. "
            f"{_more_for(config, blocks, tokens)}"
        )
    return tokens


def _documents(n: int) -> str:
    return "1 document leaves" if n == 1 else f"{n:,} documents leave"


def _more_for(config: Config, blocks: TokenBlocks, tokens: dict[str, int]) -> str:
    """What gives the split without tokens some."""
    share = config.corpus.held_out
    if not share:
        return "corpus.held_out is 0, which trains on everything: set it, as to 0.2"
    if max(Counter(blocks.documents.kind).values(), default=0) < _LEAST_UNITS:
        return (
            f"A kind of text is split where it has {_LEAST_UNITS} documents or more. A text file is one document: cut "
            "it into several files, or into JSON lines, one document each"
        )
    least = "lower" if not tokens["train"] else "raise"
    return f"Give more documents, or {least} corpus.held_out ({share:g} now)"


def make_model(config: Config, folder: RunFolder, name: str) -> list[Path]:
    """Train a language model, or check a loaded one and note where it came from and how well it predicts."""
    import torch

    from universality.activations import ModelSite, check_models, resolve_hook
    from universality.corpus import load_tokenizer
    from universality.models.forward import mean_loss
    from universality.models.language_model import load_model, save_model
    from universality.models.shipped import model_folder
    from universality.models.train_model import train_model
    from universality.models.vocabulary_check import check_special, check_vocabulary
    from universality.pipeline.stages.model_sites import blocks_of

    blocks = blocks_of(config, folder, name)
    tokenizer = folder.own_tokenizer(name) if config.models.tokenizers else folder.tokenizer
    target = folder.model(name)
    if name in config.models.train:
        m = config.models
        model = train_model(
            blocks, target, seeds=m.train[name], architecture=m.architecture, training=m.training, name=name
        )
        resolve_hook(model, config.hooks[name])
        save_model(model, target, getattr(torch, m.dtype))
        made = [target / name for name in ("config.json", "model.safetensors", "train.jsonl", "training_documents.npz")]
        return [*made, note_overlap(folder, name, target, blocks.hash, blocks)]
    model = load_model(config.models.load[name], name)
    check_models({name: model}, blocks)
    if tokenizer.is_file():
        check_vocabulary(name, model_folder(config.models.load[name]), load_tokenizer(tokenizer))
    else:  # token ids of a .npy
        check_special(name, model_folder(config.models.load[name]), blocks)
    site = ModelSite(model, config.hooks[name])
    if not config.models.tokenizers:  # what a later stage needs of the model is measured before SAEs are trained
        site.unembedding(blocks.select("train"), config.features.min_token_count)
    same_text = model.metadata.get("corpus_hash") == blocks.hash
    held_out = blocks.select("choose", "report")
    if same_text:
        loss = model.metadata.get("held_out_loss")
    else:
        loss = (
            round(mean_loss(model.bridge, held_out.take(evenly_spaced(len(held_out), config.saes.quality_blocks))), 4)
            if len(held_out)
            else None
        )
    note = {
        "source": config.models.load[name],
        "hash": model.hash,
        "held_out_loss": loss,
        "seeds": model.metadata.get("seeds"),
        "revision": model.metadata.get("revision"),
        "commit": model.metadata.get("commit"),
        "hook": site.hook,
        "hook_aliases": site.aliases,
        "dtype": str(next(model.bridge.parameters()).dtype).removeprefix("torch."),
        "folding": "none: weights as published",
        "logit_weights": _way_to_logits(site),
        "bos_id": int(blocks.tokens[0, 0]),
        "d_vocab": {"model": model.d_vocab, "tokenizer": blocks.d_vocab},
    }
    target.mkdir(parents=True, exist_ok=True)
    write_json(target / "source.json", note)
    source, corpus_hash = model_folder(config.models.load[name]), model.metadata.get("corpus_hash")
    return [target / "source.json", note_overlap(folder, name, source, corpus_hash, blocks)]


def _way_to_logits(site: ModelSite) -> str:
    """How the site's directions reach the residual stream, in words."""
    if site.path is None:
        return "none: no direct path from the hook into the residual stream"
    way = "direct" if site.path.weight is None else "through the matrix behind the hook"
    return way if site.path.norm is None else f"{way}, times the gain of {site.path.norm_at}, its scale held fixed"


def make_features(config: Config, folder: RunFolder, name: str, ranks: Ranks) -> list[Path]:
    """The stores of one model: every SAE's features on the held-out documents, and the neurons on some of them."""
    from universality.corpus import TokenBlocks
    from universality.pipeline.open_stores import OpenStores, about_file
    from universality.pipeline.stages.model_sites import basis_of, blocks_of, make_sites
    from universality.pipeline.stages.shards import collect_together
    from universality.sae import SAE

    blocks = blocks_of(config, folder, name)
    site = make_sites(config, folder, [name])[name]
    common, unembedding = None, None
    if config.models.tokenizers:
        common = TokenBlocks.load(folder.blocks).select("choose", "report")
    else:
        unembedding = site.unembedding(blocks.select("train"), config.features.min_token_count)
    rows: dict[str, Any] = {
        "common": common,
        "pool": config.features.pool,
        "basis": basis_of(config, folder, site.hook),
    }
    held_out = blocks.select("choose", "report")
    saes: dict[str | Path, SAE | None] = {
        folder.store(name, width, seed): SAE.load(folder.sae(name, width, seed))
        for owner, width, seed in sae_grid(config)
        if owner == name
    }
    for path, sae in saes.items():
        if sae is not None and not config.saes.load:  # of loaded ones that is said where they are loaded
            _check_trained_on(path, sae, site)
    (folder.root / "features").mkdir(exist_ok=True)
    collect_together(site, saes, held_out, unembedding, ranks, **rows)
    files = [Path(path) for path in saes]
    share = config.features.neuron_documents
    if share:
        part = np.flatnonzero(np.isin(held_out.document, sample_documents(held_out, share)))
        rows["common"] = None if common is None else common.take(part)
        collect_together(site, {folder.neurons(name): None}, held_out.take(part), unembedding, ranks, **rows)
        files.append(folder.neurons(name))
    with OpenStores() as stores:
        for path in files[ranks.rank :: ranks.size]:
            stores.described(path)
    ranks.wait()
    files += [about_file(path) for path in files]
    if unembedding is None:
        return files
    shared = folder.root / "features" / unembedding.file_name
    return [*files, shared] if shared.exists() else files  # none where the site writes nothing to the logits


def _check_trained_on(store: str | Path, sae: SAE, site: Any) -> None:
    """Refuse an SAE of this run that was trained on other weights than those of the site's model."""
    recorded = (sae.metadata.get("model") or {}).get("hash")
    if recorded not in (None, site.model_hash):
        raise MismatchError(
            f"{store}: its SAE was trained on model {recorded[:12]}, and the model {site.name!r} now has hash "
            f"{site.model_hash[:12]}; its files have changed since. Delete the run's saes folder, and they are trained "
            "anew"
        )


def sample_documents(held_out: TokenBlocks, share: float) -> NDArray[np.int64]:
    """This share of the documents of each half, spread evenly: two at least, one alone cannot be re-paired."""
    halves = (np.unique(held_out.select(split).document) for split in ("choose", "report"))
    return np.concatenate([half[evenly_spaced(len(half), max(2, round(share * len(half))))] for half in halves])


def make_match(config: Config, folder: RunFolder, comparison: Comparison) -> list[Path]:
    """Partners by activation correlation, calibrated; by logit weights, and by decoder rows where these share a basis.

    With what the pictures need of them.
    """
    from universality.matching import match
    from universality.pipeline.open_stores import OpenStores
    from universality.similarity import Similarity
    from universality.statistics import calibrate

    (folder.root / "matches").mkdir(exist_ok=True)
    (folder.root / "similarity").mkdir(exist_ok=True)
    with OpenStores() as stores:
        a, b = (stores[path] for path in (comparison.a, comparison.b))
        warn_of_unfit(folder, comparison, (a, b))
        calibration = calibrate(a, b, **config.statistics.for_calibrate())
        calibration = _with_ceilings(config, folder, comparison, calibration)
        files = [calibration.save(folder.calibration(comparison.name))]
        found = calibration.match
        tables: dict[str, Any] = {"rows": found.rows, "cols": found.cols}
        order = np.lexsort((-found.scores, np.isnan(calibration.p)))  # what fires too seldom for a p is alike by luck
        shown = order[evenly_spaced(len(order), min(256, len(order)))]
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
        if config.models.one_basis and comparison.of == "models":
            decoder = Similarity.decoder(a, b)
            files.append(match(decoder).save(folder.decoder_match(comparison.name)))
            tables["decoder"] = decoder.pairs(found.rows, found.cols).astype(np.float32)
    target = folder.similarity(comparison.name)
    with replacing(target) as partial:
        _write_arrays(partial, tables)
    return [*files, target]


def _with_ceilings(config: Config, folder: RunFolder, comparison: Comparison, calibration: Calibration) -> Calibration:
    """Each pair's ceilings, where a model has a second SAE of this width that differs in its seed only."""
    from universality.statistics import Calibration

    found = [
        Calibration.load(folder.calibration(one.name)) if one and likeness(config, folder, one).is_ceiling else None
        for one in ceilings_of(config, folder, comparison)
    ]
    return calibration.with_ceilings(*found)


def make_families(config: Config, folder: RunFolder, name: str) -> list[Path]:
    """The family graph of one model's dictionaries across the widths."""
    from contextlib import ExitStack

    from universality.family import families
    from universality.features import FeatureStore

    (folder.root / "families").mkdir(exist_ok=True)
    f = config.families
    with ExitStack() as stack:
        stores, others = (
            [stack.enter_context(FeatureStore.open(folder.store(name, width, seed))) for width, seed in dictionaries]
            for dictionaries in family_stores(config, name)
        )
        found = families(
            stores,
            reseeded=others,
            min_coverage=f.min_coverage,
            min_masked_cosine=f.min_masked_cosine,
            min_decoder_cosine=f.min_decoder_cosine,
            min_recovered=f.min_recovered,
            min_firings=f.min_firings,
            n_replicates=f.replicates,
            bootstrap=f.bootstrap,
            seed=config.statistics.seed,
        )
        return [found.save(folder.families(name))]


def _write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    with path.open("wb") as file:  # savez would add .npz to another name
        np.savez(file, **arrays)
