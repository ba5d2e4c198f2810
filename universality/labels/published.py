"""Explanations that others have published, as one table, and their features found in a store.

An explanation belongs to a feature of one SAE at one hook of one model. `attach` compares all four (model, layer, SAE,
index) with what the store records, and refuses what it cannot confirm: an explanation on the wrong dictionary looks
like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from universality.features.storage.store import FeatureStore
from universality.hooks import block_of, place_of

_PARTS = {"": "the residual stream", "mlp": "the MLP's output"} | dict.fromkeys(
    ("attn", "attention", "self_attn"), "the attention's output"
)
"""Part of a block by the name of its module in `transformers`; the block itself adds to the residual stream."""
_MODULE = re.compile(r"(?:.*\.)?(?:layers|h|layer)\.(\d+)(?:\.(.*))?")


@dataclass(frozen=True)
class PublishedLabel:
    """One explanation of one feature.

    Parameters
    ----------
    model
        Name of the language model, as published.
    site
        Layer or module: ``"6"`` (Neuronpedia), ``"layers.6.mlp"`` (delphi).
    sae
        Name of the SAE: ``"res-jb"`` (Neuronpedia), a folder or repository (delphi); empty if not recorded.
    feature
        Index in the SAE.
    explanation
        Text.
    scores
        Name of the scorer → value.
    explainer
        Name of the model that wrote it; empty if not recorded.
    source
        File and, in files of lines, the line.
    """

    model: str
    site: str
    sae: str
    feature: int
    explanation: str
    scores: Mapping[str, float] = field(default_factory=dict)
    explainer: str = ""
    source: str = ""


def whole_characters(text: str) -> str:
    r"""Replace lone surrogates, which JSON can hold and no server takes, by escapes.

    >>> print(whole_characters("a\udcd7b"))
    a\udcd7b
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@dataclass(frozen=True)
class PublishedLabels:
    """Published explanations, in the order of the files.

    Parameters
    ----------
    labels
        The explanations.
    left_out
        What the files hold and this table does not → how often: unknown fields, empty explanations, unreadable scores.
    """

    labels: tuple[PublishedLabel, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def to_frame(self) -> pd.DataFrame:
        """Return one row an explanation, with one column a score."""
        return _frame(self.labels)


@dataclass(frozen=True)
class AttachedLabels:
    """Published explanations by the features of a store, and those of other features.

    Parameters
    ----------
    labels
        Feature of the store → its explanations.
    unmatched
        Reason → explanations that were not attached for that reason.
    """

    labels: Mapping[int, tuple[PublishedLabel, ...]]
    unmatched: Mapping[str, tuple[PublishedLabel, ...]]

    def to_frame(self) -> pd.DataFrame:
        """Return one row an attached explanation, by feature."""
        return _frame([label for feature in sorted(self.labels) for label in self.labels[feature]])

    def __str__(self) -> str:
        n, m = sum(map(len, self.labels.values())), len(self.labels)
        total = n + sum(map(len, self.unmatched.values()))
        lines = [f"{n:,} of {total:,} explanations matched, on {m:,} {'feature' if m == 1 else 'features'}"]
        return "\n".join([*lines, *(f"{len(labels):,} not matched: {why}" for why, labels in self.unmatched.items())])


def attach(
    published: PublishedLabels,
    store: FeatureStore,
    *,
    model: str | None = None,
    site: str | None = None,
    sae: str | None = None,
) -> AttachedLabels:
    """Find the features of a store among published explanations, by model, layer, SAE and index.

    Without ``model``, ``site`` and ``sae`` they are taken from the store's provenance: ``model.name``; ``site``, of
    which the number of the layer and the part of it must agree; ``sae.name``, or ``sae.neuronpedia_id`` such as
    ``"gpt2-small/6-res-jb"``, which names all three. Upper and lower case and the owner before the slash of a model's
    name do not count.

    Parameters
    ----------
    published
        What `read_neuronpedia` or `read_delphi` returned.
    store
        An open store.
    model, site, sae
        Published names of the store's model, layer and SAE, where the store has none or other ones. They must agree
        exactly with those of an explanation.

    Returns
    -------
    AttachedLabels
        Every explanation is in exactly one place.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from scipy import sparse
    >>> label = PublishedLabel("gpt2-small", "6", "res-jb", 2, "time-related phrases")
    >>> other = PublishedLabel("gpt2-small", "7", "res-jb", 2, "animals")
    >>> csr = sparse.eye(4, format="csr")
    >>> with TemporaryDirectory() as folder:
    ...     tokens = {"document": [0, 0, 1, 1], "special_tokens": []}
    ...     store = FeatureStore.from_csr(csr, f"{folder}/a.h5", [1, 2, 3, 4], **tokens)
    ...     found = attach(PublishedLabels((label, other)), store, model="gpt2-small", site="6", sae="res-jb")
    ...     store.close()
    >>> print(found)
    1 of 2 explanations matched, on 1 feature
    1 not matched: layer '7', expected '6'
    """
    wanted = _wanted(store, model, site, sae)
    labels: dict[int, list[PublishedLabel]] = {}
    unmatched: dict[str, list[PublishedLabel]] = {}
    reasons: dict[tuple[str, str, str], str] = {}
    for label in published.labels:
        origin = label.model, label.site, label.sae
        if origin not in reasons:
            reasons[origin] = next(
                filter(None, (check(value) for check, value in zip(wanted, origin, strict=True))), ""
            )
        if why := reasons[origin]:
            unmatched.setdefault(why, []).append(label)
        elif label.feature >= store.n_features:
            unmatched.setdefault(f"no such index: the store has {store.n_features:,} features", []).append(label)
        else:
            labels.setdefault(label.feature, []).append(label)
    return AttachedLabels(
        {feature: tuple(found) for feature, found in labels.items()},
        {why: tuple(found) for why, found in unmatched.items()},
    )


_Check = Callable[[str], str]
"""Function from a published name to the reason why it does not match; empty if it does."""


def _wanted(store: FeatureStore, model: str | None, site: str | None, sae: str | None) -> tuple[_Check, _Check, _Check]:
    """Checks of the published model, layer and SAE."""
    of_sae = _section(store.provenance.get("sae"))
    np_model, _, np_source = str(of_sae.get("neuronpedia_id") or "").partition("/")
    layer, _, sae_set = np_source.partition("-")
    model, site, sae = model or np_model or None, site or layer or None, sae or sae_set or None
    recorded_model = _section(store.provenance.get("model")).get("name")
    recorded_sae = of_sae.get("name")
    by_site = _exactly("layer", site) if site else _at_hook(store.provenance.get("site"))
    return (
        _exactly("model", model) if model else _by_name("model", recorded_model),
        by_site,
        _exactly("SAE", sae) if sae else _by_name("SAE", recorded_sae),
    )


def _section(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _exactly(kind: str, wanted: str) -> _Check:
    return lambda found: "" if found == wanted else f"{kind} {found!r}, expected {wanted!r}"


def _by_name(kind: str, recorded: Any) -> _Check:
    if not isinstance(recorded, str) or not recorded:
        return lambda found: f"the store does not record the name of its {kind}; state it with {kind.lower()}="
    return lambda found: (
        ""
        if found and _last(found) == _last(recorded)
        else f"{kind} {found!r}, and the store has {recorded!r}; if they are the same, state it with {kind.lower()}="
    )


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].casefold()


def _at_hook(hook: Any) -> _Check:
    """Check that a published layer has the number of the hook's block, and is the same part of the block."""
    block = block_of(hook) if isinstance(hook, str) else None
    if block is None:
        return lambda found: "the store does not record the layer of its hook; state it with site="
    place = place_of(hook) or "unknown"
    advice = f"and the store has {hook!r}; if they are the same, state it with site="

    def check(found: str) -> str:
        agrees = found == hook or _layer(found) in ((block, None), (block, place))
        return "" if agrees else f"layer {found!r}, {advice}"

    return check


def _layer(name: str) -> tuple[int | None, str | None]:
    """Number of a layer, and the part of the block; None where the name has a number alone.

    >>> _layer("6"), _layer("layers.6.mlp"), _layer("transformer.h.3"), _layer("layers.6.mlp.act")
    ((6, None), (6, "the MLP's output"), (3, 'the residual stream'), (6, 'another part'))
    """
    if name.isdecimal():
        return int(name), None
    match = _MODULE.fullmatch(name)
    if match is None:
        return block_of(name), place_of(name) or "another part"
    return int(match[1]), _PARTS.get(match[2] or "", "another part")


def _frame(labels: tuple[PublishedLabel, ...] | list[PublishedLabel]) -> pd.DataFrame:
    fields = ("model", "site", "sae", "feature", "explanation", "explainer", "source")
    names = list(dict.fromkeys(name for label in labels for name in label.scores))
    rows = [{**{f: getattr(x, f) for f in fields}, **{f"score {n}": x.scores.get(n) for n in names}} for x in labels]
    return pd.DataFrame(rows, columns=[*fields, *(f"score {name}" for name in names)])
