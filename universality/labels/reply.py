"""Replies of chat servers: the body of a response, as the chat completions API of OpenAI defines it, becomes an answer.

Servers follow that definition more or less closely, so nothing in the body is taken for granted. Only the text of the
answer counts; thoughts that some servers add (``reasoning_content``) are dropped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from universality.errors import FormatError
from universality.labels.chat import Answer

_SHOWN = 200  # characters of a foreign message or body
_LARGEST_NUMBER = 1e38
_FILTERS = ("content_filter", "content_policy_violation")


def read_reply(body: str) -> Answer:
    """Read the body of a response with status 200.

    Parameters
    ----------
    body
        JSON text.

    Returns
    -------
    Answer
        ``"failed"``, with what is wrong, if the body holds no answer.

    Examples
    --------
    >>> read_reply('{"choices": [{"message": {"content": "Days"}, "finish_reason": "stop"}]}')
    Answer(text='Days', outcome='answered', prompt_tokens=0, answer_tokens=0, problem='')
    >>> read_reply("<html>Bad gateway</html>").problem
    'malformed reply: not JSON: <html>Bad gateway</html>'
    """
    try:
        reply = json.loads(body)
    except (json.JSONDecodeError, RecursionError):
        return _failed(f"malformed reply: not JSON: {shortened(body)}")
    if message := error_message(reply):  # some relays wrap the error of the server behind them into a status of 200
        return _failed(f"the server replies with an error: {message}")
    choice = _first_choice(reply)
    if choice is None:
        return _failed(f"malformed reply: no choices with a message: {shortened(body)}")
    usage = _mapping(reply.get("usage"))
    tokens = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    return _answer(choice["message"], choice.get("finish_reason"), *tokens)


def _answer(message: Mapping[str, Any], reason: Any, prompt_tokens: int, answer_tokens: int) -> Answer:
    content, refusal = message.get("content"), message.get("refusal")
    text = content if isinstance(content, str) else ""
    if refusal or reason == "content_filter":
        problem = shortened(str(refusal)) if refusal else "the server's content filter"
        return Answer(text, "refused", prompt_tokens, answer_tokens, problem)
    if reason == "length":  # without text where thoughts took all tokens
        return Answer(text, "cut off", prompt_tokens, answer_tokens, "reached the largest number of tokens")
    if not isinstance(content, str):
        problem = f"malformed reply: expected text, found {type(content).__name__}"
        return Answer("", "failed", prompt_tokens, answer_tokens, problem)
    return Answer(text, "answered", prompt_tokens, answer_tokens)


def error_message(reply: Any) -> str:
    """Return the message of an error in a reply, and its code; empty if there is none.

    OpenAI writes ``{"error": {"message": …, "code": …}}``, FastAPI ``{"detail": …}``, others a plain string.
    """
    error = _mapping(reply).get("error") or _mapping(reply).get("detail")
    fields = _mapping(error)
    text = fields.get("message") or error
    return shortened(f"{text} ({fields['code']})" if fields.get("code") else str(text)) if text else ""


def is_refusal(reply: Any) -> bool:
    """Return whether an error in a reply comes from a content filter."""
    return _mapping(_mapping(reply).get("error")).get("code") in _FILTERS


def answering_model(body: str) -> str:
    """Return the name under which the server's model answered; empty if the reply does not say."""
    try:
        name = _mapping(json.loads(body)).get("model")
    except (json.JSONDecodeError, RecursionError):
        return ""
    return name if isinstance(name, str) else ""


def model_names(body: str) -> list[str]:
    """Return the names in the reply to a request for the list of models; empty if it has none.

    Examples
    --------
    >>> model_names('{"object": "list", "data": [{"id": "llama"}, {"id": "gemma"}]}')
    ['gemma', 'llama']
    """
    try:
        listed = _mapping(json.loads(body)).get("data")
    except (json.JSONDecodeError, RecursionError):
        return []
    names = [_mapping(model).get("id") for model in listed] if isinstance(listed, list) else []
    return sorted(name for name in names if isinstance(name, str))


def read_embeddings(body: str, n: int) -> list[list[float]]:
    """Read the reply to a request for the embeddings of ``n`` texts.

    Returns
    -------
    list of list of float
        One vector a text, in the order of the texts, all of one length.

    Raises
    ------
    FormatError
        If the reply does not hold exactly that.

    Examples
    --------
    >>> read_embeddings('{"data": [{"index": 1, "embedding": [0, 1]}, {"index": 0, "embedding": [0.5, 0]}]}', 2)
    [[0.5, 0.0], [0.0, 1.0]]
    """
    try:
        reply = json.loads(body, parse_constant=str)  # NaN: no number
    except (ValueError, RecursionError):
        raise FormatError(f"malformed reply: not JSON: {shortened(body)}") from None
    if message := error_message(reply):
        raise FormatError(f"the server replies with an error: {message}")
    data = _mapping(reply).get("data")
    vectors: dict[Any, list[float]] = {}
    for place, one in enumerate(data if isinstance(data, list) else []):
        vector, index = _mapping(one).get("embedding"), _mapping(one).get("index", place)
        if not isinstance(vector, list) or not all(map(_is_real, vector)) or not isinstance(index, int):
            break
        vectors[index] = [float(x) for x in vector]
    if set(vectors) != set(range(n)) or len({len(vector) for vector in vectors.values()}) != 1:
        raise FormatError(f"malformed reply: expected {n} vectors of one length: {shortened(body)}")
    return [vectors[place] for place in range(n)]


def shortened(text: str) -> str:
    """Return the beginning of a foreign text on one line, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def _first_choice(reply: Any) -> dict[str, Any] | None:
    choices = _mapping(reply).get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) and isinstance(choice.get("message"), dict) else None


def _failed(problem: str) -> Answer:
    return Answer("", "failed", problem=problem)


def _is_real(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST_NUMBER


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0
