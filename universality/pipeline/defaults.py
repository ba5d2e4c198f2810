"""Suggested settings for a study of given models, from their configurations and tokenizers, without their weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from universality.config import CorpusConfig, SAEConfig
from universality.errors import CorpusError, ModelError
from universality.models.config_check import FORMAT, read_config
from universality.pipeline.cost.estimate import Shape, shape_in, width_at
from universality.pipeline.stages.hook_check import config_folder

FEATURES_PER_ACTIVATION = 8
"""Suggested width of an SAE over the activations a token at the hook; the width is a power of 2 near it."""
TOKENS_PER_FEATURE = 1_000
"""Suggested training tokens for each feature of the widest SAE; the quickstart has 1,220."""
LEAST_TOKENS = 1_000_000
"""Fewest suggested training tokens: fewer leave many features of a small SAE untrained."""
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len")


@dataclass(frozen=True)
class ModelFacts:
    """What a model's ``config.json`` and tokenizer say of it.

    Attributes
    ----------
    source
        Where the model is, as ``models.load`` takes it.
    folder
        Folder with its ``config.json``; of a model on the hub, in the local cache.
    shape
        Numbers of layers, activations and vocabulary entries.
    n_ctx
        Longest block that it reads, in tokens; None if the configuration states none.
    tokenizer
        Source of its tokenizer, as ``corpus.tokenizer`` takes it.
    """

    source: str
    folder: Path
    shape: Shape
    n_ctx: int | None
    tokenizer: str


def read_facts(source: str, tokenizer: str | None = None) -> ModelFacts:
    """Read sizes and tokenizer of a model; of a repository of the hub, a few small files are fetched once.

    Parameters
    ----------
    source
        ``starter/seed0`` … (shipped), a local folder, or ``owner/name@revision`` on the hub.
    tokenizer
        Source of the tokenizer that the model reads with; by default the model's own.

    Raises
    ------
    ModelError
        If there is no such model, or its sizes or tokenizer cannot be found.

    Examples
    --------
    >>> facts = read_facts("starter/seed0")
    >>> facts.shape.n_layers, facts.shape.d_model, facts.n_ctx, facts.tokenizer
    (1, 128, 128, 'starter')
    """
    folder = config_folder(source, download=True)
    assert folder is not None  # fetched, or refused
    config = read_config(folder)
    sizes = config.get("architecture", config)
    n_ctx = next((sizes[key] for key in _CONTEXT_KEYS if isinstance(sizes.get(key), int)), None)
    own = tokenizer or _own_tokenizer(source, folder, config)
    return ModelFacts(source, folder, shape_in(folder / "config.json"), n_ctx, own)


def middle_hook(n_layers: int, place: str = "hook_resid_post") -> str:
    """Name the hook of a place at half of a model's depth; of an even number of layers, the first half's last.

    Examples
    --------
    >>> middle_hook(12), middle_hook(1)
    ('blocks.5.hook_resid_post', 'blocks.0.hook_resid_post')
    """
    return f"blocks.{(n_layers - 1) // 2}.{place}"


def suggest_width(d_in: int) -> int:
    """Suggest the width of an SAE: the power of 2 nearest to eight features for each activation.

    Examples
    --------
    >>> suggest_width(128), suggest_width(768), suggest_width(2304)
    (1024, 8192, 16384)
    """
    return int(2 ** round(math.log2(FEATURES_PER_ACTIVATION * d_in)))


def suggest(
    models: Mapping[str, str],
    *,
    text: str | Sequence[str] | None = None,
    hook: str | Mapping[str, str] | None = None,
    width: int | Sequence[int] | None = None,
    tokens: int | None = None,
    saes: Mapping[str, str | Sequence[str]] | None = None,
    tokenizers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Suggest the configuration of a study of these models, as `universality.config.parse_config` takes it.

    Whatever is given is used as it is. No weights of a model are read; SAEs are, for the hook that their files state.

    Parameters
    ----------
    models
        Name → source, as under ``models.load``.
    text
        Source of the text, as ``corpus.source``; by default the shipped text.
    hook
        One hook, or name → hook; by default the hook that the SAEs state, else the residual stream at half of each
        model's depth.
    width
        Dictionary size or sizes; by default `suggest_width` of the most activations of any model.
    tokens
        Tokens on which SAEs are trained; by default 1,000 for each feature of the widest, at least a million.
    saes
        Name → SAEs to load, as under ``saes.load``; no SAE is trained then.
    tokenizers
        Name → source of the tokenizer that a model reads with; by default the model's own. Where they differ, the
        models are compared by characters.

    Returns
    -------
    dict
        Sections ``corpus``, ``models``, ``hook`` and ``saes``, and a ``name``.

    Raises
    ------
    ModelError
        If there is no such model, or its sizes or tokenizer cannot be found.

    Examples
    --------
    >>> suggested = suggest({"A": "starter/seed0", "B": "starter/seed1"})
    >>> suggested["hook"], suggested["saes"]
    ('blocks.0.hook_resid_post', {'widths': [1024], 'k': 32, 'tokens': 1024000})
    """
    facts = {name: read_facts(source, (tokenizers or {}).get(name)) for name, source in models.items()}
    hooks = _hooks(facts, hook, saes)
    if saes:
        section: dict[str, Any] = {"load": {name: _listed(paths) for name, paths in saes.items()}}
    else:
        section = _trained(facts, hooks, width, tokens)
    one_hook = hooks if isinstance(hooks, str) or len(set(hooks.values())) > 1 else next(iter(hooks.values()))
    return {
        "name": " and ".join(models.values()),
        "corpus": {"source": _listed(text) if text else "starter", **_reading(facts)},
        "models": {"load": dict(models), **_tokenizers(facts)},
        "hook": one_hook,
        "saes": section,
    }


