"""What peers send, by what it is: read, checked against who sends it, and kept before it is acknowledged.

A peer speaks for its own EndDevice, and one that stands for others for each of them: whose a message is, its path or the
LFDI in it says. An LFDI that the peer does not stand for is refused, whether or not there is such a device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from tierline.model.errors import Forbidden, PeerError
from tierline.model.identity import sfdi_of
from tierline.model.programs import ResponseStatus
from tierline.operations.serving import enrolment, telemetry
from tierline.operations.serving.access import stands_for
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.mapping.times import read_time
from tierline.protocols.sep2.mirrors import Mirrors
from tierline.protocols.sep2.refusals import Malformed, parsed
from tierline.protocols.sep2.resources import exchange, metering
from tierline.protocols.sep2.resources.devices import DeviceInformation, EndDevice
from tierline.protocols.sep2.resources.rows import Value
from tierline.protocols.sep2.transport import Response
from tierline.protocols.sep2.views import INFO_TYPES, RESPONSES, info_kind, response_id
from tierline.protocols.sep2.wishes import Wishes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from tierline.model.identity import Lfdi
    from tierline.model.parties import Principal
    from tierline.model.records import DerInfoKind, EndDeviceRecord, MirrorUsagePointRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.transport import Request
    from tierline.protocols.sep2.views import Views
    from tierline.protocols.sep2.wishes import Subscribing

log = structlog.get_logger(__name__)

_MISSING = Response(status=404)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One message that would change something."""

    request: Request
    href: Href
    peer: EndDeviceRecord
    """The EndDevice of the certificate."""
    subject: EndDeviceRecord
    """The EndDevice the path names; the peer's own for paths that name none."""
    principal: Principal
    now: datetime

    @property
    def is_own(self) -> bool:
        """Whether the peer speaks of its own EndDevice."""
        return self.subject.der_id == self.peer.der_id


