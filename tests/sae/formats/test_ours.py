"""This toolkit's own files: what is saved is loaded, damage is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.testing import assert_close

from universality.errors import FormatError, ModelError
from universality.sae import SAE

if TYPE_CHECKING:
    from tests.sae.conftest import RandomSAE
from foreign import DATA

ARCHITECTURES = ["relu", "topk", "jumprelu", "batchtopk", "matryoshka"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_saved_is_loaded(random_sae: RandomSAE, architecture: str, tmp_path: Path) -> None:
    sae = random_sae(architecture)
    folder = sae.save(tmp_path / "w90-s0")
    for path in (folder, folder / "cfg.json", folder / "sae_weights.safetensors"):
        loaded = SAE.load(path)
        for name in ("W_enc", "b_enc", "W_dec", "b_dec"):
            assert_close(getattr(loaded, name), getattr(sae, name), rtol=0, atol=0)
        if sae.threshold is not None:
            assert_close(loaded.threshold, sae.threshold, rtol=0, atol=0)
        for name in ("architecture", "k", "nested", "apply_b_dec_to_input", "scale", "metadata", "hash"):
            assert getattr(loaded, name) == getattr(sae, name)
    first = (folder / "cfg.json").read_bytes(), (folder / "sae_weights.safetensors").read_bytes()
    loaded.save(folder)
    assert first == ((folder / "cfg.json").read_bytes(), (folder / "sae_weights.safetensors").read_bytes())


def test_files_carry_the_names_of_saelens(random_sae: RandomSAE, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    random_sae().save(tmp_path / "topk")
    random_sae("relu").save(tmp_path / "relu")
    config = json.loads((tmp_path / "topk" / "cfg.json").read_text())
    expected = {"architecture": "topk", "k": 6, "d_in": 24, "d_sae": 90, "normalize_activations": "none"}
    assert expected.items() <= config.items()
    assert json.loads((tmp_path / "relu" / "cfg.json").read_text())["architecture"] == "standard"
    for architecture in ("jumprelu", "batchtopk", "matryoshka"):
        random_sae(architecture).save(tmp_path / architecture)
        config = json.loads((tmp_path / architecture / "cfg.json").read_text())
        assert config["architecture"] == "jumprelu"
        assert "k" not in config
        tensors = load_file(tmp_path / architecture / "sae_weights.safetensors")
        assert tensors["threshold"].shape == (90,)
    shapes = {name: array.shape for name, array in load_file(tmp_path / "topk" / "sae_weights.safetensors").items()}
    assert shapes == {"W_enc": (24, 90), "b_enc": (90,), "W_dec": (90, 24), "b_dec": (24,)}


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    config.update(changes)
    (folder / "cfg.json").write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "sparse"}, "architecture 'sparse' is not known; known: standard, relu, topk, jumprelu"),
        ({"d_in": ..., "d_sae": ...}, "incomplete, it lacks d_in, d_sae"),
        ({"d_sae": 91}, r"W_enc must have shape \[24, 91\], found \[24, 90\]"),
        ({"normalize_activations": "whitening"}, "normalize_activations is 'whitening'; only SAEs with 'none'"),
        ({"k": 91}, "k of a topk SAE must be 1 to d_sae = 90, found 91"),
        ({"k": ...}, "incomplete, it lacks k"),
        ({"metadata": {"universality": {"version": 2}}}, "version 2 of this layout; this program reads version 1"),
    ],
)
def test_foreign_configurations_are_refused(
    random_sae: RandomSAE, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = random_sae().save(tmp_path / "sae")
    edit(folder, **changes)
    with pytest.raises(FormatError, match=message):
        SAE.load(folder)


def test_a_changed_byte_is_found_in_every_part(
    random_sae: RandomSAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("universality.sae.formats.ours.HASHED_AT_ONCE", 1000)
    weights = random_sae().save(tmp_path / "sae") / "sae_weights.safetensors"
    SAE.load(tmp_path / "sae")
    content = weights.read_bytes()
    for place in range(0, len(content), 1000):
        weights.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(FormatError, match=r"hash .* the file was changed"):
            SAE.load(tmp_path / "sae")


def test_missing_and_torn_files_are_refused(random_sae: RandomSAE, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    with pytest.raises(FormatError, match=r"nothing: no such file or folder; expected ours"):
        SAE.load(tmp_path / "nothing")
    with pytest.raises(
        ModelError, match=r"someone/saes: no such file or folder here, and the Hugging Face hub or its c"
    ):
        SAE.load("someone/saes")
    folder = random_sae().save(tmp_path / "sae")
    weights = folder / "sae_weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    with pytest.raises(FormatError, match=r"hash .* the file was changed"):
        SAE.load(folder)
    weights.write_bytes(b"")
    with pytest.raises(FormatError, match=r"hash e3b0c44298fc….*the file was changed"):  # of nothing
        SAE.load(folder)
    weights.write_bytes(bytes(content))
    edit(folder, metadata={})  # as another tool would write it: no checksum
    assert SAE.load(folder).scale == 1
    weights.write_bytes(bytes(content[:100]))
    with pytest.raises(FormatError, match="cannot be read as safetensors"):
        SAE.load(folder)
    save_file({"W_dec": torch.zeros(90, 24)}, weights)
    with pytest.raises(FormatError, match="expected the tensors W_enc, b_enc, W_dec, b_dec, found W_dec"):
        SAE.load(folder)
    weights.unlink()
    with pytest.raises(FormatError, match=r"no SAE of a known format; expected ours .* found cfg.json"):
        SAE.load(folder)
    random_sae().save(folder)
    (folder / "cfg.json").write_text("{")
    with pytest.raises(FormatError, match="cannot be read as JSON"):
        SAE.load(folder)


def test_a_save_that_fails_leaves_what_was_there(random_sae: RandomSAE, tmp_path: Path) -> None:
    folder = random_sae().save(tmp_path / "sae")
    with pytest.raises(ValueError, match="Out of range float values"):
        random_sae(seed=1, metadata={"loss": float("nan")}).save(folder)
    assert SAE.load(folder).hash == random_sae().hash
    assert sorted(path.name for path in folder.iterdir()) == ["cfg.json", "sae_weights.safetensors"]


def test_without_its_hash_or_of_an_unknown_kind_it_is_refused(random_sae: RandomSAE, tmp_path: Path) -> None:
    folder = random_sae().save(tmp_path / "sae")
    config = folder / "cfg.json"
    said = json.loads(config.read_text())
    del said["metadata"]["universality"]["weights_hash"]
    config.write_text(json.dumps(said))
    with pytest.raises(FormatError, match=r"cfg\.json: metadata: universality.* it lacks weights_hash"):
        SAE.load(folder)
    random_sae().save(folder)
    said = json.loads(config.read_text())
    said["metadata"]["universality"]["architecture"] = "topkk"
    config.write_text(json.dumps(said))
    with pytest.raises(FormatError, match=r"sae: unknown SAE architecture 'topkk'"):
        SAE.load(folder)


@pytest.mark.parametrize("name", ["saelens_jumprelu_layer_norm", "dictionary_learning_matryoshka", "openai_topk.pt"])
def test_what_was_loaded_is_saved_as_ours(name: str, tmp_path: Path) -> None:
    sae = SAE.load(DATA / name)
    again = SAE.load(sae.save(tmp_path))
    assert (again.hash, again.metadata, again.nested) == (sae.hash, sae.metadata, sae.nested)
