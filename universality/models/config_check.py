"""Check from ``config.json`` alone, before any text is read, that a folder holds a usable causal language model."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from universality.errors import ModelError

FORMAT = "universality-model"
"""Value of ``format`` in the ``config.json`` of a model saved by this package."""
_OTHER_TYPES = {
    "masked_lm": "an encoder, whose tokens attend to later ones",
    "seq2seq": "an encoder and a decoder",
    "audio": "a model of sound",
    "vision": "a model of pictures",
}


def read_config(folder: Path) -> dict[str, Any]:
    """Read the ``config.json`` of a model saved here or a Hugging Face model; raise ModelError for anything else."""
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"{file}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise ModelError(f"{file}: expected a JSON object, found {type(config).__name__}")
    if config.get("format") != FORMAT and "model_type" not in config:
        raise ModelError(
            f"{file}: neither a model saved here (format {FORMAT!r}) nor a Hugging Face config (model_type)"
        )
    return config


def check_architecture(folder: str | Path) -> str | None:
    """Refuse a folder whose ``config.json`` does not describe a causal language model that can be run here.

    No weights are read. A model that passes may still be refused when it is loaded.

    Parameters
    ----------
    folder
        Folder with ``config.json``; see `universality.models.shipped.model_folder`.

    Returns
    -------
    str or None
        Name of the Hugging Face architecture; None for a model saved here.

    Raises
    ------
    ModelError
        If it does not; names the architecture, the reason, and what to use instead.
    """
    folder = Path(folder)
    file = folder / "config.json"
    config = read_config(folder)
    if config.get("format") == FORMAT:
        return None
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{folder}: adapter_config.json says that this is an adapter (LoRA or its like), which would be left out; "
            "merge it into its model (peft: model.merge_and_unload()) and save that with save_pretrained"
        )
    parsed = _transformers_config(file, config)
    architecture = _bridged(file, parsed)
    _refuse_other_types(file, parsed, architecture)
    _check_parts(file, parsed, architecture)
    return architecture


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error message, without a full stop at its end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".:")


def empty_tokenizer(folder: str | Path) -> Any:
    """Save and return a tokenizer with one token, for a bridge that only receives token ids."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    backend, special = Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>")), "<unk>"
    PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token=special, bos_token=special, eos_token=special, pad_token=special
    ).save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def _transformers_config(file: Path, config: dict[str, Any]) -> Any:
    from transformers import CONFIG_MAPPING, AutoConfig

    own_code = " Its own code (auto_map) is not run." if "auto_map" in config else ""
    model_type, library = config["model_type"], f"transformers {version('transformers')}"
    if not isinstance(model_type, str) or model_type not in CONFIG_MAPPING:
        raise ModelError(
            f"{file}: {library} knows no model_type {model_type!r}.{own_code} Take a model that it knows, or a "
            "version of it that knows this one"
        )
    try:
        return AutoConfig.from_pretrained(str(file.parent), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # of many types: contradicting fields, remote code
        raise ModelError(
            f"{file}: {library} cannot read this config of model_type {model_type!r} ({first_line(error)}).{own_code} "
            "Take the config.json that was saved with the model"
        ) from None


def _bridged(file: Path, config: Any) -> str:
    from transformer_lens.model_bridge.sources.transformers import determine_architecture_from_hf_config

    try:
        return str(determine_architecture_from_hf_config(config))
    except ValueError:
        named = ", ".join(config.architectures or ()) or config.model_type
        raise ModelError(
            f"{file}: TransformerLens {version('transformer-lens')} cannot run a {named}; take a causal language model "
            "of an architecture that it knows, or a version of it that knows this one"
        ) from None


def _refuse_other_types(file: Path, config: Any, architecture: str) -> None:
    from transformer_lens.utilities.architectures import classify_architecture
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    model_class = classify_architecture(architecture)
    # The class name alone misleads: BertLMHeadModel attends both ways unless its config sets is_decoder.
    if config.is_encoder_decoder:
        model_class = "seq2seq"
    elif config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(config, "is_decoder", False):
        model_class = "masked_lm"
    if model_class in _OTHER_TYPES:
        raise ModelError(
            f"{file}: expected a causal language model, which reads from left to right; {architecture} is "
            f"{_OTHER_TYPES[model_class]}. Give a model whose architecture is one of …ForCausalLM or …LMHeadModel"
        )


def _check_parts(file: Path, config: Any, architecture: str) -> None:
    """Refuse a model that lacks a part which TransformerLens expects."""
    if lacking := _parts_lacking(file.parent, architecture, config.to_json_string()):
        raise ModelError(
            f"{file}: TransformerLens {version('transformer-lens')} expects a {lacking[0]} in this {architecture}, and "
            "the model that this config describes has none; give another model of the architecture"
        )


@lru_cache
def _parts_lacking(folder: Path, architecture: str, config: str) -> list[str]:
    """Return the missing parts of a model, which is built without memory for weights.

    Building takes seconds, and a plan or a run asks several times; ``config``, the text of the configuration, is there
    for the cache.
    """
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformer_lens.model_bridge.sources.transformers import get_hf_model_class_for_architecture
    from transformers import AutoConfig

    parsed = AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    try:
        with torch.device("meta"), redirect_stdout(io.StringIO()), TemporaryDirectory() as tokenizer_folder:
            model = get_hf_model_class_for_architecture(architecture).from_config(parsed)
            bridge = TransformerBridge.boot_transformers(
                str(folder), hf_model=model, tokenizer=empty_tokenizer(tokenizer_folder), device="meta"
            )
    except Exception:  # some models cannot be built without values; they are checked when they are loaded
        return []
    parts = [name for name in ("embed", "ln_final", "unembed") if getattr(bridge, name, None) is not None]
    return [name for name in parts if getattr(bridge, name).original_component is None]
