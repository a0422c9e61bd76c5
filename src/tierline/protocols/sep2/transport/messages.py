"""Requests, answers and who asks: what a handler sees, free of sockets and TLS."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from tierline.model.errors import PeerError
from tierline.model.identity import Lfdi

SEP_XML: Final = "application/sep+xml"
"""The media type of IEEE 2030.5-2018 5.4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of this very connection."""

    lfdi: Lfdi
    """From the certificate of this TLS session; never from a header or a body."""

    fingerprint: str
    """SHA-256 of the certificate, 64 lower-case hex digits."""

    address: str
    """The IP address, for logs and limits only: it proves nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, complete and within the limits."""

    method: str
    path: str
    """As sent, not percent-decoded: our hrefs need no escapes."""

    query: str
    headers: Mapping[str, str]
    """Names in lower case; values of a repeated header joined by a comma."""

    body: bytes
    peer: Peer


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The answer to a request; the transport adds the length and the date, and drops the body on HEAD."""

    status: int
    body: bytes = b""
    content_type: str = SEP_XML
    location: str = ""
    """A relative path: Location of 201, 204 and 301."""

    allow: tuple[str, ...] = ()
    """The methods a 405 names."""

    headers: tuple[tuple[str, str], ...] = ()
    close: bool = False
    """Close the connection after this answer."""


class Handler(Protocol):
    """What stands behind a server."""

    def handle(self, request: Request, now: datetime) -> Response | Awaitable[Response]:
        """Answer a request, at once where that is possible; `now` is civil time.

        Raises: a TierlineError, which the transport answers with the status that fits, without a body.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """An answer as a client receives it."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""

    body: bytes = b""
    path: str = ""
    """The path and query it finally came from, after redirections."""

    @property
    def location(self) -> str:
        """The Location header, empty when there is none."""
        return self.headers.get("location", "")


class Rejected(PeerError):
    """A message that breaks HTTP or the limits; answered with a status, after which the connection is closed."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, path="HTTP")
        self.status = status
        """The HTTP status that says what is wrong."""
