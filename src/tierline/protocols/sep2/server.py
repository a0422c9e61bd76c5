"""The server, sans-IO: a request and the time in, an answer out; what must be durable first is awaited.

One rule above all: the device is that of the certificate of this very connection. Whatever it may not see answers exactly
as what does not exist.
"""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import structlog

from tierline.model.errors import Conflict, Forbidden, LinkError, PeerError, TierlineError
from tierline.model.parties import Principal, Role
from tierline.model.programs import ResponseStatus
from tierline.operations.serving import registry, telemetry
from tierline.protocols.sep2.codec import parse, render
from tierline.protocols.sep2.hrefs import Href, PageQuery, Place, parse_path, parse_query
from tierline.protocols.sep2.mapping.times import read_time
from tierline.protocols.sep2.mirrors import Mirrors, TooMany
from tierline.protocols.sep2.resources import exchange, metering
from tierline.protocols.sep2.resources.devices import DeviceInformation
from tierline.protocols.sep2.resources.rows import Value
from tierline.protocols.sep2.transport import Response
from tierline.protocols.sep2.views import INFO_TYPES, RESPONSES, info_kind, response_id

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from tierline.model.identity import Lfdi
    from tierline.model.records import DerInfoKind, EndDeviceRecord, MirrorUsagePointRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.transport import Request
    from tierline.protocols.sep2.views import Views

log = structlog.get_logger(__name__)

V = TypeVar("V", bound=Value)

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
}
"""What may be done besides reading. Source: IEEE 2030.5-2018 annex A."""

_XML = ("application/sep+xml", "application/xml", "text/xml")
_MISSING = Response(status=404)

INVALID_FORMAT, INVALID_VALUE, RESOURCE_LIMIT = 0, 1, 2
"""Error.reasonCode."""


