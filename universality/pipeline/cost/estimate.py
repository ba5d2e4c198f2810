"""Cost of an experiment before it is run: tokens, FLOP, memory and disk of each stage.

Pure arithmetic over a configuration; `universality.pipeline.cost.machine` turns it into hours. With
n_ctx positions a block, L layers up to the hook, N tokens, k features a token:

    forward     2 · (entries of the weight matrices up to the hook) + 4 · n_ctx · d_model · L   FLOP a token
                (QKᵀ and AV are 2 · n_ctx · d_model each, masked or not; where all heads together are wider or
                narrower than d_model, their width takes its place); to the logits + 2 · d_model · d_vocab
    training    3 · forward: the backward pass takes two products for each of the forward's
    SAE step    2 · d_in · d_sae + 8 · k · d_in   where the decoder and the gradients follow the features that fire
                (x̂, ∂a, ∂W_dec, ∂W_enc); 12 · d_in · d_sae where everything fires (relu, jumprelu)
    encoding    2 · d_in · d_sae
    store       N · k entries, 9 bytes each: index and value, by token and by feature, compressed
    matching    N · k_a · k_b co-firing pairs are summed for the whole, for both halves, and for each replicate of a
                null on one half: (2 + nulls · replicates / 2) times; families sum four quantities,
                (3 + replicates) times; by logit weights 1 + 2 · replicates matchings, each of which takes
                8 times 2 · d_sae_a · d_sae_b · d_model FLOP. Each matching then pairs d_sae features one to one
    effects     forward and backward on some blocks, 2 forward; exact: a block a firing; fingerprints: half a block a
                firing; the loss of subsets of the features: 48 passes for each partner; matched by effect on half of
                the tokens, (1 + replicates) / 2 times

Not counted as FLOP: embeddings, norms, non-linearities, Adam, top-k. Every figure is an estimate: see `UNSURE`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

from universality.config import Config
from universality.errors import ModelError
from universality.hooks import holds_neurons
from universality.hub import cached_folder, repository
from universality.models.config_check import check_architecture
from universality.models.shipped import model_folder
from universality.pipeline.paths import RunFolder
from universality.pipeline.stages.model_sites import by_source, can_run_models
from universality.pipeline.study import (
    ASSUMED_L0,
    Comparison,
    comparisons,
    effect_comparisons,
    effect_dictionaries,
    family_dictionaries,
    headline_width,
    sae_grid,
)

UNSURE = "bytes on disk within 1.5×; hours within 3× (measured rates) or 10× (assumed ones); memory is a rough sum"
ENTRY_BYTES = 9
_PROCESS = 700 * 10**6  # Python, torch and TransformerLens, before any tensor
_PERMUTATIONS = 999  # of the slopes of each pair
_LOADED = 2 * 2**30  # most that matching holds of stores at a time
_LOGIT_MATCHING = 8  # products of all directions in a matching by logit weights, besides the assignment
_MATCH_FEATURE = 750  # bytes of both calibrations and the drawn similarities
_MAP_MEMORY, _MAP_DISK = 9000, 120
"""Bytes a feature of a map: 2.4 GB for 262,144 features of 256 dimensions, and 285 kB + 148 kB for 4,096."""
_MATCH_ROW, _FAMILY_FEATURE, _PAGE = 3_000, 4_000, 13 * 10**6  # bytes of tables, graphs, pictures and the page


@dataclass(frozen=True)
class Shape:
    """Sizes of a transformer that determine its costs: layers, residual stream, neurons, vocabulary."""

    n_layers: int
    d_model: int
    d_mlp: int
    d_vocab: int
    d_kv: int = 0
    """Width of the keys and of the values; 0 for d_model."""
    gated: bool = False
    """Whether the MLP has a third matrix."""
    d_q: int = 0
    """Width of the queries and of the heads' outputs; 0 for d_model."""
    tied: bool = False
    """Whether the unembedding is the embedding."""

    @property
    def heads(self) -> int:
        """Width of all attention heads together."""
        return self.d_q or self.d_model

    @property
    def attention(self) -> int:
        """Entries of W_Q, W_K, W_V and W_O of a layer."""
        return 2 * self.d_model * (self.heads + (self.d_kv or self.heads))

    @property
    def mlp_in(self) -> int:
        """Entries of a layer's matrices up to the neurons."""
        return self.d_model * self.d_mlp * (2 if self.gated else 1)

    @property
    def block(self) -> int:
        """Entries of a layer's matrices."""
        return self.attention + self.mlp_in + self.d_model * self.d_mlp

    @property
    def parameters(self) -> int:
        """Entries of all matrices, the embedding and an unembedding of its own among them."""
        return self.n_layers * self.block + (1 if self.tied else 2) * self.d_model * self.d_vocab


