"""A real server with a real model, asked through the real client; faults come from a proxy between them."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.labels.chat_model import prompt
from tests.labels.faulty_proxy import Proxy, Reply, Request, proxy
from universality.errors import ConfigError, MissingExtraError, ModelError
from universality.labels import Answer, AnswerCache, Endpoint, LocalModel, Message, Prompt, Tally, ask
from universality.labels.repeated_requests import asked_wait

# Sockets of the proxy that a cut connection leaves open are the tests' own.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
KEY = "sk-secret-0123456789"
ANSWERED = {"choices": [{"message": {"content": "Days"}, "finish_reason": "stop"}], "model": "tiny"}
WORDS = ("Monday", "Tuesday and Wednesday", "a", "why do cats purr", "1 2 3")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def replying(reply: object, only: str = "/v1/chat/completions") -> Proxy:
    """A proxy that answers all questions itself; there is no server behind it."""
    reply = reply if isinstance(reply, Reply) else Reply(body=reply)
    return proxy("http://127.0.0.1:9", lambda request: reply if request.path == only else Reply(404))


def first_answer(through: Proxy, **options: object) -> Answer:
    model = Endpoint("tiny", through.address, **{"retries": 0, **options})
    return next(answer for _, answer in model.ask([prompt("hello")]))


def test_the_answers_of_a_real_server_are_those_of_the_same_model_in_this_process(
    server: str, chat_folder: Path
) -> None:
    prompts = [prompt(word, 8) for word in WORDS]
    prompts[2] = Prompt((Message("system", "Be brief."), Message("user", "Say why.")), max_tokens=3)
    remote = dict(Endpoint(str(chat_folder), f"{server}/v1").ask(prompts))
    local = dict(LocalModel(chat_folder).ask(prompts))
    assert remote == local
    assert len({answer.text for answer in remote.values()}) > 2  # the model does not say the same to all
    assert remote[2].outcome == "cut off"
    assert remote[2].answer_tokens == 3


def test_the_request_says_what_the_settings_say(server: str, chat_folder: Path) -> None:
    with proxy(server) as through:
        model = Endpoint(str(chat_folder), through.address, temperature=0.5, seed=7, options={"top_p": 0.9})
        list(model.ask([prompt("hello", 5)]))
    expected = {"model": model.name, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
    assert through.questions[0].body == expected | model.settings
    assert model.settings == {"temperature": 0.5, "seed": 7, "top_p": 0.9}


def test_errors_that_pass_are_repeated_and_the_server_says_when(server: str, chat_folder: Path) -> None:
    faults = [
        Reply(429, {"error": {"message": "slow down"}}, {"retry-after": "1"}),
        Reply(500),
        Reply(cut=True, body=ANSWERED),
    ]

    def spoil(request: Request) -> Reply | None:
        return faults.pop(0) if request.body and faults else None

    with proxy(server, spoil) as through:
        answers = dict(Endpoint(str(chat_folder), through.address, retries=3).ask([prompt("hello")]))
    assert answers[0].text
    assert len(through.questions) == 4
    assert through.questions[1].at - through.questions[0].at >= 1.0  # the first wait would be 0.5 s at most


def test_waits_are_announced_once_and_absurd_ones_are_not_taken(capfd: pytest.CaptureFixture[str]) -> None:
    replies = [Reply(429, headers={"retry-after": absurd}) for absurd in ("NaN", "-1", "never")]
    replies.append(Reply(body=ANSWERED))
    with proxy("http://127.0.0.1:9", lambda request: replies.pop(0) if request.body else Reply(404)) as through:
        assert first_answer(through, retries=3).text == "Days"
        waits = np.diff([request.at for request in through.questions])
    assert (waits > [0.3, 0.7, 1.4]).all()  # 0.5, 1 and 2 s, less a quarter
    printed = capfd.readouterr().err
    assert re.search(r"/v1: the server answers with status 429; waiting 0\.\d s before repetition 1 of 3", printed)
    assert printed.count("waiting") == 1


def test_a_server_that_is_silent_is_announced(capfd: pytest.CaptureFixture[str]) -> None:
    with replying(Reply(body=ANSWERED, after=60)) as through:
        assert first_answer(through, timeout=0.3, retries=1).outcome == "failed"
    assert "no answer in time; waiting" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("header", "seconds"), [("99999999999999999999", 120), ("1e999", 120), ("Fri, 31 Dec 9999 23:59:59 GMT", 120)]
)
def test_a_server_may_ask_for_two_minutes_at_most(header: str, seconds: float) -> None:
    assert asked_wait({"retry-after": header}) == seconds


def test_closing_ends_waits() -> None:
    busy = Reply(429, headers={"retry-after": "100"})

    def spoil(request: Request) -> Reply:
        return Reply(body=ANSWERED) if request.text == "0" else busy if request.body else Reply(404)

    with proxy("http://127.0.0.1:9", spoil) as through:
        answers = Endpoint("tiny", through.address, at_once=2).ask([prompt(str(number)) for number in range(2)])
        assert next(answers)[0] == 0
        answers.close()
        for thread in threading.enumerate():
            if thread.name.startswith("request-"):
                thread.join(20)
                assert not thread.is_alive()


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(body=ANSWERED, after=60), r"no answer within 0.3 s in any of 1 tries"),
        (Reply(body=ANSWERED, cut=True), r"connection failed: "),
        (Reply(body='{"choices": [{"message'), r'malformed reply: not JSON: \{"choices"'),
        (Reply(body={"choices": []}), r"malformed reply: no choices with a message"),
        (Reply(body={"error": {"message": "down", "code": 502}}), r"replies with an error: down \(502\)"),
        (Reply(503, {"detail": "busy"}), r"status 503: busy"),
        (Reply(503, "<html>busy</html>"), r"status 503: "),
        (Reply(429, {"error": {"message": "slow down"}}, {"retry-after": "3600"}), r"status 429: slow down"),
        (Reply(400, {"error": {"message": "the context is 10"}}), r"status 400: the context is 10$"),
        (Reply(400, {"error": {"message": "temperature is not supported"}}), r"supported; give --temperature none \("),
    ],
)  # fmt: skip
def test_a_failure_is_an_answer_with_its_reason(reply: Reply, problem: str) -> None:
    with replying(reply) as through:
        answer = first_answer(through, timeout=0.3)
    assert (answer.outcome, answer.text) == ("failed", "")
    assert re.search(problem, answer.problem), answer.problem


def test_failures_stand_beside_the_answers_of_a_real_server(server: str, chat_folder: Path) -> None:
    spoiled = {"prompt 3": Reply(body="[[["), "prompt 7": Reply(body=ANSWERED, cut=True), "prompt 9": Reply(500)}
    tally = Tally()
    with proxy(server, lambda request: spoiled.get(request.text)) as through:
        model = Endpoint(str(chat_folder), through.address, retries=0)
        prompts = [prompt(f"prompt {number}") for number in range(12)]
        answers = dict(ask(model, prompts, tally=tally, silent=True))
    failed = {index for index, answer in answers.items() if answer.outcome == "failed"}
    assert (failed, sorted(answers)) == ({3, 7, 9}, list(range(12)))
    assert tally.outcomes["failed"] == 3


def test_refusals_are_not_failures() -> None:
    message = {"content": None, "refusal": "I cannot help with that."}
    with replying({"choices": [{"message": message, "finish_reason": "stop"}]}) as through:
        assert first_answer(through) == Answer("", "refused", problem="I cannot help with that.")
    filtered = Reply(400, {"error": {"message": "policy", "code": "content_filter"}})
    with replying(filtered) as through:
        assert first_answer(through) == Answer("", "refused", problem="policy (content_filter)")


def test_no_server_is_an_error_at_once() -> None:
    begin = time.monotonic()
    with pytest.raises(ModelError, match=r"127.0.0.1:9/v1: expected a server, and found none \(.*\); start it"):
        Endpoint("tiny", "http://127.0.0.1:9/v1").check()
    assert time.monotonic() - begin < 30  # 2 s; repetitions with growing waits would take longer than 20 s


def test_a_model_that_the_real_server_does_not_have_is_an_error_at_once(server: str) -> None:
    with pytest.raises(ModelError, match=r"that has the model 'gpt-9'; it answers with status 400: Server is pinned"):
        list(Endpoint("gpt-9", f"{server}/v1").ask([prompt("hello")]))


def with_models(*names: str, reply: Reply) -> Proxy:
    listed = Reply(body={"data": [{"id": name} for name in names]})
    return proxy("http://127.0.0.1:9", lambda request: reply if request.body else listed)


def test_a_wrong_name_is_answered_with_the_servers_names(capfd: pytest.CaptureFixture[str]) -> None:
    missing = Reply(404, {"error": {"message": "no such model", "code": "model_not_found"}})
    expected = r"model 'tiny'; .* status 404: no such model \(model_not_found\); it lists gemma, llama. Give"
    with with_models("llama", "gemma", reply=missing) as through:
        Endpoint("tiny", through.address).check()
        with pytest.raises(ModelError, match=expected):
            first_answer(through)
    assert len(through.questions) == 1
    printed = capfd.readouterr().err  # a note without the path of the source, once for both calls
    assert re.fullmatch(r"http://\S+/v1: the server does not list 'tiny', .*; it lists gemma, llama\n", printed)


def test_a_server_that_lets_another_model_answer_is_refused() -> None:
    other = Reply(body=ANSWERED | {"model": "gemma"})
    with (
        with_models("gemma", reply=other) as through,
        pytest.raises(ModelError, match="expected an answer of 'tiny', and 'gemma' answered"),
    ):
        first_answer(through)
    dated = Reply(body=ANSWERED | {"model": "tiny-2025-08-07"})  # as OpenAI names the version behind a name
    with with_models("tiny", reply=dated) as through:
        assert first_answer(through).text == "Days"


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(401, {"error": {"message": "bad key"}}), r"refuses a request without a key \(status 401: bad key\)"),
        (Reply(403, {"error": {"message": "not you"}}), r"refuses a request without a key \(status 403: not you\)"),
        (Reply(429, {"error": {"message": "pay", "code": "insufficient_quota"}}), "no credit left: pay"),
    ],
)
def test_what_no_request_can_pass_is_an_error_at_the_first_but_not_after_an_answer(reply: Reply, problem: str) -> None:
    with replying(reply) as through, pytest.raises(ModelError, match=problem):
        first_answer(through)
    replies = [Reply(body=ANSWERED), reply]
    with proxy("http://127.0.0.1:9", lambda request: replies.pop(0) if request.body else Reply(404)) as through:
        answers = dict(Endpoint("tiny", through.address, retries=0, at_once=1).ask([prompt("a"), prompt("b")]))
    assert [answers[index].outcome for index in (0, 1)] == ["answered", "failed"]


def test_a_key_that_is_refused_is_known_before_the_first_prompt_is_drawn() -> None:
    def never() -> object:
        raise AssertionError("drawn")
        yield

    refusal = Reply(401, {"error": {"message": "bad key"}})
    with replying(refusal, only="/v1/models") as through, pytest.raises(ModelError, match="refuses a request"):
        list(Endpoint("tiny", through.address).ask(never()))


def test_many_failures_in_a_row_end_the_questions_and_keep_the_answers(tmp_path: Path) -> None:
    replies = iter([Reply(body=ANSWERED)] * 3)
    with (
        proxy(
            "http://127.0.0.1:9", lambda request: next(replies, Reply(500)) if request.body else Reply(404)
        ) as through,
        AnswerCache(tmp_path / "answers.jsonl") as cache,
    ):
        model = Endpoint("tiny", through.address, retries=0, at_once=2)
        prompts = (prompt(f"prompt {number}") for number in range(1000))
        with pytest.raises(ModelError, match=r"last 20 prompts all failed, .* status 500: .* are kept: run the same"):
            list(ask(model, prompts, cache, silent=True))
        assert len(cache) == 3
    assert 23 <= len(through.questions) <= 23 + 2 * 2


def test_the_key_is_sent_and_never_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)

    def spoil(request: Request) -> Reply:  # a server that quotes the key wherever it can
        quoted = request.headers.get("authorization", "")
        if not request.body:
            return Reply(404, {"error": {"message": quoted}})
        answered = {"choices": [{"message": {"content": quoted}, "finish_reason": "stop"}]}
        return Reply(body=answered) if request.text == "good" else Reply(500, {"error": {"message": quoted}})

    said = []
    with proxy("http://127.0.0.1:9", spoil) as through, AnswerCache(tmp_path / "answers.jsonl") as cache:
        model = Endpoint("tiny", through.address, key_variable="MY_KEY", retries=1)
        said += [repr(model), model.destination]
        said += [repr(answer) for _, answer in ask(model, [prompt("good"), prompt("bad")], cache)]
        assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in through.requests)
        assert len(cache) == 1
    with (
        replying(Reply(401, {"error": {"message": f"Incorrect key {KEY}"}}), only="/v1/models") as through,
        pytest.raises(ModelError, match=r"refuses the key in MY_KEY .*Incorrect key \[key\].*\(--key-from;") as error,
    ):
        Endpoint("tiny", through.address, key_variable="MY_KEY").check()
    said += [str(error.value), caplog.text, *capfd.readouterr()]
    said += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert "MY_KEY" in said[1]
    assert not any(KEY in text for text in said)
    assert "Bearer [key]" in "".join(said)  # the quotes did come


def test_a_local_server_gets_no_key_that_is_not_set() -> None:
    with replying(ANSWERED) as through:
        assert first_answer(through).text == "Days"
    assert through.questions[0].headers["authorization"] == "Bearer none"


def test_prompts_are_drawn_as_they_are_needed_and_requests_are_limited() -> None:
    drawn = Counter()

    def prompts() -> object:
        for number in range(60):
            drawn["prompts"] += 1
            yield prompt(f"prompt {number}")

    ahead = []
    with replying(Reply(body=ANSWERED, after=0.01)) as through:
        for done, (_, _) in enumerate(Endpoint("tiny", through.address, at_once=4).ask(prompts())):
            ahead.append(drawn["prompts"] - done)
    assert max(ahead) == 8
    assert through.most_at_once == 4


def test_closing_the_iterator_ends_the_requests() -> None:
    def spoil(request: Request) -> Reply:
        return Reply(body=ANSWERED, after=60 if request.body and request.text != "0" else 0)

    with proxy("http://127.0.0.1:9", spoil) as through:
        answers = Endpoint("tiny", through.address).ask([prompt(str(number)) for number in range(8)])
        assert next(answers)[0] == 0
        begin = time.monotonic()
        answers.close()
        assert time.monotonic() - begin < 20


def test_embeddings_of_many_texts_in_their_order() -> None:
    def spoil(request: Request) -> Reply | None:
        if request.path != "/v1/embeddings":
            return Reply(404)
        given = [{"index": k, "embedding": [float(text), 1]} for k, text in enumerate(request.body["input"])]
        return Reply(body={"data": given[::-1]})

    with proxy("http://127.0.0.1:9", spoil) as through:
        vectors = Endpoint("embedder", through.address).embed([str(i) for i in range(250)])
    assert vectors.tolist() == [[float(i), 1.0] for i in range(250)]
    assert [len(request.body["input"]) for request in through.questions] == [100, 100, 50]
    assert {request.body["model"] for request in through.questions} == {"embedder"}


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(404, {"error": {"message": "no such model"}}), "status 404: no such model"),
        (Reply(body="<html>"), "not JSON: <html>"),
        (Reply(body={"data": [{"embedding": [1, 2]}]}), "expected 2 vectors of one length"),
        (Reply(body={"data": [{"embedding": [1, 2]}, {"embedding": [1]}]}), "expected 2 vectors of one length"),
        (Reply(body={"data": [{"embedding": [1]}, {"embedding": ["x"]}]}), "expected 2 vectors of one length"),
        (Reply(body={"data": [{"embedding": [1]}, {"index": 0, "embedding": [1]}]}), "expected 2 vectors of one"),
        (Reply(body='{"data": [{"embedding": [NaN]}, {"embedding": [1]}]}'), "expected 2 vectors of one length"),
        (Reply(body='{"data": [{"embedding": [1e999]}, {"embedding": [1]}]}'), "expected 2 vectors of one length"),
        (Reply(body={"data": [{"embedding": [1], "index": [0]}]}), "expected 2 vectors of one length"),
        (Reply(body={"error": {"message": "out of memory"}}), "replies with an error: out of memory"),
        (Reply(cut=True), r"embeddings of 'tiny', found none \("),
    ],
)
def test_embeddings_that_do_not_come_are_an_error(reply: Reply, problem: str) -> None:
    with (
        replying(reply, "/v1/embeddings") as through,
        pytest.raises(ModelError, match=rf"expected embeddings of 'tiny'.*{problem}|{problem}"),
    ):
        Endpoint("tiny", through.address, retries=0).embed(["a", "b"])


def test_a_limit_that_the_server_knows_by_another_name() -> None:
    message = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    refusal = Reply(400, {"error": {"message": message, "code": "unsupported_parameter"}})
    answer = Reply(body=ANSWERED)

    def spoil(request: Request) -> Reply:
        return Reply(404) if not request.body else refusal if "max_tokens" in request.body else answer

    with proxy("http://127.0.0.1:9", spoil) as through:
        answers = dict(Endpoint("tiny", through.address, at_once=1).ask([prompt("a", 5), prompt("b", 6)]))
    assert [answers[index].text for index in (0, 1)] == ["Days", "Days"]
    assert [request.body.get("max_completion_tokens") for request in through.questions] == [None, 5, 6]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"name": " "}, "expected the name of a model, found an empty one"),
        ({"at_once": 0}, "at_once: expected at least 1, found 0"),
        ({"timeout": 0.0}, "timeout: expected at least 0.001, found 0.0"),
        ({"retries": -1}, "retries: expected at least 0, found -1"),
        ({"options": {"temperature": 1}}, "options: temperature is set by the program or has an argument"),
        ({"base_url": "localhost:8000"}, "expected http:// or https:// and a host; give the address up to /v1"),
        ({"base_url": "http://host:port/v1"}, "expected http:// or https:// and a host"),
        ({"base_url": "https://me:pw@host/v1"}, "base_url of host: expected no user and password in the address"),
        ({"base_url": "https://host/v1?key=1"}, "expected an address without [?] and #"),
        (
            {"base_url": "http://node7:8000/v1"},
            "unencrypted; .* or allow_http=True [(]--allow-http[)]",
        ),
        ({"base_url": "http://localhost.evil.org/v1"}, "would cross the network unencrypted"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem) as error:
        Endpoint(**{"name": "tiny", **options})
    assert "pw" not in str(error.value)


def test_addresses_that_are_taken() -> None:
    for url in (
        "http://localhost:11434/v1",
        "http://[::1]:8000/v1",
        "http://127.0.0.2/v1",
        "https://api.example.org/v1",
    ):
        assert Endpoint("tiny", url).base_url == url
    assert "http://node7:8000, without a key" in Endpoint("tiny", "http://node7:8000/v1", allow_http=True).destination


def test_a_key_is_needed_beyond_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="a key in the environment variable OPENAI_API_KEY, found none; set it"):
        Endpoint("tiny", "https://127.0.0.1.nip.invalid/v1").check()
    monkeypatch.setenv("OPENAI_API_KEY", "sk secret\u00e9")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY: expected a key of printable ASCII") as error:
        Endpoint("tiny").check()
    assert "secret" not in str(error.value)


def test_without_the_package_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "universality.labels.requesting", raising=False)
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"a model behind a server needs openai.*universality\[label\]"):
        Endpoint("tiny", "http://127.0.0.1:9/v1").check()


ASKS = """
import sys
from pathlib import Path
from tests.labels.chat_model import prompt
from universality.labels import AnswerCache, Endpoint, ask
with AnswerCache(sys.argv[2]) as cache:
    prompts = (prompt(f"prompt {number}", 4) for number in range(40))
    answers = dict(ask(Endpoint(sys.argv[3], sys.argv[1], at_once=4), prompts, cache, silent=True))
