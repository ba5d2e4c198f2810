"""Files of a run that the server hands out, for reading: those that the report links to, and no others."""

from __future__ import annotations

import os
import stat
from html import escape
from pathlib import Path
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDERS = ("report", "matches", "families", "figures", "features")
FILES = ("config.yaml", "provenance.json")
_NO_SCRIPTS = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox"


class RunFolderFiles(StaticFiles):
    """Files of one folder. Paths and symbolic links that lead out of it are not found; a folder is listed.

    Parameters
    ----------
    directory
        The folder, which may be missing.
    runs_scripts
        Whether pages from it may run their scripts, as those of the report may.
    """

    def __init__(self, directory: Path, runs_scripts: bool) -> None:
        super().__init__(directory=directory, check_dir=False)
        self._runs_scripts = runs_scripts

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file or the list of a folder."""
        if "\0" in path:  # the system's calls raise ValueError
            raise HTTPException(404)
        full_path, found = self.lookup_path(path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            response: Response = _listing(Path(full_path), scope["path"])
        else:
            response = await super().get_response(path, scope)
        if not self._runs_scripts:
            response.headers.setdefault("Content-Security-Policy", _NO_SCRIPTS)
        return response


def _listing(folder: Path, path: str) -> Response:
    """List a folder as links; hidden files are left out."""
    entries = sorted(os.scandir(folder), key=lambda entry: (not entry.is_dir(), entry.name))
    base = path.rstrip("/")
    items = "".join(
        f'<li><a href="{quote(f"{base}/{entry.name}")}">{escape(entry.name)}</a></li>'
        for entry in entries
        if not entry.name.startswith(".")
    )
    title = escape(base)
    return HTMLResponse(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="color-scheme" content="light dark"></head><body><h1>{title}</h1><ul>{items}</ul></body></html>'
    )


def file_routes(root: Path) -> list[BaseRoute]:
    """Return routes to the files of a run.

    Parameters
    ----------
    root
        The run's folder.
    """
    mounts = [Mount(f"/{name}", RunFolderFiles(root / name, name == "report")) for name in FOLDERS]
    return [*mounts, *(Route(f"/{name}", _file(root / name)) for name in FILES)]


def _file(path: Path):  # type: ignore[no-untyped-def]
    async def answer(_: object) -> Response:
        if not path.is_file():
            raise HTTPException(404)
        return FileResponse(path, media_type="text/plain", headers={"Content-Security-Policy": _NO_SCRIPTS})

    return answer