_KNOWN = (
    *(
        (rf"EleutherAI/pythia-{size}(-.*)?", Shape(layers, width, 4 * width, 50_304))
        for size, layers, width in (
            ("14m", 6, 128), ("31m", 6, 256), ("70m", 6, 512), ("160m", 12, 768), ("410m", 24, 1024), ("1b", 16, 2048),
        )
    ),
    (r"stanford-crfm/.*-gpt2-small-.*|openai-community/gpt2", Shape(12, 768, 3072, 50_257)),
    (r"stanford-crfm/.*-gpt2-medium-.*|openai-community/gpt2-medium", Shape(24, 1024, 4096, 50_257)),
    (r"HuggingFaceTB/SmolLM2-135M(-Instruct)?", Shape(30, 576, 1536, 49_152, d_kv=192, gated=True)),
)  # fmt: skip


@dataclass(frozen=True)
class Text:
    """Tokens of the two parts of the corpus, and a note on how they were counted.

    Attributes
    ----------
    train, held_out
        Tokens of each part; where models have different tokenizers, the stretches of text on which they are compared.
    d_vocab
        Vocabulary of models that are trained in the run.
    note
        How the tokens were counted.
    own
        Model → its own tokens in such a stretch, on average; empty where all models share one tokenizer.
    """

    train: int
    held_out: int
    d_vocab: int
    note: str
    own: Mapping[str, float] = field(default_factory=dict)

    def tokens_of(self, name: str) -> int:
        """Return the held-out tokens that a model reads."""
        return round(self.held_out * self.own.get(name, 1))


@dataclass(frozen=True)
class StageCost:
    """Work, memory and disk of one stage.

    Attributes
    ----------
    tokens
        Tokens that the stage reads, of all models together.
    model_flop, sae_flop
        FLOP of language models and of SAEs.
    entries
        Activations that are written to stores.
    pairs
        Co-firing pairs that are summed over tokens.
    product_flop
        FLOP of matrix products in matching, by logit weights and of neurons.
    assigned
        Features that are paired one to one, over all matchings.
    memory, disk
        Bytes held at the peak, and bytes written.
    """

    name: str
    tokens: int
    model_flop: float = 0
    sae_flop: float = 0
    entries: int = 0
    pairs: float = 0
    memory: int = _PROCESS
    disk: int = 0
    product_flop: float = 0
    assigned: float = 0


def shape_of(config: Config, name: str, d_vocab: int) -> Shape:
    """Return a model's sizes from the configuration, its folder, the hub's cache or a small table.

    Raises
    ------
    ModelError
        If the model is in none of them, or cannot take part.
    """
    if name in config.models.train:
        a = config.models.architecture
        return Shape(a.n_layers, a.d_model, a.d_mlp, d_vocab)
    source = config.models.load[name]
    repo = repository(source)
    folder = cached_folder(repo) if repo else model_folder(source)
    if folder is not None and (file := folder / "config.json").is_file():
        shape = shape_in(file)
        if can_run_models() and '"model_type"' in file.read_text(encoding="utf-8"):
            check_architecture(folder)  # a model that cannot take part is not planned with
        return shape
    for pattern, shape in _KNOWN:
        if repo and re.fullmatch(pattern, repo.name):
            return shape
    raise ModelError(
        f"{source}: its sizes are unknown here: download at least its config.json "
        f"(`hf download {repo.name if repo else source} config.json`), or name a local folder"
    )


