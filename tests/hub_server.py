"""A hub on the loopback: the endpoints of the Hugging Face hub that downloads and streams use, with faults on request.

``huggingface_hub`` is the client, in a process of its own with ``HF_ENDPOINT`` set to `Hub.address`. Files of
``large`` are served as the real hub serves large files: by a redirect to another path, with the size and the hash in
the headers of the redirect.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlparse

COMMIT = hashlib.sha1(b"the only commit").hexdigest()


@dataclass
class Hub:
    """What the server has, what it does wrong, and what it was asked for.

    Parameters
    ----------
    repositories
        ``owner/name`` → path → contents; models and data sets alike.
    revisions
        Names of the one commit that each repository has.
    gated
        Repositories whose files are refused with 403.
    large
        Paths that are served by a redirect.
    cut
        Paths whose connection is closed before the end, once each.
    """

    repositories: dict[str, dict[str, bytes]]
    revisions: tuple[str, ...] = ("main",)
    gated: set[str] = field(default_factory=set)
    large: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """(method, path, Range header) of every request, in order."""
    sent: int = 0
    """Bytes of files that were sent."""
    address: str = ""

    def downloads(self, path: str) -> list[str | None]:
        """The ranges of all requests for a file's contents."""
        return [wanted for method, asked, wanted in self.requests if method == "GET" and asked.endswith(path)]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        parts = path.strip("/").split("/")
        if parts[0] == "datasets":
            parts = parts[1:]
        if parts[:2] in (["api", "models"], ["api", "datasets"]):
            self._api("/".join(parts[2:4]), parts[4:])
        elif parts[0] == "large":
            self._file("/".join(parts[1:3]), "/".join(parts[3:]))
        elif len(parts) > 4 and parts[2] == "resolve":
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        else:
            self._error(404, "EntryNotFound", "no such page")

    def _api(self, name: str, rest: list[str]) -> None:
        revision = rest[1] if len(rest) > 1 else "main"
        if not self._known(name, revision):
            return
        files = self.hub.repositories[name]
        if rest[:1] == ["tree"]:
            self._json(self._listed(files, "".join(f"{part}/" for part in rest[2:])))
        elif rest[:1] == ["paths-info"]:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())["paths"]
            self._json([entry for path in asked for entry in self._at(files, path)])
        else:
            siblings = [{"rfilename": path} for path in files]
            self._json({"id": name, "sha": COMMIT, "siblings": siblings, "private": False, "tags": [], "downloads": 0})

    def _listed(self, files: dict[str, bytes], folder: str) -> list[dict[str, object]]:
        """Files below a folder; unless the client asks for all, those directly in it and its folders."""
        inside = {path: content for path, content in files.items() if path.startswith(folder)}
        if "recursive=true" in urlparse(self.path).query.lower():
            return [self._entry(path, content) for path, content in inside.items()]
        names = dict.fromkeys(folder + path.removeprefix(folder).split("/")[0] for path in inside)
        return [entry for name in names for entry in self._at(files, name)]

    def _at(self, files: dict[str, bytes], path: str) -> list[dict[str, object]]:
        if path in files:
            return [self._entry(path, files[path])]
        is_folder = any(name.startswith(f"{path}/") for name in files)
        return [{"type": "directory", "path": path, "oid": _blob(path.encode()), "size": 0}] if is_folder else []

    def _entry(self, path: str, content: bytes) -> dict[str, object]:
        entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": _blob(content)}
        if path in self.hub.large:
            digest = hashlib.sha256(content).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 134}
        return entry

    def _known(self, name: str, revision: str) -> bool:
        if name not in self.hub.repositories:
            self._error(401, "RepoNotFound", "Repository not found")
        elif revision not in (*self.hub.revisions, COMMIT):
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return True
        return False

    def _resolve(self, name: str, revision: str, path: str) -> None:
        if not self._known(name, revision):
            return
        if name in self.hub.gated:
            self._error(403, "GatedRepo", f"Access to model {name} is restricted")
        elif path not in self.hub.repositories[name]:
            self._error(404, "EntryNotFound", "Entry not found")
        elif path in self.hub.large:
            content = self.hub.repositories[name][path]
            self.send_response(302)
            self.send_header("Location", f"{self.hub.address}/large/{name}/{path}")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("X-Linked-Etag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._file(name, path)

    def _file(self, name: str, path: str) -> None:
        content = self.hub.repositories[name][path]
        first, _, last = (self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last) + 1, len(content)) if last else len(content)
        self.send_response(206 if "Range" in self.headers else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{_blob(content)}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if "Range" in self.headers:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.sent += stop - start
        if path in self.hub.cut:
            self.hub.cut.discard(path)
            self.wfile.write(content[start : start + (stop - start) * 3 // 4])  # more than one chunk of the client's
            self.close_connection = True
            self.connection.close()
        else:
            self.wfile.write(content[start:stop])

    def _json(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _error(self, status: int, code: str, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("X-Error-Message", message)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve a hub on a free port of the loopback until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
