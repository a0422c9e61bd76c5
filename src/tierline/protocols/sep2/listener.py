"""Where servers above tell us of changes, sans-IO: a Notification comes in, whoever waits for it hears.

Two rules. A path is known to one server only and cannot be guessed, and still only that server's certificate is heard. A
notice is a hint: who hears of it reads what it needs from the server, so nothing is lost with a notice that never came.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import structlog

from tierline.model.errors import ConfigError, PeerError
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.resources import Error, Notification, Resource
from tierline.protocols.sep2.transport import Response

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tierline.model.identity import ChannelId, Lfdi
    from tierline.protocols.sep2.transport import Request

log = structlog.get_logger(__name__)

_MISSING: Final = Response(status=404)
_INVALID: Final = Response(status=400, body=render(Error(reason_code=0)))
"""reasonCode 0: the format is not that of a Notification."""
_XML: Final = ("application/sep+xml", "application/xml", "text/xml")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a server told us of one resource."""

    channel: ChannelId
    subscribed_resource: str
    """Its path, as it was named in the subscription."""
    status: int
    """0 changed; all others end the subscription: 1 for no stated reason, 2 moved, 3 redefined, 4 deleted.

    Source: IEEE 2030.5-2018, Notification.status.
    """
    body: bytes
    """The resource as a document, empty when the notice came without or it is of a type not spoken here."""
    new_resource_uri: str = ""
    """Where it has moved to; empty where none is stated."""


@dataclass(slots=True)
class _Post:
    """One path with who may use it and who listens."""

    channel: ChannelId
    server_lfdi: Lfdi | None
    hearers: list[Callable[[Notice], None]] = field(default_factory=list)


class NoticeListener:
    """The handler behind the listener of a node; `register` gives each link its own address for notices."""

    def __init__(self, uri: str, secret: str) -> None:
        """Listen below a URI; `secret` makes the paths, so it is kept for as long as subscriptions last.

        Raises: ConfigError when the URI is none of the form https://host:port/path.
        """
        self._base = _base(uri)
        self._path = urlsplit(self._base).path
        self._secret = secret
        self._posts: dict[str, _Post] = {}

    def register(self, channel: ChannelId, server_lfdi: Lfdi | None, hear: Callable[[Notice], None]) -> str:
        """Give the absolute notificationURI for subscriptions at one server of a channel; the same after a restart.

        `hear` is called for every notice of that server; it must neither wait nor fail. Without an LFDI any server that the
        anchors vouch for is heard.
        """
        path = f"{self._path}/ntfy/{self._token(channel, server_lfdi)}"
        post = self._posts.setdefault(path, _Post(channel, server_lfdi))
        if hear not in post.hearers:
            post.hearers.append(hear)
        return self._base + path.removeprefix(self._path)

    def knows(self, lfdi: Lfdi) -> bool:
        """Tell whether a certificate is that of a server we wait for."""
        return any(post.server_lfdi in {None, lfdi} for post in self._posts.values())

    def handle(self, request: Request, now: datetime) -> Response:  # noqa: ARG002 - the handler's interface
        """Take one notice: 204 when it was understood, 400 when it is none, 404 from anybody who is not expected here."""
        post = self._posts.get(request.path)
        if post is None or post.server_lfdi not in {None, request.peer.lfdi}:
            log.info("notice_refused", lfdi=request.peer.lfdi, known=post is not None)
            return _MISSING
        if request.method != "POST":
            return Response(status=405, allow=("POST",))
        if request.headers.get("content-type", "").split(";", maxsplit=1)[0].strip().lower() not in _XML:
            return Response(status=415)
        try:
            found = parse(request.body, Notification)
            # A bare Resource is what a type not spoken here is read as.
            body = b"" if found.resource is None or type(found.resource) is Resource else render(found.resource)
        except PeerError as error:
            log.warning("notice_invalid", channel=post.channel, lfdi=request.peer.lfdi, why=str(error))
            return _INVALID
        notice = Notice(
            channel=post.channel,
            subscribed_resource=found.subscribed_resource,
            status=found.status,
            body=body,
            new_resource_uri=found.new_resource_uri or "",
        )
        log.info("notice_heard", channel=post.channel, resource=notice.subscribed_resource, status=notice.status)
        for hear in post.hearers:
            hear(notice)
        return Response(status=204)

    def _token(self, channel: ChannelId, server_lfdi: Lfdi | None) -> str:
        digest = hashlib.sha256(f"{self._secret}/{channel}/{server_lfdi or ''}".encode()).digest()
        return base64.b32encode(digest[:20]).decode().lower()  # 160 bits are 32 characters without padding


def _base(uri: str) -> str:
    """Check the URI under which servers reach this listener, and drop a slash at its end."""
    fault = ConfigError(
        f"[listener] uri: {uri!r} is not https://host:port, for example https://192.0.2.20:8443; "
        "a path may follow, of letters, digits and . _ ~ -"
    )
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise fault from error
    path = parts.path.rstrip("/")
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or port == 0:
        raise fault
    if parts.query or parts.fragment or not _PATH.fullmatch(path):
        raise fault
    return f"https://{parts.netloc}{path}"
