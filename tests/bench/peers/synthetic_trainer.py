"""Train one SAE with one tool on a synthetic world; write what it learnt and what it cost.

Runs in an environment of the tool's own, like `worker.py`. Samples are used once, in the order of their file, by every
tool. With ``--check`` SAELens's own evaluation of its SAE on the same held-out samples is written, too.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from worker import ARCHITECTURES, TOOLS, Apply


@torch.no_grad()
def held_out(apply: Apply, held: Tensor, size: int) -> tuple[sparse.csr_matrix, float]:
    """Codes of held-out activations, and the explained variance."""
    codes, error = [], 0.0
    for part in held.split(size):
        of_part, reconstruction = apply(part)
        error += float((reconstruction - part).square().sum(dtype=torch.float64))
        codes.append(sparse.csr_matrix(of_part.numpy()))
    total = float((held - held.mean(dim=0)).square().sum(dtype=torch.float64))
    return sparse.vstack(codes, format="csr"), 1 - error / total


def evaluated_by_theirs(dictionary: Tensor, apply: Apply, options: argparse.Namespace) -> dict[str, Any]:
    """SAELens's evaluation of the SAE on the stored samples."""
    from sae_lens.synthetic import FeatureDictionary, eval_sae_on_synthetic_data

    truth, hidden = (np.load(options.world / name) for name in ("truth.npy", "held.npy"))
    features, at = sparse.load_npz(options.world / "held.npz"), iter(range(0, len(hidden), options.batch))

    class Stored:
        """The stored samples, as a generator of samples."""

        def sample(self, n_samples: int) -> Tensor:
            low = next(at)
            return torch.from_numpy(features[low : low + n_samples].toarray())

    class Trained(torch.nn.Module):
        """The trained SAE as `held_out` sees it."""

        W_dec = dictionary

        def encode(self, x: Tensor) -> Tensor:
            codes, self.reconstruction = apply(x)
            return codes

        def decode(self, codes: Tensor) -> Tensor:
            return self.reconstruction

    vectors = FeatureDictionary(*truth.shape, bias=False, initializer=None)
    vectors.feature_vectors.data = torch.from_numpy(truth)
    # the bias of the world: what the features do not explain of a sample
    vectors.bias.data = torch.from_numpy((hidden[:1] - features[:1] @ truth)[0])
    found = eval_sae_on_synthetic_data(Trained(), vectors, Stored(), len(hidden), options.batch).to_dict()
    return {**found, **found.pop("classification")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tool", choices=TOOLS, required=True)
    parser.add_argument("--architecture", choices=ARCHITECTURES, required=True)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    for name in ("width", "k", "batch", "seed", "dead_after"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, required=True)
    parser.add_argument("--nested", type=int, nargs="*", default=[])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    # what `worker.py` can be asked for besides; the same for all tools
    vars(options).update(penalty=0.0, products="float32", device="cpu")
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    rows = np.load(options.world / "train.npy", mmap_mode="r")
    options.steps = len(rows) // options.batch
    training = TOOLS[options.tool](options, torch.from_numpy(rows[:8192].copy()))
    wall = processor = 0.0
    for step in range(options.steps):
        batch = torch.from_numpy(rows[step * options.batch : (step + 1) * options.batch].copy())
        start, busy = time.perf_counter(), time.process_time()
        training.step(batch)
        wall, processor = wall + time.perf_counter() - start, processor + time.process_time() - busy
    codes, explained = held_out(training.apply, torch.from_numpy(np.load(options.world / "held.npy")), options.batch)
    dictionary = training.dictionary()
    sparse.save_npz(options.out / "codes.npz", codes)
    np.save(options.out / "dictionary.npy", dictionary.numpy())
    cost = {"wall": wall, "processor": processor, "samples": options.steps * options.batch}
    theirs = evaluated_by_theirs(dictionary, training.apply, options) if options.check else None
    (options.out / "cost.json").write_text(json.dumps({**cost, "explained_variance": explained, "theirs": theirs}))


if __name__ == "__main__":
    main()
