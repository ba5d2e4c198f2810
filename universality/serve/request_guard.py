"""Checks of every request before it is answered: who asks, under which name, and from which page.

- A page of another site cannot reach the server by a name of its own that resolves to this machine (DNS rebinding):
  ``Host`` must be ``localhost``, an address, or a name that was allowed.
- A page of another site cannot ask in the user's name (cross-site request forgery): browsers say where a request comes
  from in ``Sec-Fetch-Site`` and ``Origin``, and a POST must be JSON, which a form of another site cannot send.
- With a token, every request must bear it, in a cookie or as ``Authorization: Bearer``.

The OWASP cheat sheet on cross-site request forgery describes these checks.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "HEAD", "POST")
_WRONG_NAME = (
    "this server answers under localhost or an address; to open it under a name of this machine, start it with "
    "--allow-host NAME"
)
HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of every response, unless it has its own."""


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes
    ----------
    token
        Secret that a request must bear; None where everyone on the interface may ask.
    names : frozenset of str
        Names, in lower case, under which the server answers besides ``localhost`` and addresses.
    """

    token: str | None = None
    names: frozenset[str] = frozenset()

    def allows_host(self, host: str) -> bool:
        """Tell whether a ``Host`` header names this server: an address cannot be rebound to it, and a name can.

        Examples
        --------
        >>> access = Access(names=frozenset({"gpu7"}))
        >>> [access.allows_host(host) for host in ("127.0.0.1:8765", "[::1]", "gpu7:80", "evil.example", "")]
        [True, True, True, False, False]
        """
        name = _name(host.strip().lower())
        if name == "localhost" or name in self.names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    def bears_token(self, given: str | None) -> bool:
        """Tell whether a given token is the right one, in a time that does not depend on where they differ."""
        return self.token is None or (given is not None and hmac.compare_digest(given.encode(), self.token.encode()))


def _name(host: str) -> str:
    """Return a ``Host`` header without its port; addresses of version 6 stand in brackets."""
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


class Guard:
    """ASGI middleware that refuses requests which `Access` does not allow, and adds `HEADERS` to responses."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        """Return the response to a request that is not allowed; None for one that is."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._access.allows_host(host):
            return refused(421, _WRONG_NAME)
        if scope["method"] not in METHODS:
            return refused(405, f"expected one of {', '.join(METHODS)}, found {scope['method']}")
        if _from_another_site(scope["method"], headers, host):
            return refused(403, "the request comes from a page of another site")
        if scope["method"] == "POST" and headers.get("content-type", "").partition(";")[0] != "application/json":
            return refused(415, "expected application/json")
        return self._without_token(scope, headers)

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Return the response to a request without the token; a link that bears it becomes a cookie."""
        access = self._access
        if access.token is None:
            return None
        cookie = f"universality-{scope['server'][1]}"  # cookies of one host are shared by all of its ports
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if access.bears_token(HTTPConnection(scope).cookies.get(cookie)):
            return None
        if scheme.lower() == "bearer" and access.bears_token(bearer.strip()):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [None])[0]
        if scope["method"] == "GET" and given is not None and access.bears_token(given):
            response = RedirectResponse(scope["path"], 303)
            response.set_cookie(cookie, given, httponly=True, samesite="lax")
            return response
        return refused(401, "open the link with the token that `universality serve` printed")


def _from_another_site(method: str, headers: Headers, host: str) -> bool:
    """Tell whether a page of another site makes the request; following a link from there is allowed."""
    site = headers.get("sec-fetch-site", "none")
    follows_link = headers.get("sec-fetch-mode") == "navigate" and method in ("GET", "HEAD")
    if site not in ("none", "same-origin") and not follows_link:
        return True
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2] != host


def refused(status: int, reason: str) -> Response:
    """Return an error as JSON."""
    return JSONResponse({"error": reason}, status)
