"""Descriptions of the artifacts of this package, and checks that they are whole."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from universality.checked_json import Settings
from universality.errors import FormatError, UniversalityError
from universality.files import as_path, read_json_value
from universality.pipeline.task import artifact_hash, read_stamp
from universality.visible_tokens import visible

_SAE_FILES = ("params.npz", "params.safetensors", "sae.safetensors", "sae_weights.safetensors")


def describe(path: str | Path, verify: bool = False) -> Iterator[str]:
    """Describe a run's folder, a store, a model, an SAE, a calibration, a match, a family file or labels.

    Parameters
    ----------
    verify
        Read everything and check it against the hashes that were recorded.

    Raises
    ------
    FormatError
        If the file is truncated, altered, or none of these.
    """
    path = as_path(path)
    if not path.exists():
        raise UniversalityError(f"{path}: no such file or folder")
    describer = _run if (path / ".done").is_dir() else _folder if path.is_dir() else _file(path)
    yield from describer(path, verify)


def _file(path: Path) -> Callable[[Path, bool], Iterator[str]]:
    by_suffix = {".h5": _store, ".npz": _archive, ".json": _json, ".jsonl": _labels, ".safetensors": _weights}
    if path.suffix in (".pt", ".pth") or (path.suffix != ".json" and path.name in _SAE_FILES):
        return _sae
    if path.suffix not in by_suffix:
        raise FormatError(f"{path}: expected one of {', '.join(by_suffix)} or a folder; this package writes no other")
    return by_suffix[path.suffix]


def _holds_sae(path: Path) -> bool:
    from universality.sae import formats

    return formats.name_of(path) is not None


def _quality(path: Path) -> Iterator[str]:
    """Describe what a run measured of the SAE beside the file; yield nothing where there is no file."""
    if not path.is_file():
        return
    measured = Settings.read(path)
    typical = measured.values.get("typical_explained_variance")
    shown = f", {typical:.3f} of the median token" if isinstance(typical, float) else ""
    explained, l0 = measured.values.get("explained_variance"), measured.values.get("l0")
    if isinstance(explained, float) and isinstance(l0, float):
        yield f"  explained variance {explained:.3f}{shown}; L0 {l0:.1f}"


def _sae(path: Path, verify: bool) -> Iterator[str]:
    from universality.sae import SAE, formats
    from universality.sae.formats.stated_hook import stated_hook, stated_hook_out

    sae = SAE.load(path)
    kind = "SAE" if not sae.transcoder else "transcoder" if sae.W_skip is None else "skip transcoder"
    to = f" → {sae.d_out}" if sae.transcoder else ""
    yield f"{kind} {path}: {sae.architecture}, {sae.d_in} → {sae.d_sae}{to}, hash {sae.hash}"
    yield f"  format: {formats.name_of(path)}"
    yield f"  {'reads' if sae.transcoder else 'trained'} at: {stated_hook(sae.metadata) or 'not recorded'}"
    if sae.transcoder:
        yield f"  writes at: {stated_hook_out(sae.metadata) or 'not recorded'}"
    sparsity = "" if sae.k is None else f", k {sae.k}"
    ways = "its caller is to scale them" if sae.awaits_scale else sae.normalize_activations
    yield f"  normalises activations: {ways}{sparsity}"
    yield from _quality((path if path.is_dir() else path.parent) / "quality.json")
    yield from (f"  {key}: {json.dumps(value)}" for key, value in sorted(sae.metadata.items()))


def _run(path: Path, verify: bool) -> Iterator[str]:
    yield f"run {path}"
    stamps = [
        read_stamp(path, file.stem.replace(".", "/", 1) if "." in file.stem else file.stem)
        for file in sorted((path / ".done").glob("*.json"))
    ]
    earlier = _of_earlier_configurations(path, [stamp["task"] for stamp in stamps])
    for stamp in stamps:
        if stamp["task"] in earlier:
            continue
        processor = stamp.get("processor_seconds", math.nan)  # absent from older runs
        times = f"{stamp['seconds']:8.1f} s {processor:8.1f} s of processor"
        yield f"  {stamp['task']:<28} {times}  {len(stamp['outputs'])} files"
        for name, output in stamp["outputs"].items() if verify else ():
            target = path / name
            if not target.is_file():
                raise FormatError(f"{target}: missing; the same run command creates it again")
            if artifact_hash(target, verify=True) != output["hash"]:
                raise FormatError(f"{target}: altered since {stamp['task']} made it; delete it and run again")
    if earlier:
        yield f"left from an earlier configuration, and no part of this run: {', '.join(earlier)}"
    if verify:
        yield "every file is there and is what was written"


def _of_earlier_configurations(path: Path, done: list[str]) -> list[str]:
    """List completed tasks that the stages of the run's configuration do not have; none where it cannot be read."""
    from universality.config import load_config
    from universality.pipeline.paths import RunFolder
    from universality.pipeline.runner import STAGES, all_tasks

    try:
        tasks = {task.name for task in all_tasks(load_config(path / "config.yaml"), RunFolder(path))}
    except (UniversalityError, OSError):  # of another version, or inputs that the stages read are elsewhere now
        return []
    return [name for name in done if name not in tasks and name.split("/")[0] in STAGES]


