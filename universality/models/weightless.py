"""Outline of a model without its weights: modules, hooks and shapes from the configuration, in seconds at any size."""

import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from transformer_lens.model_bridge import TransformerBridge

from universality.models.language_model import LanguageModel, new_model
from universality.models.model_settings import ModelArchitecture

_SMALL = {"d_vocab": 8, "n_ctx": 8}  # hooks and shapes at hooks do not depend on them


def outline_of(folder: Path, name: str) -> LanguageModel | None:
    """Build the outline of a model from its folder's ``config.json``; None if it cannot be built without weights.

    An outline computes no values: its tensors have a shape only (PyTorch's device "meta") or hold uninitialised
    memory.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        if "architecture" in config:  # saved by this package
            given = config["architecture"]
            sizes = {key: given[key] for key in ("n_layers", "d_model", "n_heads", "act_fn")}
            return outline_to_train(ModelArchitecture(**sizes, d_mlp=config["d_mlp"]), name)
        return _of_hugging_face(folder, name)
    except Exception:  # loading the model itself gives a better error
        return None


def positions_of(folder: Path, outline: LanguageModel) -> int:
    """Return the number of positions that a model reads; outlines keep it for Hugging Face models only."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config["architecture"]["n_ctx"]) if "architecture" in config else outline.n_ctx


def outline_to_train(architecture: ModelArchitecture, name: str) -> LanguageModel:
    """Build the outline of a model that is yet to be trained; raise ModelError if that is impossible."""
    return new_model(architecture, **_SMALL, init_seed=0, name=name)


def _of_hugging_face(folder: Path, name: str) -> LanguageModel:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    try:
        bridge = _bridge(folder, model)
    except NotImplementedError:  # TransformerLens splits GPT-2's joint QKV matrix, which needs memory, if no values
        bridge = _bridge(folder, model.to_empty(device="cpu"))
    return LanguageModel(bridge.eval(), name)


def _bridge(folder: Path, model: Any) -> TransformerBridge:
    with redirect_stdout(StringIO()):
        return TransformerBridge.boot_transformers(
            str(folder), hf_model=model, tokenizer=_any_tokenizer(), dtype=model.dtype, device=model.device
        )


def _any_tokenizer() -> Any:
    """Return a tokenizer for TransformerLens, which requires one; no text is read."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({"a": 0, "b": 1}, unk_token="a"))
    # With a BOS, TransformerLens would look for the folder that the tokenizer came from.
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="b", pad_token="b", unk_token="a")
