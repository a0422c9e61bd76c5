"""Bytes to messages, without I/O: httptools (llhttp) parses, this module is strict about what it has parsed.

One rule: nothing is kept beyond the limits, not even inside the parser. Answers to faults come after the answers to the good
requests before them, so a fault is kept, not raised.
"""

import re
from collections import deque
from enum import Enum, auto
from functools import lru_cache
from typing import Final

import httptools

from tierline.protocols.sep2.transport.limits import Limits
from tierline.protocols.sep2.transport.messages import HttpResponse, Peer, Rejected, Request

# A name, an IPv4 address or an IPv6 address in brackets, with an optional port (RFC 9112 3.2, RFC 3986 3.2.2).
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?")
_ONCE: Final = frozenset({"host", "content-length", "transfer-encoding", "content-type", "expect"})
"""Headers that make a message ambiguous when they come twice."""


@lru_cache(maxsize=256)
def _name(name: bytes) -> str:
    return name.decode("latin-1").lower()


class Phase(Enum):
    """Where in a message the reader stands."""

    BETWEEN = auto()
    HEADERS = auto()
    BODY = auto()


class _Stop(Exception):
    """Leave the parser; the fault is noted."""


class _Reader:
    """What requests and answers have in common: headers, body, sizes."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.fault: Rejected | None = None
        """What was wrong; nothing is read after it."""

        self.phase = Phase.BETWEEN
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_size = 0
        self._head_size = 0
        self._raw_size = 0
        self._completed = 0

    def _feed(self, parser: httptools.HttpRequestParser | httptools.HttpResponseParser, data: bytes) -> None:
        completed = self._completed
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._on_upgrade()
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Stop):
                raise
        except httptools.HttpParserInvalidMethodError:
            self._note(501, "unknown method")
        except httptools.HttpParserError as error:
            self._on_syntax(str(error))
        # The parser keeps unfinished headers, chunk sizes and trailers to itself: bound what goes in, too.
        self._raw_size = 0 if self._completed != completed else self._raw_size + len(data)
        if self.phase is Phase.HEADERS and self._raw_size > self._limits.head_bytes:
            self._note(431, f"headers are longer than {self._limits.head_bytes} bytes")
        if self._raw_size > self._limits.head_bytes + 2 * self._limits.body_bytes:
            self._note(413, f"a body of {self._limits.body_bytes} bytes is the most that is read")

    def _on_upgrade(self) -> None:
        self._note(400, "the protocol cannot be changed on this connection")

    def _on_syntax(self, reason: str) -> None:
        self._note(400, reason)

    def _note(self, status: int, reason: str) -> None:
        self.fault = self.fault or Rejected(status, reason)

    def _stop(self, status: int, reason: str) -> None:
        self._note(status, reason)
        raise _Stop

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.head_bytes:
            self._stop(431, f"headers are longer than {self._limits.head_bytes} bytes")

    def on_message_begin(self) -> None:
        """Begin a message."""
        self.phase = Phase.HEADERS
        self._headers = {}
        self._body = []
        self._body_size = self._head_size = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those after the headers' end are trailers, counted and ignored."""
        self._count_head(len(name) + len(value) + 4)
        if self.phase is Phase.BODY:
            return
        key, text = _name(name), value.decode("latin-1").strip(" \t")
        if key not in self._headers:
            self._headers[key] = text
        elif key in _ONCE:
            self._stop(400, f"header {key} comes twice")
        else:
            self._headers[key] = f"{self._headers[key]}, {text}"

    def on_body(self, data: bytes) -> None:
        """Take a piece of the body."""
        self._body_size += len(data)
        if self._body_size > self._limits.body_bytes:
            self._stop(413, f"a body of {self._limits.body_bytes} bytes is the most that is read")
        self._body.append(data)

    def _check_length(self) -> None:
        if "transfer-encoding" in self._headers and "content-length" in self._headers:
            self._stop(400, "Transfer-Encoding and Content-Length in one message")
        if self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._stop(501, "no transfer coding but chunked is known")
        if int(self._headers.get("content-length") or 0) > self._limits.body_bytes:
            self._stop(413, f"a body of {self._limits.body_bytes} bytes is the most that is read")