def _store(path: Path, verify: bool) -> Iterator[str]:
    from universality.features import FeatureStore

    with FeatureStore.open(path) as store:
        alive = int(store.alive.sum())
        yield f"feature store {path}"
        yield f"  {store.n_tokens:,} tokens × {store.n_features:,} features, {alive:,} alive, {store.n_stored:,} stored"
        yield f"  tokens {store.tokens_hash}"
        yield f"  contents {store.content_hash()}"
        yield from (f"  {key}: {json.dumps(value)}" for key, value in sorted(store.provenance.items()))
        if verify:
            store.verify()
            yield "  verified: every array is what was written"


def _archive(path: Path, verify: bool) -> Iterator[str]:
    artifacts = _archives()
    for name, (load, summary) in artifacts.items():
        try:
            artifact = load(path)
        except FormatError:
            continue
        yield f"{name} {path}"
        yield from (f"  {key}: {value}" for key, value in summary(artifact).items())
        return
    *others, last = artifacts
    raise FormatError(f"{path}: no {', '.join(others)} or {last} of this package, or a truncated one")


def _archives() -> dict[str, tuple[Callable[[Path], Any], Callable[[Any], dict[str, Any]]]]:
    """Return, for each artifact in an archive, its name, how it is read, and its summary."""
    from universality.corpus.blocks import TokenBlocks
    from universality.effects import Fingerprints, MeanJacobian, PairEffects
    from universality.effects.firing_sample import ExactEffects
    from universality.labels import LabelSpecificity, LabelTransfer
    from universality.matching import Match
    from universality.statistics import Calibration, EffectAgreement

    return {
        "calibration": (Calibration.load, lambda made: asdict(made.summary())),
        "match": (Match.load, lambda made: made.summary()),
        "agreement of effects": (EffectAgreement.load, lambda made: asdict(made.summary())),
        "exact effects": (ExactEffects.load, lambda made: asdict(made.accuracy())),
        "fingerprints": (Fingerprints.load, lambda made: made.describe()),
        "changes of tokens by pairs": (PairEffects.load, _pair_effects),
        "mean Jacobian": (MeanJacobian.load, lambda made: made.describe()),
        "transfer of explanations": (LabelTransfer.load, _label_transfer),
        "specificity of explanations": (LabelSpecificity.load, _label_specificity),
        "token blocks": (TokenBlocks.load, _blocks),
    }


def _pair_effects(made: Any) -> dict[str, Any]:
    from universality.effects.fingerprints import WEIGHTINGS
    from universality.effects.pair_effects import INTERVENTIONS
    from universality.matching.medians import known_median

    known = made.n_contexts > 0
    places = [(i, how, w, weighting) for i, how in enumerate(INTERVENTIONS) for w, weighting in enumerate(WEIGHTINGS)]
    return {
        "pairs": len(made),
        "fire together": int(known.sum()),
        "clamped to": f"{made.times:g} × maximum",
        **{
            f"median r, {how}, {weighting} weights": f"{known_median(made.r[:, i, w]):.3f}, "
            f"controls {known_median(made.control_r[:, i, w]):.3f}"
            for i, how, w, weighting in places
        },
    }


def _label_transfer(made: Any) -> dict[str, Any]:
    losses = made.summary().itertuples()
    return {f"{row.name}, {row.pairing}": f"loses {row.loss:.3f} of {row.own:.3f} (n = {row.n})" for row in losses}


def _label_specificity(made: Any) -> dict[str, Any]:
    return {f"{row.by}, {row.share}": f"{row.mean:.3f} (n = {row.n})" for row in made.summary().itertuples()}


