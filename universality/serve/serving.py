"""Running the live page: an interface, a port, and a token where others can reach it."""

from __future__ import annotations

import errno
import secrets
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from universality.errors import UniversalityError
from universality.extras import naming_extra

with naming_extra("universality serve"):
    import uvicorn

    from universality.serve.application import live_app
from universality.serve.live_run import LiveRun
from universality.serve.request_guard import Access

PORT = 8765


def serve(
    folder: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    token: bool = False,
    names: Iterable[str] = (),
    ready: Callable[[str], None] = print,
) -> None:
    """Serve the live page of a run until interrupted.

    Parameters
    ----------
    folder
        The run's folder, which is only read.
    host
        Address or name of the interface: the loopback by default, ``0.0.0.0`` for all.
    port
        Port; 0 for any free one.
    token
        Ask for a token on the loopback too, where other users of the machine can connect. Other interfaces always do.
    names
        Names of this machine under which the page may be opened, besides ``localhost`` and addresses.
    ready
        Function that is given the address to open.

    Raises
    ------
    UniversalityError
        If the run cannot be opened or has no report, or the interface or port cannot be used.
    """
    with LiveRun(folder) as run, _listening(host, port) as listener:
        secret = secrets.token_urlsafe(24) if token or not is_loopback(host) else None
        access = Access(secret, frozenset(name.lower() for name in (*names, host)))
        app = live_app(run, access)
        server = uvicorn.Server(
            uvicorn.Config(app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2)
        )
        ready(address(host, listener.getsockname()[1], secret))
        with suppress(KeyboardInterrupt):  # uvicorn passes Ctrl-C on when it has closed its connections
            server.run(sockets=[listener])


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an interface.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "gpu7")]
    [True, True, True, False, False]
    """
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address(host: str, port: int, token: str | None) -> str:
    """Return the link to open.

    Examples
    --------
    >>> address("::1", 8765, None), address("0.0.0.0", 80, "secret")
    ('http://[::1]:8765/', 'http://127.0.0.1:80/?token=secret')
    """
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/" + ("" if token is None else f"?token={token}")


def _listening(host: str, port: int) -> socket.socket:
    """Open the port before the models are loaded, so that a wrong one is refused at once."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(128)  # who opens the link before the server runs waits instead of being refused
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        in_use = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        advice = "; another server may be running: --port 0 takes any free port" if in_use else ""
        raise UniversalityError(f"{host}, port {port}: {error}{advice}") from None
    return listener
