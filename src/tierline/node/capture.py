"""What a node sends to others, in clear: for tests of what leaves it, and refused outside of demonstrations.

One rule: each text is written once for each peer, and texts that differ in numbers only are one. So a capture stays small
however long a node runs, and still holds every word that anybody was ever told.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from tierline.protocols.sep2.transport import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from tierline.model.identity import Lfdi
    from tierline.ports import Clock, Files
    from tierline.protocols.sep2.courier import Answered, Courier
    from tierline.protocols.sep2.transport import Handler, Request


_NUMBERS = re.compile(rb">-?[0-9]+<")
"""What an element holds that holds a number: times, values, counts."""


class Capture:
    """Writes down what is sent to whom."""

    def __init__(self, files: Files, path: str, clock: Clock) -> None:
        self._files = files
        self._path = path
        self._clock = clock
        self._seen: set[bytes] = set()

    def sent(self, peer: Lfdi, what: str, body: bytes) -> None:
        """Write down a body that goes to a peer, unless it went to it before."""
        digest = hashlib.sha256(b"\0".join((peer.encode(), what.encode(), _NUMBERS.sub(b">#<", body)))).digest()
        if digest in self._seen:
            return
        self._seen.add(digest)
        line = {
            "t": round(self._clock.now().timestamp(), 3),
            "peer": peer,
            "what": what,
            "body": body.decode(errors="replace"),
        }
        self._files.append(self._path, (json.dumps(line, separators=(",", ":")) + "\n").encode())


class CapturedHandler:
    """A handler whose answers are written down."""

    def __init__(self, handler: Handler, capture: Capture) -> None:
        self._handler = handler
        self._capture = capture

    def handle(self, request: Request, now: datetime) -> Response | Awaitable[Response]:
        """Answer as the handler does."""
        answer = self._handler.handle(request, now)
        if isinstance(answer, Response):
            return self._noted(request, answer)
        return self._later(request, answer)

    async def _later(self, request: Request, answer: Awaitable[Response]) -> Response:
        return self._noted(request, await answer)

    def _noted(self, request: Request, answer: Response) -> Response:
        told = "\n".join((answer.location, *(f"{name}: {value}" for name, value in answer.headers)))
        self._capture.sent(request.peer.lfdi, f"{answer.status} {request.path} {told}".strip(), answer.body)
        return answer


class CapturedCourier:
    """A courier whose requests are written down."""

    def __init__(self, courier: Courier, capture: Capture, server: Lfdi) -> None:
        self._courier = courier
        self._capture = capture
        self._server = server

    async def request(self, method: str, path: str, body: bytes = b"") -> Answered:
        """Send as the courier does.

        Raises: LinkError, PeerError.
        """
        self._capture.sent(self._server, f"{method} {path}", body)
        return await self._courier.request(method, path, body)

    async def close(self) -> None:
        """Let go."""
        await self._courier.close()
