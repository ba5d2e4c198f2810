"""What tests of files that are made to harm share."""

import zipfile
from pathlib import Path

import pytest

from universality.errors import FormatError
from universality.sae import SAE

TERA = 10**12


def refused(path: Path, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        SAE.load(path)


def zipped(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path
