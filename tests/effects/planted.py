"""Pairs of toy models whose features' effects are known, and the same effects computed by hand.

Text is drawn from a uniform distribution: each token fires a few features, whatever came before it, and the next token
depends on nothing. A feature i that fires with f on a token t adds ``act(f) w_i`` to the logits, by one of five paths:

=============  =========================================================  =================================
path           what adds to the logits                                    first order against exact
=============  =========================================================  =================================
``direct``     the decoder row, through the unembedding                   equal, but for the softmax
``mlp``        a neuron of the later layer, relu(f); direct weights 0     equal, but for the softmax
``attention``  the mean of f over the positions so far, in a later layer  equal; acts on later tokens too
``curved``     a neuron relu(f − 1)                                       too large; 0 where f < 1
``hidden``     a neuron relu(1 − f)                                       0 where f > 1, unlike the exact one
=============  =========================================================  =================================

Each feature of A has one of these relations to its partner in B:

- ``same``: equal firing, equal effects. Also ``mlp`` and ``attention``, whose effects take these paths in both models.
- ``opposite``: equal firing, w of opposite sign.
- ``independent``: equal firing, and w that are orthogonal over the vocabulary, which makes the covariance of the
  effects 0 to first order. Their sizes still agree, since both are proportional to nearly the same f.
- ``elsewhere``: equal w, and firing on other tokens.

For every pair, ``n_near`` further features of B fire on most of the partner's tokens with independent w. The models'
residual streams have unrelated bases, there are no norms, and B's features are in another order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge

from universality.activations import ModelSite
from universality.corpus import TokenBlocks
from universality.corpus.blocks import cut_blocks
from universality.corpus.documents import DocumentTable
from universality.models.language_model import LanguageModel, weights
from universality.sae import SAE

Array = npt.NDArray[Any]
HOOK = "blocks.0.hook_resid_post"
BENT = 1.0  # where the neurons of curved and hidden features bend
COUNTS: Mapping[str, int] = MappingProxyType(
    {"same": 8, "opposite": 8, "independent": 8, "elsewhere": 8, "mlp": 8, "attention": 4}
)


def text(n_documents: int = 120, blocks: int = 2, n_ctx: int = 32, d_vocab: int = 257, seed: int = 0) -> TokenBlocks:
    """Documents of full blocks of uniform tokens, with kinds and halves in turn; BOS is 0."""
    rng = np.random.default_rng([seed, 1])
    each = range(n_documents)
    table = DocumentTable(
        id=tuple(f"d{d}" for d in each),
        kind=tuple(("prose", "code")[d % 2] for d in each),
        group=tuple(f"g{d}" for d in each),
        split=tuple(("choose", "report")[d // 2 % 2] for d in each),
    )
    ids = rng.integers(1, d_vocab, (n_documents, blocks * (n_ctx - 1)))
    return cut_blocks(list(ids), table, n_ctx=n_ctx, bos_id=0, d_vocab=d_vocab)


@dataclass(frozen=True, eq=False)
class Toy:
    """A model, its SAE, and what its features do."""

    site: ModelSite
    sae: SAE
    codes: Array
    """[d_vocab, n_features] with which each feature fires on each type of token."""
    weights: Array
    """[n_features, d_vocab] what a feature adds to the logits, times ``act(f)``."""
    path: tuple[str, ...]

    def first_order(self, blocks: TokenBlocks) -> Array:
        """−f ∂L/∂f of every feature and token, float64 [n_tokens, n_features], by hand."""
        codes = self._codes(blocks)
        column = np.arange(blocks.n_ctx)[:, None] + 1
        surprise = self._surprise(blocks)
        later = np.cumsum((surprise / column)[:, ::-1], axis=1)[:, ::-1]
        ahead = np.array(self.path) == "attention"
        effects = codes * np.where(ahead, later, surprise * self._slope(codes))
        return effects[blocks.valid]

    def exact(self, blocks: TokenBlocks, rows: Array, features: Array) -> Array:
        """Loss from token ``rows[n]`` on without feature ``features[n]`` there, minus the loss with it."""
        block, position = (place[rows] for place in np.nonzero(blocks.valid))
        logits, follows = self._logits(blocks), self._follows(blocks)
        out = np.zeros(len(rows))
        for n, (b, t, i) in enumerate(zip(block, position, features, strict=True)):
            f = self.codes[blocks.tokens[b, t], i]
            changes = np.zeros(blocks.n_ctx)
            if self.path[i] == "attention":
                changes[t:] = -f / (np.arange(t, blocks.n_ctx) + 1)
            else:
                changes[t] = (self._act(np.zeros(len(self.path))) - self._act(self.codes[blocks.tokens[b, t]]))[i]
            at = np.flatnonzero(follows[b] & (changes != 0))
            following = blocks.tokens[b, at + 1]
            edited = logits[b, at] + changes[at, None] * self.weights[i]
            out[n] = (_losses(edited, following) - _losses(logits[b, at], following)).sum()
        return out

    def _act(self, codes: Array) -> Array:
        path = np.array(self.path)
        bent = np.where(path == "curved", np.maximum(codes - BENT, 0), np.maximum(BENT - codes, 0))
        return np.where(np.isin(path, ["curved", "hidden"]), bent, codes)

    def _slope(self, codes: Array) -> Array:
        path = np.array(self.path)
        bent = np.where(path == "curved", codes > BENT, -1.0 * (codes < BENT))
        return np.where(np.isin(path, ["curved", "hidden"]), bent, 1.0)

    def _codes(self, blocks: TokenBlocks) -> Array:
        """[n_blocks, n_ctx, n_features]; BOS and padding fire nothing."""
        return self.codes[blocks.tokens]

    def _logits(self, blocks: TokenBlocks) -> Array:
        codes = self._codes(blocks)
        means = np.cumsum(codes, axis=1) / (np.arange(blocks.n_ctx)[:, None] + 1)
        return np.where(np.array(self.path) == "attention", means, self._act(codes)) @ self.weights

    def _follows(self, blocks: TokenBlocks) -> Array:
        """Positions that predict a text token, bool [n_blocks, n_ctx]."""
        return np.pad(blocks.valid[:, 1:], ((0, 0), (0, 1)))

    def _surprise(self, blocks: TokenBlocks) -> Array:
        """w_i of the next token minus its expectation, [n_blocks, n_ctx, n_features]; 0 without a next one."""
        logits = self._logits(blocks)
        p = np.exp(logits - logits.max(-1, keepdims=True))
        p /= p.sum(-1, keepdims=True)
        following = self.weights.T[np.roll(blocks.tokens, -1, axis=1)]
        return (following - p @ self.weights.T) * self._follows(blocks)[..., None]


def _losses(logits: Array, following: Array) -> Array:
    largest = logits.max(-1)
    norm = largest + np.log(np.exp(logits - largest[:, None]).sum(-1))
    return norm - logits[np.arange(len(following)), following]


@dataclass(frozen=True, eq=False)
class Planted:
    """Two toys on one text: feature i of A and feature ``partner[i]`` of B are a pair of ``relation[i]``."""

    blocks: TokenBlocks
    a: Toy
    b: Toy
    partner: Array
    relation: tuple[str, ...]

    def rows(self, *relations: str) -> Array:
        """Features of A whose pair is of one of these relations."""
        return np.flatnonzero(np.isin(self.relation, relations))


def planted(
    counts: Mapping[str, int] = COUNTS,
    blocks: TokenBlocks | None = None,
    size: float = 0.1,
    jitter: float = 0.2,
    n_near: int = 0,
    seed: int = 0,
) -> Planted:
    """Make two models.

    Parameters
    ----------
    counts
        Relation → number of pairs.
    blocks
        Their text.
    size
        Standard deviation of w over the vocabulary: small ones leave the softmax nearly linear.
    jitter
        Relative difference of f between partners that fire alike.
    n_near
        Further features of B for every pair.
    """
    blocks = text(seed=seed) if blocks is None else blocks
    rng = np.random.default_rng([seed, 2])
    relation = tuple(name for name, n in counts.items() for _ in range(n))
    n = len(relation)
    w_a, w_other, *w_near = np.split(_orthogonal(n * (2 + n_near), blocks.d_vocab, size, rng), 2 + n_near)
    codes_a, elsewhere = random_codes(blocks.d_vocab, n, rng), random_codes(blocks.d_vocab, n, rng)
    is_ = {name: np.array([r == name for r in relation]) for name in set(relation) | set(COUNTS)}
    codes_b = np.where(is_["elsewhere"], elsewhere, codes_a * rng.uniform(1 - jitter, 1 + jitter, codes_a.shape))
    w_b = np.where(is_["independent"][:, None], w_other, np.where(is_["opposite"][:, None], -w_a, w_a))
    near = [_overlapping(codes_b, rng) for _ in range(n_near)]
    path = tuple(r if r in ("mlp", "attention", "curved", "hidden") else "direct" for r in relation)
    order = rng.permutation(n * (1 + n_near))
    all_b = np.hstack([codes_b, *near])[:, order], np.vstack([w_b, *w_near])[order]
    paths_b = tuple((path + ("direct",) * n * n_near)[i] for i in order)
    return Planted(
        blocks,
        toy("A", codes_a, w_a, path, blocks.n_ctx, seed=2 * seed),
        toy("B", *all_b, paths_b, blocks.n_ctx, seed=2 * seed + 1),
        np.argsort(order)[:n],
        relation,
    )


def random_codes(d_vocab: int, n_features: int, rng: np.random.Generator, density: float = 0.08) -> Array:
    """Features that fire on a share of the types of token, with 0.6 to 1.8; none on BOS."""
    codes = (rng.random((d_vocab, n_features)) < density) * rng.uniform(0.6, 1.8, (d_vocab, n_features))
    codes[0] = 0
    codes[1 + np.arange(n_features) % (d_vocab - 1), np.arange(n_features)] = 1.2  # each fires somewhere
    return codes


def _overlapping(codes: Array, rng: np.random.Generator) -> Array:
    """Codes that fire on four fifths of the given ones' tokens, and on a few others."""
    kept = codes * (rng.random(codes.shape) < 0.8)
    others = random_codes(codes.shape[0], codes.shape[1], rng, density=0.015)
    return np.where(kept > 0, kept * rng.uniform(0.8, 1.2, codes.shape), others)


