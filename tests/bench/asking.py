"""How busy a server is kept: one that answers each request after 50 ms, asked with 16 requests at a time.

    python tests/bench/asking.py [--requests 4000]

Answers per second, and the share of the server's 16 / 0.05 s = 320 per second, of

- a bare client, which writes bytes to 16 sockets: what machine and server allow;
- ``Endpoint.ask``, which goes through the ``openai`` package;
- ``ask`` with an empty cache on the disk: every answer is written before it counts;
- ``ask`` again with the full cache: nothing is sent.

The server runs in a process of its own. Prompts have 4,000 characters, as those with 49 examples do. Processor seconds
are this process's, which needs less than one core: on a machine whose cores are all in use, compare with the bare
client. A share above 100% is rounding: the last answers of a run wait for nobody.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from universality.labels import AnswerCache, Endpoint, Message, Prompt, ask

SECONDS, AT_ONCE = 0.05, 16
REPLY = {
    "id": "0",
    "object": "chat.completion",
    "created": 1,
    "model": "bench",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "days of the week and the words around them"},
        }
    ],
    "usage": {"prompt_tokens": 1200, "completion_tokens": 9, "total_tokens": 1209},
}


async def _reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    body = json.dumps(REPLY).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body)
    try:
        while True:
            request = (await reader.readuntil(b"\r\n\r\n")).lower()
            lengths = [line.split(b":")[1] for line in request.split(b"\r\n") if line.startswith(b"content-length")]
            await reader.readexactly(int(lengths[0]) if lengths else 0)
            if lengths:
                await asyncio.sleep(SECONDS)
            writer.write(head + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(_reply, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _bare_client(port: int, n: int) -> int:
    body = json.dumps({"messages": "x" * 4000}).encode()
    request = b"POST /v1 HTTP/1.1\r\nhost: bench\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def client() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(n // AT_ONCE):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.split(b"content-length: ")[1]))
        writer.close()
        return n // AT_ONCE

    return sum(await asyncio.gather(*(client() for _ in range(AT_ONCE))))


def measured(name: str, work: Callable[[], int]) -> None:
    """Print the speed of some work that returns the number of answers."""
    wall, processor = time.perf_counter(), time.process_time()
    n = work()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    share = n / wall / (AT_ONCE / SECONDS)
    print(f"{name:38s} {n / wall:9,.0f} answers/s  {share:7.1%}  {1000 * processor / n:6.2f} ms of processor each")


def main() -> None:
    """Start the server, and ask it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(_serve())
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        compare(int(server.stdout.readline()), given.requests)
    finally:
        server.kill()
        server.wait()


def compare(port: int, n: int) -> None:
    """Print the table."""
    model = Endpoint("bench", f"http://127.0.0.1:{port}/v1", at_once=AT_ONCE)
    prompts = [Prompt((Message("user", f"{number} {'x' * 4000}"),), max_tokens=60) for number in range(n)]
    list(model.ask(prompts[:AT_ONCE]))  # imports the package
    measured("bare client", lambda: asyncio.run(_bare_client(port, n)))
    measured("Endpoint.ask", lambda: len(list(model.ask(prompts))))
    with tempfile.TemporaryDirectory() as folder, AnswerCache(Path(folder, "answers.jsonl")) as cache:
        for name in ("ask, cache empty", "ask, cache full"):
            measured(name, lambda: len(list(ask(model, prompts, cache, silent=True))))


if __name__ == "__main__":
    main()