def shape_in(file: Path) -> Shape:
    """Read the sizes of a model from its ``config.json``; raise ModelError if they are not there."""
    try:
        sizes: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if "architecture" in sizes:
            a = sizes["architecture"]
            return Shape(a["n_layers"], a["d_model"], sizes["d_mlp"], a["d_vocab"])
        if "n_embd" in sizes:
            width = int(sizes["n_embd"])
            return Shape(sizes["n_layer"], width, sizes.get("n_inner") or 4 * width, sizes["vocab_size"])
        width, heads = int(sizes["hidden_size"]), int(sizes["num_attention_heads"])
        d_head = sizes.get("head_dim") or width // heads
        d_q = heads * d_head
        activation = sizes.get("hidden_act") or sizes.get("hidden_activation")  # Gemma's configs use the second name
        return Shape(
            sizes["num_hidden_layers"],
            width,
            sizes["ffn_dim"] if "ffn_dim" in sizes else sizes["intermediate_size"],  # OPT has its own name for it
            sizes["vocab_size"],
            d_kv=(sizes.get("num_key_value_heads") or heads) * d_head,
            gated=activation in ("silu", "gelu_pytorch_tanh", "gelu_fast") and "rms_norm_eps" in sizes,
            d_q=0 if d_q == width else d_q,
            tied=bool(sizes.get("tie_word_embeddings")),
        )
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{file}: expected the sizes of a transformer, found {error!r}") from None


def width_at(shape: Shape, hook: str) -> int:
    """Return the activations a token at a hook (d_in): the neurons inside an MLP, else the residual stream."""
    return shape.d_mlp if holds_neurons(hook) else shape.d_model


def forward_flop(shape: Shape, n_ctx: int, hook: str | None = None) -> float:
    """Return the FLOP a token of a forward pass up to a hook, or to the logits.

    Examples
    --------
    >>> shape = Shape(n_layers=1, d_model=8, d_mlp=32, d_vocab=100)
    >>> forward_flop(shape, n_ctx=16)  # 2 FLOP for each of 768 entries, the scores of 16 positions, and the logits
    3648
    """
    scores = 4 * n_ctx * shape.heads
    whole = 2 * shape.block + scores
    if hook is None:
        return shape.n_layers * whole + 2 * shape.d_model * shape.d_vocab
    layer = re.match(r"blocks\.(\d+)\.(.*)", hook)
    if layer is None:
        return shape.n_layers * whole
    before = int(layer[1]) * whole
    if layer[2] in ("hook_resid_pre", "hook_in"):
        return before
    if layer[2].startswith("attn") or layer[2] in ("hook_attn_out", "hook_resid_mid"):
        return before + 2 * shape.attention + scores
    return before + 2 * (shape.attention + shape.mlp_in) + scores if holds_neurons(hook) else before + whole


def sae_step_flop(architecture: str, d_in: int, d_sae: int, k: int) -> float:
    """Return the FLOP a token of a training step of an SAE.

    Examples
    --------
    >>> sae_step_flop("topk", d_in=4, d_sae=8, k=2), sae_step_flop("relu", d_in=4, d_sae=8, k=2)
    (128, 384)
    """
    product = 2 * d_in * d_sae
    return 6 * product if architecture in ("relu", "jumprelu") else product + 8 * k * d_in


def estimate(config: Config, text: Text) -> list[StageCost]:
    """Estimate the cost of each stage of an experiment, in order; raise ModelError as `shape_of` does."""
    shapes = {name: shape_of(config, name, text.d_vocab) for name in config.models.names}
    saes = config.saes.architecture
    k = {w: min(w, ASSUMED_L0) if saes in ("relu", "jumprelu") else config.saes.k_of(w) for w in config.saes.widths}
    corpus = StageCost("corpus", text.train + text.held_out, disk=int(4.5 * (text.train + text.held_out)))
    stages = [corpus, _models(config, text, shapes), _saes(config, text, shapes, k), _collect(config, text, shapes, k)]
    stages += [_match(config, text, shapes, k), _families(config, text, k)]
    return [*stages, *_effects(config, text, shapes, k), *_maps(config, text, k), _rest(config)]


