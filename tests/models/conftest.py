"""A tiny corpus and architecture, trained in about a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from universality.corpus import TokenBlocks, build_corpus
from universality.models.model_settings import ModelArchitecture


@pytest.fixture(scope="session")
def blocks() -> TokenBlocks:
    return build_corpus(max_documents=24, tokenizer="train", d_vocab=300, n_ctx=32, held_out=0.4).blocks


@pytest.fixture(scope="session")
def architecture() -> ModelArchitecture:
    return ModelArchitecture(d_model=32, n_heads=2, d_mlp=64)


_SIZES = {
    "vocab_size": 300, "hidden_size": 32, "n_embd": 32, "d_model": 32, "word_embed_proj_dim": 32, "lru_width": 32,
    "intermediate_size": 64, "ffn_dim": 64, "n_inner": 64, "ffn_hidden_size": 64, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "num_hidden_layers": 2, "n_layer": 2, "n_layers": 2, "num_layers": 2,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "attention_heads": 4, "num_heads": 4, "num_key_value_heads": 4,
    "head_dim": 8, "rotary_dim": 4, "max_position_embeddings": 64, "n_positions": 64, "max_seq_len": 64,
    "sliding_window": 8, "attention_window_size": 8, "num_local_experts": 2, "num_experts": 2, "n_routed_experts": 2,
    "num_experts_per_tok": 1, "n_group": 1, "topk_group": 1, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    # State-space layers without their kernels cost chunk² · heads · state: 26 s at the default chunk of 256.
    "mamba_chunk_size": 8, "chunk_size": 8, "mamba_d_state": 8, "ssm_state_size": 8, "mamba_d_ssm": 64,
    "mamba_n_heads": 8, "mamba_num_heads": 8, "mamba_d_head": 8, "mamba_head_dim": 8,
}  # fmt: skip


def tiny_config(model_type: str, **changes: Any) -> Any:
    """A configuration of transformers with the fields that it has set to small values."""
    from transformers import AutoConfig

    kind = type(AutoConfig.for_model(model_type))
    known = AutoConfig.for_model(model_type)
    sizes = {key: value for key, value in _SIZES.items() if hasattr(known, key)}
    try:
        return kind(**sizes | changes)
    except Exception:  # a class that computes it
        return kind(**{key: value for key, value in sizes.items() if key != "head_dim"} | changes)


@pytest.fixture(scope="session")
def save_tiny(tmp_path_factory: pytest.TempPathFactory, blocks: TokenBlocks) -> Callable[..., Path]:
    """Save a tiny Hugging Face model of a type, norms and biases drawn from N(0.5, 0.3); returns its folder.

    Fresh norms are constant, which hides what is done with their weights.
    """
    import torch
    import transformers
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    backend, special = Tokenizer(WordLevel({"<s>": 0}, unk_token="<s>")), {"bos_token": "<s>", "eos_token": "<s>"}
    made: dict[str, Path] = {}

    def save(model_type: str, auto: str = "AutoModelForCausalLM", **changes: Any) -> Path:
        key = f"{model_type}-{auto}-{changes}"
        if key not in made:
            folder = tmp_path_factory.mktemp(model_type)
            config = tiny_config(model_type, **changes)
            with torch.device("meta"):
                size = sum(p.numel() for p in getattr(transformers, auto).from_config(config).parameters())
            if size > 5_000_000:
                pytest.skip(f"{model_type} does not get small by the fields known here: {size:,} parameters")
            torch.manual_seed(0)
            model = getattr(transformers, auto).from_config(config).float()
            with torch.no_grad():
                for value in model.parameters():
                    value.normal_(0.5, 0.3) if value.ndim == 1 else value.add_(0.05 * torch.randn_like(value))
            model.save_pretrained(folder)
            transformers.PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
            made[key] = folder
        return made[key]

    return save