print(len(answers), len(cache), len({answer.text for answer in answers.values()}) > 5)
"""


@pytest.mark.slow
def test_a_killed_run_resumes_without_asking_again(server: str, chat_folder: Path, tmp_path: Path) -> None:
    path, answered, at_once, held = tmp_path / "answers.jsonl", 24, 4, set[str]()

    def hold(request: Request) -> Reply | None:
        """Keep all requests after some waiting, so that the first run is killed at a known place."""
        beyond = len(through.questions) > answered and len(held) < at_once
        if request.body and beyond:
            held.add(request.text)
            return Reply(body=ANSWERED, after=600)
        return None

    with proxy(server, hold) as through:
        command = [sys.executable, "-c", ASKS, through.address, str(path), str(chat_folder)]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        first = subprocess.Popen(command, env=environment)
        end = time.monotonic() + 240
        while (len(held) < at_once or n_answers(path) < answered) and time.monotonic() < end:
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert (len(through.questions), n_answers(path)) == (answered + at_once, answered)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["40", "40", "True"]
    times = Counter(request.text for request in through.questions)
    assert {text for text, n in times.items() if n > 1} == held  # what was under way is asked once more
    assert len(times) == 40
    assert times.total() == 40 + at_once


def n_answers(path: Path) -> int:
    """Count whole answers in a file of answers."""
    return path.read_text().count('"key"') if path.exists() else 0
