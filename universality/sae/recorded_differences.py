"""Differences between two SAEs besides their seed, as far as their files record them.

Two SAEs of one model are a ceiling for comparisons between models only if nothing but the seed differs. Tools record
different settings under different names, so only settings that both SAEs record under one name are compared.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from universality.sae.formats.stated_hook import stated_hook, stated_hook_out
from universality.sae.sae import SAE

# Names of settings that influence what an SAE learns; files also hold run names, paths, devices, versions and dates.
_LEARNT_FROM = re.compile(
    r"token|step|epoch|batch|rate|^lr|^l[01](_|$)|sparsity|lambda|penalty|coeff|warm|decay|anneal|aux|bandwidth|beta|"
    r"dataset|blocks_hash|context|ctx|prepend_bos|dict_class|group|optimizer|target|norm|topk|resample_at|dead_after|"
    r"train_decoder"
)
_OF_MODEL = re.compile(r"^(model_name|lm_name|hash)$")
_LEFT_OUT = re.compile(r"seed|log|wandb|checkpoint|save|eval|device|dtype|version|buffer")
_LONGEST = 40  # characters of a value that are shown


@dataclass(frozen=True)
class Difference:
    """A setting in which two SAEs differ, with both values as text."""

    name: str
    a: str
    b: str

    def __str__(self) -> str:
        """Text such as ``k (16 and 32)``."""
        return f"{self.name} ({self.a} and {self.b})"


def differences(a: SAE, b: SAE, *, one_model: bool = True) -> list[Difference]:
    """List the recorded settings in which two SAEs differ, except seeds.

    Parameters
    ----------
    a, b
        The SAEs.
    one_model
        Whether both belong to one model. If not, the recorded model and hook may differ.

    Returns
    -------
    list of Difference
        Architecture and settings first, then the training; empty if the SAEs agree.
    """
    ours, theirs = _settings(a, one_model), _settings(b, one_model)
    shared = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    return [Difference(name, _shown(ours[name]), _shown(theirs[name])) for name in shared]


def training_recorded(a: SAE, b: SAE) -> bool:
    """Whether both record at least one common setting of their training, so that a difference could show."""
    return bool(dict(_learnt_from(a.metadata)).keys() & dict(_learnt_from(b.metadata)).keys())


def _settings(sae: SAE, one_model: bool) -> dict[str, Any]:
    names = ["architecture", "d_sae", "k", "nested", "apply_b_dec_to_input", "normalize_activations"]
    names += ["d_in", "d_out", "transcoder"] if one_model else []
    settings = {name: getattr(sae, name) for name in names}
    loaded = sae.metadata.get("loaded")
    if isinstance(loaded, Mapping) and loaded.get("format"):
        settings["tool"] = str(loaded["format"]).split(" (")[0]  # two tools train differently, whatever they record
    for name, value in _learnt_from(sae.metadata):
        settings.setdefault(name, value)
    if one_model:
        settings |= {name: value for name, value in _leaves(sae.metadata) if _OF_MODEL.search(name)}
        hook = stated_hook(sae.metadata)
        settings |= {} if hook is None else {"hook": hook}
        settings["hook_out"] = stated_hook_out(sae.metadata) if sae.transcoder else None
    return {name: value for name, value in settings.items() if value is not None}


def _learnt_from(metadata: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    leaves = _leaves({name: value for name, value in metadata.items() if name != "loaded"})
    return ((name, value) for name, value in leaves if _LEARNT_FROM.search(name) and not _LEFT_OUT.search(name))


def _leaves(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, where those of nested objects lose the names of their sections."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield str(name), list(value) if isinstance(value, tuple) else value


def _shown(value: Any) -> str:
    text = str(list(value) if isinstance(value, tuple) else value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
