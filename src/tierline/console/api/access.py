"""Who may pass: one bearer token for every request, before any route is looked at; then the role that the route states."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request

from tierline.model.errors import Forbidden
from tierline.model.parties import Principal, Role
from tierline.operations.serving.tokens import principal_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

    from tierline.operations.serving.state import Serving

BODY_MAX = 8 * 1024 * 1024
"""Bytes; 20,000 new devices fit."""


class Gate:
    """Lets nobody in without a token, but for the paths that are open."""

    def __init__(self, app: ASGIApp, serving: Serving, open_paths: Collection[str]) -> None:
        self._app = app
        self._serving = serving
        self._open = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request."""
        if scope["type"] != "http":
            raise AssertionError(f"the operator API speaks HTTP only, not {scope['type']}")
        headers = {name.lower(): value for name, value in scope["headers"]}
        if not _is_small(headers):
            await _refuse(send, 413, "invalid", f"a body needs a Content-Length of at most {BODY_MAX} bytes")
            return
        if scope["path"] not in self._open:
            principal = self._known(headers.get(b"authorization", b""))
            if principal is None:
                await _refuse(
                    send,
                    401,
                    "unauthenticated",
                    "this needs a valid access token",
                    "send Authorization: Bearer TOKEN; the first token stands in operator.token of the state folder",
                )
                return
            scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    def _known(self, header: bytes) -> Principal | None:
        scheme, _, token = header.decode("latin-1").partition(" ")
        return principal_of(self._serving, token.strip()) if scheme.lower() == "bearer" else None


async def reader(request: Request) -> Principal:
    """Give the principal of a request that only reads."""
    principal = request.state.principal
    assert isinstance(principal, Principal)  # the gate lets nobody else through
    return principal


async def operator(request: Request) -> Principal:
    """Give the principal of a request that may change things.

    Raises: Forbidden for a viewer.
    """
    principal = await reader(request)
    if principal.role is not Role.OPERATOR:
        raise Forbidden(f"{principal.role.value} {principal.name} may read only; this needs the token of an operator")
    return principal


Reader = Annotated[Principal, Depends(reader)]
Operator = Annotated[Principal, Depends(operator)]
"""The two roles; every route but the open ones states one of them in its signature."""


def _is_small(headers: dict[bytes, bytes]) -> bool:
    if b"transfer-encoding" in headers:
        return False
    length = headers.get(b"content-length", b"0")
    return length.isdigit() and int(length) <= BODY_MAX


async def _refuse(send: Send, status: int, kind: str, message: str, what_to_do: str | None = None) -> None:
    fault = {"kind": kind, "message": message, "what_to_do": what_to_do}
    body = json.dumps({"error": fault}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
