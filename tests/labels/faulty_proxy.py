"""A proxy on the loopback in front of a real server: it counts requests, and spoils replies on request."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Reply:
    """A reply in place of the server's.

    Parameters
    ----------
    status, body, headers
        A body that is no string is sent as JSON.
    after
        Seconds before it is sent.
    cut
        Close the connection in the middle of the body.
    """

    status: int = 200
    body: Any = ""
    headers: dict[str, str] = field(default_factory=dict)
    after: float = 0.0
    cut: bool = False


@dataclass(frozen=True)
class Request:
    """A request that came in."""

    at: float
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def text(self) -> str:
        """The last message of a question; empty for other requests."""
        return self.body["messages"][-1]["content"] if self.body else ""


@dataclass
class Proxy:
    """What passes through, and what does not.

    Parameters
    ----------
    server
        Address of the real server, up to the port.
    spoil
        Called with each request; a reply is sent in place of the server's, None forwards the request.
    """

    server: str
    spoil: Callable[[Request], Reply | None] = lambda request: None
    requests: list[Request] = field(default_factory=list)
    address: str = ""
    most_at_once: int = 0

    @property
    def questions(self) -> list[Request]:
        """Requests for an answer, without those for the list of models."""
        return [request for request in self.requests if request.body]


@contextmanager
def proxy(server: str, spoil: Callable[[Request], Reply | None] = lambda request: None) -> Iterator[Proxy]:
    """Run a proxy in a thread."""
    proxied = Proxy(server, spoil)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    handler = _Handler(proxied)
    listening = asyncio.run_coroutine_threadsafe(asyncio.start_server(handler.handle, "127.0.0.1", 0), loop).result()
    proxied.address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
    try:
        yield proxied
    finally:
        asyncio.run_coroutine_threadsafe(handler.stop(listening), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        with warnings.catch_warnings():  # a client that left at the last moment leaves a socket of this proxy behind
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


class _Handler:
    def __init__(self, proxied: Proxy) -> None:
        self.proxied, self.open = proxied, 0

    async def stop(self, listening: asyncio.Server) -> None:
        listening.close()
        await asyncio.sleep(0.01)  # a connection that was just accepted gets its task
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # a closed transport gives up its socket in the next turn of the loop

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.proxied.most_at_once = max(self.proxied.most_at_once, self.open)
        try:
            await self._pass_on(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the client is gone
        finally:
            self.open -= 1
            await _close(writer)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        path = first.split()[1]
        request = Request(time.monotonic(), path, headers, json.loads(body) if body else None)
        self.proxied.requests.append(request)
        reply = self.proxied.spoil(request)
        if reply is None:
            await self._forward(first, lines, body, writer)
        else:
            await _send(reply, writer)

    async def _forward(self, first: str, lines: list[str], body: bytes, writer: asyncio.StreamWriter) -> None:
        address = urlsplit(self.proxied.server)
        upstream, sink = await asyncio.open_connection(address.hostname, address.port)
        kept = [line for line in lines if not line.lower().startswith("connection:")]
        try:
            sink.write("\r\n".join([first, *kept, "connection: close", "", ""]).encode("latin-1") + body)
            while part := await upstream.read(65536):
                writer.write(part)
                await writer.drain()
        finally:
            await _close(sink)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()


async def _send(reply: Reply, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(reply.after)
    body = (reply.body if isinstance(reply.body, str) else json.dumps(reply.body)).encode()
    headers = {"content-type": "application/json", "connection": "close", **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} -", *(f"{name}: {value}" for name, value in headers.items())]
    sent = body[: len(body) // 2] if reply.cut else body
    writer.write("\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + sent)
    await writer.drain()
