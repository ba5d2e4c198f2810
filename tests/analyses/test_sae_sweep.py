"""The sweep records every SAE once, and the fit recovers a planted scaling law."""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from universality.corpus import build_corpus
from universality.sae import SAESpec

ANALYSES = Path(__file__).parents[2] / "analyses"


def test_a_sweep_cut_off_trains_only_what_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(ANALYSES))
    import sae_sweep

    monkeypatch.setattr(sae_sweep, "BATCH", 256)
    monkeypatch.setattr(sae_sweep, "HELD_BLOCKS", 4)
    monkeypatch.setattr(sae_sweep, "build_corpus", partial(build_corpus, max_documents=200))
    out = tmp_path / "results" / "sweep.jsonl"
    arguments = ["--widths", "16", "32", "--tokens", "512", "256", "--k", "4", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", ["sae_sweep.py", *arguments])
    stored = [sae_sweep.identity(SAESpec(width, k=4), 1) for width in (16, 32)]
    stored.append(sae_sweep.identity(SAESpec(16, k=4), 2))
    out.parent.mkdir()
    out.write_text("".join(json.dumps(line) + "\n" for line in stored))
    sae_sweep.main()
    assert [(line["steps"], line["width"]) for line in sae_sweep.recorded(out)] == [(1, 16), (1, 32), (2, 16), (2, 32)]
    trained = json.loads(out.read_text().splitlines()[-1])
    assert 0 < trained["l0"] <= 4
    assert trained["explained_variance"] < 1
    capsys.readouterr()
    sae_sweep.main()
    assert "0 SAEs to train, 4 in" in capsys.readouterr().out
    assert len(out.read_text().splitlines()) == 4


def test_a_planted_law_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ANALYSES))
    monkeypatch.setenv("MPLBACKEND", "agg")
    import sae_scaling

    width, steps = (grid.ravel() for grid in np.meshgrid([512.0, 1024, 2048, 4096, 8192], [50.0, 100, 200, 400]))
    planted = np.array([np.log(0.05), np.log(0.1), 0.5, np.log(0.04), 0.8, 0.4])
    loss = sae_scaling.law(planted, width, steps)
    np.testing.assert_allclose(sae_scaling.fit(width, steps, loss), planted, rtol=1e-2)
    lines = [
        {"architecture": kind, "width": 512, "steps": 9, "learning_rate": rate, "explained_variance": explained}
        for kind, rate, explained in (("topk", 1e-3, 0.6), ("topk", 4e-3, 0.8), ("relu", 8e-3, 0.9))
    ]
    np.testing.assert_allclose(sae_scaling.best_of(lines, "topk"), [[512, 9, 4e-3, 0.2]])
