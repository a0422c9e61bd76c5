"""Every error as one JSON object with its words, and never a stack trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tierline.console.api.models import Fault, Refusal
from tierline.model.errors import ConfigError, Conflict, Forbidden, LinkError, PeerError, TierlineError, Unsupported

if TYPE_CHECKING:
    from fastapi import FastAPI, Request

log = structlog.get_logger(__name__)


class NotThere(TierlineError):
    """What the path names does not exist."""


_STATUS: dict[type[TierlineError], tuple[int, str]] = {
    NotThere: (404, "not_found"),
    Forbidden: (403, "forbidden"),
    Conflict: (409, "conflict"),
    ConfigError: (422, "invalid"),
    PeerError: (422, "invalid"),
    Unsupported: (422, "unsupported"),
    LinkError: (503, "unavailable"),
}
_HTTP_KINDS = {404: "not_found", 405: "invalid"}


def install(app: FastAPI) -> None:
    """Give an app its error answers."""
    for kind in _STATUS:
        app.add_exception_handler(kind, _say)
    app.add_exception_handler(RequestValidationError, _say_invalid)
    app.add_exception_handler(HTTPException, _say_http)
    app.add_exception_handler(Exception, _say_internal)


def answer(status: int, kind: str, message: str, what_to_do: str | None = None) -> JSONResponse:
    """Make the answer to a request that failed."""
    refusal = Refusal(error=Fault(kind=kind, message=message, what_to_do=what_to_do))
    return JSONResponse(refusal.model_dump(), status_code=status)


async def _say(_: Request, error: Exception) -> JSONResponse:
    status, kind = next(found for of, found in _STATUS.items() if isinstance(error, of))
    return answer(status, kind, str(error))


async def _say_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"][1:]) or str(item["loc"][0])
        lines.append(f"{where}: {item['msg']}")
    return answer(422, "invalid", "; ".join(lines), "GET /openapi.json describes every field")


async def _say_http(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return answer(error.status_code, _HTTP_KINDS.get(error.status_code, "invalid"), error.detail)


async def _say_internal(request: Request, error: Exception) -> JSONResponse:
    log.error("operator_request_failed", method=request.method, path=request.url.path, exc_info=error)
    return answer(500, "internal", "an error inside tierline", "the log of the node says more; please report it")