class Sep2Server:
    """The south face of a serving node."""

    def __init__(self, serving: Serving, views: Views) -> None:
        self._serving = serving
        self._views = views
        self._mirrors = Mirrors(serving)
        self.requests: Counter[tuple[str, int]] = Counter()
        """Requests answered, by method and status."""

    def knows(self, lfdi: Lfdi) -> bool:
        """Tell whether a certificate stands for a DER that is let in now."""
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
        if href is None or (href.der is not None and href.der != device.der_id):
            return _MISSING
        if request.method in _READ:
            return self._read(request, href, device, now)
        allowed = _WRITES.get(href.place, ())
        if request.method not in allowed:
            if not allowed and self._views.body(href, _FIRST, device, now) is None:
                return _MISSING
            return Response(status=405, allow=(*_READ, *allowed))
        if request.method != "DELETE" and not _is_xml(request.headers.get("content-type", "")):
            return Response(status=415)
        return self._write(request, href, device, now)

    def _read(self, request: Request, href: Href, device: EndDeviceRecord, now: datetime) -> Response:
        if not _accepts(request.headers.get("accept", "")):
            return Response(status=406)
        try:
            query = _query(request.query) if request.query else _FIRST
        except PeerError as error:
            log.info("query_refused", lfdi=request.peer.lfdi, path=request.path, why=str(error))
            return refusal(400, INVALID_VALUE)
        body = self._views.body(href, query, device, now)
        return _MISSING if body is None else Response(status=200, body=body)

    async def _write(self, request: Request, href: Href, device: EndDeviceRecord, now: datetime) -> Response:
        principal = Principal(party=device.party, role=Role.DEVICE, name=request.peer.lfdi, lfdi=request.peer.lfdi)
        try:
            kind = info_kind(href.place)
            if kind is not None:
                return await self._put_info(principal, device, href, kind, request.body)
            match href.place, request.method:
                case Place.RESPONSE_LIST, _ if href.set == RESPONSES:
                    return await self._respond(principal, device, request, now)
                case Place.MIRROR_USAGE_POINT_LIST, _:
                    return await self._post_mirror(principal, device, request.body)
                case Place.MIRROR_USAGE_POINT, "DELETE":
                    mirror = self._own_mirror(device, href)
                    if mirror is None:
                        return _MISSING
                    await self._mirrors.drop(principal, mirror)
                    return Response(status=204)
                case Place.MIRROR_USAGE_POINT, method:
                    mirror = self._own_mirror(device, href)
                    if mirror is None:
                        return _MISSING
                    if method == "PUT":
                        return await self._post_mirror(principal, device, request.body, mirror)
                    return await self._post_readings(principal, device, mirror, request.body)
                case Place.END_DEVICE_LIST, _:
                    # Devices are registered out of band here (CSIP 2.1 6.1).
                    return Response(status=403)
                case _:
                    return _MISSING
        except (PeerError, Conflict, Forbidden) as error:
            status, reason = next((status, reason) for kind, status, reason in _REFUSALS if isinstance(error, kind))
            log.info("message_refused", lfdi=request.peer.lfdi, path=request.path, status=status, why=str(error))
            return refusal(status, reason)
        except LinkError:
            # Not durable, so not acknowledged: the client comes again.
            log.exception("store_refused")
            return Response(status=503, headers=(("Retry-After", "30"),))

    async def _put_info(
        self, principal: Principal, device: EndDeviceRecord, href: Href, kind: DerInfoKind, body: bytes
    ) -> Response:
        if href.number not in {None, 1}:
            return _MISSING
        found = _parsed(body, INFO_TYPES[kind])
        if isinstance(found, DeviceInformation) and found.lfdi != self._serving.lfdi_of.get(device.der_id):
            raise Forbidden("lFDI is not that of this certificate's device")
        await telemetry.put_info(principal, self._serving, device.der_id, kind, body)
        return Response(status=204)

    async def _respond(
        self, principal: Principal, device: EndDeviceRecord, request: Request, now: datetime
    ) -> Response:
        found = _parsed(request.body, exchange.Response)
        if found.end_device_lfdi != self._serving.lfdi_of.get(device.der_id):
            raise Forbidden("endDeviceLFDI is not that of this certificate's device")
        try:
            status = ResponseStatus(found.status or 0)
        except ValueError as error:
            raise PeerError(f"{found.status} is no status of a DERControl", path="Response/status") from error
        sent = found.created_date_time
        created = now if sent is None else read_time(sent, "Response/createdDateTime")
        log.info(
            "response_received",
            t=now.timestamp(),
            lfdi=found.end_device_lfdi,
            peer=request.peer.lfdi,
            mrid=found.subject,
            status=status.value,
            created_t=sent,
        )
        record = await telemetry.record_response(
            principal, self._serving, device.der_id, found.subject, status, created
        )
        answer = Href(
            place=Place.RESPONSE,
            set=RESPONSES,
            response=response_id(record.mrid, record.der_id, record.status),
        )
        return Response(status=201, location=str(answer))

    async def _post_mirror(
        self, principal: Principal, device: EndDeviceRecord, body: bytes, at: MirrorUsagePointRecord | None = None
    ) -> Response:
        mirror = _parsed(body, metering.MirrorUsagePoint)
        if mirror.device_lfdi != self._serving.lfdi_of.get(device.der_id):
            raise Forbidden("deviceLFDI is not that of this certificate's device")
        if at is not None and mirror.mrid != at.mrid:
            raise PeerError(f"the mRID of this MirrorUsagePoint is {at.mrid}", path="MirrorUsagePoint/mRID")
        record, is_new = await self._mirrors.put(principal, device.der_id, mirror)
        location = str(Href(place=Place.MIRROR_USAGE_POINT, mup=record.mup_id))
        return Response(status=201 if is_new else 204, location=location)

    async def _post_readings(
        self, principal: Principal, device: EndDeviceRecord, mirror: MirrorUsagePointRecord, body: bytes
    ) -> Response:
        found = _parsed(body, Value)
        meters = []
        for meter in found.items if isinstance(found, metering.MirrorMeterReadingList) else (found,):
            if not isinstance(meter, metering.MirrorMeterReading):
                raise Malformed(f"a MirrorMeterReading is needed here, not a {type(meter).__name__}")
            meters.append(meter)
        is_new = await self._mirrors.post(principal, device.der_id, mirror.mrid, meters)
        location = str(Href(place=Place.MIRROR_USAGE_POINT, mup=mirror.mup_id))
        return Response(status=201 if is_new else 204, location=location)

    def _own_mirror(self, device: EndDeviceRecord, href: Href) -> MirrorUsagePointRecord | None:
        mirror = self._serving.mirrors.get(href.mup or "")
        return None if mirror is None or mirror.der_id != device.der_id else mirror


_FIRST = PageQuery()
_path = lru_cache(maxsize=8192)(parse_path)
_query = lru_cache(maxsize=256)(parse_query)
"""Followers ask for the same few over and over."""


class Malformed(PeerError):
    """A document that is not what is needed here, as opposed to one with values that cannot be taken."""


_REFUSALS: tuple[tuple[type[TierlineError], int, int], ...] = (
    (TooMany, 403, RESOURCE_LIMIT),
    (Malformed, 400, INVALID_FORMAT),
    (PeerError, 400, INVALID_VALUE),
    # A mRID that is another creator's: 403 by IEEE 2030.5-2023 10.11.3, rule e.
    (Conflict, 403, INVALID_VALUE),
    (Forbidden, 403, INVALID_VALUE),
)
"""Status and reasonCode of what is refused; the first that fits counts."""


def refusal(status: int, reason: int) -> Response:
    """Answer with a sep+xml Error: the words go to our log, the code to the peer."""
    return Response(status=status, body=render(exchange.Error(reason_code=reason)))


def _parsed(body: bytes, kind: type[V]) -> V:
    try:
        return parse(body, kind)
    except PeerError as error:
        raise Malformed(str(error)) from error


def _accepts(accept: str) -> bool:
    wanted = accept.lower()
    return not wanted or "*/*" in wanted or any(kind in wanted for kind in _XML) or "application/*" in wanted


def _is_xml(content_type: str) -> bool:
    return content_type.split(";", maxsplit=1)[0].strip().lower() in _XML