def _models(config: Config, text: Text, shapes: dict[str, Shape]) -> StageCost:
    t, n_ctx = config.models.training, config.corpus.n_ctx
    trained = [shapes[name] for name in config.models.train]
    loaded = [shapes[name] for name in config.models.load]
    tokens, checked = int(t.epochs * text.train), min(text.held_out, config.saes.quality_blocks * n_ctx)
    flop = sum((3 * tokens + text.held_out) * forward_flop(s, n_ctx) for s in trained)
    flop += sum(checked * forward_flop(s, n_ctx) for s in loaded)
    held = [16 * s.parameters + 60 * t.batch_blocks * n_ctx * s.d_model * s.n_layers for s in trained]
    held += [4 * s.parameters + _logits_memory(n_ctx, s.d_vocab) for s in loaded]
    width = 2 if config.models.dtype == "float16" else 4
    return StageCost(
        "train-models",
        len(trained) * (tokens + text.held_out) + len(loaded) * checked,
        model_flop=flop,
        memory=_PROCESS + max(held),
        disk=sum(width * s.parameters for s in trained),
    )


def _logits_memory(n_ctx: int, d_vocab: int) -> int:
    """Return the bytes of one batch's logits where a loss is measured, softmax included; see ``LOGITS_BYTES``."""
    from universality.models.forward import LOGITS_BYTES

    block = 4 * n_ctx * d_vocab
    return 4 * min(32 * block, max(block, LOGITS_BYTES))


def _saes(config: Config, text: Text, shapes: dict[str, Shape], k: dict[int, int]) -> StageCost:
    s, n_ctx = config.saes, config.corpus.n_ctx
    quality = min(text.held_out, s.quality_blocks * n_ctx)
    learnt, a_weight = (0, 8) if s.load else (s.tokens, 24)  # bytes: weights, and Adam's two moments of each
    model_flop = sae_flop = 0.0
    memory, disk = _PROCESS, 0
    distinct = by_source(config, list(shapes))
    for together in distinct:  # hooks of one model are harvested in one pass, up to the last of them
        shape = shapes[together[0]]
        memory += 4 * shape.parameters
        model_flop += learnt * max(forward_flop(shape, n_ctx, config.hooks[name]) for name in together)
    for name, shape in shapes.items():
        d_in = width_at(shape, config.hooks[name])
        mine = [width for owner, width, _ in sae_grid(config) if owner == name]
        model_flop += quality * forward_flop(shape, n_ctx, config.hooks[name])
        model_flop += (len(mine) + 3) * quality * forward_flop(shape, n_ctx)
        sae_flop += sum(learnt * sae_step_flop(s.architecture, d_in, w, k[w]) for w in mine)
        sae_flop += sum(4 * quality * d_in * w for w in mine)
        memory += 4 * d_in * (s.buffer_tokens + 65 * n_ctx)
        memory += sum(a_weight * d_in * w for w in mine)
        disk += sum(8 * d_in * w for w in mine)
    memory += 4 * s.batch_size * (max(s.widths) if s.architecture in ("relu", "jumprelu") else 8_192)
    memory += max(_logits_memory(n_ctx, shape.d_vocab) for shape in shapes.values())
    tokens = len(distinct) * learnt + len(shapes) * quality
    return StageCost("train-saes", tokens, model_flop, sae_flop, memory=memory, disk=disk)


def _collect(config: Config, text: Text, shapes: dict[str, Shape], k: dict[int, int]) -> StageCost:
    n, share = text.held_out, config.features.neuron_documents
    model_flop = sae_flop = 0.0
    entries = disk = read = 0
    held = []
    for name, shape in shapes.items():
        d_in = width_at(shape, config.hooks[name])
        mine = [width for owner, width, _ in sae_grid(config) if owner == name]
        own = text.tokens_of(name)
        read += own
        model_flop += own * (1 + share) * forward_flop(shape, config.corpus.n_ctx, config.hooks[name])
        sae_flop += sum(2 * own * d_in * w for w in mine)
        # At most: a feature that fires on several tokens of a stretch is one entry of its row.
        stored = sum(own * k[w] for w in mine) + int(n * share * _active_neurons(config, name, d_in))
        entries += stored
        disk += ENTRY_BYTES * stored + 3 * n * len(mine)
        disk += sum((8 * d_in + 4 * shape.d_model) * w for w in mine)
        # Models with different tokenizers have no logit weights in common, and their unembeddings are not stored.
        disk += (0 if text.own else 4 * shape.d_model * shape.d_vocab) + (8 * d_in**2 if share else 0)
        held.append(4 * shape.parameters + sum(8 * d_in * w for w in mine) + len(mine) * 6 * 2**24)
    return StageCost("collect", read, model_flop, sae_flop, entries, 0, _PROCESS + max(held), disk)