class RequestReader(_Reader):
    """The requests of one connection; `ready` holds those that are complete."""

    def __init__(self, limits: Limits, peer: Peer) -> None:
        super().__init__(limits)
        self._peer = peer
        self._parser = httptools.HttpRequestParser(self)
        self._target = b""
        self._method = ""
        self._path = ""
        self._query = ""
        self.ready: deque[Request] = deque()
        self.last = False
        """The last request in `ready` is the last of this connection."""

        self.wants_continue = False
        """The peer holds its body back until it is told to go on (RFC 9110 10.1.1)."""

    def feed(self, data: bytes) -> None:
        """Take bytes."""
        if self.fault is None and not self.last:
            self._feed(self._parser, data)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._target = b""

    def on_url(self, target: bytes) -> None:
        """Take a piece of the request target."""
        self._target += target
        if len(self._target) > self._limits.target_bytes:
            self._stop(414, f"the target is longer than {self._limits.target_bytes} bytes")
        self._count_head(len(target))

    def on_headers_complete(self) -> None:
        """Check the head of a request as a whole."""
        version = self._parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            self._stop(505, f"HTTP/{version} is not spoken here")
        self._method = self._parser.get_method().decode("ascii")
        self._check_target(self._check_host(version))
        self._check_length()
        expected = self._headers.get("expect", "").lower()
        if expected not in {"", "100-continue"}:
            self._stop(417, "only 100-continue can be expected")
        self.wants_continue = bool(expected) and version == "1.1"
        self.phase = Phase.BODY

    def on_message_complete(self) -> None:
        """Deliver a request."""
        self.ready.append(
            Request(
                method=self._method,
                path=self._path,
                query=self._query,
                headers=self._headers,
                body=b"".join(self._body),
                peer=self._peer,
            )
        )
        self._completed += 1
        self.last = not self._parser.should_keep_alive()
        self.wants_continue = False
        self.phase = Phase.BETWEEN

    def _on_upgrade(self) -> None:
        self.last = True  # the wish is ignored, as RFC 9110 7.8 allows; what follows may be another protocol

    def _on_syntax(self, reason: str) -> None:
        if not self.last:  # bytes after "Connection: close" are nobody's request
            super()._on_syntax(reason)

    def _check_host(self, version: str) -> str:
        host = self._headers.get("host")
        if host is None and version == "1.1":
            self._stop(400, "a Host header is needed")
        if host and not _HOST.fullmatch(host):
            self._stop(400, "the Host header is not a host")
        return host or ""

    def _check_target(self, host: str) -> None:
        target = self._target.decode("latin-1")
        if not target.startswith("/"):  # absolute form must be taken (RFC 9112 3.2.2), for this very server only
            scheme, _, rest = target.partition("://")
            authority, slash, tail = rest.partition("/")
            if scheme.lower() != "https" or not slash or authority.lower() != host.lower():
                self._stop(400, "the target is neither a path nor an https URL of this host")
            target = "/" + tail
        if "#" in target:
            self._stop(400, "a fragment has no place in a request")
        self._path, _, self._query = target.partition("?")


class ResponseReader(_Reader):
    """The answer to one request; `response` is set when it is complete."""

    def __init__(self, limits: Limits, *, head: bool) -> None:
        super().__init__(limits)
        self._head = head
        self._parser = httptools.HttpResponseParser(self)
        self.response: HttpResponse | None = None
        self.keep_alive = False
        self.started = False
        """Whether any byte of an answer came."""

    def feed(self, data: bytes) -> None:
        """Take bytes.

        Raises: Rejected when they are no answer or exceed the limits.
        """
        self.started = True
        if self.is_complete:
            self.keep_alive = False  # nobody asked for more
            return
        if self.fault is None:
            self._feed(self._parser, data)
        if self.fault is not None and not self.is_complete:
            raise self.fault

    @property
    def is_complete(self) -> bool:
        """Whether the answer is there."""
        return self.response is not None

    def on_message_begin(self) -> None:
        """Begin an answer; a second one was not asked for and spoils the connection."""
        if self.response is not None:
            self.keep_alive = False
            raise _Stop
        super().on_message_begin()

    def end(self) -> None:
        """Take the orderly end of the stream, which ends an answer of no stated length.

        Raises: Rejected when the answer is cut off.
        """
        framed = {"content-length", "transfer-encoding"} & self._headers.keys()
        if self.phase is not Phase.BODY or framed or self.response is not None:
            raise Rejected(502, "the answer is cut off")
        self._complete(keep_alive=False)

    def on_headers_complete(self) -> None:
        """Check the head of an answer; an answer to HEAD is complete with it."""
        self._check_length()
        self.phase = Phase.BODY
        if self._head and self._parser.get_status_code() >= 200:
            self._complete(keep_alive=self._parser.should_keep_alive())
            raise _Stop  # the parser would wait for the body that Content-Length tells of

    def on_message_complete(self) -> None:
        """Deliver the answer; those of the 1xx kind only announce another (RFC 9110 15.2)."""
        self._completed += 1
        if self._parser.get_status_code() >= 200:
            self._complete(keep_alive=self._parser.should_keep_alive())
        self.phase = Phase.BETWEEN

    def _complete(self, *, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response = HttpResponse(
            status=self._parser.get_status_code(), headers=self._headers, body=b"".join(self._body)
        )
