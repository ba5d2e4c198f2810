"""A commented configuration for models that are given by name, to edit and run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from textwrap import wrap
from typing import Any

import yaml

from universality.config import parse_config
from universality.errors import ConfigError, ModelError
from universality.files import as_path, replacing_text
from universality.formatting import count, listed, plural
from universality.pipeline.cost.machine import total_cost
from universality.pipeline.defaults import ModelFacts, read_facts, suggest
from universality.pipeline.stages.hook_check import check_hooks
from universality.pipeline.stages.model_sites import can_run_models
from universality.visible_tokens import visible

PLACES = (
    "hook_resid_pre",
    "hook_resid_mid",
    "hook_resid_post",
    "hook_attn_out",
    "hook_mlp_out",
    "attn.hook_z",
    "mlp.hook_pre",
    "mlp.hook_post",
)
"""Places in a layer that are listed where a model has them; any hook of TransformerLens can be used."""


def starting_config(
    models: Mapping[str, str],
    *,
    text: str | Sequence[str] | None = None,
    hook: str | Mapping[str, str] | None = None,
    width: int | Sequence[int] | None = None,
    tokens: int | None = None,
) -> str:
    """Write a configuration for models by name: YAML with comments on what can be changed, and what it costs.

    The models' configurations and tokenizers are read, not their weights.

    Parameters
    ----------
    models, text, hook, width, tokens
        As for `universality.pipeline.defaults.suggest`.

    Returns
    -------
    str
        Text of a YAML file.

    Raises
    ------
    UniversalityError
        If there is no such model, a model lacks the hook, or the text cannot be read.
    """
    values = suggest(models, text=text, hook=hook, width=width, tokens=tokens)
    config = parse_config(values)
    check_hooks(config, download=True)
    facts = {name: read_facts(source) for name, source in models.items()}
    lines = [
        "# Do these models learn the same features? Keys that are left out have their default.",
        "#   universality plan THIS_FILE                   tokens, memory, disk and hours of each stage",
        "#   universality run THIS_FILE --out runs/mine    runs, or resumes",
        "#",
        *(f"# {visible(name)}: {_described(model)}" for name, model in facts.items()),
        *_cost(values),
        "",
    ]
    comments = _comments(values, facts, config.hooks)
    for key, value in values.items():
        if not isinstance(value, dict) or key == "hook":
            lines += [*(f"# {line}" for line in comments.get(key, ())), *_dumped(key, value, "")]
            continue
        lines.append(f"{key}:")
        for inner, inner_value in value.items():
            lines += [f"  # {line}" for line in comments.get(f"{key}.{inner}", ())]
            lines += _dumped(inner, inner_value, "  ")
        lines += [f"  # {line}" for line in comments.get(f"{key}.", ())]
    return "\n".join(lines) + "\n"


def write_starting_config(path: str | Path, content: str) -> Path:
    """Write a configuration to a new file; raise ConfigError if the file or not even its folder exists."""
    path = as_path(path)
    if path.exists():
        raise ConfigError(f"{path}: exists already; name another file with --out, or delete it")
    if not path.parent.is_dir():
        raise ConfigError(f"{path}: the folder {path.parent} does not exist; create it, or name another with --out")
    with replacing_text(path) as file:
        file.write(content)
    return path


def _dumped(key: str, value: Any, indent: str) -> list[str]:
    flow = None if isinstance(value, dict | list) else False  # {A: …, B: …} on one line, and key: value without braces
    dumped = yaml.safe_dump({key: value}, default_flow_style=flow, sort_keys=False, allow_unicode=True, width=10_000)
    return [indent + line for line in dumped.rstrip().splitlines()]


def _described(model: ModelFacts) -> str:
    shape = model.shape
    reads = f", reads up to {count(model.n_ctx)} tokens" if model.n_ctx else ""
    return (
        f"{visible(model.source)}, {plural(shape.n_layers, 'layer')}, d_model {count(shape.d_model)}, "
        f"{count(shape.d_mlp)} neurons a layer, vocabulary {count(shape.d_vocab)}{reads}"
    )


def _cost(values: Mapping[str, Any]) -> list[str]:
    text, cost, hours = total_cost(parse_config(dict(values)))
    return [
        f"# Text: {count(text.train)} tokens to train on, {count(text.held_out)} held out",
        f"# Cost here, estimated within 3 to 10 times: {hours:.2g} hours, {cost.memory / 1e9:.2g} GB of memory, "
        f"{cost.disk / 1e9:.2g} GB of disk",
    ]


def _comments(
    values: Mapping[str, Any], facts: Mapping[str, ModelFacts], hooks: Mapping[str, str]
) -> dict[str, list[str]]:
    """Return the comments above each key, and under a section with the key "section."."""
    tokenizers = "tokenizers" in values["models"]
    comments = {
        "corpus.source": ["The shipped text, or your own: files, folders, JSON lines, CSV, Parquet (field text)"],
        "corpus.n_ctx": ["Tokens in a block; no more than any model reads"],
        "hook": list(_hook_comments(facts, hooks)),
        "models.": ["one_basis: true  # only for a model and its fine-tune, or checkpoints of one training"],
        "saes.widths": ["Features of an SAE. Several widths, such as [1024, 4096], also show how features split"],
        "saes.k": ["Features that fire on a token"],
        "saes.tokens": ["Tokens that each SAE is trained on; text that is shorter is repeated"],
    }
    if tokenizers:
        comments["models.tokenizers"] = ["The tokenizers differ, so features are compared on the same characters"]
        comments["corpus.tokenizer"] = ["Each model reads with its own tokenizer (models.tokenizers)"]
    return comments


def _hook_comments(facts: Mapping[str, ModelFacts], hooks: Mapping[str, str]) -> Iterator[str]:
    yield "Where activations are taken: one hook, or one for each model, {A: blocks.1.hook_mlp_out, B: …}."
    alike: dict[str, list[str]] = {}
    for name, model in facts.items():
        found = _hooks_in_layer(model, name, hooks[name])
        if found:
            layers = "one layer" if model.shape.n_layers == 1 else f"layers 0 to {model.shape.n_layers - 1}"
            places = ", ".join(f"{hook} [{d_in}]" for hook, d_in in found.items())
            alike.setdefault(f"{layers}. Some of its hooks, with the activations of a token: {places}", []).append(name)
    for described, names in alike.items():
        # A hook stays on one line with its number.
        line = f"{listed([visible(name) for name in names])}: {described}".replace(" [", "\0[")
        yield from (part.replace("\0", " ") for part in wrap(line, 110, break_on_hyphens=False))


def _hooks_in_layer(model: ModelFacts, name: str, hook: str) -> dict[str, int]:
    """Return the hooks of the layer of a hook that hold a vector a token; empty where a model cannot be outlined."""
    if not can_run_models():
        return {}
    from universality.activations.model_site import ModelSite
    from universality.models.weightless import outline_of

    outline, block = outline_of(model.folder, name), ".".join(hook.split(".")[:2])
    if outline is None:
        return {}
    found = {}
    for place in PLACES:
        with suppress(ModelError):  # this model has no such place
            found[f"{block}.{place}"] = ModelSite(outline, f"{block}.{place}").d_in
    return found