def _blocks(made: Any) -> dict[str, Any]:
    return {"blocks": f"{len(made):,} of {made.n_ctx}", "tokens": f"{made.n_tokens:,}", "hash": made.hash}


def _json(path: Path, verify: bool) -> Iterator[str]:
    from universality.family import Families
    from universality.family.family_file import FORMAT
    from universality.labels.literature import FORMAT as LITERATURE
    from universality.statistics.carried_loss import FORMAT as SHARED_LOSS

    content = read_json_value(path)
    if isinstance(content, dict) and content.get("format") == SHARED_LOSS:
        yield from _shared_loss(path)
        return
    if isinstance(content, dict) and content.get("format") == LITERATURE:
        yield from _literature(path)
        return
    if isinstance(content, dict) and content.get("format") != FORMAT and "nodes" not in content:
        yield f"numbers of a run, {path}"
        yield from (f"  {key}: {_short(value)}" for key, value in content.items())
        return
    yield f"families {path}"
    yield from (f"  {key}: {value}" for key, value in Families.load(path).summary().items() if key != "levels")


def _labels(path: Path, verify: bool) -> Iterator[str]:
    from universality.labels.label_file import read_labels
    from universality.labels.summary import describe_scores

    labels = read_labels(path)
    yield f"labels {path}: explained by {_name(labels.header['explainer'])}, scored by {_name(labels.header['scorer'])}"
    yield f"  of the store with contents {labels.header['store']}"
    yield from (f"  {line}" for line in describe_scores(labels, "labels"))


def _name(model: dict[str, Any]) -> str:
    return _short(model.get("name"))


def _literature(path: Path) -> Iterator[str]:
    from universality.labels import LiteratureComparison

    found = LiteratureComparison.load(path)
    yield f"published concepts, judged by {_name(found.header['scorer'])}, {path}"
    yield f"  {found}"
    for one in found.best_first():
        if one.found:
            where = f"{visible(one.concept)} in {visible(one.model)}"
            yield f"  {where}: feature {one.feature}, score {one.score:.3f}, q {one.q:.2g}"


def _shared_loss(path: Path) -> Iterator[str]:
    from universality.statistics import SharedLoss

    loss = SharedLoss.load(path)
    yield f"loss that shared features of {loss.model} carry, {path}"
    yield f"  {loss.n_tokens:,} tokens, {loss.n_blocks:,} blocks, {loss.n_groups:,} groups of documents"
    yield f"  loss: {loss.clean:.4f} nats a token, {loss.spliced:.4f} with the SAE, {loss.mean:.4f} with the mean"
    for partners, threshold in dict.fromkeys((row.partners, row.threshold) for row in loss.rows if row.partners):
        yield f"  {partners}: {loss.sentence(partners, threshold)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:100]}…"


def _weights(path: Path, verify: bool) -> Iterator[str]:
    from universality.models.unembedding import Unembedding

    if not path.name.startswith("unembedding-"):
        yield from _folder(path.parent, verify)
        return
    unembedding = Unembedding.load(path)
    d_model, d_vocab = unembedding.W_U.shape
    yield f"unembedding {path}: {d_model} × {d_vocab}, {int(unembedding.mask.sum())} types count"


def _folder(path: Path, verify: bool) -> Iterator[str]:
    if _holds_sae(path):
        yield from _sae(path, verify)
        return
    if (path / "cache.json").is_file():
        from universality.activations import open_cache

        cached = open_cache(path)
        yield f"activations of {cached.name} at {cached.hook}: {cached.blocks.n_tokens:,} tokens × {cached.d_in}"
        yield f"  {cached.dtype}, blocks {cached.blocks.hash}, model {cached.model_hash}"
        if verify:
            cached.verify()
            yield "  verified: every file is what was written"
        return
    if not (path / "config.json").is_file():
        raise FormatError(
            f"{path}: nothing that this package writes; expected a run's folder, or the folder of a model "
            "(config.json), an SAE (cfg.json) or a cache of activations (cache.json)"
        )
    from universality.models.language_model import load_model

    model = load_model(path)
    yield f"language model {path}: hash {model.hash}"
    yield from (f"  {key}: {json.dumps(value)}" for key, value in sorted(model.metadata.items()))
    yield "  hooks: " + " ".join(sorted(model.bridge.hook_dict))
