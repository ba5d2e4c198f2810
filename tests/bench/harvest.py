"""Harvesting against a bare Hugging Face forward pass that is cut at the same layer: tokens a second, and memory.

Then two layers of one model, the given one and the one halfway to it, against the same layers of two models.

    python tests/bench/harvest.py [--model smollm2/] [--layer 4] [--blocks 64] [--n-ctx 128] [--threads 2]

Both run the same token blocks in the same number format and keep the residual stream after the same layer. The bare
pass is `transformers` with the layers behind it taken away and no unembedding. Passes alternate, so that other
programs on the machine disturb both; on a CPU processor time is measured. Without a folder at ``--model`` a small
random model of the Llama architecture is made in memory, whose overhead a token is larger than a real one's.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from copy import deepcopy
from pathlib import Path
from statistics import median

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from universality.activations import ModelSite, harvest
from universality.corpus.blocks import TokenBlocks, cut_blocks
from universality.corpus.documents import DocumentTable
from universality.models.language_model import LanguageModel, load_model, weights

TARGET = 0.7


def small_model(folder: Path) -> Path:
    """A random model with SmolLM2-135M's shape but six layers and a small vocabulary."""
    config = LlamaConfig(
        vocab_size=4096, hidden_size=576, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=9,
        num_key_value_heads=3, max_position_embeddings=512, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"?": 0}, unk_token="?"))).save_pretrained(folder)
    return folder


def random_blocks(n_blocks: int, n_ctx: int, d_vocab: int) -> TokenBlocks:
    """Full blocks of random tokens."""
    ids = np.random.default_rng(0).integers(1, d_vocab, (n_blocks, n_ctx - 1))
    names = tuple(map(str, range(n_blocks)))
    return cut_blocks(
        list(ids), DocumentTable(names, names, names, ("train",) * n_blocks), n_ctx=n_ctx, bos_id=0, d_vocab=d_vocab
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, default=Path("smollm2"))
    parser.add_argument("--layer", type=int, default=4)
    parser.add_argument("--blocks", type=int, default=64)
    parser.add_argument("--n-ctx", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        source = options.model if (options.model / "config.json").is_file() else small_model(Path(folder))
        site = ModelSite(load_model(source, "model"), f"blocks.{options.layer}.hook_out")
        bare = AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    bare.layers = bare.layers[: options.layer + 1]
    bare.norm = torch.nn.Identity()
    blocks = random_blocks(options.blocks, options.n_ctx, site.model.d_vocab)
    tokens, text = torch.from_numpy(blocks.tokens.astype(np.int64)), torch.from_numpy(blocks.valid)

    def forward() -> torch.Tensor:
        with torch.no_grad():
            return bare(tokens, use_cache=False).last_hidden_state

    difference = (site.read(blocks) - forward()[text]).abs().max().item()
    ways = {"bare Hugging Face": forward, "harvest": lambda: site.read(blocks)}
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, way in ways.items():
            start = time.process_time()
            way()
            spent[name].append(time.process_time() - start)
    where = source if source == options.model else f"a random small model (no folder {options.model})"
    print(f"{where}, {site.hook}, {options.blocks} blocks of {options.n_ctx}, float32, {options.threads} threads")
    print(f"largest difference of the activations: {difference:.1e}")
    for name, times in spent.items():
        print(f"{name:<18} {blocks.n_tokens / median(times):>9,.0f} tokens a second of processor time")
    ratio = median(spent["bare Hugging Face"]) / median(spent["harvest"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(f"harvest reaches {ratio:.0%} of the bare pass (target: {TARGET:.0%}); peak memory {peak:.1f} GB")
    two_layers(site, options.layer, blocks, options.repeats)


def two_layers(late: ModelSite, layer: int, blocks: TokenBlocks, repeats: int) -> None:
    """Time and weights of two hooks of one model as a share of those of two models."""
    hook = f"blocks.{layer // 2}.hook_out"
    another = LanguageModel(deepcopy(late.model.bridge), "another")
    one, two = ({"early": ModelSite(model, hook), "late": late} for model in (late.model, another))
    spent: dict[str, list[float]] = {"one model": [], "two models": []}
    for _ in range(repeats):
        for name, sites in zip(spent, (one, two), strict=True):
            start = time.process_time()
            for _ in harvest(sites, blocks):
                pass
            spent[name].append(time.process_time() - start)
    ratio = median(spent["one model"]) / median(spent["two models"])
    held = [_bytes(sites) for sites in (one, two)]
    print(
        f"{hook} and {late.hook} of one model: {ratio:.0%} of the processor time of two models (for a pass up to "
        f"the last: {(layer + 1) / (layer // 2 + layer + 2):.0%}), {held[0] / held[1]:.0%} of their "
        f"{held[1] / 1e9:.2f} GB of weights"
    )


def _bytes(sites: dict[str, ModelSite]) -> int:
    """Of all weights, each tensor once."""
    tensors = {
        value.data_ptr(): value.nbytes for site in sites.values() for value in weights(site.model.bridge).values()
    }
    return sum(tensors.values())


if __name__ == "__main__":
    main()
