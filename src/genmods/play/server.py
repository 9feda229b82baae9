"""The server of the playground: a page, its files, and one address per use of a model."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from genmods.core.errors import UserError
from genmods.play.library import Library
from genmods.play.worker import Busy, Worker

_log = logging.getLogger(__name__)
PAGES = Path(__file__).parent / "pages"
FILES = {
    "play.css": "text/css",
    "play.js": "text/javascript",
    "pad.js": "text/javascript",
    "uses.js": "text/javascript",
}
MAX_BODY = 8_000_000
"""The largest request in bytes."""
COOKIE = "genmods_token"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Sent with every answer: the page takes nothing from elsewhere."""

Endpoint = Callable[[Request], Awaitable[Response]]


def application(library: Library, token: str | None = None) -> Starlette:
    """The application.

    Args:
        library: The models; they are loaded when the server has started.
        token: Required of every request, in the address of the first page or as a bearer token; None serves this
            machine only, under a name of the loopback address.
    """
    worker = Worker()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        library.start()
        yield
        worker.stop()

    async def page(request: Request) -> Response:
        return FileResponse(PAGES / "index.html", media_type="text/html")

    async def file(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            return _fault(404, "there is no such file")
        return FileResponse(PAGES / name, media_type=FILES[name])

    async def state(request: Request) -> Response:
        ready = library.ready  # before the models, one of which may be added meanwhile
        models = [entry.about() for entry in list(library.entries)]
        return JSONResponse({"ready": ready, "faults": library.faults, "models": models, "jobs": worker.jobs})

    async def use(request: Request) -> Response:
        return await _answer(request, library, worker)

    routes = [
        Route("/", page),
        Route("/api/state", state),
        Route("/api/{use}", use, methods=["POST"]),
        Route("/{name}", file),
    ]
    app = Starlette(routes=[_guarded(route, token) for route in routes], lifespan=lifespan)
    app.state.worker = worker
    return app


def _guarded(route: Route, token: str | None) -> Route:
    """A route that is only entered by allowed requests, and whose answers have the headers."""
    inner: Endpoint = route.endpoint

    async def endpoint(request: Request) -> Response:
        response = _refused(request, token) or await inner(request)
        response.headers.update(HEADERS)
        return response

    return Route(route.path, endpoint, methods=[*(route.methods or [])])


def _refused(request: Request, token: str | None) -> Response | None:
    """The answer to a request without the token, or from another page; None if it is allowed."""
    if token is None:
        host = request.headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if name not in LOOPBACK:  # a page elsewhere whose name leads to this machine
            return _fault(403, "open the playground by its printed address")
    else:
        given = request.query_params.get("token")
        if given is not None and _same(given, token):
            answer: Response = RedirectResponse(request.url.path, 303)
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict")
            return answer
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not (_same(bearer, token) or _same(request.cookies.get(COOKIE, ""), token)):
            return _fault(401, "the address must contain the token that `genmods play` printed")
    if request.method == "POST" and not request.headers.get("content-type", "").startswith("application/json"):
        return _fault(415, "a request must be JSON")  # forms of other pages are not
    return None


def _same(given: str, token: str) -> bool:
    return secrets.compare_digest(given.encode(), token.encode())


def _fault(status: int, message: str) -> JSONResponse:
    return JSONResponse({"error": message}, status)


async def _answer(request: Request, library: Library, worker: Worker) -> Response:
    """The result of a use; a UserError is an answer with status 400."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            return _fault(413, f"a request must have at most {MAX_BODY:,} bytes")
    try:
        return JSONResponse(await worker.run(lambda: _used(request.path_params["use"], body, library, worker)))
    except Busy as error:
        return _fault(503, str(error))
    except (UserError, ValueError) as error:
        return _fault(400, " ".join(str(error).split()))
    except Exception as error:  # such as out of memory; shown on the page, which remains usable
        _log.exception("%s failed", request.path_params["use"])
        return _fault(500, " ".join(f"{type(error).__name__}: {error}".split())[:300])


def _used(name: str, body: bytes, library: Library, worker: Worker) -> dict[str, Any]:
    """The result of the use `name` for the model and the fields of a request."""
    import json

    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        raise UserError("a request must be JSON") from None
    place = values.get("model", 0) if isinstance(values, dict) else None
    if isinstance(place, bool) or not isinstance(place, int) or place < 0:
        raise UserError(f"model must be the number of a model, got {place!r}")
    entry = library.find(place)
    from genmods.play.fields import Fields
    from genmods.play.uses import USES

    if name not in USES:
        raise UserError(f"there is no use {name!r}")
    if name not in entry.uses:
        raise UserError(f"{entry.name} cannot be used to {name}")
    return USES[name](entry.model, Fields(values), worker.progress)
