"""Who is refused: other hosts, pages of other sites, forms, and those without the token."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from universality.serve.request_guard import HEADERS, Access, Guard

JSON = {"Content-Type": "application/json"}


async def answer(_: Request) -> Response:
    return PlainTextResponse("answered")


def guarded(access: Access) -> TestClient:
    app = Starlette(
        routes=[Route("/", answer, methods=["GET", "POST", "DELETE"])], middleware=[Middleware(Guard, access=access)]
    )
    return TestClient(app, base_url="http://localhost:8765", follow_redirects=False)


@pytest.fixture
def client() -> TestClient:
    return guarded(Access())


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8765", "[::1]:8765", "192.168.1.7:80", "LOCALHOST:1"])
def test_addresses_and_localhost_are_answered(client: TestClient, host: str) -> None:
    response = client.get("/", headers={"Host": host})
    assert response.text == "answered"
    assert {name: response.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:8765", "[", "a:b:c"]
)
def test_names_that_could_be_rebound_are_refused(client: TestClient, host: str) -> None:
    response = client.get("/", headers={"Host": host})
    assert response.status_code == 421
    assert "--allow-host NAME" in response.json()["error"]
    assert response.headers["X-Frame-Options"] == "DENY"


def test_an_allowed_name_is_answered() -> None:
    client = guarded(Access(names=frozenset({"gpu7"})))
    assert client.get("/", headers={"Host": "GPU7:8765"}).text == "answered"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:9999"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_of_other_sites_are_refused(client: TestClient, method: str, headers: dict[str, str]) -> None:
    response = client.request(method, "/", headers={**JSON, **headers})
    assert (response.status_code, response.json()["error"]) == (403, "the request comes from a page of another site")


def test_links_from_other_sites_may_be_followed(client: TestClient) -> None:
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=followed).text == "answered"
    assert client.post("/", headers={**followed, **JSON}).status_code == 403  # a form of another site


def test_own_pages_ask_with_json(client: TestClient) -> None:
    own = {"Origin": "http://localhost:8765", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/", headers={**own, **JSON}).text == "answered"
    for form in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert client.post("/", headers={**own, "Content-Type": form}).status_code == 415
    assert client.delete("/", headers=own).status_code == 405


def test_a_token_is_asked_for_and_becomes_a_cookie() -> None:
    client = guarded(Access("secret"))
    refusal = client.get("/")
    assert refusal.status_code == 401
    assert "open the link with the token" in refusal.json()["error"]
    for wrong in ("Secret", "", "secret "):
        assert client.get("/", params={"token": wrong}).status_code == 401
        assert client.get("/", headers={"Cookie": f"universality-8765={wrong}x"}).status_code == 401
    assert client.get("/", headers={"Authorization": "Bearer secret"}).text == "answered"
    assert client.get("/", headers={"Authorization": "Bearer sécret".encode()}).status_code == 401
    opened = client.get("/", params={"token": "secret"})
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert client.get("/").text == "answered"  # the client keeps the cookie
