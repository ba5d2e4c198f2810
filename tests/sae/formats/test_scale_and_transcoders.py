"""SAEs whose scaling is left to the caller, dictionary_learning's files of 2024, and transcoders that carry no flag."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from safetensors.torch import load_file, save_file

from universality.errors import FormatError, ModelError
from universality.sae import SAE

DATA = Path(__file__).parent / "data"


def edited(name: str, target: Path, config: str, changes: dict[str, Any], section: str | None = None) -> Path:
    """A copy of a fixture with other values in its configuration; None takes a key away."""
    shutil.copytree(DATA / name, target)
    values = json.loads((target / config).read_text())
    place = values if section is None else values.setdefault(section, {})
    place |= changes
    for key in [key for key, value in place.items() if value is None]:
        del place[key]
    (target / config).write_text(json.dumps(values))
    return target


def activations() -> torch.Tensor:
    return 3 * torch.randn(40, 12, generator=torch.Generator().manual_seed(0)) + 1


@pytest.mark.parametrize("name", ["saelens_jumprelu", "saelens_topk", "saelens_standard", "saelens_topk_rescaled"])
@pytest.mark.parametrize("way", ["expected_average_only_in", True])
def test_scaled_codes_are_the_tools_in_the_activations_units(name: str, way: Any, tmp_path: Path) -> None:
    theirs = SAE.load(edited(name, tmp_path / "sae", "cfg.json", {"normalize_activations": way}))
    assert theirs.awaits_scale
    ours, x = theirs.scaled(0.37, n_tokens=40), activations()
    assert_allclose(ours.encode(x).toarray() * 0.37, theirs.encode(0.37 * x).toarray(), atol=1e-5)
    assert_allclose(ours.reconstruct(x).numpy() * 0.37, theirs.reconstruct(0.37 * x).numpy(), atol=1e-5)
    assert np.abs(ours.encode(x).toarray() * 0.37 - theirs.encode(x).toarray()).max() > 0.1
    again = SAE.load(ours.save(tmp_path / "ours"))
    assert (again.hash, again.scale, again.awaits_scale) == (ours.hash, 0.37, False)
    assert again.metadata["activation_scale"] == {"asked_by": way, "factor": 0.37, "n_tokens": 40}
    assert SAE.load(theirs.save(tmp_path / "unscaled")).awaits_scale, "a copy asks for it still"


def test_a_checkpoint_that_tells_its_factor_asks_for_none(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "saelens_jumprelu", tmp_path / "sae")
    (folder / "activation_scaler.json").write_text('{"scaling_factor": null}')
    assert SAE.load(folder).awaits_scale
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 0.37}')
    sae = SAE.load(folder)
    assert not sae.awaits_scale
    assert sae.hash == SAE.load(DATA / "saelens_jumprelu").scaled(0.37).hash
    (folder / "activation_scaler.json").write_text('{"scaling_factor": -1}')
    with pytest.raises(FormatError, match=r"scaler\.json: scaling_factor must be a number above 0, found -1"):
        SAE.load(folder)


@pytest.mark.parametrize("way", ["none", None, False, "layer_norm", "constant_norm_rescale"])
def test_what_is_not_left_to_the_caller_asks_for_nothing(way: Any, tmp_path: Path) -> None:
    folder = edited("saelens_topk", tmp_path / "sae", "cfg.json", {"normalize_activations": way})
    (folder / "activation_scaler.json").write_text('{"scaling_factor": 0.37}')
    sae = SAE.load(folder)
    assert not sae.awaits_scale
    assert sae.scale == 1


def test_a_factor_that_cannot_be_is_refused() -> None:
    with pytest.raises(ModelError, match=r"scaled by a finite factor above 0, .*; found 0\.0 and"):
        SAE.load(DATA / "saelens_topk").scaled(0.0)
    with pytest.raises(ModelError, match=r"not where each token is normalised; found 2\.0 and .*'layer_norm'"):
        SAE.load(DATA / "saelens_jumprelu_layer_norm").scaled(2.0)


def without(target: Path, name: str, *gone: str, **other: torch.Tensor) -> Path:
    """A dictionary_learning fixture without some of its tensors."""
    shutil.copytree(DATA / name, target)
    state = torch.load(target / "ae.pt", weights_only=True)
    torch.save({key: value for key, value in (state | other).items() if key not in gone}, target / "ae.pt")
    return target


def test_topk_of_2024_is_read_with_the_configurations_k(tmp_path: Path) -> None:
    whole = SAE.load(DATA / "dictionary_learning_topk")
    assert SAE.load(without(tmp_path / "december", "dictionary_learning_topk", "threshold")).hash == whole.hash
    july = without(tmp_path / "july", "dictionary_learning_topk", "threshold", "k")
    assert SAE.load(july).hash == whole.hash
    config = json.loads((july / "config.json").read_text())
    del config["trainer"]["k"]
    (july / "config.json").write_text(json.dumps(config))
    with pytest.raises(FormatError, match="trainer: incomplete, it lacks k"):
        SAE.load(july)


@pytest.mark.parametrize("name", ["batchtopk", "matryoshka"])
def test_a_batch_kind_without_its_threshold_is_refused(name: str, tmp_path: Path) -> None:
    folder = without(tmp_path / "sae", f"dictionary_learning_{name}", "threshold")
    with pytest.raises(FormatError, match="without a threshold, as saved in 2024, cannot be read: its codes would"):
        SAE.load(folder)


def test_k_that_is_no_whole_number_is_refused(tmp_path: Path) -> None:
    folder = without(tmp_path / "sae", "dictionary_learning_topk", k=torch.tensor(4.0))
    with pytest.raises(FormatError, match=r"ae\.pt: k must be a whole number, found the torch.float32 4"):
        SAE.load(folder)
    for tool, config in (
        ("saelens_topk", "cfg.json"),
        ("sparsify_topk", "cfg.json"),
        ("llamascopium_topk", "config.json"),
    ):
        key = "top_k" if tool.startswith("llama") else "k"
        with pytest.raises(FormatError, match=rf"{key} must be a whole number from 1 to 2\^40, found 5\.0"):
            SAE.load(edited(tool, tmp_path / tool, config, {key: 5.0}))


@pytest.mark.parametrize(
    ("name", "config", "section", "changes", "message"),
    [
        ("saelens_standard", "cfg.json", None, {"is_transcoder": True}, "is_transcoder is set"),
        ("saelens_standard", "cfg.json", None, {"d_out": 24}, "d_in is 12, d_out 24"),
        ("saelens_topk", "cfg.json", None, {"hook_name": "a", "hook_name_out": "b"}, "reads 'a' and writes to 'b'"),
        (
            "saelens_topk",
            "cfg.json",
            "metadata",
            {"hook_name_out": "b"},
            "reads 'blocks.3.hook_resid_post' and writes",
        ),
        ("sparsify_topk", "cfg.json", None, {"transcoder": True}, "transcoder is set"),
        ("dictionary_learning_topk", "config.json", "buffer", {"io": "in_and_out"}, "io is 'in_and_out'"),
    ],
)
def test_a_second_site_gives_a_transcoder_away(
    name: str, config: str, section: str | None, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = edited(name, tmp_path / "sae", config, changes, section)
    with pytest.raises(FormatError, match="a transcoder cannot be read, it reads one site of a model") as error:
        SAE.load(folder)
    assert message in str(error.value)


def test_sparsify_of_november_2024_says_it_above_the_sae(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for place in ("layers.0.mlp", "layers.1.mlp/seed0"):
        shutil.copytree(DATA / "sparsify_topk", run / place)
        assert SAE.load(run / place).architecture == "topk"
    (run / "config.json").write_text(json.dumps({"transcode": True, "hookpoints": ["layers.*.mlp"]}))
    for place in ("layers.0.mlp", "layers.1.mlp/seed0"):
        with pytest.raises(FormatError, match=r"run/config\.json: a transcoder .*: transcode is set"):
            SAE.load(run / place)
    (run / "config.json").write_text(json.dumps({"transcode": False}))
    assert SAE.load(run / "layers.0.mlp").architecture == "topk"


@pytest.mark.parametrize(("key", "word"), [("embed_skip", "linear map of the embeddings"), ("gram_lookup", "n-grams")])
def test_what_else_sparsify_adds_is_refused(key: str, word: str, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=f"{key} is set; it cannot be read: .*{word}"):
        SAE.load(edited("sparsify_topk", tmp_path / "sae", "cfg.json", {key: True}))


def test_a_skip_connection_among_the_tensors_gives_it_away(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "sparsify_topk", tmp_path / "sae")
    tensors = load_file(folder / "sae.safetensors")
    save_file({**tensors, "W_skip": torch.zeros(12, 12)}, folder / "sae.safetensors")
    with pytest.raises(FormatError, match="W_skip is the skip connection or output bias of a transcoder"):
        SAE.load(folder)


def test_the_name_of_a_repository_gives_a_transcoder_away(tmp_path: Path) -> None:
    place = "layer_3/width_32/average_l0_9"
    for repository, refused in (("gemma-scope-2b-pt-res", False), ("gemma-scope-2b-pt-transcoders", True)):
        shutil.copytree(DATA / "gemma_scope" / place, tmp_path / repository / place)
        for path in (tmp_path / repository / place, tmp_path / repository / place / "params.npz"):
            if refused:
                with pytest.raises(FormatError, match=r"they lie in 'gemma-.*-transcoders'\. If it is an SAE, rename"):
                    SAE.load(path)
            else:
                assert SAE.load(path).architecture == "jumprelu"
    edited("sparsify_topk", tmp_path / "skip-transcoder-160m" / "layers.0.mlp", "cfg.json", {"transcode": None})
    with pytest.raises(FormatError, match="they lie in 'skip-transcoder-160m'"):
        SAE.load(tmp_path / "skip-transcoder-160m" / "layers.0.mlp")


@pytest.mark.parametrize(("value", "what"), [(1e300, "NaN or infinity"), (3e38, r"numbers beyond ±1e\+18")])
def test_activations_that_float32_cannot_hold_are_refused(value: float, what: str) -> None:
    x = torch.zeros(3, 12, dtype=torch.float64)
    x[2, 5] = -value
    sae = SAE.load(DATA / "saelens_topk")
    with pytest.raises(FormatError, match=f"the activations hold {what}, first at row 2, column 5"):
        sae.encode(x)
    assert sae.encode(torch.full((1, 12), 1e17, dtype=torch.float64)).nnz
