"""What requests are answered: questions as JSON, files of the run, and errors that say what is wrong."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from universality.errors import UniversalityError
from universality.serve import application
from universality.serve.application import Answers, live_app
from universality.serve.live_run import LiveComparison, LiveRun

LIVE = "/live/A-B.w128"


def test_a_text_is_answered_and_kept(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.post(f"{LIVE}/text", json={"text": "The cat"})
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/json"
    monkeypatch.setattr(application, "text_answer", lambda *_: 1 / 0)
    assert client.post(f"{LIVE}/text", json={"text": "The cat"}).content == first.content


def test_neighbours_search_and_steering_are_answered(client: TestClient, live: LiveComparison) -> None:
    assert len(client.get(f"{LIVE}/near/1/3").json()["nearest"]) == 10
    assert client.get(f"{LIVE}/search", params={"q": "#3"}).json()["sides"][0]["features"][0]["feature"] == 3
    row = int(live.compared.calibration.match.rows[2])
    written = client.post(f"{LIVE}/steer", json={"side": 0, "feature": row, "tokens": 2, "ablate": True})
    assert [text["change"] for text in written.json()["texts"]] == ["ablated", "ablated"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ('{"text": 1}', 400, "text: Input should be a valid string"),
        ('{"text": "a", "more": 1}', 400, "more: Extra inputs are not permitted"),
        ("{", 400, "the question: Invalid JSON"),
        ("[]", 400, "the question: Input should be"),
        ("[" * 60_000, 400, "the question: Invalid JSON"),
        ('{"text": ""}', 400, "text: expected at least one character"),
        ('{"text": "a\\ud800b"}', 400, "text: character 2 is half of a surrogate pair, which is not text; remove it"),
        ('{"text": "\\ud83d\\ude00 \\udc00"}', 400, "text: character 3 is half of a surrogate pair"),
        ('["\\ud800"]', 400, "the question: Invalid JSON"),
        ('{"text": "' + "a" * 20_000 + '"}', 400, "text: expected at most 8,000 characters, found 20,000"),
        ('{"text": "' + "a" * 1_000_000 + '"}', 413, "expected at most 65,536 bytes, found more"),
    ],
)
def test_bad_questions_are_refused(client: TestClient, body: str, status: int, message: str) -> None:
    response = client.post(f"{LIVE}/text", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == status
    assert response.json()["error"].startswith(message)


def test_bad_numbers_are_refused(client: TestClient) -> None:
    for question in (
        {"times": float("inf")},
        {"times": -1},
        {"tokens": 0},
        {"seed": -1},
        {"side": 2},
        {"side": True},
        {"feature": 10**6},
    ):
        asked = {"side": 0, "feature": 1} | question
        body = str(asked).replace("'", '"').replace("inf", "Infinity").replace("True", "true")
        response = client.post(f"{LIVE}/steer", content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 400, question
        assert next(iter(question)) in response.json()["error"]


@pytest.mark.parametrize(
    "path", ["near/0/99999", "near/2/1", "none", "near/0/-1", "../A-B.w64/near/0/1", "../nothing/search?q=a"]
)
def test_what_is_not_there_is_said(client: TestClient, path: str) -> None:
    response = client.get(f"{LIVE}/{path}")
    assert response.status_code in (400, 404)
    assert response.json()["error"]


@pytest.mark.parametrize(
    "path",
    ["/report/../../smoke.yaml", "/report/%2e%2e/config.yaml", "/features/..%2f.done", "/.lock", "/saes/",
     "/models/A/config.json", "/report//etc/passwd", "/figures/%00", "/matches/..\\..\\x", "/.done/match.json"],
)  # fmt: skip
def test_other_files_are_not_found(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404
    assert "error" in response.json()


def test_files_that_the_report_links_to_are_found(client: TestClient, live: LiveComparison) -> None:
    root = live.run.folder.root
    for path in ("report/summary.json", "config.yaml", "provenance.json", "report/data/words.js"):
        assert client.get(f"/{path}").content == (root / path).read_bytes()
    listed = client.get("/matches/")
    assert 'href="/matches/A-B.w128.activation.csv"' in listed.text
    assert "sandbox" in listed.headers["content-security-policy"]
    assert client.get("/", follow_redirects=False).headers["location"] == "/report/index.html#explore/text"
    packed = client.get("/report/index.html")
    assert "connect-src 'self'" in packed.headers["content-security-policy"]
    assert packed.headers["content-encoding"] == "gzip"
    plain = client.get("/report/index.html", headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert plain.text == packed.text


def test_links_out_of_the_run_are_not_followed(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (copied / "figures" / "link.txt").symlink_to(tmp_path / "secret.txt")
    with LiveRun(copied) as run:
        assert TestClient(live_app(run), base_url="http://localhost").get("/figures/link.txt").status_code == 404


def test_a_run_that_changes_and_a_model_that_is_gone_are_said(copied: Path) -> None:
    for file in (copied / "models" / "B").iterdir():
        file.unlink()
    with LiveRun(copied) as run, TestClient(live_app(run), base_url="http://localhost") as client:
        gone = client.post(f"{LIVE}/text", json={"text": "a"})
        assert gone.status_code == 503
        assert gone.json()["error"].startswith("model 'B' cannot be loaded, so the page shows what is stored only")
        assert client.get(f"{LIVE}/near/1/3").status_code == 200  # needs no model
        (copied / "provenance.json").write_text("{}")
        changed = client.get(f"{LIVE}/near/1/4")
        assert changed.status_code == 409
        assert "has changed since the server read it" in changed.json()["error"]


def test_too_many_questions_are_refused(run: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "MOST_WAITING", 3)
    answers = Answers(run)

    async def ask() -> list[int]:
        questions = [answers(k, lambda: {"a": 1}) for k in range(5)]
        return [response.status_code for response in await asyncio.gather(*questions)]

    assert sorted(asyncio.run(ask())) == [200, 200, 200, 503, 503]


def test_kept_answers_have_a_limit(run: LiveRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_KEPT_BYTES", 50)
    answers, made = Answers(run), []

    def work(k: int) -> Any:
        made.append(k)
        return "x" * 20

    async def ask() -> None:
        for k in (1, 1, 2, 3, 1):
            await answers(k, lambda k=k: work(k))  # type: ignore[misc]

    asyncio.run(ask())
    assert made == [1, 2, 3, 1]  # the first was kept, then dropped


def test_a_run_without_a_report_is_refused(copied: Path) -> None:
    (copied / "report" / "index.html").unlink()
    with (
        LiveRun(copied) as run,
        pytest.raises(UniversalityError, match="has no report, which the live page is built on"),
    ):
        live_app(run)
