"""sparsify: files encode as in sparsify; unmarked transcoders and additions to an SAE are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from foreign import DATA, agrees, edited

from universality.errors import FormatError
from universality.sae import SAE

WRITTEN_BY_IT = {
    "sparsify_topk": "topk",
}


@pytest.mark.parametrize("name", WRITTEN_BY_IT)
def test_encodes_as_the_library_that_wrote_it(name: str) -> None:
    agrees(name, WRITTEN_BY_IT[name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sparsify_groupmax", "activation 'groupmax' cannot be read; known: topk"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(name: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(DATA / name)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("sparsify_topk", {"skip_connection": True}, "skip_connection is set without transcode; it cannot be read"),
        ("sparsify_topk", {"signed": True}, "signed is set; it cannot be read: its activations"),
        ("sparsify_topk", {"num_latents": 0, "expansion_factor": 3}, r"encoder.weight must have shape \[36"),
    ],
)
def test_configurations_that_cannot_be_held_are_refused(
    name: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(edited(name, tmp_path / "sae", "cfg.json", changes))


def test_sparsify_of_november_2024_says_it_above_the_sae(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for place in ("layers.0.mlp", "layers.1.mlp/seed0"):
        shutil.copytree(DATA / "sparsify_topk", run / place)
        assert SAE.load(run / place).architecture == "topk"
    (run / "config.json").write_text(json.dumps({"transcode": True, "hookpoints": ["layers.*.mlp"]}))
    for place in ("layers.0.mlp", "layers.1.mlp/seed0"):
        with pytest.raises(FormatError, match=r"run/config\.json: a transcoder.*: transcode is set"):
            SAE.load(run / place)
    (run / "config.json").write_text(json.dumps({"transcode": False}))
    assert SAE.load(run / "layers.0.mlp").architecture == "topk"


@pytest.mark.parametrize(("key", "word"), [("embed_skip", "linear map of the embeddings"), ("gram_lookup", "n-grams")])
def test_what_else_sparsify_adds_is_refused(key: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"{key} is set; it cannot be read: .*{word}"):
        SAE.load(edited("sparsify_topk", tmp_path / "sae", "cfg.json", {key: True}))
