"""Folders are walked in order, and files that are passed over are named."""

import os
from pathlib import Path

import pytest

from universality.corpus import read_passages, read_source
from universality.errors import CorpusError


def test_a_folder_as_people_have_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    outside, source = tmp_path / "disk" / "greek", tmp_path / "text"
    for folder in (outside, source / "english", source / ".git", source / ".ipynb_checkpoints"):
        folder.mkdir(parents=True)
        (folder / "a.txt").write_text(folder.name)
    (source / "greek").symlink_to(outside)
    (source / "again").symlink_to(source / "english")
    (source / "english" / "loop").symlink_to(source)
    (outside / "up").symlink_to(outside)
    (source / "gone.txt").symlink_to(tmp_path / "nowhere")
    os.mkfifo(source / "pipe.txt")
    reading = read_source(source)
    assert [(p.id, p.kind) for p in reading.passages] == [("english/a.txt", "english"), ("greek/a.txt", "greek")]
    assert reading.notes == (
        f"{source}: hidden files and folders are not read: .git, .ipynb_checkpoints",
        f"{source}: links to folders that are read elsewhere are not followed: again, english/loop, greek/up",
        f"{source}: broken links and what is neither file nor folder are not read: gone.txt, pipe.txt",
    )
    assert caplog.messages == list(reading.notes)
    with pytest.raises(CorpusError, match=r"pipe\.txt: neither a file nor a folder"):
        read_passages(source / "pipe.txt")


def test_names_that_are_not_utf8_are_refused_readably(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    with pytest.raises(
        CorpusError, match=r"caf\\xe9\.txt: the name of this file or folder is not UTF-8; rename it"
    ) as e:
        read_passages(tmp_path)
    str(e.value).encode()


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(CorpusError, match="the folder cannot be read: Permission denied; allow it, or move it"):
        read_passages(tmp_path)
