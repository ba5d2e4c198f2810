"""The script on stability over SAE seeds, on a run of three seeds."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from universality.sae import SAE

ROOT = Path(__file__).parents[2]


def test_a_pooled_dictionary_encodes_as_its_sources_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "analyses"))
    from stable_features import combined

    generator = torch.Generator().manual_seed(0)

    def sae() -> SAE:
        W_enc, b_enc, W_dec, b_dec = (
            torch.randn(*shape, generator=generator) for shape in ((6, 8), (8,), (8, 6), (6,))
        )
        return SAE(W_enc, b_enc, W_dec, b_dec, architecture="topk", k=8)

    first, second = sae(), sae()
    pooled = combined([first, second], [(0, 3), (1, 5), (1, 0)])
    x = torch.randn(50, 6, generator=generator)
    expected = np.stack([first.encode(x).toarray()[:, 3], *second.encode(x).toarray()[:, [5, 0]].T], axis=1)
    np.testing.assert_allclose(pooled.encode(x).toarray(), expected, atol=1e-5)
    assert pooled.k == 3


@pytest.mark.slow
def test_the_script_measures_three_seeds_and_resumes(tmp_path: Path) -> None:
    options = ("saes.seeds=[0,1,2]", "saes.ceiling_seed=null", "saes.widths=[128]")
    match = ["-m", "universality", "match", "smoke", "--out", str(tmp_path / "run")]
    run = [sys.executable, *match, *(part for option in options for part in ("--set", option))]
    subprocess.run(run, check=True, capture_output=True)
    script = [
        ROOT / "analyses" / "stable_features.py",
        tmp_path / "run",
        "--replicates",
        "2",
        "--out",
        tmp_path / "out",
    ]
    subprocess.run([sys.executable, *script], check=True, capture_output=True)
    features = pd.read_csv(tmp_path / "out" / "stability.csv")
    assert set(features["model"]) == {"A", "B"}
    assert set(features["stability"]) <= {0, 0.5, 1}
    stable, unstable = (features.loc[features["stability"] == value, "in_other_model"] for value in (1, 0))
    assert stable.mean() > unstable.mean()
    text = (tmp_path / "out" / "table.md").read_text()
    assert "| shared by all seeds |" in text
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "stability").iterdir()}
    assert len(kept) == 3 + 3 + 3
    subprocess.run([sys.executable, *script], check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert (tmp_path / "out" / "table.md").read_text() == text
