"""Bodies as servers send them: what counts as an answer, and what is wrong with the rest."""

import json
from typing import Any

import pytest

from universality.labels.chat import Answer
from universality.labels.reply import answering_model, error_message, is_refusal, model_names, read_reply


def body(message: Any, reason: str = "stop", **more: Any) -> str:
    return json.dumps({"choices": [{"message": message, "finish_reason": reason}], **more})


def test_text_and_tokens() -> None:
    usage = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
    message = {"role": "assistant", "content": "Days\nof", "reasoning_content": "Let me think"}
    assert read_reply(body(message, usage=usage)) == Answer("Days\nof", "answered", 12, 3)
    assert read_reply(body({"content": "Days"}, usage={"prompt_tokens": "many"})) == Answer("Days")
    assert read_reply(body({"content": "Days"}, usage=None)) == Answer("Days")


@pytest.mark.parametrize("content", ["Da", None])
def test_an_answer_at_the_limit_is_cut_off_even_without_text(content: str | None) -> None:
    answer = read_reply(body({"content": content}, "length"))
    assert (answer.outcome, answer.text) == ("cut off", content or "")
    assert answer.problem == "reached the largest number of tokens"


def test_refusals_of_the_model_and_of_a_filter() -> None:
    assert read_reply(body({"content": None, "refusal": "No."})) == Answer("", "refused", problem="No.")
    filtered = read_reply(body({"content": "Half"}, "content_filter"))
    assert filtered == Answer("Half", "refused", problem="the server's content filter")
    assert is_refusal({"error": {"code": "content_filter"}})
    assert not is_refusal({"error": {"code": 500}})
    assert not is_refusal("busy")


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        ("", "malformed reply: not JSON: "),
        ("[" * 100_000, "malformed reply: not JSON: [[["),
        ("x" * 900, f"malformed reply: not JSON: {'x' * 200}…"),
        ("null", "malformed reply: no choices with a message: null"),
        ('{"choices": {}}', "malformed reply: no choices with a message"),
        ('{"choices": ["Days"]}', "malformed reply: no choices with a message"),
        ('{"choices": [{"message": "Days"}]}', "malformed reply: no choices with a message"),
        (body({"content": None}), "malformed reply: expected text, found NoneType"),
        (body({"content": ["Days"]}), "malformed reply: expected text, found list"),
        ('{"error": "busy"}', "the server replies with an error: busy"),
    ],
)
def test_a_body_without_an_answer_fails(reply: str, problem: str) -> None:
    answer = read_reply(reply)
    assert (answer.outcome, answer.text) == ("failed", "")
    assert answer.problem.startswith(problem)


def test_errors_as_different_servers_write_them() -> None:
    assert error_message({"error": {"message": "no\nmodel", "code": "missing"}}) == "no model (missing)"
    assert error_message({"detail": "pinned"}) == "pinned"
    assert error_message({"error": {"type": "odd"}}) == "{'type': 'odd'}"
    assert error_message("<html>") == error_message(None) == error_message({"error": None}) == ""


def test_names() -> None:
    assert model_names('{"data": [{"id": "b"}, {"id": "a"}, {"id": 3}, "c"]}') == ["a", "b"]
    assert model_names("<html>") == model_names('{"data": 1}') == model_names("[]") == []
    assert answering_model('{"model": "a"}') == "a"
    assert answering_model('{"model": 1}') == answering_model("<html>") == answering_model("[]") == ""
