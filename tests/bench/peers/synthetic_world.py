"""Make the data of SynthSAEBench with SAELens's own generator; runs in SAELens's environment.

The law is that of SynthSAEBench-16k (Chanin & Garriga-Alonso 2026, arXiv 2602.14687), from the configuration that its
authors publish: https://github.com/decoderesearch/synth-sae-bench-experiments, `create_synth_bench_16k_model.py`. Their
own instance was drawn on a GPU and lies on a hub. The same seed gives other numbers on a CPU, so this is another
instance of the same law.

``small`` is a sixteenth of it: 1,024 features in 256 dimensions, with the same probabilities, strengths, correlations
and shape of the trees.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sae_lens import __version__
from sae_lens.synthetic import (
    FeatureDictionary,
    FoldedNormalMagnitudeConfig,
    HierarchyConfig,
    LinearMagnitudeConfig,
    LowRankCorrelationConfig,
    OrthogonalizationConfig,
    SyntheticModel,
    SyntheticModelConfig,
    ZipfianFiringProbabilityConfig,
)
from sae_lens.synthetic.feature_dictionary import orthogonalize_embeddings
from scipy import sparse
from torch import Tensor

CHUNK = 256  # samples drawn at a time; 1,024 take twice as long each, since they leave the cache


@dataclass(frozen=True)
class Scale:
    """Size of a world."""

    n_features: int
    d_in: int
    roots: int


SCALES = {"full": Scale(16_384, 768, 128), "small": Scale(1024, 256, 8), "tiny": Scale(64, 24, 2)}


def configuration(scale: Scale, seed: int) -> SyntheticModelConfig:
    """SynthSAEBench-16k's configuration at a scale."""
    return SyntheticModelConfig(
        num_features=scale.n_features,
        hidden_dim=scale.d_in,
        firing_probability=ZipfianFiringProbabilityConfig(exponent=0.5, max_prob=0.4, min_prob=5e-4),
        hierarchy=HierarchyConfig(
            total_root_nodes=scale.roots,
            branching_factor=4,
            max_depth=3,
            mutually_exclusive_portion=1.0,
            mutually_exclusive_min_depth=0,
            compensate_probabilities=True,
            scale_children_by_parent=True,
        ),
        orthogonalization=OrthogonalizationConfig(num_steps=100, lr=3e-4),
        correlation=LowRankCorrelationConfig(rank=25, correlation_scale=0.1),
        mean_firing_magnitudes=LinearMagnitudeConfig(start=5.0, end=4.0),
        std_firing_magnitudes=FoldedNormalMagnitudeConfig(mean=0.5, std=0.5),
        bias=0.5,
        seed=seed,
    )


def orthogonalised(vectors: Tensor, n_steps: int, rate: float) -> Tensor:
    """Do what SAELens's `orthogonalize_embeddings` does, from a [d_in, d_in] matrix.

    Both minimise the sum over pairs of the squared dot products, plus n times that over vectors of (squared norm - 1)
    squared, by Adam. As the sum over all pairs is the squared norm of XᵀX as well as of XXᵀ, its gradient needs n · d²
    operations instead of n² · d: for 16,384 vectors of 768 dimensions 2 minutes instead of half an hour.
    """
    x = torch.nn.functional.normalize(vectors.detach(), dim=1).requires_grad_()
    adam = torch.optim.Adam([x], lr=rate)
    for _ in range(n_steps):
        squared = x.detach().square().sum(dim=1, keepdim=True)
        # gradient of the pairs, and of the norms
        x.grad = 4 * (x.detach() @ (x.detach().T @ x.detach()) - squared * x.detach())
        x.grad += 4 * len(x) * (squared - 1) * x.detach()
        adam.step()
    return torch.nn.functional.normalize(x.detach(), dim=1)


def difference_from_theirs(seed: int) -> float:
    """Largest difference of an entry from SAELens's own function, on 512 vectors of 64 dimensions."""
    vectors = torch.randn(512, 64, generator=torch.Generator().manual_seed(seed))
    ours, theirs = orthogonalised(vectors, 100, 3e-4), orthogonalize_embeddings(vectors, num_steps=100, lr=3e-4)
    return float((ours - theirs).abs().max())


def model_of(config: SyntheticModelConfig) -> SyntheticModel:
    """SAELens's model of a configuration, its dictionary orthogonalised by the shorter way."""
    steps, rate = config.orthogonalization.num_steps, config.orthogonalization.lr

    def shorter(dictionary: FeatureDictionary) -> None:
        dictionary.feature_vectors.data = orthogonalised(dictionary.feature_vectors, steps, rate)

    dictionary = FeatureDictionary(
        config.num_features, config.hidden_dim, bias=config.bias, initializer=shorter, seed=config.seed
    )
    return SyntheticModel(config, feature_dict=dictionary)


@torch.no_grad()
def draw(model: SyntheticModel, n_samples: int, path: Path) -> sparse.csr_matrix:
    """Write activations [n_samples, d_in] to a file, and return the features behind them."""
    vectors, bias = model.feature_dict.feature_vectors, model.feature_dict.bias
    rows = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n_samples, model.cfg.hidden_dim))
    drawn = []
    for low in range(0, n_samples, CHUNK):
        features = model.activation_generator.sample(min(CHUNK, n_samples - low))
        active = features.to_sparse_csr()
        rows[low : low + len(features)] = (active @ vectors + bias).numpy()
        parts = active.values(), active.col_indices(), active.crow_indices()
        drawn.append(sparse.csr_matrix(tuple(part.numpy() for part in parts), features.shape))
    rows.flush()
    return sparse.vstack(drawn, format="csr")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", choices=SCALES, required=True)
    parser.add_argument("--samples", type=int, required=True)
    parser.add_argument("--held", type=int, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = configuration(SCALES[options.scale], options.seed)
    model = model_of(config)
    vectors = model.feature_dict.feature_vectors.detach()
    np.save(options.out / "truth.npy", vectors.numpy())
    torch.manual_seed(options.seed + 1)
    draw(model, options.samples, options.out / "train.npy")
    torch.manual_seed(options.seed + 2)
    held = draw(model, options.held, options.out / "held.npy")
    sparse.save_npz(options.out / "held.npz", held)
    found = {
        "sae_lens": __version__,
        "configuration": config.to_dict(),
        "true_l0": held.nnz / held.shape[0],
        "true_l0_of_the_width": held[:, : options.width].nnz / held.shape[0],
        "mean_squared_norm": float(np.square(np.load(options.out / "held.npy")).sum(axis=1).mean()),
        "difference_from_their_orthogonalisation": difference_from_theirs(options.seed),
    }
    (options.out / "world.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