def _active_neurons(config: Config, name: str, d_in: int) -> float:
    """Return the values a token that are not 0: 0.4 of the neurons of a trained ReLU model, all of others."""
    source = config.models.load.get(name, "")
    relu = source.startswith("starter/") or (not source and config.models.architecture.act_fn == "relu")
    return 0.4 * d_in if relu and holds_neurons(config.hooks[name]) else d_in


def _match(config: Config, text: Text, shapes: dict[str, Shape], k: dict[int, int]) -> StageCost:
    s, n = config.statistics, text.held_out
    passes = 2 + len(s.nulls) * s.replicates / 2
    compared = comparisons(config, RunFolder(Path()))
    pairs = sum(
        passes * n * prod(k[w] * text.own.get(m, 1) for m, w in zip(c.models, c.widths, strict=True))
        for c in compared
        if c.width
    )
    widths = {name: width_at(shape, config.hooks[name]) for name, shape in shapes.items()}
    share = config.features.neuron_documents
    flop = sum(passes * 2 * n * share * widths[c.models[0]] * widths[c.models[1]] for c in compared if not c.width)
    largest = max((k[w] for w in config.saes.widths), default=0)
    memory = min(_LOADED, 2 * 16 * n * largest) + 2 * min(2**30, 8 * config.saes.widths[-1] ** 2)
    disk = _MATCH_FEATURE * _rows(compared, widths)
    by_activation, by_logit = 1 + len(s.nulls) * s.replicates, 1 + 2 * s.replicates
    return StageCost(
        "match",
        n * len(compared),
        pairs=pairs,
        memory=_PROCESS + memory,
        disk=disk,
        product_flop=flop + by_logit * _logit_flop(config, shapes, widths, compared),
        assigned=(by_activation + by_logit) * sum(min(_sides(c, widths)) for c in compared),
    )


def _sides(comparison: Comparison, widths: dict[str, int]) -> list[int]:
    """Return the numbers of features of both sides, which are neurons where the comparison has no width."""
    return list(comparison.widths) if comparison.width else [widths[m] for m in comparison.models]


def _logit_flop(config: Config, shapes: dict[str, Shape], widths: dict[str, int], compared: list[Comparison]) -> float:
    """Return the FLOP of one matching of each comparison by logit weights, as if every hook had a direct path."""
    products = sum(prod(_sides(c, widths)) * max(shapes[m].d_model for m in c.models) for c in compared)
    return 2.0 * products * _LOGIT_MATCHING


def _families(config: Config, text: Text, k: dict[int, int]) -> StageCost:
    grown = _grown(config)
    passes = 4 * (3 + config.families.replicates)
    pairs = float(passes * text.held_out * sum(k[a] * k[b] for widths in grown for a, b in pairwise(widths)))
    memory = _PROCESS + min(_LOADED, 16 * text.held_out * sum(k.values()))
    tokens, features = text.held_out * len(grown), sum(map(sum, grown))
    return StageCost("families", tokens, pairs=pairs, memory=memory, disk=750 * features)


def _grown(config: Config) -> list[list[int]]:
    """Return the dictionary sizes of each model that has several, and so families."""
    return [widths for name in config.models.names if len(widths := config.saes.widths_for(name)) > 1]


