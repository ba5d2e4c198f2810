"""One call from models to matched features: the pipeline, with the settings that suit what it is given."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from universality.config import Config, merged, parse_config
from universality.errors import ConfigError, ModelError
from universality.files import as_path, sha256
from universality.hooks import block_of
from universality.pipeline import given_inputs
from universality.pipeline.defaults import suggest
from universality.pipeline.finished_study import Study
from universality.pipeline.runner import STAGES, is_finished, run


def compare(
    models: Mapping[str, Any] | Sequence[str | Path],
    texts: Any = "starter",
    *,
    hook: str | Mapping[str, str] | None = None,
    width: int | Sequence[int] | None = None,
    tokens: int | None = None,
    saes: Mapping[str, Any] | None = None,
    tokenizers: Mapping[str, str] | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    until: str = "report",
) -> Study:
    """Compare the features of two models or more, and return the results.

    This is ``universality run`` with a configuration written for you: the call prints it, with its cost, before
    anything is spent. Calling again with the same arguments resumes an interrupted run and returns a finished one.

    Parameters
    ----------
    models
        Name → model. A model is a source as under ``models.load`` (a folder, ``owner/name@revision`` on the hub,
        ``starter/seed0``), or ``(model, tokenizer)`` of transformers, a `LanguageModel` or a TransformerBridge in
        memory, which is saved into the run's folder and left unchanged. A list of sources is named after them.
    texts
        ``"starter"`` (shipped), a source as ``corpus.source`` takes it (files, folders, a data set of the hub), or
        texts in memory: a list of strings or of records with ``text`` and optional ``kind``, ``group``, ``id``, a
        ``datasets`` object, or a DataFrame, which are saved into the run's folder. A list of strings that all name
        files is a list of files.
    hook
        One hook for all models, or name → hook; by default the hook that the SAEs state, else the residual stream at
        half of the depth.
    width
        Dictionary size, or sizes for families; by default the power of 2 near eight features for each activation.
    tokens
        Tokens on which each SAE is trained; by default 1,000 for each feature, at least a million.
    saes
        Name → SAEs to load instead of training: names, folders, or `SAE` objects, one or a list of them.
    tokenizers
        Name → source of a model's tokenizer; by default its own. Models with different tokenizers are compared on
        the stretches of text between boundaries that all tokenizers share.
    out
        The run's folder. By default ``runs/`` with the models' names and a hash of the arguments, so that calls with
        different arguments never share a folder.
    settings
        Further sections and keys of the configuration, which override the suggested ones:
        ``{"statistics": {"replicates": 10}, "saes": {"k": 64}}``.
    until
        Last stage to run; the results need ``match`` at least.

    Returns
    -------
    Study
        Summary, pairs, figures, graph and report of the run.

    Raises
    ------
    UniversalityError
        If there are fewer than two models, one does not exist or lacks the hook, a model in memory has no tokenizer,
        or an SAE does not fit its model.

    Examples
    --------
    Two shipped models::

        study = compare({"A": "starter/seed0", "B": "starter/seed1"}, hook="blocks.0.mlp.hook_post")
        print(study.summary())
        study.graph("pairs.graphml")
    """
    if until not in (needed := STAGES[STAGES.index("match") :]):
        raise ConfigError(f"until: results need the matching; expected one of {', '.join(needed)}, found {until!r}")
    prepared = prepare(
        models,
        texts,
        hook=hook,
        width=width,
        tokens=tokens,
        saes=saes,
        tokenizers=tokenizers,
        out=out,
        settings=settings,
    )
    prepared.announce()
    run(prepared.config, prepared.folder, until=until)
    return Study(prepared.folder)


@dataclass(frozen=True)
class Prepared:
    """A comparison that is ready to run.

    Attributes
    ----------
    values
        Sections and keys that differ from the defaults, as a YAML file would have them.
    folder
        The run's folder.
    """

    values: dict[str, Any]
    folder: Path

    @property
    def config(self) -> Config:
        """The validated configuration."""
        return parse_config(self.values, where="compare")

    @property
    def yaml(self) -> str:
        """The configuration as a file for ``universality run``."""
        return str(yaml.safe_dump(self.values, sort_keys=False, allow_unicode=True, width=120))

    def announce(self) -> None:
        """Print the configuration and, unless the run is finished, its cost."""
        from universality.pipeline.cost.machine import describe_plan

        config = self.config  # a configuration that is refused is not printed
        print(self.yaml, flush=True)
        if not is_finished(config, self.folder):
            print("\n".join(describe_plan(config)), end="\n\n", flush=True)


def prepare(
    models: Mapping[str, Any] | Sequence[str | Path],
    texts: Any = "starter",
    *,
    saes: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    **suggested: Any,
) -> Prepared:
    """Save what is in memory and suggest the configuration; parameters as for `compare`.

    Raises
    ------
    UniversalityError
        As `compare`.
    """
    named = given_inputs.named_models(models)
    for argument, by_model in (("saes", saes), ("tokenizers", suggested.get("tokenizers"))):
        if unknown := sorted(set(map(str, by_model or ())) - named.keys()):
            raise ConfigError(f"{argument} names {', '.join(unknown)}, the models are {', '.join(named)}")
    if settings is not None and not isinstance(settings, Mapping):
        raise ConfigError(f"settings: expected a mapping of sections, found {type(settings).__name__}")
    _check_early(named, hook=suggested.get("hook"), settings=settings or {})
    listed = {name: given_inputs.listed_saes(name, given) for name, given in (saes or {}).items()}
    in_memory = {
        name: given_inputs.model_and_tokenizer(name, model)
        for name, model in named.items()
        if not given_inputs.is_path(model)
    }
    with given_inputs.texts_as_source(texts) as (named_source, texts_file):
        if out is None:
            given = [
                {name: given_inputs.identity(in_memory.get(name, model)) for name, model in named.items()},
                {name: [given_inputs.identity(sae) for sae in items] for name, items in listed.items()},
                sha256(texts_file) if texts_file else named_source,
                {key: value for key, value in suggested.items() if value is not None},
                settings or {},
            ]
            digest = hashlib.sha256(json.dumps(given, sort_keys=True, default=str).encode()).hexdigest()
            out = Path("runs") / f"{'-'.join(named)}-{digest[:8]}"
        inputs = as_path(out) / "inputs"
        kept_texts = inputs / "texts.jsonl"
        source = named_source if texts_file is None else str(given_inputs.keep_texts(texts_file, kept_texts))
    sources = {
        name: str(given_inputs.keep_model(*in_memory[name], inputs / "models" / name) if name in in_memory else model)
        for name, model in named.items()
    }
    paths = {name: given_inputs.keep_saes(items, inputs / "saes" / name) for name, items in listed.items()}
    values = suggest(sources, text=source, saes=paths or None, **suggested)
    return Prepared(merged({**values, "name": " and ".join(named)}, settings or {}), as_path(out))


def _check_early(named: Mapping[str, Any], hook: Any, settings: Mapping[str, Any]) -> None:
    """Refuse names, hooks and settings that no configuration takes, before a model is saved."""
    values: dict[str, Any] = {"models": {"load": dict.fromkeys(named, "starter/seed0")}}
    values |= {"hook": dict(hook) if isinstance(hook, Mapping) else hook} if hook is not None else {}
    checked = dict(settings)
    if isinstance(saes := settings.get("saes"), Mapping):  # the rest depends on widths and models
        checked["saes"] = {key: value for key, value in saes.items() if key not in ("k", "nested", "widths", "load")}
    hooks = parse_config(merged(values, checked), where="compare").hooks
    for name, model in named.items() if hook is not None else ():
        n_layers = given_inputs.n_layers(model)
        block = block_of(hooks[name])
        if n_layers is not None and block is not None and block >= n_layers:
            raise ModelError(f"{name}: {hooks[name]} is of block {block}, and the model has {n_layers}, counted from 0")
