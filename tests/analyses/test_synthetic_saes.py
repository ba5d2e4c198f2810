"""The metrics of SynthSAEBench on dictionaries whose recovery is known, and our side of its trainer."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders of the benchmarks on the path."""
    for folder in (BENCH / "peers", BENCH):
        monkeypatch.syspath_prepend(str(folder))


def drawn(folder: Path, n_features: int = 32, d_in: int = 24, n_samples: int = 4096) -> Any:
    """A world in the files that SAELens's generator would leave: independent features of falling frequency."""
    import synthetic_saes

    rng = np.random.default_rng(0)
    truth = rng.standard_normal((n_features, d_in)).astype(np.float32)
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    fires = rng.random((2 * n_samples, n_features)) < np.linspace(0.08, 0.02, n_features)
    active = fires * rng.normal(4.5, 0.5, fires.shape).astype(np.float32)
    rows = (active @ truth).astype(np.float32)
    np.save(folder / "truth.npy", truth)
    np.save(folder / "train.npy", rows[:n_samples])
    np.save(folder / "held.npy", rows[n_samples:])
    sparse.save_npz(folder / "held.npz", sparse.csr_matrix(active[n_samples:]))
    return synthetic_saes.World.load(folder)


def test_the_truth_itself_scores_one_and_each_fault_lowers_its_own_metric(bench: None, tmp_path: Path) -> None:
    import synthetic_saes

    world = drawn(tmp_path)
    order = np.random.default_rng(1).permutation(32)[:16]
    dictionary, codes = world.truth[order], world.active[:, order]
    found = synthetic_saes.recovery(3 * dictionary, codes, world)  # rows of any norm
    assert (found.recovered, found.uniqueness, found.f1, found.dead, found.same_partner) == (1, 1, 1, 0, 1)
    assert found.mcc == pytest.approx(1, abs=1e-6) == found.by_activation
    assert found.l0 == pytest.approx(codes.nnz / codes.shape[0])
    twice = np.concatenate([dictionary[:8], dictionary[:8]])
    copies = synthetic_saes.recovery(twice, sparse.hstack([codes[:, :8]] * 2, format="csr"), world)
    assert (copies.uniqueness, copies.f1) == (0.5, 1)
    assert copies.mcc < 0.8
    silent = codes.toarray()
    silent[:, 0] = 0  # dead
    silent[::2, 1] = 0  # misses half
    faulty = synthetic_saes.recovery(dictionary, sparse.csr_matrix(silent), world)
    assert faulty.dead == 1 / 16
    assert faulty.mcc == pytest.approx(found.mcc, abs=1e-6)
    assert faulty.precision == 15 / 16
    assert faulty.recall == pytest.approx(14.5 / 16, abs=0.02)
    random = np.random.default_rng(2).standard_normal(dictionary.shape)
    control = synthetic_saes.recovery(random, codes[np.random.default_rng(3).permutation(codes.shape[0])], world)
    assert control.mcc < 0.6
    assert control.f1 < 0.2
    assert control.by_activation < 0.1


def test_the_workers_trainer_finds_the_features_of_a_world(bench: None, tmp_path: Path) -> None:
    import synthetic_saes
    import synthetic_trainer
    import torch
    import worker

    world = drawn(tmp_path)
    rows, held = (torch.from_numpy(np.load(tmp_path / name)) for name in ("train.npy", "held.npy"))
    options = argparse.Namespace(
        width=32, architecture="matryoshka", k=2, penalty=0.0, rate=1e-2, products="float32", dead_after=2048,
        nested=[8], seed=0, steps=64,
    )  # fmt: skip
    training = worker.universality(options, rows)
    codes, untrained = synthetic_trainer.held_out(training.apply, held, 1024)
    start = synthetic_saes.recovery(training.dictionary().numpy(), codes, world)
    for batch in rows.repeat(2, 1).split(128):
        training.step(batch)
    codes, explained = synthetic_trainer.held_out(training.apply, held, 1024)
    end = synthetic_saes.recovery(training.dictionary().numpy(), codes, world)
    assert explained > max(0.7, untrained + 0.1)
    assert end.mcc > start.mcc + 0.2
    assert end.same_partner > 0.9


def test_a_table_has_the_deviation_over_seeds_and_the_best_rate_of_each_tool(bench: None) -> None:
    import synthetic_saes

    flat = synthetic_saes.Recovery(0.5, 0.25, 1, 0.5, 0.5, 0.5, 6, 0, 0.5, 1)

    def one(rate: float, explained: float, seed: int = 0) -> Any:
        return synthetic_saes.Trained("topk", "sae_lens", rate, seed, 2.0, 9.0, 1000, explained, flat, None)

    shown = synthetic_saes.table([({"rate": "0.1"}, [one(0.1, 0.5), one(0.1, 0.7, 1)])])
    assert "0.6000 ± 0.1414" in shown
    assert "0.500 ± 0.000" in shown
    assert " 500" in shown  # samples a processor second
    best = synthetic_saes.best_rates([one(0.1, 0.5), one(0.2, 0.8), one(0.3, 0.6)])
    assert [found.rate for found in best] == [0.2]
