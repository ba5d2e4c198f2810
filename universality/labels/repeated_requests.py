"""Requests that are repeated while a server is busy, with waits that are bounded and announced."""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

from openai import APIConnectionError, APIStatusError, APITimeoutError

from universality.progress import note

T = TypeVar("T")

_FIRST_WAIT, _LONGEST_BACKOFF = 0.5, 8.0
LONGEST_WAIT = 120.0
"""Most seconds that a server may ask to wait."""
_BETWEEN_NOTES = 30.0
_STATUSES = (408, 409, 429)  # and those from 500


class Repeated:
    """Repetitions of failed requests to one server, from several threads.

    Parameters
    ----------
    url
        Address of the server, for the notes.
    retries
        Largest number of repetitions of one request.
    """

    def __init__(self, url: str, retries: int) -> None:
        self._url, self._retries = url, retries
        self._closed = threading.Event()
        self._lock, self._next_note = threading.Lock(), -math.inf

    def close(self) -> None:
        """End all waits at once; nothing is repeated any more."""
        self._closed.set()

    def __call__(self, send: Callable[[], T]) -> T:
        """Return what ``send`` returns, after repetitions if need be; raise its last error."""
        for repetition in range(self._retries):
            try:
                return send()
            except (APIConnectionError, APIStatusError) as error:
                if not _may_pass(error):
                    raise
                seconds = _wait(error, repetition)
                self._announce(error, seconds, repetition)
                if self._closed.wait(seconds):
                    raise
        return send()

    def _announce(self, error: APIConnectionError | APIStatusError, seconds: float, repetition: int) -> None:
        with self._lock:
            now = time.monotonic()
            if now < self._next_note:
                return
            self._next_note = now + _BETWEEN_NOTES
        note(
            f"{self._url}: {_what(error)}; waiting {seconds:.1f} s before repetition {repetition + 1} of "
            f"{self._retries} (such waits are named every {_BETWEEN_NOTES:g} s at most)"
        )


def _may_pass(error: APIConnectionError | APIStatusError) -> bool:
    """Return whether the same request may succeed later."""
    if isinstance(error, APIConnectionError):
        return True
    if error.code == "insufficient_quota":
        return False
    asked = error.response.headers.get("x-should-retry")  # of OpenAI's servers
    if asked in ("true", "false"):
        return bool(asked == "true")
    return error.status_code in _STATUSES or error.status_code >= 500


def _what(error: APIConnectionError | APIStatusError) -> str:
    if isinstance(error, APIStatusError):
        return f"the server answers with status {error.status_code}"
    return "no answer in time" if isinstance(error, APITimeoutError) else "the connection failed"


def _wait(error: APIConnectionError | APIStatusError, repetition: int) -> float:
    asked = asked_wait(error.response.headers) if isinstance(error, APIStatusError) else None
    if asked is not None:
        return asked
    backoff = min(_FIRST_WAIT * 2.0 ** min(repetition, 10), _LONGEST_BACKOFF)
    return backoff * random.uniform(0.75, 1.0)  # requests that failed together do not come back together


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a server asks to wait, `LONGEST_WAIT` at most; None where it says nothing usable.

    Examples
    --------
    >>> asked_wait({"retry-after": "3"}), asked_wait({"retry-after": "99999999999999999999"})
    (3.0, 120.0)
    >>> asked_wait({"retry-after": "NaN"}) is None
    True
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) * unit
        except (KeyError, ValueError):
            continue
        return min(seconds, LONGEST_WAIT) if seconds > 0 else None  # NaN is not above 0
    return _until(headers.get("retry-after", ""))


def _until(date: str) -> float | None:
    """Return the seconds until a date of HTTP; None if it is none, or in the past."""
    try:
        seconds = parsedate_to_datetime(date).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return min(seconds, LONGEST_WAIT) if seconds > 0 else None
