"""SAEs of ours go out in SAELens's format: the real SAELens loads them and encodes the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.testing import assert_allclose

from universality.sae import SAE

if TYPE_CHECKING:
    from tests.sae.conftest import RandomSAE

ARCHITECTURES = ["relu", "topk", "jumprelu", "batchtopk", "matryoshka"]
PYTHON = os.environ.get("UNIVERSALITY_SAELENS_PYTHON", "")
SCRIPT = """
import sys
import numpy as np
import torch
from sae_lens import SAE

rows = torch.from_numpy(np.load(sys.argv[1]))
for folder in sys.argv[2:]:
    sae = SAE.load_from_disk(folder)
    codes = sae.encode(rows)
    np.savez(folder + ".npz", codes=codes.detach().numpy(), hook=np.array(sae.cfg.metadata.hook_name),
             model=np.array(sae.cfg.metadata.model_name))
"""


@pytest.mark.skipif(not PYTHON, reason="UNIVERSALITY_SAELENS_PYTHON names no Python of an environment with sae-lens")
def test_the_real_saelens_loads_and_encodes_the_same(random_sae: RandomSAE, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 24)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    cases = [(name, bias, "none") for name in ARCHITECTURES for bias in (True, False)]
    cases += [("relu", True, "layer_norm"), ("topk", False, "constant_norm_rescale")]
    metadata = {"hook": "blocks.0.mlp.hook_post", "model": {"name": "seed0", "hash": "12"}}
    saes = {}
    for kind, bias, way in cases:
        sae = random_sae(kind, apply_b_dec_to_input=bias, normalize_activations=way, metadata=metadata)
        saes[str(sae.export(tmp_path / f"{kind}-{bias}-{way}"))] = sae
    command = [PYTHON, "-W", "ignore", "-c", SCRIPT, str(tmp_path / "rows.npy"), *saes]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    for folder, sae in saes.items():
        theirs = np.load(f"{folder}.npz")
        assert_allclose(theirs["codes"], sae.encode(rows).toarray(), rtol=0, atol=1e-5)
        assert (str(theirs["hook"]), str(theirs["model"])) == ("blocks.0.mlp.hook_post", "seed0")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_goes_out_comes_back_as_it_was(random_sae: RandomSAE, architecture: str, tmp_path: Path) -> None:
    sae = random_sae(architecture)
    folder = sae.export(tmp_path / "mine")
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "cfg.json", "sae_weights.safetensors"]
    again = SAE.load(folder)
    assert (again.hash, again.nested, again.scale) == (sae.hash, sae.nested, sae.scale)
    assert again.metadata == {**sae.metadata, "sae_lens_version": "6.0.0", "hook_name": "blocks.0.mlp.hook_post"}
    assert json.loads((folder / "cfg.json").read_text())["metadata"]["sae_lens_version"] == "6.0.0"


def test_the_model_card_says_what_it_is(random_sae: RandomSAE, tmp_path: Path) -> None:
    metadata = {"hook": "blocks.0.mlp.hook_post", "note": "```\n# not a heading", "hook_name": "theirs stays"}
    sae = random_sae("topk", metadata=metadata, normalize_activations="layer_norm")
    text = (sae.export(tmp_path / "mine") / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: saelens\n")
    for line in ("| features (d_sae) | 90 |", "| architecture | topk |", "| k | 6 |"):
        assert f"{line}\n" in text
    assert 'SAE.load_from_disk("mine")' in text
    assert "after layer_norm of each token" in text
    assert '\n      "note": "```\\n# not a heading"\n' in text  # indented, in one line: a block that it cannot leave
    assert SAE.load(tmp_path / "mine").metadata["hook_name"] == "theirs stays"
    assert "after" not in (random_sae().export(tmp_path / "plain") / "README.md").read_text()
