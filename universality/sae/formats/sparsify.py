"""EleutherAI's sparsify: ``cfg.json`` and ``sae.safetensors`` in a folder named for the hookpoint.

    encoder.weight [d_sae, d_in]    encoder.bias [d_sae]    W_dec [d_sae, d_in]    b_dec [d_in]

TopK of the rectified pre-activations, with the decoder's bias subtracted before encoding. W_dec is not transposed,
unlike the encoder.

With ``transcode`` the hookpoint is a module whose output is reconstructed from its input, and the bias is not
subtracted. With ``skip_connection`` as well, x W_skipᵀ is added to the output, W_skip [d_in, d_in].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from universality.checked_json import Settings
from universality.errors import FormatError
from universality.sae.formats.fields import Fields, chosen, expect
from universality.sae.formats.safetensors_file import read_safetensors
from universality.sae.formats.source import Source
from universality.sae.formats.transcoder import refuse_named_transcoder, refuse_transcoder

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
TRAINING = "config.json"
NAME = f"sparsify ({CONFIG}, {WEIGHTS})"
_REFUSED = {
    "embed_skip": "it adds a linear map of the embeddings to its output",
    "gram_lookup": "it reconstructs the residual of a table of n-grams",
    "signed": "its activations may be negative",
}


def recognise(source: Source) -> bool:
    """Recognise a folder by its two files."""
    return source.holds(CONFIG, WEIGHTS)


def read(source: Source) -> Fields:
    """Read the fields of an `SAE`."""
    config = Settings.read(source / CONFIG)
    for key, reason in _REFUSED.items():
        if config.flag(key, False):
            raise FormatError(f"{config.where}: {key} is set; it cannot be read: {reason}")
    transcode, skip = (config.flag(key, False) for key in ("transcode", "skip_connection"))
    if skip and not transcode:
        raise FormatError(
            f"{config.where}: skip_connection is set without transcode; it cannot be read: it adds a linear map of the "
            "very activations that it reconstructs"
        )
    if not transcode:
        _refuse_unmarked_transcoder(source, config)
    activation = config.text("activation", "topk")
    if activation != "topk":
        raise FormatError(f"{config.where}: activation {activation!r} cannot be read; known: topk")
    config.require("d_in", "k")
    d_in, d_sae = config.integer("d_in"), _width(config)
    path = source / WEIGHTS
    tensors = read_safetensors(path)
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.weight": (d_sae, d_in), "encoder.bias": (d_sae,), "W_dec": (d_sae, d_in), "b_dec": (d_in,),
    }  # fmt: skip
    shapes |= {"W_skip": (d_in, d_in)} if skip else {}
    expect(tensors, path, shapes)
    return {
        "W_enc": tensors["encoder.weight"].T,
        "b_enc": tensors["encoder.bias"],
        "W_dec": tensors["W_dec"],
        "b_dec": tensors["b_dec"],
        "architecture": "topk",
        "k": config.integer("k"),
        "metadata": _place(source.folder.absolute(), transcode)
        | chosen(config.values, "normalize_decoder", "multi_topk"),
        "apply_b_dec_to_input": not transcode,
        "transcoder": transcode,
        "W_skip": tensors["W_skip"].T if skip else None,
    }


def _refuse_unmarked_transcoder(source: Source, config: Settings) -> None:
    """Check this configuration and that of the training, one or two folders above."""
    # files of November 2024 have the flag in the training's config.json alone; the library then subtracted the bias
    refuse_transcoder(config.values, config.where)
    folder = source.folder.absolute()
    for above in (folder, *folder.parents[:2]):
        if (above / TRAINING).is_file():
            refuse_transcoder(Settings.read(above / TRAINING).values, above / TRAINING)
    if "transcode" not in config:
        refuse_named_transcoder(folder.parts[-4:], folder)


def _place(folder: Path, transcode: bool) -> dict[str, Any]:
    """Hookpoint from the folder's name; a folder named for a seed lies inside that of the hookpoint."""
    seeded = folder.name.startswith("seed")
    hookpoint = folder.parent.name if seeded else folder.name
    place = {"hookpoint": hookpoint} | ({"seed": folder.name} if seeded else {})
    if transcode and "." in hookpoint:  # a folder may be called anything
        place |= {"hook": f"{hookpoint}.input", "hook_out": hookpoint}
    return place


def _width(config: Settings) -> int:
    """Width: ``num_latents``, or d_in times the expansion factor if that is 0."""
    if config.values.get("num_latents") in (None, 0):
        return config.integer("d_in") * config.integer("expansion_factor")
    return config.integer("num_latents")
