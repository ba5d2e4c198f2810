"""SAELens's directory: what it says of an SAE beyond its place, and which of its releases can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from foreign import DATA
from numpy.testing import assert_allclose

from universality.errors import FormatError
from universality.sae import SAE
from universality.sae.formats import read
from universality.sae.formats.hub_names import hub_place
from universality.sae.formats.saelens_directory import READ, REFUSED, look_up

Write = Callable[..., None]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a directory of one release."""

    def write(sae: dict[str, Any] | None = None, **release: Any) -> None:
        content = {"r": {"repo_id": "acme/saes", "saes": [{"id": "s", "path": "layer_3", **(sae or {})}], **release}}
        (tmp_path / "directory.yaml").write_text(yaml.safe_dump(content))

    monkeypatch.setenv("SAELENS_DIRECTORY", str(tmp_path / "directory.yaml"))
    return write


def listed(name: str) -> SAE:
    """The fixture as the release gives it."""
    listing = look_up("r/s")
    assert listing is not None
    return SAE(**listing.apply(read(DATA / name)))


@pytest.mark.parametrize("loader", READ)
def test_releases_that_can_be_read_stand_for_a_place(loader: str, write: Write) -> None:
    write(**({} if loader == "sae_lens" else {"conversion_func": loader}))
    assert str(hub_place("r/s")) == "acme/saes:layer_3"


@pytest.mark.parametrize("loader", REFUSED)
def test_releases_that_cannot_be_read_are_refused_by_name(loader: str, write: Write) -> None:
    write(conversion_func=loader)
    with pytest.raises(FormatError, match=f"release 'r' in .* cannot be read .SAELens converts it with '{loader}'.: "):
        hub_place("r/s")


def test_an_unknown_loader_is_not_guessed(write: Write) -> None:
    write(conversion_func="new")
    with pytest.raises(FormatError, match="converts it with 'new', which is not known here; known: sae_lens, gemma_2"):
        hub_place("r/s")


def test_the_factor_of_the_directory_is_folded_in_where_the_sae_awaits_one(write: Write) -> None:
    write({"norm_scaling_factor": 0.37})
    sae, theirs = listed("saelens_jumprelu"), SAE.load(DATA / "saelens_jumprelu")
    assert (theirs.awaits_scale, sae.awaits_scale) == (True, False)
    assert sae.hash == theirs.scaled(0.37).hash
    assert sae.metadata["activation_scale"]["factor"] == 0.37
    assert listed("saelens_topk").hash == SAE.load(DATA / "saelens_topk").hash, "which awaits none"
    write({"norm_scaling_factor": 0})
    with pytest.raises(FormatError, match="norm_scaling_factor must be a number above 0, found 0"):
        look_up("r/s")


def test_a_normalisation_of_the_directory_replaces_the_files(write: Write) -> None:
    write(config_overrides={"normalize_activations": "constant_norm_rescale"})
    assert listed("saelens_topk").normalize_activations == "constant_norm_rescale"
    assert SAE.load(DATA / "saelens_topk").normalize_activations == "none"


@pytest.mark.parametrize("name", ["saelens_before_6", "saelens_topk"])
def test_an_sae_of_a_centred_model_encodes_the_raw_models_activations(name: str, write: Write) -> None:
    write(config_overrides={"model_from_pretrained_kwargs": {"center_writing_weights": True}})
    x = torch.from_numpy(np.load(DATA / f"{name}.npz")["x"])
    theirs, sae = SAE.load(DATA / name), listed(name)
    expected = theirs.encode(x - x.mean(dim=1, keepdim=True)).toarray()
    assert_allclose(sae.encode(x).toarray(), expected, atol=1e-5)
    assert np.abs(theirs.encode(x).toarray() - expected).max() > 0.1
    assert "center_writing_weights" in sae.metadata
    write(config_overrides={"model_from_pretrained_kwargs": {"center_writing_weights": False}})
    assert listed(name).hash == theirs.hash


def test_a_directory_that_changes_is_read_again(write: Write) -> None:
    write({"path": "old"})
    assert str(hub_place("r/s")) == "acme/saes:old"
    write({"path": "another"})
    assert str(hub_place("r/s")) == "acme/saes:another"