def _listed(value: str | Sequence[str]) -> str | list[str]:
    return value if isinstance(value, str) else list(value)


def _hooks(
    facts: Mapping[str, ModelFacts],
    hook: str | Mapping[str, str] | None,
    saes: Mapping[str, str | Sequence[str]] | None,
) -> str | dict[str, str]:
    if hook is not None:
        return hook if isinstance(hook, str) else dict(hook)
    stated = {name: _stated_hook(paths) for name, paths in (saes or {}).items()}
    return {name: stated.get(name) or middle_hook(model.shape.n_layers) for name, model in facts.items()}


def _stated_hook(paths: str | Sequence[str]) -> str | None:
    """Return the hook that the first of a model's SAEs states, in TransformerLens's terms; None if it states none."""
    from universality.hub import expand
    from universality.sae import formats
    from universality.sae.formats.hub_names import local_sae
    from universality.sae.formats.stated_hook import stated_hook

    first = expand(paths if isinstance(paths, str) else paths[0])[0]
    return stated_hook(formats.read(local_sae(first)).get("metadata", {}))


def _trained(
    facts: Mapping[str, ModelFacts],
    hooks: str | Mapping[str, str],
    width: int | Sequence[int] | None,
    tokens: int | None,
) -> dict[str, Any]:
    """Return the keys of ``saes`` for SAEs that are trained in the study."""
    if width is None:
        at = dict.fromkeys(facts, hooks) if isinstance(hooks, str) else hooks
        d_in = [width_at(model.shape, at.get(name, "")) for name, model in facts.items()]
        width = suggest_width(max(d_in))
    widths = [width] if isinstance(width, int) else list(width)
    k = min(SAEConfig.model_fields["k"].default, *widths)
    return {"widths": widths, "k": k, "tokens": tokens or max(LEAST_TOKENS, TOKENS_PER_FEATURE * max(widths))}


def _reading(facts: Mapping[str, ModelFacts]) -> dict[str, Any]:
    """Return the tokenizer of the first model, and the context if a model reads fewer positions than the default."""
    tokenizer = next(iter(facts.values())).tokenizer
    longest = min([CorpusConfig.model_fields["n_ctx"].default, *(m.n_ctx for m in facts.values() if m.n_ctx)])
    return {"tokenizer": tokenizer, "n_ctx": longest}


def _tokenizers(facts: Mapping[str, ModelFacts]) -> dict[str, Any]:
    """Return ``tokenizers`` where the models' tokenizers differ; nothing where they read the same tokens."""
    from universality.corpus.tokenizer import load_tokenizer

    hashes = set()
    for model in facts.values():
        try:
            hashes.add(load_tokenizer(model.tokenizer).hash)
        except CorpusError as error:
            raise ModelError(
                f"{model.source}: its tokenizer cannot be read ({error}); put the model's tokenizer.json beside its "
                "config.json (transformers: tokenizer.save_pretrained(folder)), or name another under models.tokenizers"
            ) from None
    if len(hashes) == 1:
        return {}
    own = all(model.tokenizer == _named_own(model.source) for model in facts.values())
    return {"tokenizers": "own" if own else {name: model.tokenizer for name, model in facts.items()}}


def _named_own(source: str) -> str:
    """Return the tokenizer that ``models.tokenizers: own`` stands for."""
    return "starter" if source.startswith("starter/") else source


def _own_tokenizer(source: str, folder: Path, config: Mapping[str, Any]) -> str:
    """Return the source of a model's tokenizer; a model saved by a run has it in the run's folder."""
    if source.startswith("starter/") or config.get("format") != FORMAT or (folder / "tokenizer.json").is_file():
        return _named_own(source)
    trained_with = config.get("tokenizer_hash")
    of_its_run = folder.parent.parent / "corpus" / "tokenizer.json"
    for candidate in ("starter", str(of_its_run)):
        if trained_with and _hash_of(candidate) == trained_with:
            return candidate
    return source


def _hash_of(tokenizer: str) -> str | None:
    from universality.corpus.tokenizer import load_tokenizer

    try:
        return load_tokenizer(tokenizer).hash
    except CorpusError:
        return None
