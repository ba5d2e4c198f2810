"""The ASGI application: the report's page with live views, the run's files, and answers as JSON."""

from __future__ import annotations

import gzip
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, create_task_group, to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from universality.errors import ModelError, UniversalityError
from universality.serve.feature_search import search_answer
from universality.serve.live_page import live_page
from universality.serve.live_run import LiveComparison, LiveRun, RunChangedError
from universality.serve.near_features import near_features
from universality.serve.questions import MOST_BYTES, Question, SteeringQuestion, TextQuestion, read_question
from universality.serve.request_guard import Access, Guard, refused
from universality.serve.run_files import file_routes
from universality.serve.steering_answer import steering_answer
from universality.serve.text_answer import text_answer

MOST_WAITING = 200
"""Questions that wait or are being answered, beyond which further ones are refused."""
_KEPT = 256  # answers that are kept, of at most about 1 MB each
_KEPT_BYTES = 2**26


class Answers:
    """Answers of a run, computed in threads: one question about the run at a time, and one steering beside it.

    Steering takes seconds and a text a fraction of one. They share the models pass by pass.
    """

    def __init__(self, run: LiveRun) -> None:
        self.run = run
        self._reading, self._steering = CapacityLimiter(1), CapacityLimiter(1)
        self._waiting = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._kept_bytes = 0

    async def __call__(self, key: Hashable, work: Callable[[], Any], steering: bool = False) -> Response:
        """Return the answer under a key as JSON: kept from before, or what ``work`` returns."""
        try:
            if self._waiting >= MOST_WAITING:
                return refused(503, f"{MOST_WAITING} questions wait already; ask again in a moment")
            self.run.check_unchanged()
            content = self._kept.get(key)
            if content is None:
                content = await self._computed(work, self._steering if steering else self._reading)
                self._keep(key, content)
            return Response(content, media_type="application/json", headers={"Cache-Control": "no-store"})
        except RunChangedError as error:
            return refused(409, str(error))
        except ModelError as error:
            return refused(503, str(error))
        except UniversalityError as error:
            return refused(400, str(error))

    async def comparison(self, request: Request) -> LiveComparison:
        """Return the comparison that a request names, opened when first asked for."""
        try:
            return await to_thread.run_sync(
                self.run.comparison, request.path_params["comparison"], limiter=self._reading
            )
        except UniversalityError as error:
            raise HTTPException(404, str(error)) from None

    async def _computed(self, work: Callable[[], Any], lane: CapacityLimiter) -> bytes:
        self._waiting += 1
        try:
            return await to_thread.run_sync(lambda: _as_json(work()), limiter=lane)
        finally:
            self._waiting -= 1

    def _keep(self, key: Hashable, content: bytes) -> None:
        if key in self._kept:  # two clients asked at once
            return
        self._kept[key] = content
        self._kept_bytes += len(content)
        while len(self._kept) > _KEPT or self._kept_bytes > _KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popitem(last=False)[1])

    async def warm(self) -> None:
        """Load the models and compile what a first text needs; an error is shown to those who ask."""

        def work() -> None:
            with suppress(UniversalityError):
                live = self.run.comparison()
                has_text = self.run.results.tokenizer(live.sides[0].model) is not None
                text_answer(live, "Hello." if has_text else "0")

        await to_thread.run_sync(work, limiter=self._reading)


def _as_json(answer: Any) -> bytes:
    return json.dumps(answer, separators=(",", ":"), allow_nan=False).encode("ascii")


def live_app(run: LiveRun, access: Access | None = None) -> Starlette:
    """Make the application that answers about a run.

    Parameters
    ----------
    run
        The run, which stays open while the application is in use.
    access
        Who may ask; by default everyone who reaches the server under ``localhost`` or an address.

    Raises
    ------
    UniversalityError
        If the run has no report.
    """
    page = run.folder.report
    if not page.is_file():
        raise UniversalityError(
            f"{page}: this run has no report, which the live page is built on; `universality report "
            f"{run.folder.root}` writes it"
        )
    live_page(page.read_text(encoding="utf-8"), str(page))
    answers = Answers(run)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with create_task_group() as tasks:
            tasks.start_soon(answers.warm)
            yield

    return Starlette(
        routes=[
            Route("/", _opening),
            Route("/report/index.html", _page(page)),
            Route("/report/", _opening),
            *_questions(answers),
            *file_routes(run.folder.root),
        ],
        middleware=[Middleware(Guard, access=access or Access()), Middleware(GZipMiddleware, compresslevel=1)],
        exception_handlers={HTTPException: _http_error, Exception: _unexpected},
        lifespan=lifespan,
    )


async def _opening(_: Request) -> Response:
    return RedirectResponse("/report/index.html#explore/text")


def _page(path: Path) -> Callable[[Request], Any]:
    made: dict[int, tuple[bytes, bytes, str]] = {}

    async def answer(request: Request) -> Response:
        written = path.stat().st_mtime_ns
        if written not in made:
            made.clear()
            html, policy = live_page(path.read_text(encoding="utf-8"), str(path))
            made[written] = html.encode(), gzip.compress(html.encode(), 6), policy  # once, and not for every reader
        plain, compressed, policy = made[written]
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return HTMLResponse(plain, headers=headers)
        return HTMLResponse(compressed, headers=headers | {"Content-Encoding": "gzip"})

    return answer


def _questions(answers: Answers) -> list[BaseRoute]:
    """Return routes to the answers about each comparison, under its name."""

    async def text(request: Request) -> Response:
        live = await answers.comparison(request)
        return await _asked(request, TextQuestion, lambda q: answers((live, q), lambda: text_answer(live, q.text)))

    async def steering(request: Request) -> Response:
        live = await answers.comparison(request)

        def work(q: SteeringQuestion) -> Any:
            return steering_answer(live, q.side, q.feature, q.prompt, q.setting, q.sampling)

        return await _asked(request, SteeringQuestion, lambda q: answers((live, q), lambda: work(q), steering=True))

    async def near(request: Request) -> Response:
        live = await answers.comparison(request)
        side, feature = request.path_params["side"], request.path_params["feature"]
        if side not in (0, 1):
            raise HTTPException(404, f"expected side 0 or 1, found {side}")
        return await answers((live, "near", side, feature), lambda: near_features(live, side, feature))

    async def search(request: Request) -> Response:
        live, query = await answers.comparison(request), request.query_params.get("q", "")
        return await answers((live, "search", query), lambda: search_answer(live, query))

    return [
        Route("/live/{comparison}/text", text, methods=["POST"]),
        Route("/live/{comparison}/steer", steering, methods=["POST"]),
        Route("/live/{comparison}/near/{side:int}/{feature:int}", near),
        Route("/live/{comparison}/search", search),
    ]


async def _asked(request: Request, kind: type[Question], answer: Callable[[Any], Any]) -> Response:
    """Read a question from the body of a request, up to the limit, and answer it."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            return refused(413, f"expected at most {MOST_BYTES:,} bytes, found more; shorten the text")
    try:
        question = read_question(kind, body)
    except UniversalityError as error:
        return refused(400, str(error))
    response: Response = await answer(question)
    return response


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refused(error.status_code, str(error.detail))


async def _unexpected(_: Request, error: Exception) -> Response:
    return refused(500, f"{type(error).__name__}: the terminal of `universality serve` shows what went wrong")