class Inbox:
    """Takes what peers of one serving node send."""

    def __init__(self, serving: Serving, views: Views, subscriptions: Subscribing | None) -> None:
        self._serving = serving
        wishes = Wishes(serving, views, subscriptions)
        self._mirrors = Mirrors(serving)
        self._takes: dict[tuple[Place, str], Callable[[Sent], Awaitable[Response]]] = {
            (Place.END_DEVICE_LIST, "POST"): self._enrol,
            (Place.END_DEVICE, "DELETE"): self._remove,
            (Place.RESPONSE_LIST, "POST"): self._respond,
            (Place.MIRROR_USAGE_POINT_LIST, "POST"): self._post_mirror,
            (Place.MIRROR_USAGE_POINT, "PUT"): self._put_mirror,
            (Place.MIRROR_USAGE_POINT, "POST"): self._post_readings,
            (Place.MIRROR_USAGE_POINT, "DELETE"): self._drop_mirror,
            (Place.SUBSCRIPTION_LIST, "POST"): wishes.subscribe,
            (Place.SUBSCRIPTION, "PUT"): wishes.renew,
            (Place.SUBSCRIPTION, "DELETE"): wishes.cancel,
        }

    async def take(self, sent: Sent) -> Response:
        """Carry a message out.

        Raises: PeerError, Conflict, Forbidden, Unsupported for what is refused; LinkError when the store refuses.
        """
        kind = info_kind(sent.href.place)
        if kind is not None:
            return await self._put_info(sent, kind)
        return await self._takes[sent.href.place, sent.request.method](sent)

    # --- devices ----------------------------------------------------------------------------------------------------

    async def _enrol(self, sent: Sent) -> Response:
        """Register in band; known ones are not doubled, and their place is given again with 204, as for a usage point."""
        if sent.peer.aggregates is None:
            raise Forbidden("DERs that speak for themselves are registered out of band")
        found = parsed(sent.request.body, EndDevice)
        own = self._serving.lfdi_of[sent.peer.der_id]
        # A client that names itself by its SFDI alone means its own entry.
        lfdi = own if found.lfdi is None and found.sfdi == sfdi_of(own) else found.lfdi
        if lfdi is None:
            raise PeerError("it is needed besides sFDI, by which nobody is known", path="EndDevice/lFDI")
        if found.sfdi != sfdi_of(lfdi):
            raise PeerError(f"{found.sfdi} is not that of LFDI {lfdi}, which is {sfdi_of(lfdi)}", path="EndDevice/sFDI")
        device, is_new = await enrolment.enrol(sent.principal, self._serving, lfdi, found.device_category or 0)
        log.info("device_enrolled", lfdi=lfdi, peer=sent.request.peer.lfdi, is_new=is_new)
        return Response(status=201 if is_new else 204, location=str(Href(place=Place.END_DEVICE, der=device.der_id)))

    async def _remove(self, sent: Sent) -> Response:
        await enrolment.remove(sent.principal, self._serving, sent.subject.der_id)
        return Response(status=200)  # not 204: CSIP 2.1, in-band registration

    async def _put_info(self, sent: Sent, kind: DerInfoKind) -> Response:
        if sent.href.number is not None and (sent.href.number != 1 or sent.subject.aggregates is not None):
            return _MISSING
        found = parsed(sent.request.body, INFO_TYPES[kind])
        if isinstance(found, DeviceInformation) and found.lfdi != self._serving.lfdi_of.get(sent.subject.der_id):
            raise Forbidden("lFDI is not that of this device")
        await telemetry.put_info(sent.principal, self._serving, sent.subject.der_id, kind, sent.request.body)
        self._saw(sent.subject, sent)
        return Response(status=204)

    # --- Responses --------------------------------------------------------------------------------------------------

    async def _respond(self, sent: Sent) -> Response:
        if sent.href.set != RESPONSES:
            return _MISSING
        found = parsed(sent.request.body, exchange.Response)
        device = self._named(sent, found.end_device_lfdi, "endDeviceLFDI")
        if device.aggregates is not None:
            raise Forbidden("endDeviceLFDI is that of no DER: each DER answers for itself")
        try:
            status = ResponseStatus(found.status or 0)
        except ValueError as error:
            raise PeerError(f"{found.status} is no status of a DERControl", path="Response/status") from error
        at = found.created_date_time
        created = sent.now if at is None else read_time(at, "Response/createdDateTime")
        log.info(
            "response_received",
            t=sent.now.timestamp(),
            lfdi=found.end_device_lfdi,
            peer=sent.request.peer.lfdi,
            mrid=found.subject,
            status=status.value,
            created_t=at,
        )
        record = await telemetry.record_response(
            sent.principal, self._serving, device.der_id, found.subject, status, created
        )
        self._saw(device, sent)
        place = response_id(record.mrid, record.der_id, record.status)
        return Response(status=201, location=str(Href(place=Place.RESPONSE, set=RESPONSES, response=place)))

    # --- mirror metering --------------------------------------------------------------------------------------------

    async def _post_mirror(self, sent: Sent) -> Response:
        return await self._keep_mirror(sent, parsed(sent.request.body, metering.MirrorUsagePoint))

    async def _put_mirror(self, sent: Sent) -> Response:
        at = self._known_mirror(sent)
        if at is None:
            return _MISSING
        mirror = parsed(sent.request.body, metering.MirrorUsagePoint)
        if mirror.mrid != at.mrid:
            raise PeerError(f"the mRID of this MirrorUsagePoint is {at.mrid}", path="MirrorUsagePoint/mRID")
        return await self._keep_mirror(sent, mirror)

    async def _keep_mirror(self, sent: Sent, mirror: metering.MirrorUsagePoint) -> Response:
        device = self._named(sent, mirror.device_lfdi, "deviceLFDI")
        record, is_new = await self._mirrors.put(sent.principal, device.der_id, mirror)
        self._saw(device, sent)
        return _kept(record, is_new=is_new)

    async def _post_readings(self, sent: Sent) -> Response:
        mirror = self._known_mirror(sent)
        if mirror is None:
            return _MISSING
        found = parsed(sent.request.body, Value)
        meters = []
        for meter in found.items if isinstance(found, metering.MirrorMeterReadingList) else (found,):
            if not isinstance(meter, metering.MirrorMeterReading):
                raise Malformed(f"a MirrorMeterReading is needed here, not a {type(meter).__name__}")
            meters.append(meter)
        is_new = await self._mirrors.post(sent.principal, mirror.der_id, mirror.mrid, meters)
        self._saw(self._serving.devices[mirror.der_id], sent)
        return _kept(mirror, is_new=is_new)

    async def _drop_mirror(self, sent: Sent) -> Response:
        mirror = self._known_mirror(sent)
        if mirror is None:
            return _MISSING
        await self._mirrors.drop(sent.principal, mirror)
        return Response(status=204)

    def _known_mirror(self, sent: Sent) -> MirrorUsagePointRecord | None:
        mirror = self._serving.mirrors.get(sent.href.mup or "")
        if mirror is None or not stands_for(sent.principal, self._serving, self._serving.devices[mirror.der_id]):
            return None
        return mirror

    # --- whose it is ------------------------------------------------------------------------------------------------

    def _named(self, sent: Sent, lfdi: Lfdi, element: str) -> EndDeviceRecord:
        """Find the EndDevice that an LFDI in a message names.

        Raises: Forbidden when it is none that the peer stands for.
        """
        identity = self._serving.identities.get(lfdi)
        device = None if identity is None else self._serving.devices[identity.der_id]
        if (
            device is None
            or self._serving.lfdi_of.get(device.der_id) != lfdi
            or not stands_for(sent.principal, self._serving, device)
        ):
            raise Forbidden(f"{element} is none that this certificate stands for")
        return device

    def _saw(self, device: EndDeviceRecord, sent: Sent) -> None:
        self._serving.last_seen[device.der_id] = sent.now.timestamp()


def _kept(mirror: MirrorUsagePointRecord, *, is_new: bool) -> Response:
    location = str(Href(place=Place.MIRROR_USAGE_POINT, mup=mirror.mup_id))
    return Response(status=201 if is_new else 204, location=location)
