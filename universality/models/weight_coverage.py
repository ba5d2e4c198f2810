"""Check that the weights in a Hugging Face folder are those of the model that its ``config.json`` describes.

transformers initialises missing tensors at random and ignores surplus ones; it logs both and continues. Here both are
errors, found in the loading info that ``from_pretrained`` returns. Tensors that transformers omits on purpose are
neither missing nor surplus: tied weights, and masks and rotary tables of old versions.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from universality.errors import ModelError

_CERTAIN = re.compile(r"(?:_orig_mod\.|module\.)+")
_MASKS = re.compile(r"\.(attn|attention|self_attention)\.(attention\.)?(bias|masked_bias|causal_mask)$")
"""Causal masks and their constants: transformers saved them before 4.30, and version 5 lists some as unexpected."""
_LORA = re.compile(r"lora_|\.base_layer\.")
_WRAPPERS = {
    "_fsdp_wrapped_module.": "FSDP",
    "_checkpoint_wrapped_module.": "activation checkpointing",
    "_orig_mod.": "torch.compile",
    "base_model.model.": "PEFT",
    "module.": "DataParallel",
}
"""Parts that wrapping tools insert into tensor names; a longer part comes before one that it contains."""
_SHOWN = 3


@dataclass(frozen=True)
class Fit:
    """Differences between the tensors in a folder and those of a model, by name.

    Attributes
    ----------
    expected
        All tensors of the model that must be read; tied tensors count once.
    missing, surplus
        Tensors in the model only, and in the folder only.
    reshaped
        Name, shape in the folder and shape in the model.
    head
        Name of the unembedding module.
    """

    expected: frozenset[str]
    missing: frozenset[str]
    surplus: frozenset[str]
    reshaped: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    head: str | None

    @property
    def exact(self) -> bool:
        """Return whether nothing differs."""
        return not (self.missing or self.surplus or self.reshaped)

    @property
    def prefix(self) -> str | None:
        """Prefix of every name in the folder, if a tool certainly added it; else None."""
        if not self.surplus or self.missing != self.expected:
            return None
        first = _CERTAIN.match(min(self.surplus))
        return first[0] if first and all(name.startswith(first[0]) for name in self.surplus) else None


class CoveringLoader:
    """Stand-in for a model class of transformers whose ``from_pretrained`` refuses weights that do not fit.

    Parameters
    ----------
    model_class
        Class of transformers with ``from_pretrained``.
    folder, architecture
        Named in error messages.
    """

    def __init__(self, model_class: Any, folder: Path, architecture: str) -> None:
        self.model_class, self.folder, self.architecture = model_class, folder, architecture

    def from_pretrained(self, source: str, **options: Any) -> Any:
        """Load the model, and refuse missing or surplus weights.

        A prefix that torch.compile or DataParallel left on all names is removed in memory.

        Raises
        ------
        ModelError
            If weights do not fit; names them and the likely cause.
        """
        model, fit = self._load(source, options)
        if prefix := fit.prefix:
            del model  # frees its memory before the second load
            model, fit = self._load(source, options | {"key_mapping": {f"^{re.escape(prefix)}": ""}})
        if not fit.exact:
            raise ModelError(
                f"{self.folder}: the weights are not those of the {self.architecture} in config.json: "
                f"{_differences(fit)}. Likely cause: {likely_cause(fit)}"
            )
        return model

    def _load(self, source: str, options: dict[str, Any]) -> tuple[Any, Fit]:
        # Without ignore_mismatched_sizes transformers raises before the names of other differences are known.
        model, info = self.model_class.from_pretrained(
            source, output_loading_info=True, ignore_mismatched_sizes=True, **options
        )
        return model, _fit(model, info)


def likely_cause(fit: Fit) -> str:
    """Explain what probably happened to weights that do not fit, and what to do."""
    return _in_the_names(fit) or _in_the_layers(fit) or _in_the_rest(fit)


def _in_the_names(fit: Fit) -> str | None:
    if any(_LORA.search(name) for name in fit.surplus):
        return "a LoRA that was not merged; call model.merge_and_unload() and save the result with save_pretrained"
    wrapped = _wrapper(fit)
    return f"the names carry {wrapped}; save the model inside with save_pretrained" if wrapped else None


def _in_the_layers(fit: Fit) -> str | None:
    if layers := _whole_layers(fit.missing, fit.expected):
        return (
            f"config.json lists layers that the files lack (number {layers}): a file of weights is missing, or the "
            "number of layers in config.json is wrong"
        )
    layers = _whole_layers(fit.surplus, fit.expected)
    cause = f"the files hold layers that config.json does not list (number {layers}); correct its number of layers"
    return cause if layers else None


def _in_the_rest(fit: Fit) -> str:
    if fit.head and fit.missing and all(name.startswith(fit.head) for name in fit.missing):
        return (
            "the weights of a model without its unembedding, or with another head; save the …ForCausalLM or "
            "…LMHeadModel, or set tie_word_embeddings to true in config.json if the embedding serves as both"
        )
    if fit.missing and not fit.surplus:
        return "a file of weights is missing; copy all of the files that save_pretrained wrote"
    if fit.reshaped and not (fit.missing or fit.surplus):
        return "config.json is another model's, or its sizes were changed; take the one that was saved with the weights"
    return "the weights of another model or of a larger one; save the language model alone with save_pretrained"


def _fit(model: Any, info: dict[str, Any]) -> Fit:
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    head = model.get_output_embeddings()
    names = [name for name, module in model.named_modules() if head is not None and module is head]
    return Fit(
        expected=frozenset(model.state_dict().keys() - tied),
        missing=frozenset(info["missing_keys"]),
        surplus=frozenset(name for name in info["unexpected_keys"] if not _MASKS.search(name)),
        reshaped=tuple(sorted((n, tuple(a), tuple(b)) for n, a, b in info["mismatched_keys"])),
        head=names[0] if names else None,
    )


def _differences(fit: Fit) -> str:
    parts = []
    if fit.missing:
        parts.append(f"{len(fit.missing)} of {len(fit.expected)} tensors are missing ({_first(fit.missing)})")
    if fit.surplus:
        parts.append(f"{len(fit.surplus)} are surplus ({_first(fit.surplus)})")
    if fit.reshaped:
        shapes = [f"{name} {list(a)} in place of {list(b)}" for name, a, b in fit.reshaped]
        parts.append(f"{len(fit.reshaped)} have another shape ({_first(shapes)})")
    return ", ".join(parts)


def _first(names: Collection[str]) -> str:
    shown = sorted(names)[:_SHOWN]
    return ", ".join(shown) + (", …" if len(names) > _SHOWN else "")


def _wrapper(fit: Fit) -> str | None:
    """Return the inserted part without which surplus names are the model's, and the tool that inserts it."""
    for part, tool in _WRAPPERS.items():
        if any(part in name and name.replace(part, "") in fit.expected for name in fit.surplus):
            return f"{part!r} of {tool}"
    before = {name.removesuffix(end) for name in fit.surplus for end in fit.expected if name.endswith(f".{end}")}
    return f"{min(before)!r} of a module that held the model" if before else None


def _whole_layers(names: Collection[str], among: Collection[str]) -> str | None:
    """Return the numbers of the layers that these names form, if they are whole layers and nothing else."""
    layers = {_layer(name) for name in names}
    if not names or None in layers or any(_layer(name) in layers and name not in names for name in among):
        return None
    numbers = sorted(number for number in layers if number is not None)
    return str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"


def _layer(name: str) -> int | None:
    match = re.search(r"\.(\d+)\.", name)
    return int(match[1]) if match else None