def _orthogonal(n: int, d_vocab: int, size: float, rng: np.random.Generator) -> Array:
    """[n, d_vocab] weights of mean 0 and standard deviation ``size`` over the text's tokens, uncorrelated."""
    assert n < d_vocab - 1, f"{n} orthogonal weights need a larger vocabulary than {d_vocab}"
    raw = rng.standard_normal((d_vocab - 1, n))
    basis = np.linalg.qr(raw - raw.mean(axis=0))[0]
    return np.pad(basis.T * size * np.sqrt(d_vocab - 1), ((0, 0), (1, 0)))  # BOS, which never follows, has 0


def toy(name: str, codes: Array, logit_weights: Array, path: tuple[str, ...], n_ctx: int = 32, seed: int = 0) -> Toy:
    """Build a model of two layers, the first of which does nothing, around features with given codes and weights."""
    d_vocab, n = codes.shape
    through = np.array([p != "direct" for p in path])
    d_model = n + int(through.sum())
    axes = np.linalg.qr(np.random.default_rng([seed, 3]).standard_normal((d_model, d_model)))[0]
    reads, writes = axes[:n], np.zeros((n, d_model))
    writes[~through], writes[through] = axes[:n][~through], axes[n:]
    model = _model(name, d_vocab, d_model, n_ctx)
    with torch.no_grad():
        for parameter in weights(model.bridge).values():
            parameter.zero_()
        _set(_weight(model, "tok_embed"), codes @ reads)
        _set(_weight(model, "head"), logit_weights.T @ writes)
        _set_paths(model, path, reads, writes)
    sae = SAE(
        torch.from_numpy(np.float32(reads.T)), torch.zeros(n), torch.from_numpy(np.float32(reads)),
        torch.zeros(d_model), architecture="jumprelu", threshold=torch.full((n,), 0.1),
        metadata={"model": {"name": name, "hash": model.hash}},
    )  # fmt: skip
    return Toy(ModelSite(model, HOOK), sae, codes, logit_weights, path)


