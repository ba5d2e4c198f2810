"""What ends a command in one message, and what is a bug."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from universality import cli
from universality.errors import ConfigError


def ending(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    monkeypatch.setattr(cli, "app", fail)
    return cli.main


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConfigError("saes.k: mine"), "universality: saes.k: mine"),
        (FileNotFoundError("a.h5: no such feature store"), "universality: a.h5: no such feature store"),  # one of ours
        (PermissionError(errno.EACCES, "Permission denied", "runs/x"), "universality: runs/x: permission denied; ask"),
        (OSError(errno.ENOSPC, "No space left on device", "f.csv"), "universality: f.csv: no space left on the disk"),
        (OSError(errno.EROFS, "Read-only file system"), "universality: a file: the file system is read-only"),
    ],
)
def test_what_a_user_can_mend_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, said: str
) -> None:
    with pytest.raises(SystemExit) as end:
        ending(monkeypatch, error)()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
        OSError(errno.EINVAL, "Invalid"),
        KeyError("x"),
    ],
)
def test_what_no_user_can_mend_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with pytest.raises(type(error)):
        ending(monkeypatch, error)()


def test_a_file_where_the_run_s_folder_should_be_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("")
    (tmp_path / "c.yaml").write_text("models: {load: {A: starter/seed0, B: starter/seed1}}")
    monkeypatch.setattr("sys.argv", ["universality", "run", "c.yaml"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "runs/c: a part of this path is a file, not a folder" in capsys.readouterr().err
