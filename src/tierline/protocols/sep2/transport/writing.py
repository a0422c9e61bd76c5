"""Messages to bytes: always a Content-Length, never chunked, never ended by closing."""

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from tierline.protocols.sep2.transport.messages import Response

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def response_bytes(response: Response, *, epoch_s: int, head: bool = False, close: bool = False) -> bytes:
    """Write an answer; with `head` its body is left out, with `close` the peer is told not to ask again."""
    lines = [_start(response.status, epoch_s, response.content_type if response.body else "")]
    if response.status != HTTPStatus.NO_CONTENT:  # forbidden on 204 (RFC 9110 8.6)
        lines.append(b"Content-Length: %d\r\n" % len(response.body))
    if response.location:
        lines.append(_header("Location", response.location))
    if response.allow:
        lines.append(_header("Allow", ", ".join(response.allow)))
    lines.extend(_header(name, value) for name, value in response.headers)
    lines.append(b"Connection: close\r\n\r\n" if close else b"\r\n")
    if not head and response.status != HTTPStatus.NO_CONTENT:
        lines.append(response.body)
    return b"".join(lines)


def request_bytes(method: str, path: str, host: str, headers: dict[str, str], body: bytes) -> bytes:
    """Write a request; one that can carry a body states its length, even when that is 0."""
    lines = [f"{method} {_clean(path)} HTTP/1.1\r\n".encode("ascii"), _header("Host", host)]
    lines.extend(_header(name, value) for name, value in headers.items())
    if body or method in {"POST", "PUT"}:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    return b"".join((*lines, b"\r\n", body))


@lru_cache(maxsize=64)
def _start(status: int, epoch_s: int, content_type: str) -> bytes:
    """Write what many answers of one second have in common; the reason phrase is needed by some clients."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    lines = [f"HTTP/1.1 {status} {phrase}\r\n", f"Date: {formatdate(epoch_s, usegmt=True)}\r\n"]
    if content_type:
        lines.append(f"Content-Type: {_clean(content_type)}\r\n")
    return "".join(lines).encode("latin-1")


def _header(name: str, value: str) -> bytes:
    return f"{name}: {_clean(value)}\r\n".encode("latin-1")


def _clean(value: str) -> str:
    """Refuse what would end a header early: such a value is a bug of ours."""
    if "\r" in value or "\n" in value or "\0" in value:
        raise ValueError(f"a header or path may not hold a line break: {value!r}")
    return value
