"""The server, sans-IO: a request and the time in, an answer out; what must be durable first is awaited.

One rule above all: the peer is that of the certificate of this very connection. Whatever neither it nor any it stands for
may see answers exactly as what does not exist.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

import structlog

from tierline.model.errors import LinkError, PeerError
from tierline.operations.serving import registry
from tierline.protocols.sep2.hrefs import PageQuery, Place, parse_path, parse_query
from tierline.protocols.sep2.inbox import Inbox, Sent
from tierline.protocols.sep2.refusals import INVALID_VALUE, REFUSED, refusal, refusal_of
from tierline.protocols.sep2.transport import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from tierline.model.identity import Lfdi, PartyId
    from tierline.model.records import EndDeviceRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.hrefs import Href
    from tierline.protocols.sep2.transport import Request
    from tierline.protocols.sep2.views import Views
    from tierline.protocols.sep2.wishes import Subscribing

log = structlog.get_logger(__name__)

_READ = ("GET", "HEAD")
_KNOWN = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE"})
_WRITES: dict[Place, tuple[str, ...]] = {
    Place.DEVICE_INFORMATION: ("PUT",),
    Place.DER_CAPABILITY: ("PUT",),
    Place.DER_SETTINGS: ("PUT",),
    Place.DER_STATUS: ("PUT",),
    Place.DER_AVAILABILITY: ("PUT",),
    Place.END_DEVICE_LIST: ("POST",),
    Place.MIRROR_USAGE_POINT_LIST: ("POST",),
    Place.MIRROR_USAGE_POINT: ("PUT", "POST", "DELETE"),
    Place.RESPONSE_LIST: ("POST",),
    Place.SUBSCRIPTION_LIST: ("POST",),
    Place.SUBSCRIPTION: ("PUT", "DELETE"),
}
"""What may be done besides reading. Source: IEEE 2030.5-2018 annex A."""

_WRITES_FOR_OTHERS = {**_WRITES, Place.END_DEVICE: ("DELETE",)}
"""The same for those who stand for others: they take DERs out as well as in."""

_XML = ("application/sep+xml", "application/xml", "text/xml")
_MISSING = Response(status=404)


class Sep2Server:
    """The south face of a serving node."""

    def __init__(self, serving: Serving, views: Views, subscriptions: Subscribing | None = None) -> None:
        """Serve; without `subscriptions` nobody is told of changes."""
        self._serving = serving
        self._views = views
        self._inbox = Inbox(serving, views, subscriptions)
        self.requests: Counter[tuple[str, int]] = Counter()
        """Requests answered, by method and status."""

    def knows(self, lfdi: Lfdi) -> bool:
        """Tell whether a certificate is that of an EndDevice that is let in now."""
        return registry.device_of(self._serving, lfdi) is not None

    def handle(self, request: Request, now: datetime) -> Response | Awaitable[Response]:
        """Answer one request; reading answers at once."""
        answer = self._answer(request, now)
        if isinstance(answer, Response):
            self._count(request, answer)
            return answer
        return self._counted(request, answer)

    async def _counted(self, request: Request, answer: Awaitable[Response]) -> Response:
        response = await answer
        self._count(request, response)
        return response

    def _count(self, request: Request, response: Response) -> None:
        method = request.method if request.method in _KNOWN else "other"
        self.requests[method, response.status] += 1

    def _answer(self, request: Request, now: datetime) -> Response | Awaitable[Response]:
        if request.method not in _KNOWN:
            return Response(status=501)
        device = registry.device_of(self._serving, request.peer.lfdi)
        if device is None:
            log.info("peer_unknown", lfdi=request.peer.lfdi, path=request.path)
            return _MISSING
        self._serving.last_seen[device.der_id] = now.timestamp()
        href = _path(request.path)
        if href is None:
            return _MISSING
        if request.method in _READ:
            return self._read(request, href, device, now)
        subject = self._views.subject(href, device)
        if subject is None:
            return _MISSING
        allowed = (_WRITES if device.aggregates is None else _WRITES_FOR_OTHERS).get(href.place, ())
        if request.method not in allowed:
            if not allowed and self._views.body(href, _FIRST, device, now) is None:
                return _MISSING
            return Response(status=405, allow=(*_READ, *allowed))
        if request.method != "DELETE" and not _is_xml(request.headers.get("content-type", "")):
            return Response(status=415)
        principal = registry.principal_of(device, request.peer.lfdi)
        return self._write(Sent(request=request, href=href, peer=device, subject=subject, principal=principal, now=now))

    def _read(self, request: Request, href: Href, device: EndDeviceRecord, now: datetime) -> Response:
        if not _accepts(request.headers.get("accept", "")):
            return Response(status=406)
        try:
            query = _query(request.query) if request.query else _FIRST
        except PeerError as error:
            log.info("query_refused", lfdi=request.peer.lfdi, path=request.path, why=str(error))
            return refusal(400, INVALID_VALUE)
        body = self._views.body(href, query, device, now)
        if body is None:
            return _MISSING
        if device.aggregates is not None:
            self._note_read(request, href, query, device, device.aggregates)
        return Response(status=200, body=body)

    def _note_read(
        self, request: Request, href: Href, query: PageQuery, device: EndDeviceRecord, party: PartyId
    ) -> None:
        """Take note of what a control point reads, and of its word that it keeps it: a HEAD of the list of its EndDevices."""
        standing, now = self._serving.standing, self._serving.clock.now()
        if request.method == "HEAD" and href.place is Place.END_DEVICE_LIST:
            standing.hand_over(self._serving, party, now)
        elif request.method == "GET" and href.place is Place.FUNCTION_SET_ASSIGNMENTS_LIST:
            subject = self._views.subject(href, device)
            if subject is not None and query.start == 0 and query.limit:
                standing.read(self._serving, party, subject.der_id)

    async def _write(self, sent: Sent) -> Response:
        try:
            return await self._inbox.take(sent)
        except REFUSED as error:
            answer = refusal_of(error)
            lfdi, path = sent.request.peer.lfdi, sent.request.path
            log.info("message_refused", lfdi=lfdi, path=path, status=answer.status, why=str(error))
            return answer
        except LinkError:
            # Not durable, so not acknowledged: the client comes again.
            log.exception("store_refused")
            return Response(status=503, headers=(("Retry-After", "30"),))


_FIRST = PageQuery()
_path = lru_cache(maxsize=8192)(parse_path)
_query = lru_cache(maxsize=256)(parse_query)
"""Followers ask for the same few over and over."""


def _accepts(accept: str) -> bool:
    wanted = accept.lower()
    return not wanted or "*/*" in wanted or any(kind in wanted for kind in _XML) or "application/*" in wanted


def _is_xml(content_type: str) -> bool:
    return content_type.split(";", maxsplit=1)[0].strip().lower() in _XML