def _effects(config: Config, text: Text, shapes: dict[str, Shape], k: dict[int, int]) -> list[StageCost]:
    folder, n_ctx, flop, disk, entries, tokens, memory = RunFolder(Path()), config.corpus.n_ctx, 0.0, 0, 0, 0, 0
    compared = effect_comparisons(config, folder)
    n = min(config.effects.blocks * n_ctx, text.held_out // 2)
    share = config.features.neuron_documents if any(c.of == "neurons" for c in compared) else 0.0
    for name, shape in shapes.items() if compared else ():
        width, saes = headline_width(config, name), len(effect_dictionaries(config, folder, name))
        partners = sum(name in c.models and bool(c.width) for c in compared)
        read = _read_for_effects(config, shape, config.hooks[name], round(n * text.own.get(name, 1)), saes, partners)
        flop += read * forward_flop(shape, n_ctx)
        tokens += round(read)
        neurons = share * _active_neurons(config, name, width_at(shape, config.hooks[name]))
        narrower = sum(k[w] for w, _ in family_dictionaries(config, folder, name))
        entries += (stored := 2 * round(n * (saes * k[width] + narrower + neurons)))  # activations, and effects
        measured = min(width, config.effects.fingerprints * partners)
        rows = min(4 * shape.d_vocab, 8 * 2048) * measured if config.effects.contexts else 0
        disk += ENTRY_BYTES * stored + saes * (rows + 8 * width * (width_at(shape, config.hooks[name]) + shape.d_model))
        memory = max(memory, 4 * shape.parameters + 3 * _logits_memory(n_ctx, shape.d_vocab) + 2 * rows)
    drawn = float(sum(_PERMUTATIONS * n * k[c.width] for c in compared if c.width))
    if config.effects.match:  # on one part of the tokens, and again for each replicate of one null
        matchings = (1 + config.statistics.replicates) / 2
        drawn += matchings * n * sum(prod(k[w] for w in c.widths) for c in compared if c.width)
    return [StageCost("effects", tokens, flop, 0, entries, drawn, _PROCESS + memory, disk)] if compared else []


def _read_for_effects(config: Config, shape: Shape, hook: str, n: int, saes: int, partners: int) -> float:
    """Return the tokens of all passes of a model; a backward pass counts as a forward pass, part of a block in part."""
    e, n_ctx = config.effects, config.corpus.n_ctx
    # Where other positions do not matter, one copy of a block holds many changes, and each costs its logits alone.
    change = n_ctx / 2
    if _behind_attention(shape, hook):
        change = min(change, 4 * shape.d_model * shape.d_vocab / forward_flop(shape, n_ctx))
    first_order = 2 * n * (1 + config.features.neuron_documents)
    # for each partner: 3 thresholds × (shared, unshared, 3 kinds of random subsets), with and without the error
    subsets = 2 * 3 * (2 + 3 * e.loss_draws) * partners
    of_subsets = subsets * min(e.loss_blocks * n_ctx, n)
    # a pair's features are ablated and clamped, and so is a control in one of the two models
    fingerprints = min(e.fingerprints, headline_width(config)) * (saes * e.contexts + 3 * e.pair_contexts)
    return first_order + of_subsets + change * fingerprints + 2 * change * e.exact


def _behind_attention(shape: Shape, hook: str) -> bool:
    """Tell whether no attention reads what is at a hook."""
    return hook.startswith(f"blocks.{shape.n_layers - 1}.") and not re.search("attn|resid_pre|hook_in$", hook)


def _maps(config: Config, text: Text, k: dict[int, int]) -> list[StageCost]:
    compared = [c for c in comparisons(config, RunFolder(Path())) if c.of in ("models", "seeds") and c.level == 0]
    if not config.map.draw or not compared:
        return []
    # best partners on either half and on two re-pairings of one of them
    pairs = float(sum(2 * text.held_out * k[c.widths[0]] * k[c.widths[1]] for c in compared))
    features = sum(sum(c.widths) for c in compared)
    widest = max(sum(c.widths) for c in compared)
    memory = _PROCESS + min(_LOADED, 16 * text.held_out * sum(k.values())) + _MAP_MEMORY * widest
    return [StageCost("map", text.held_out * len(compared), pairs=pairs, memory=memory, disk=_MAP_DISK * features)]


def _rest(config: Config) -> StageCost:
    compared = comparisons(config, RunFolder(Path()))
    features = sum(map(sum, _grown(config)))
    rows = sum(c.width or 0 for c in compared)
    return StageCost("export, report", 0, disk=_MATCH_ROW * rows + _FAMILY_FEATURE * features + _PAGE)


def _rows(compared: list[Comparison], widths: dict[str, int]) -> int:
    return sum(c.width or widths[c.models[0]] for c in compared)