def _set_paths(model: LanguageModel, path: tuple[str, ...], reads: Array, writes: Array) -> None:
    """Let neurons and a head of the last layer read features and write what the unembedding reads."""
    neuron, channel = 0, 0
    for i, name in enumerate(path):
        if name == "attention":  # queries and keys are 0: the head attends to all positions alike
            _set(_weight(model, "layers.1.attn.v")[channel], reads[i])
            _set(_weight(model, "layers.1.attn.o")[:, channel], writes[i])
            channel += 1
        elif name != "direct":
            sign, bias = {"mlp": (1, 0.0), "curved": (1, -BENT), "hidden": (-1, BENT)}[name]
            _set(_weight(model, "layers.1.mlp.fc_in")[neuron], sign * reads[i])
            _set(_weight(model, "layers.1.mlp.fc_in", "bias")[neuron], np.array(bias))
            _set(_weight(model, "layers.1.mlp.fc_out")[:, neuron], writes[i])
            neuron += 1


def _model(name: str, d_vocab: int, d_model: int, n_ctx: int) -> LanguageModel:
    config = TransformerBridgeConfig(
        n_layers=2, d_model=d_model, n_heads=1, d_head=d_model, n_ctx=n_ctx, d_vocab=d_vocab, act_fn="relu", seed=0,
        normalization_type=None,
    )  # fmt: skip
    config.d_mlp = d_model
    return LanguageModel(TransformerBridge.boot_native(config).eval(), name)


def _weight(model: LanguageModel, module: str, kind: str = "weight") -> torch.Tensor:
    return weights(model.bridge)[f"{module}.{kind}"]


def _set(place: torch.Tensor, values: Array) -> None:
    place.copy_(torch.as_tensor(values, dtype=place.dtype))
