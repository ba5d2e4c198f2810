"""Transcoders of all tools encode and decode as in the library that wrote them; unmarked ones are refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign import DATA, edited
from numpy.testing import assert_allclose
from safetensors.torch import load_file, save_file

from universality.errors import FormatError, MismatchError
from universality.sae import SAE
from universality.sae.formats.stated_hook import same_place, stated_hook, stated_hook_out

MLP = ("blocks.3.mlp.hook_in", "blocks.3.hook_mlp_out")
WRITTEN_BY_ITS_LIBRARY = {
    "saelens_transcoder": ("relu", 10, MLP),
    "saelens_skip_transcoder": ("relu", 10, MLP),  # normalises what it reads
    "saelens_jumprelu_transcoder": ("jumprelu", 12, MLP),
    "saelens_jumprelu_skip_transcoder": ("jumprelu", 10, MLP),
    "sparsify_transcoder/layers.3.mlp": ("topk", 12, MLP),
    "sparsify_skip_transcoder/layers.3.mlp": ("topk", 12, MLP),
    "circuit_tracer_relu": ("relu", 12, ("blocks.0.mlp.hook_in", "blocks.0.hook_mlp_out")),
    "circuit_tracer_jumprelu_skip/layer_0.safetensors": (
        "jumprelu",
        12,
        ("blocks.0.mlp.hook_in", "blocks.0.hook_mlp_out"),
    ),
    "gemma_scope_2_transcoder/gemma-scope-2-270m-pt/transcoder_all/layer_9_width_16k_l0_small": (
        "jumprelu",
        12,
        ("blocks.9.mlp.hook_in", "blocks.9.hook_mlp_out"),
    ),
    "gemma_scope_2_skip_transcoder/gemma-scope-2-270m-pt/transcoder_all/layer_9_width_16k_l0_small_affine": (
        "jumprelu",
        12,
        ("blocks.9.mlp.hook_in", "blocks.9.hook_mlp_out"),
    ),
    "llamascopium_jumprelu_transcoder": ("jumprelu", 12, ("blocks.3.ln2.hook_normalized", "blocks.3.hook_mlp_out")),
    "llamascopium_topk_transcoder": ("topk", 12, ("blocks.3.ln2.hook_normalized", "blocks.3.hook_mlp_out")),
}
SKIP = "saelens_jumprelu_skip_transcoder"


@pytest.mark.parametrize("path", WRITTEN_BY_ITS_LIBRARY)
def test_encodes_and_decodes_as_the_library_that_wrote_it(path: str) -> None:
    architecture, d_out, hooks = WRITTEN_BY_ITS_LIBRARY[path]
    written, transcoder = np.load(DATA / f"{path.split('/', maxsplit=1)[0]}.npz"), SAE.load(DATA / path)
    x, output = torch.from_numpy(written["x"]), written["out"]
    assert (transcoder.architecture, transcoder.d_in, transcoder.d_sae, transcoder.d_out) == (
        architecture,
        12,
        32,
        d_out,
    )
    assert (stated_hook(transcoder.metadata), stated_hook_out(transcoder.metadata)) == hooks
    assert (transcoder.W_skip is not None) == ("skip" in path)
    codes = transcoder.encode(x)
    assert_allclose(codes.toarray(), written["codes"], rtol=0, atol=1e-5)
    assert_allclose(transcoder.decode(codes, like=x), output, rtol=0, atol=2e-5)
    assert_allclose(transcoder.decode(torch.from_numpy(codes.toarray()), like=x), output, rtol=0, atol=2e-5)
    assert_allclose(transcoder.reconstruct(x), output, rtol=0, atol=2e-5)
    others = [replace(transcoder, b_dec=torch.zeros(d_out))]
    others += [replace(transcoder, W_skip=None)] if "skip" in path else []
    others += [replace(transcoder, W_skip=transcoder.W_skip.T)] if "skip" in path and d_out == 12 else []
    for other in others:  # what a reader that leaves out a part, or turns it, would give
        assert np.abs(other.reconstruct(x).numpy() - output).max() > 0.1


@pytest.mark.parametrize("path", WRITTEN_BY_ITS_LIBRARY)
def test_all_of_it_is_saved(path: str, tmp_path: Path) -> None:
    transcoder = SAE.load(DATA / path)
    again = SAE.load(transcoder.save(tmp_path / "saved"))
    assert (again.hash, again.transcoder, again.metadata) == (transcoder.hash, True, transcoder.metadata)
    if transcoder.W_skip is not None:
        assert again.W_skip is not None
        assert again.W_skip.equal(transcoder.W_skip)


def test_a_skip_transcoder_needs_its_input_to_decode() -> None:
    transcoder = SAE.load(DATA / SKIP)
    codes = transcoder.encode(np.load(DATA / f"{SKIP}.npz")["x"])
    with pytest.raises(MismatchError, match=r"adds a linear map of its input: pass it, decode\(features, like=x\)"):
        transcoder.decode(codes)
    with pytest.raises(MismatchError, match=r"expected activations \[n_tokens, 12\], found shape \(20, 10\)"):
        transcoder.decode(codes, like=torch.zeros(20, 10))


def test_saelens_reads_what_is_exported(tmp_path: Path) -> None:
    """The two files are those that SAELens wrote, but for our section of the metadata."""
    SAE.load(DATA / SKIP).export(tmp_path / "published")
    theirs, ours = (load_file(folder / "sae_weights.safetensors") for folder in (DATA / SKIP, tmp_path / "published"))
    assert {name: list(tensor.shape) for name, tensor in ours.items()} == {
        name: list(tensor.shape) for name, tensor in theirs.items()
    }
    assert ours["W_skip"].equal(theirs["W_skip"])
    assert '"architecture": "jumprelu_skip_transcoder"' in (tmp_path / "published" / "cfg.json").read_text()


def test_a_place_has_several_names() -> None:
    assert same_place("blocks.3.ln2.hook_out", ["blocks.3.mlp.hook_in"])
    assert not same_place("blocks.3.ln2.hook_normalized", ["blocks.3.mlp.hook_in"])  # the norm's gain is between them
    assert not same_place("blocks.3.ln2.hook_out", ["blocks.2.mlp.hook_in"])


@pytest.mark.parametrize(
    ("name", "config", "changes", "message"),
    [
        ("saelens_standard", "cfg.json", {"is_transcoder": True}, "is_transcoder is set"),
        ("saelens_standard", "cfg.json", {"d_out": 24}, "d_in is 12, d_out 24"),
        ("saelens_topk", "cfg.json", {"hook_name": "a", "hook_name_out": "b"}, "reads 'a' and writes to 'b'"),
        ("saelens_topk", "cfg.json", {"metadata.hook_name_out": "b"}, "reads 'blocks.3.hook_resid_post' and writes"),
        ("sparsify_topk", "cfg.json", {"transcoder": True}, "transcoder is set"),
    ],
)
def test_what_is_not_marked_as_its_library_does_is_refused(
    name: str, config: str, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = edited(name, tmp_path / "sae", config, changes)
    with pytest.raises(
        FormatError, match=r"a transcoder, which reads one site .* cannot be read in this layout"
    ) as error:
        SAE.load(folder)
    assert message in str(error.value)


def test_dictionary_learning_does_not_say_by_which_equations_its_transcoders_encode(tmp_path: Path) -> None:
    folder = edited("dictionary_learning_topk", tmp_path / "sae", "config.json", {"buffer.io": "in_and_out"})
    with pytest.raises(FormatError, match=r"a transcoder cannot be read, it reads one site .*'in_and_out'"):
        SAE.load(folder)


def test_a_skip_connection_of_an_sae_is_refused(tmp_path: Path) -> None:
    folder = shutil.copytree(DATA / "sparsify_topk", tmp_path / "sae")
    tensors = load_file(folder / "sae.safetensors")
    save_file({**tensors, "W_skip": torch.zeros(12, 12)}, folder / "sae.safetensors")
    with pytest.raises(FormatError, match="W_skip is the skip connection or output bias of a transcoder, and its conf"):
        SAE.load(folder)


def test_the_name_of_a_folder_gives_a_transcoder_of_sparsify_away(tmp_path: Path) -> None:
    edited("sparsify_topk", tmp_path / "skip-transcoder-160m" / "layers.0.mlp", "cfg.json", {"transcode": None})
    with pytest.raises(FormatError, match="they lie in 'skip-transcoder-160m'"):
        SAE.load(tmp_path / "skip-transcoder-160m" / "layers.0.mlp")


FIELDS: dict[str, Any] = {
    "W_enc": torch.ones(3, 4),
    "b_enc": torch.zeros(4),
    "W_dec": torch.ones(4, 2),
    "b_dec": torch.zeros(2),
    "architecture": "relu",
    "apply_b_dec_to_input": False,
    "transcoder": True,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transcoder": False}, r"W_enc: expected shape \(2, 4\) beside a W_dec \[d_sae, d_in\] of \(4, 2\), found"),
        ({"b_dec": torch.zeros(3)}, r"b_dec: expected shape \(2,\) beside a W_dec \[d_sae, d_out\]"),
        ({"W_skip": torch.zeros(2, 3)}, r"W_skip: expected shape \(3, 2\)"),
        ({"W_skip": torch.full((3, 2), torch.nan)}, "W_skip of the SAE holds NaN"),
        ({"apply_b_dec_to_input": True}, "apply_b_dec_to_input of a transcoder must be false"),
        (
            {"W_enc": torch.ones(2, 4), "W_skip": torch.ones(2, 2), "transcoder": False},
            "W_skip belongs to a transcoder",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    assert SAE(**FIELDS).d_out == 2
    with pytest.raises(FormatError, match=message):
        SAE(**FIELDS | changes)


def test_the_hash_tells_a_transcoder_from_an_sae() -> None:
    square = {**FIELDS, "W_enc": torch.ones(2, 4)}
    transcoder, sae = SAE(**square), SAE(**square | {"transcoder": False})
    skip = SAE(**square, W_skip=torch.zeros(2, 2))
    assert len({transcoder.hash, sae.hash, skip.hash}) == 3
