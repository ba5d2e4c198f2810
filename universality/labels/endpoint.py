"""Models behind an OpenAI-compatible server: OpenAI, vLLM, llama.cpp, Ollama, ``transformers serve`` and others.

Prompts hold passages of the text in which features fire. They are sent to the address that the user gives and nowhere
else. The key comes from an environment variable, is sent to that address alone, and is removed from every message.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from universality.arrays import FloatArray
from universality.errors import ConfigError, ModelError
from universality.extras import naming_extra
from universality.labels.chat import Answer, Prompt
from universality.labels.request_workers import as_completed

OPENAI = "https://api.openai.com/v1"
_TEXTS_AT_ONCE = 100  # servers take from some hundreds to 2,048 in a request
_OWN_FIELDS = ("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "seed", "stream", "n")


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible server, asked with several requests at a time.

    Parameters
    ----------
    name
        Name of the model, as the server lists it.
    base_url
        Address of the server up to ``/v1``. ``http://`` is taken for servers on this machine only.
    temperature
        0 takes the most probable token. None leaves it to the server, for models that refuse the setting.
    seed
        Seed of the sampling, which servers follow more or less closely; None sends none.
    options
        Further fields of the request's body, for example ``{"reasoning_effort": "low"}``. Part of the settings.
    context
        Most tokens of prompt and answer together, if known.
    at_once
        Largest number of requests that are under way.
    timeout
        Seconds after which a request without an answer is given up.
    retries
        Number of repetitions of a failed request. The wait before each doubles from 0.5 s to 8 s, or is what the
        server asks for (``Retry-After``), up to 2 minutes.
    key_variable
        Name of the environment variable with the key. A server on this machine needs none; None sends none to any.
    allow_http
        Whether prompts and key may be sent over a network unencrypted.

    Raises
    ------
    ConfigError
        If an option is out of its range, or the address cannot be used.

    Examples
    --------
    >>> model = Endpoint("llama3.2", "http://localhost:11434/v1")
    >>> model.settings
    {'temperature': 0.0, 'seed': 0}
    >>> model.destination
    'prompts, which hold passages of the text, are sent to http://localhost:11434, without a key'
    """

    name: str
    base_url: str = OPENAI
    temperature: float | None = 0.0
    seed: int | None = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    context: int | None = None
    at_once: int = 16
    timeout: float = 120.0
    retries: int = 6
    key_variable: str | None = "OPENAI_API_KEY"
    allow_http: bool = False

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise ConfigError("expected the name of a model, found an empty one; give it as the server lists it")
        for name, value, least in (
            ("at_once", self.at_once, 1),
            ("timeout", self.timeout, 0.001),
            ("retries", self.retries, 0),
        ):
            if not value >= least:
                raise ConfigError(f"{name}: expected at least {least}, found {value}")
        if own := sorted(set(self.options) & set(_OWN_FIELDS)):
            raise ConfigError(f"options: {own[0]} is set by the program or has an argument of its own; remove it there")
        _check_url(self.base_url, self.allow_http)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but name and prompt that decides an answer."""
        own = {"temperature": self.temperature, "seed": self.seed}
        return {key: value for key, value in own.items() if value is not None} | dict(self.options)

    @property
    def on_this_machine(self) -> bool:
        """Whether the server runs on this machine, so that no text leaves it."""
        return _on_this_machine(self.base_url)

    @property
    def destination(self) -> str:
        """Sentence that says what is sent where."""
        url = urlsplit(self.base_url)
        key = f"with the key from {self.key_variable}" if self._key() else "without a key"
        return f"prompts, which hold passages of the text, are sent to {url.scheme}://{url.netloc}, {key}"

    def check(self) -> None:
        """Check that the server answers and takes the key; note on stderr if it does not list the model. Costs nothing.

        Raises
        ------
        ConfigError
            If there is no key for a server that is not on this machine.
        ModelError
            If there is no server, or it refuses the key.
        MissingExtraError
            If the ``openai`` package is not installed.
        """
        for _ in self.ask(()):
            pass

    def ask(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, Answer]]:
        """Answer prompts, as `universality.labels.ChatModel` describes; checks the server first, as `check` does.

        Parameters
        ----------
        prompts
            Drawn when needed, at most ``2 * at_once`` ahead of the answers.

        Yields
        ------
        index, answer
            In the order of completion. Requests that fail after all repetitions yield an answer of outcome
            ``"failed"``, which names the reason.

        Raises
        ------
        ModelError
            Also if the server refuses the first request for a reason that holds for all, such as a model that it does
            not have. Once a prompt has been answered, nothing is raised.
        """
        with naming_extra("a model behind a server"):
            from universality.labels.requesting import Requests
        requests = Requests(self, self._needed_key())
        try:
            requests.check()
            yield from as_completed(requests.answer, prompts, self.at_once)
        finally:
            requests.close()

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """Return embeddings of texts; the endpoint's name is then that of an embedding model.

        Parameters
        ----------
        texts
            Sent in requests of 100. No text may be empty.

        Returns
        -------
        float64 [n_texts, n_dimensions]

        Raises
        ------
        ModelError
            If the server does not give them.
        """
        with naming_extra("a model behind a server"):
            from universality.labels.requesting import Requests
        requests = Requests(self, self._needed_key())
        try:
            requests.check()
            parts = [requests.embed(texts[k : k + _TEXTS_AT_ONCE]) for k in range(0, len(texts), _TEXTS_AT_ONCE)]
        finally:
            requests.close()
        if len({len(part[0]) for part in parts}) > 1:
            raise ModelError(f"{self.base_url}: {self.name!r} gave embeddings of several lengths")
        return np.asarray([vector for part in parts for vector in part], np.float64)

    def _key(self) -> str:
        """Key in the environment, without white space at its ends; empty if there is none."""
        return os.environ.get(self.key_variable, "").strip() if self.key_variable else ""

    def _needed_key(self) -> str:
        key = self._key()
        if not key and self.key_variable and not _on_this_machine(self.base_url):
            raise ConfigError(
                f"{self.base_url}: expected a key in the environment variable {self.key_variable}, found none; set it, "
                "name the variable that holds the key (--key-from; in Python key_variable), or in Python None for a "
                "server that needs no key"
            )
        if not key.isascii() or not key.isprintable() or " " in key:
            raise ConfigError(
                f"{self.key_variable}: expected a key of printable ASCII characters without blanks; copy it again"
            )
        return key


def _check_url(url: str, allow_http: bool) -> None:
    advice = f"give the address up to /v1, such as {OPENAI} or http://localhost:8000/v1"
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number, brackets that do not close
        known = False
    if not known:
        raise ConfigError(f"{url!r}: expected http:// or https:// and a host; {advice}")
    if parts.username or parts.password:
        raise ConfigError(
            f"base_url of {parts.hostname}: expected no user and password in the address, which is printed and saved; "
            "put a key into the environment and name its variable (--key-from; in Python key_variable)"
        )
    if parts.query or parts.fragment:
        raise ConfigError(f"{url!r}: expected an address without ? and #; {advice}")
    if parts.scheme == "http" and not (allow_http or _on_this_machine(url)):
        raise ConfigError(
            f"{url}: prompts and key would cross the network unencrypted; give an https:// address, or allow_http=True "
            "(--allow-http) where the network is trusted, as between the nodes of a cluster"
        )


def _on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost" or host.endswith(".localhost")  # reserved for the loopback: RFC 6761
