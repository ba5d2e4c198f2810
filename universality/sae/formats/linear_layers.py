"""Goodfire's and qresearch's SAEs: the state dict of two linear layers, in one file MODEL-SAE-lN.pt or .pth.

    encoder.weight [d_sae, d_in]    encoder.bias [d_sae]    decoder.weight [d_in, d_sae]    decoder.bias [d_in]

Goodfire calls the layers ``encoder_linear`` and ``decoder_linear``. ReLU of the residual stream after block N; the
decoder's bias is not subtracted before encoding. The file states none of that: only names that these two publish are
read so. Read as by SAELens.
"""

from __future__ import annotations

import re

from universality.sae.formats.fields import Fields, expect, matrix
from universality.sae.formats.source import Source
from universality.sae.formats.torch_file import only_tensors, read_torch

NAME = "Goodfire, qresearch (the path of one MODEL-SAE-lN.pt or .pth)"
_FILE = re.compile(r"(.+)-SAE-l(\d+)\.pth?")


def recognise(source: Source) -> bool:
    """Recognise a file by its name."""
    return source.is_file(".pt", ".pth") and _FILE.fullmatch(source.path.name) is not None


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    path, match = source.path, _FILE.fullmatch(source.path.name)
    assert match is not None
    tensors = only_tensors(read_torch(path))
    suffix = "_linear" if "encoder_linear.weight" in tensors else ""
    encoder, decoder = f"encoder{suffix}", f"decoder{suffix}"
    d_sae, d_in = matrix(tensors, path, f"{encoder}.weight")
    shapes: dict[str, tuple[int, ...]] = {
        f"{encoder}.weight": (d_sae, d_in), f"{encoder}.bias": (d_sae,),
        f"{decoder}.weight": (d_in, d_sae), f"{decoder}.bias": (d_in,),
    }  # fmt: skip
    expect(tensors, path, shapes)
    return {
        "W_enc": tensors[f"{encoder}.weight"].T,
        "b_enc": tensors[f"{encoder}.bias"],
        "W_dec": tensors[f"{decoder}.weight"].T,
        "b_dec": tensors[f"{decoder}.bias"],
        "architecture": "relu",
        "apply_b_dec_to_input": False,
        "metadata": {
            "file": path.name,
            "model_name": match[1],
            "hook_name": f"blocks.{match[2]}.hook_resid_post",
        },
    }
