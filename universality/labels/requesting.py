"""Requests to an OpenAI-compatible server through the ``openai`` package: one prompt becomes one answer.

Requests that may succeed later (connection errors, timeouts, 408, 409, 429, 5xx) are repeated with growing waits. What
is left after that is counted as failed, except where the first request shows that none can succeed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAI, OpenAIError

from universality.errors import FormatError, ModelError
from universality.labels.chat import Answer, Prompt
from universality.labels.repeated_requests import Repeated
from universality.labels.reply import (
    answering_model,
    error_message,
    is_refusal,
    model_names,
    read_embeddings,
    read_reply,
    shortened,
)
from universality.progress import note

if TYPE_CHECKING:
    from universality.labels.endpoint import Endpoint

_CHECK_TIMEOUT = 20.0
"""Seconds that a server has to list its models."""
_NO_KEY = "none"  # the package insists on a key
_SHOWN = 8  # names of models in a message


class Requests:
    """Requests to one server, from several threads.

    Parameters
    ----------
    endpoint
        The server, the model and the settings.
    key
        Key of the server; empty for none.
    """

    def __init__(self, endpoint: Endpoint, key: str) -> None:
        self._endpoint, self._key = endpoint, key
        self._client = OpenAI(
            base_url=endpoint.base_url, api_key=key or _NO_KEY, timeout=endpoint.timeout, max_retries=0
        )
        self._repeated = Repeated(endpoint.base_url, endpoint.retries)  # the package waits without a word
        self._listed: list[str] = []
        self._answered = False
        self._limit = "max_tokens"  # known to all servers but OpenAI's newest models

    def close(self) -> None:
        """Close all connections, and end waits."""
        self._repeated.close()
        self._client.close()

    def check(self) -> None:
        """Ask for the list of models.

        Raises
        ------
        ModelError
            If there is no server, or it refuses the key.
        """
        url = self._endpoint.base_url
        client = self._client.with_options(timeout=_CHECK_TIMEOUT)
        try:
            self._listed = model_names(client.models.with_raw_response.list().text)
        except APIConnectionError as error:
            raise ModelError(
                f"{url}: expected a server, and found none ({self._cause(error)}); start it, or correct the address, "
                "which ends in /v1 for most servers"
            ) from None
        except APIStatusError as error:
            if error.status_code == 401:
                raise self._refused_key(error) from None
            # Some servers have no list, and some keys may not read it: the first request decides.
        if self._listed and self._endpoint.name not in self._listed:
            _note_once(
                f"{url}: the server does not list {self._endpoint.name!r}, and some servers let another model answer; "
                f"it lists {self._names()}"
            )

    def answer(self, prompt: Prompt) -> Answer:
        """Answer a prompt; every failure is an answer, but for `ModelError` before anything has been answered."""
        try:
            body = self._send(prompt)
        except APITimeoutError:
            seconds, tries = self._endpoint.timeout, self._endpoint.retries + 1
            return _failed(f"no answer within {seconds:g} s in any of {tries} tries")
        except APIConnectionError as error:
            return _failed(f"connection failed: {self._cause(error)}")
        except APIStatusError as error:
            return self._status(error)
        except (OpenAIError, RuntimeError) as error:  # RuntimeError: closed while this request was under way
            return _failed(self._clean(f"{type(error).__name__}: {error}"))
        return self._read(body)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Ask for the embeddings of texts.

        Raises
        ------
        ModelError
            If the server does not give them, whatever the reason.
        """
        url, name = self._endpoint.base_url, self._endpoint.name
        try:
            create = self._client.embeddings.with_raw_response.create
            created = self._repeated(lambda: create(model=name, input=list(texts), encoding_format="float").text)
            return read_embeddings(created, len(texts))
        except APIStatusError as error:
            problem = f"status {error.status_code}: {self._message(error)}"
        except OpenAIError as error:
            problem = self._cause(error)
        except FormatError as error:
            problem = self._clean(str(error))
        raise ModelError(
            f"{url}: expected embeddings of {name!r}, found none ({problem}); give the name of an embedding model of "
            "this server, or choose the shortlist by words"
        )

    def _send(self, prompt: Prompt) -> str:
        limit = self._limit
        try:
            return self._send_with(prompt, limit)
        except APIStatusError as error:
            # OpenAI's reasoning models take the limit under another name only, and say so.
            if (
                error.status_code != 400
                or limit == "max_completion_tokens"
                or "max_completion_tokens" not in str(error.body)
            ):
                raise
        self._limit = "max_completion_tokens"
        return self._send_with(prompt, self._limit)

    def _send_with(self, prompt: Prompt, limit: str) -> str:
        messages = [{"role": message.role, "content": message.content} for message in prompt.messages]
        # Messages in ``extra_body`` replace the empty ones: walking through them by type takes the package 0.3 ms.
        body: dict[str, Any] = {"messages": messages, limit: prompt.max_tokens, **self._endpoint.settings}
        chat = self._client.chat.completions.with_raw_response
        # The raw reply, since the package takes replies on trust: what is missing there becomes None without a word.
        return self._repeated(lambda: chat.create(model=self._endpoint.name, messages=[], extra_body=body).text)

    def _read(self, body: str) -> Answer:
        answer = read_reply(body)
        if not self._answered and answer.outcome != "failed":
            self._check_name(answering_model(body))
            self._answered = True
        return Answer(
            self._without_key(answer.text),
            answer.outcome,
            answer.prompt_tokens,
            answer.answer_tokens,
            self._without_key(answer.problem),
        )

    def _check_name(self, answering: str) -> None:
        """Refuse a server that lets another of its models answer, as those do that ignore the name."""
        name = self._endpoint.name
        if name not in self._listed and answering != name and answering in self._listed:
            raise ModelError(
                f"{self._endpoint.base_url}: expected an answer of {name!r}, and {answering!r} answered; give that name"
            )

    def _status(self, error: APIStatusError) -> Answer:
        message = self._message(error)
        if is_refusal(_whole(error.body)):
            return Answer("", "refused", problem=message)
        if not self._answered:
            self._raise_if_final(error, message)
        return _failed(f"status {error.status_code}: {message}{self._remedy(error, message)}")

    def _remedy(self, error: APIStatusError, message: str) -> str:
        """Name the option that may help, where the server refuses a field of the request."""
        if error.status_code not in (400, 422):
            return ""
        if self._endpoint.temperature is not None and "temperature" in message.lower():
            return "; give --temperature none (in Python temperature=None)"
        refused = [key for key in self._endpoint.options if key in message]
        return f"; remove the option {refused[0]}" if refused else ""

    def _raise_if_final(self, error: APIStatusError, message: str) -> None:
        """Raise if no other request can succeed either."""
        url, name = self._endpoint.base_url, self._endpoint.name
        if error.status_code in (401, 403):
            raise self._refused_key(error)
        if error.code == "insufficient_quota":
            raise ModelError(f"{url}: the account has no credit left: {message}")
        # `transformers serve` answers 400 for a model that it does not serve, and quotes the name.
        quoted = any(f"{mark}{name}{mark}" in str(error.body) for mark in "'\"`")
        if error.status_code == 404 or (error.status_code in (400, 422) and quoted):
            listed = f"it lists {self._names()}" if self._listed else "it lists none"
            raise ModelError(
                f"{url}: expected a server that has the model {name!r}; it answers with status {error.status_code}: "
                f"{message}; {listed}. Give the name of one that it has"
            )

    def _refused_key(self, error: APIStatusError) -> ModelError:
        variable = self._endpoint.key_variable
        sent = f"the key in {variable}" if self._key else "a request without a key"
        return ModelError(
            f"{self._endpoint.base_url}: the server refuses {sent} (status {error.status_code}: "
            f"{self._message(error)}); set a key that it takes, or name the variable that holds one (--key-from; "
            "in Python key_variable)"
        )

    def _names(self) -> str:
        more = len(self._listed) - _SHOWN
        return ", ".join(self._listed[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

    def _message(self, error: APIStatusError) -> str:
        return self._clean(error_message(_whole(error.body)) or error.message)

    def _cause(self, error: OpenAIError) -> str:
        cause = error.__cause__ or error
        return self._clean(str(cause) or type(cause).__name__)

    def _clean(self, text: str) -> str:
        return shortened(self._without_key(text))

    def _without_key(self, text: str) -> str:
        """Remove the key from a text of the server: some quote it in their messages."""
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text  # shorter ones occur in any text


@cache
def _note_once(text: str) -> None:
    """Print a note that each call of `Requests.check` would repeat."""
    note(text)


def _whole(body: object) -> object:
    """Undo what the package does to an error's body: it keeps the contents of ``error`` alone."""
    return {"error": body} if isinstance(body, dict) and "error" not in body and "detail" not in body else body


def _failed(problem: str) -> Answer:
    return Answer("", "failed", problem=problem)
