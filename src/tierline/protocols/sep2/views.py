"""What one device may see of a serving node, rendered.

Programs, controls and curves are shared by all devices, so their fragments are rendered once; each is kept with the version
of its shard and the time until which it is true, the next boundary of an event. A hit touches neither database nor rules.
What is not a device's own, or not of a program it is assigned to now, is not there: the answer is that of a missing path.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from tierline.engine.serving_status import earliest_start, listed_until, next_boundary, served_status
from tierline.model.control import EventStatus
from tierline.model.errors import Unsupported
from tierline.model.identity import Lfdi, Mrid, der_id, sfdi_of
from tierline.model.records import DerInfoKind
from tierline.protocols.sep2.codec import parse, render, render_fragment, render_list
from tierline.protocols.sep2.hrefs import Href, PageQuery, Place
from tierline.protocols.sep2.lists import (
    der_control_key,
    der_curve_key,
    mrid_descending,
    page,
    response_key,
)
from tierline.protocols.sep2.mapping.curves import write_curve
from tierline.protocols.sep2.mapping.events import write_control, write_default
from tierline.protocols.sep2.mapping.times import write_time
from tierline.protocols.sep2.resources import der, devices, exchange, metering
from tierline.protocols.sep2.resources.objects import Link, List, ListLink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tierline.model.control import Control, Curve
    from tierline.model.identity import DerId
    from tierline.model.records import EndDeviceRecord, MirrorUsagePointRecord, ResponseRecord
    from tierline.operations.serving.state import Served, Serving
    from tierline.protocols.sep2.resources.rows import Value

log = structlog.get_logger(__name__)

T = TypeVar("T")

FSA = "t"
"""The one assignment of a device: that of its topology groups (CSIP 2.1 P26)."""

RESPONSES = "r"
"""The one response set."""

_UNCOORDINATED = 7
"""Time.quality: intentionally uncoordinated, as CSIP tests serve it."""

_ENDLESS = datetime(9999, 1, 1, tzinfo=UTC)
_NOBODY = Mrid("")
"""The name of nothing."""
_NO_LFDI = Lfdi("0" * 40)
"""Stands for a DER without a certificate."""
_CACHE_LIMIT = 50_000
"""Entries; a full cache is emptied and warms again."""

_INFO_PLACES = {
    Place.DER_CAPABILITY: DerInfoKind.CAPABILITY,
    Place.DER_SETTINGS: DerInfoKind.SETTINGS,
    Place.DER_STATUS: DerInfoKind.STATUS,
    Place.DER_AVAILABILITY: DerInfoKind.AVAILABILITY,
    Place.DEVICE_INFORMATION: DerInfoKind.DEVICE_INFORMATION,
}
INFO_TYPES: dict[DerInfoKind, type[Value]] = {
    DerInfoKind.CAPABILITY: der.DERCapability,
    DerInfoKind.SETTINGS: der.DERSettings,
    DerInfoKind.STATUS: der.DERStatus,
    DerInfoKind.AVAILABILITY: der.DERAvailability,
    DerInfoKind.DEVICE_INFORMATION: devices.DeviceInformation,
}
"""What each kind of information is on the wire."""


def info_kind(place: Place) -> DerInfoKind | None:
    """Tell which information is put at a place."""
    return _INFO_PLACES.get(place)


def short(mrid: Mrid) -> str:
    """Give the identifier of a program, control or curve in paths; hashed, as the mRIDs of some makers begin with zeros."""
    return _digested(mrid)


def response_id(mrid: Mrid, der: DerId, status: int) -> str:
    """Give the identifier of a Response in paths."""
    return _digested(f"{mrid}/{der}/{status}")


def _digested(name: str) -> str:
    return der_id(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How often clients are told to come."""

    poll_s: int
    post_s: int


@dataclass(frozen=True, slots=True)
class _Kept:
    version: int
    since: datetime
    """When it was made: a clock that is set back makes it untrue again."""
    until: datetime
    value: object


@dataclass(frozen=True, slots=True)
class _Event:
    """One event as it is listed now."""

    control: Control
    status: EventStatus
    href: str
    fragment: bytes
    document: bytes


@dataclass(frozen=True, slots=True)
class _Curve:
    """One curve as it is listed."""

    href: str
    fragment: bytes
    document: bytes


class _Index:
    """Finds what a path names among what is known; made anew when what is known has changed."""

    def __init__(self, known: dict[Mrid, Any]) -> None:  # Any: only the keys matter
        self._known = known
        self._of_path: dict[str, Mrid] = {}
        self._made_for: tuple[int, Mrid | None] = (0, None)

    def find(self, wanted: str) -> Mrid | None:
        # What is added comes last and what is removed makes it shorter, so these two tell every change.
        state = (len(self._known), next(reversed(self._known), None))
        if state != self._made_for:
            self._made_for = state
            self._of_path = {short(mrid): mrid for mrid in self._known}
        return self._of_path.get(wanted)


class Views:
    """Everything that can be read, for one serving node."""

    def __init__(self, serving: Serving, rates: Rates) -> None:
        self._serving = serving
        self._rates = rates
        self._kept: dict[tuple[object, ...], _Kept] = {}
        self._programs = _Index(serving.programs)
        self._controls = _Index(serving.program_of_control)
        self._curves = _Index(serving.program_of_curve)

    def body(self, href: Href, query: PageQuery, device: EndDeviceRecord, now: datetime) -> bytes | None:
        """Render what is at a place for a device; None when there is nothing for it there."""
        if href.der is not None and href.der != device.der_id:
            return None
        match href.place:
            case Place.DEVICE_CAPABILITY:
                return self._keep(("dcap", device.der_id), f"device:{device.der_id}", lambda: self._dcap(device), now)
            case Place.TIME:
                return self._time(now)
            case Place.END_DEVICE_LIST:
                fragment = self._end_device(device, now)[0]
                return self._list(devices.EndDeviceList, href, query, [fragment], poll=True)
            case Place.END_DEVICE:
                return self._end_device(device, now)[1]
            case Place.REGISTRATION:
                return self._registration(device, href)
            case Place.FUNCTION_SET_ASSIGNMENTS_LIST:
                return self._list(
                    devices.FunctionSetAssignmentsList, href, query, [self._assignments(device, now)[0]], poll=True
                )
            case Place.FUNCTION_SET_ASSIGNMENTS if href.fsa == FSA:
                return self._assignments(device, now)[1]
            case Place.DER_PROGRAM_LIST if href.fsa == FSA:
                fragments = [self._program(served, now)[0] for served in self._serving.programs_for(device.der_id)]
                return self._list(der.DERProgramList, href, query, fragments, poll=True)
            case Place.DER_LIST:
                return self._list(der.DERList, href, query, [self._der(device, now)[0]], poll=True)
            case Place.DER if href.number == 1:
                return self._der(device, now)[1]
            case (
                Place.DER_CAPABILITY
                | Place.DER_SETTINGS
                | Place.DER_STATUS
                | Place.DER_AVAILABILITY
                | Place.DEVICE_INFORMATION
            ):
                return self._info(device, href)
            case Place.MIRROR_USAGE_POINT_LIST:
                fragments = [self._mirror(mirror)[0] for mirror in self._mirrors(device)]
                return self._list(metering.MirrorUsagePointList, href, query, fragments, poll=True)
            case Place.MIRROR_USAGE_POINT:
                mirror = self._serving.mirrors.get(href.mup or "")
                return None if mirror is None or mirror.der_id != device.der_id else self._mirror(mirror)[1]
            case Place.RESPONSE_SET_LIST:
                return self._list(exchange.ResponseSetList, href, query, [self._response_set()[0]], poll=True)
            case Place.RESPONSE_SET if href.set == RESPONSES:
                return self._response_set()[1]
            case Place.RESPONSE_LIST if href.set == RESPONSES:
                own = [render_fragment(self._response(record)) for record in self._responses(device)]
                return self._list(exchange.ResponseList, href, query, own)
            case Place.RESPONSE if href.set == RESPONSES:
                return self._one_response(device, href)
            case _:
                return self._shared(href, query, device, now)

    # --- shared by all devices of a program -------------------------------------------------------------------------

    def _shared(self, href: Href, query: PageQuery, device: EndDeviceRecord, now: datetime) -> bytes | None:
        served = self._served(href)
        if served is None or served.record.group_id not in self._serving.groups_of.get(device.der_id, ()):
            return None
        match href.place:
            case Place.DER_PROGRAM:
                return self._program(served, now)[1]
            case Place.DER_CONTROL_LIST | Place.ACTIVE_DER_CONTROL_LIST:
                return self._control_list(served, href, query, now)
            case Place.DEFAULT_DER_CONTROL:
                return self._default(served, now)
            case Place.DER_CURVE_LIST:
                return self._list(
                    der.DERCurveList, href, query, [curve.fragment for curve in self._curve_list(served, now)]
                )
            case Place.DER_CONTROL:
                wanted = str(href)
                return next((event.document for event in self._events(served, now) if event.href == wanted), None)
            case Place.DER_CURVE:
                wanted = str(href)
                return next((curve.document for curve in self._curve_list(served, now) if curve.href == wanted), None)
            case _:
                return None

    def _served(self, href: Href) -> Served | None:
        serving = self._serving
        mrid: Mrid | None = None
        if href.program is not None:
            mrid = self._programs.find(href.program)
        elif href.control is not None:
            mrid = serving.program_of_control.get(self._controls.find(href.control) or _NOBODY)
        elif href.curve is not None:
            mrid = serving.program_of_curve.get(self._curves.find(href.curve) or _NOBODY)
        return None if mrid is None else serving.program(mrid)

    def _events(self, served: Served, now: datetime) -> list[_Event]:
        """Give the events that are listed now, in standard order."""

        def controls() -> list[Control]:
            return [record.control for record in served.controls.values()]

        def make() -> list[_Event]:
            siblings = controls()
            listed = [control for control in siblings if listed_until(control) > now]
            listed.sort(
                key=lambda control: der_control_key(
                    start=write_time(control.interval.start),
                    creation_time=write_time(control.creation_time),
                    mrid=control.mrid,
                )
            )
            events = (self._event(control, siblings, now) for control in listed)
            return [event for event in events if event is not None]

        return self._keep(
            ("events", served.record.mrid),
            f"program:{served.record.mrid}",
            make,
            now,
            lambda: next_boundary(controls(), now) or _ENDLESS,
        )

    def _control_list(self, served: Served, href: Href, query: PageQuery, now: datetime) -> bytes:
        events = self._events(served, now)
        mrid = served.record.mrid
        until = self._kept["events", mrid].until

        def make() -> bytes:
            is_active = href.place is Place.ACTIVE_DER_CONTROL_LIST
            listed = [event for event in events if event.status is EventStatus.ACTIVE] if is_active else events
            listed = [event for event in listed if _is_after(event, query)]
            return self._list(der.DERControlList, href, query, [event.fragment for event in listed])

        # Only the whole list is kept, as followers ask for it: there are as many other pages as anybody likes to name.
        if query.start or query.after is not None or query.limit < len(events):
            return make()
        return self._keep(("list", href.place, mrid), f"program:{mrid}", make, now, lambda: until)

    def _event(self, control: Control, siblings: Sequence[Control], now: datetime) -> _Event | None:
        status = served_status(control, siblings, now)
        href = str(Href(place=Place.DER_CONTROL, control=short(control.mrid)))
        try:
            resource = write_control(
                control,
                status,
                href=href,
                reply_to=str(Href(place=Place.RESPONSE_LIST, set=RESPONSES)),
                curve_href=_curve_href,
                since=_since(control, status, siblings, now),
            )
        except Unsupported as error:
            # Half an event would be carried out as if it were whole: it is not shown at all, and the others are.
            log.error("control_not_served", mrid=control.mrid, why=str(error))  # noqa: TRY400 - the text says it all
            return None
        return _Event(control, status, href, render_fragment(resource), render(resource))

    def _program(self, served: Served, now: datetime) -> tuple[bytes, bytes]:
        mrid = served.record.mrid
        events = self._events(served, now)
        until = self._kept["events", mrid].until
        curves, default = self._curve_list(served, now), self._default(served, now)

        def make() -> tuple[bytes, bytes]:
            at = short(mrid)
            active = sum(event.status is EventStatus.ACTIVE for event in events)
            resource = der.DERProgram(
                href=str(Href(place=Place.DER_PROGRAM, program=at)),
                mrid=mrid,
                description=served.record.description,
                active_der_control_list_link=_list_link(Place.ACTIVE_DER_CONTROL_LIST, at, active),
                default_der_control_link=None
                if default is None
                else Link(href=str(Href(place=Place.DEFAULT_DER_CONTROL, program=at))),
                der_control_list_link=_list_link(Place.DER_CONTROL_LIST, at, len(events)),
                der_curve_list_link=_list_link(Place.DER_CURVE_LIST, at, len(curves)),
                primacy=served.record.primacy,
            )
            return render_fragment(resource), render(resource)

        return self._keep(("program", mrid), f"program:{mrid}", make, now, lambda: until)

    def _default(self, served: Served, now: datetime) -> bytes | None:
        record, mrid = served.default, served.record.mrid
        if record is None:
            return None
        href = str(Href(place=Place.DEFAULT_DER_CONTROL, program=short(mrid)))

        def make() -> bytes | None:
            try:
                return render(write_default(record.default, href=href, curve_href=_curve_href))
            except Unsupported as error:
                log.error("default_not_served", mrid=record.default.mrid, why=str(error))  # noqa: TRY400 - as above
                return None

        return self._keep(("default", mrid), f"program:{mrid}", make, now)

    def _curve_list(self, served: Served, now: datetime) -> list[_Curve]:
        def make() -> list[_Curve]:
            found = []
            for record in served.curves.values():
                href = _curve_href(record.curve)
                try:
                    resource = write_curve(record.curve, record.function, href)
                except Unsupported as error:
                    log.error("curve_not_served", mrid=record.mrid, why=str(error))  # noqa: TRY400 - as above
                    continue
                key = der_curve_key(creation_time=resource.creation_time, mrid=record.mrid)
                found.append((key, _Curve(href, render_fragment(resource), render(resource))))
            return [curve for _, curve in sorted(found, key=lambda pair: pair[0])]

        return self._keep(("curves", served.record.mrid), f"program:{served.record.mrid}", make, now)

    # --- a device's own ---------------------------------------------------------------------------------------------

    def _dcap(self, device: EndDeviceRecord) -> bytes:
        return render(
            devices.DeviceCapability(
                href=str(Href(place=Place.DEVICE_CAPABILITY)),
                poll_rate=self._rates.poll_s,
                response_set_list_link=ListLink(href=str(Href(place=Place.RESPONSE_SET_LIST)), all=1),
                time_link=Link(href=str(Href(place=Place.TIME))),
                end_device_list_link=ListLink(href=str(Href(place=Place.END_DEVICE_LIST)), all=1),
                mirror_usage_point_list_link=ListLink(
                    href=str(Href(place=Place.MIRROR_USAGE_POINT_LIST)), all=len(self._mirrors(device))
                ),
            )
        )

    def _time(self, now: datetime) -> bytes:
        seconds = write_time(now)
        return render(
            devices.Time(
                href=str(Href(place=Place.TIME)),
                poll_rate=self._rates.poll_s,
                current_time=seconds,
                dst_end_time=0,
                dst_offset=0,
                dst_start_time=0,
                local_time=seconds,
                quality=_UNCOORDINATED,
                tz_offset=0,
            )
        )

    def _end_device(self, device: EndDeviceRecord, now: datetime) -> tuple[bytes, bytes]:
        der_id_ = device.der_id

        def make() -> tuple[bytes, bytes]:
            lfdi = self._serving.lfdi_of[der_id_]
            resource = devices.EndDevice(
                href=str(Href(place=Place.END_DEVICE, der=der_id_)),
                der_list_link=ListLink(href=str(Href(place=Place.DER_LIST, der=der_id_)), all=1),
                device_category=device.device_category,
                device_information_link=Link(href=str(Href(place=Place.DEVICE_INFORMATION, der=der_id_))),
                lfdi=lfdi,
                sfdi=sfdi_of(lfdi),
                changed_time=write_time(device.changed_at),
                enabled=device.enabled,
                function_set_assignments_list_link=ListLink(
                    href=str(Href(place=Place.FUNCTION_SET_ASSIGNMENTS_LIST, der=der_id_)), all=1
                ),
                post_rate=self._rates.post_s,
                registration_link=None
                if device.pin is None
                else Link(href=str(Href(place=Place.REGISTRATION, der=der_id_))),
            )
            return render_fragment(resource), render(resource)

        return self._keep(("edev", der_id_), f"device:{der_id_}", make, now)

    def _registration(self, device: EndDeviceRecord, href: Href) -> bytes | None:
        if device.pin is None:
            return None
        return render(
            devices.Registration(href=str(href), date_time_registered=write_time(device.registered_at), pin=device.pin)
        )

    def _assignments(self, device: EndDeviceRecord, now: datetime) -> tuple[bytes, bytes]:
        der_id_ = device.der_id

        def make() -> tuple[bytes, bytes]:
            programs = self._serving.programs_for(der_id_)
            digest = hashlib.sha256(f"fsa/{der_id_}".encode()).hexdigest()
            resource = devices.FunctionSetAssignments(
                href=str(Href(place=Place.FUNCTION_SET_ASSIGNMENTS, der=der_id_, fsa=FSA)),
                mrid=Mrid(f"{digest[:24].upper()}{self._serving.pen:08X}"),
                description="topology",
                der_program_list_link=ListLink(
                    href=str(Href(place=Place.DER_PROGRAM_LIST, der=der_id_, fsa=FSA)), all=len(programs)
                ),
                response_set_list_link=ListLink(href=str(Href(place=Place.RESPONSE_SET_LIST)), all=1),
                time_link=Link(href=str(Href(place=Place.TIME))),
            )
            return render_fragment(resource), render(resource)

        return self._keep(("fsa", der_id_), f"assigned:{der_id_}", make, now)

    def _der(self, device: EndDeviceRecord, now: datetime) -> tuple[bytes, bytes]:
        der_id_ = device.der_id

        def make() -> tuple[bytes, bytes]:
            def link(place: Place) -> Link:
                return Link(href=str(Href(place=place, der=der_id_, number=1)))

            resource = der.DER(
                href=str(Href(place=Place.DER, der=der_id_, number=1)),
                associated_der_program_list_link=ListLink(
                    href=str(Href(place=Place.DER_PROGRAM_LIST, der=der_id_, fsa=FSA)),
                    all=len(self._serving.programs_for(der_id_)),
                ),
                der_availability_link=link(Place.DER_AVAILABILITY),
                der_capability_link=link(Place.DER_CAPABILITY),
                der_settings_link=link(Place.DER_SETTINGS),
                der_status_link=link(Place.DER_STATUS),
            )
            return render_fragment(resource), render(resource)

        return self._keep(("der", der_id_), f"assigned:{der_id_}", make, now)

    def _info(self, device: EndDeviceRecord, href: Href) -> bytes | None:
        if href.number not in {None, 1}:
            return None
        kind = _INFO_PLACES[href.place]
        record = self._serving.infos.get((device.der_id, kind))
        return None if record is None else render(parse(record.document, INFO_TYPES[kind]), href=str(href))

    def _mirrors(self, device: EndDeviceRecord) -> list[MirrorUsagePointRecord]:
        own = list(self._serving.mirrors_of.get(device.der_id, {}).values())
        return sorted(own, key=lambda mirror: mrid_descending(mirror.mrid))

    def _mirror(self, mirror: MirrorUsagePointRecord) -> tuple[bytes, bytes]:
        resource = parse(mirror.document, metering.MirrorUsagePoint)
        placed = metering.MirrorUsagePoint(
            href=str(Href(place=Place.MIRROR_USAGE_POINT, mup=mirror.mup_id)),
            mrid=resource.mrid,
            description=resource.description,
            version=resource.version,
            role_flags=resource.role_flags,
            service_category_kind=resource.service_category_kind,
            status=resource.status,
            device_lfdi=resource.device_lfdi,
            mirror_meter_readings=resource.mirror_meter_readings,
            post_rate=self._rates.post_s,
        )
        return render_fragment(placed), render(placed)

    def _response_set(self) -> tuple[bytes, bytes]:
        digest = hashlib.sha256(f"rsps/{self._serving.party}".encode()).hexdigest()
        resource = exchange.ResponseSet(
            href=str(Href(place=Place.RESPONSE_SET, set=RESPONSES)),
            mrid=Mrid(f"{digest[:24].upper()}{self._serving.pen:08X}"),
            response_list_link=ListLink(href=str(Href(place=Place.RESPONSE_LIST, set=RESPONSES))),
        )
        return render_fragment(resource), render(resource)

    def _responses(self, device: EndDeviceRecord) -> list[ResponseRecord]:
        own = list(self._serving.responses_of.get(device.der_id, {}).values())
        return sorted(
            own,
            key=lambda record: response_key(
                created_date_time=write_time(record.created_at), end_device_lfdi=record.lfdi or ""
            ),
        )

    def _response(self, record: ResponseRecord) -> exchange.DERControlResponse:
        return exchange.DERControlResponse(
            href=str(
                Href(
                    place=Place.RESPONSE,
                    set=RESPONSES,
                    response=response_id(record.mrid, record.der_id, record.status),
                )
            ),
            created_date_time=write_time(record.created_at),
            end_device_lfdi=record.lfdi or _NO_LFDI,
            status=record.status.value,
            subject=record.mrid,
        )

    def _one_response(self, device: EndDeviceRecord, href: Href) -> bytes | None:
        for record in self._serving.responses_of.get(device.der_id, {}).values():
            if response_id(record.mrid, record.der_id, record.status) == href.response:
                return render(self._response(record))
        return None

    # --- keeping ----------------------------------------------------------------------------------------------------

    def _list(
        self, kind: type[List], href: Href, query: PageQuery, fragments: Sequence[bytes], *, poll: bool = False
    ) -> bytes:
        cut = page(fragments, query.start, query.limit)
        return render_list(kind, str(href), cut.all, cut.items, self._rates.poll_s if poll else None)

    def _keep(
        self,
        key: tuple[object, ...],
        shard: str,
        make: Callable[[], T],
        now: datetime,
        until: Callable[[], datetime] | None = None,
    ) -> T:
        version = self._serving.versions[shard]
        kept = self._kept.get(key)
        if kept is None or kept.version != version or not kept.since <= now < kept.until:
            kept = _Kept(version, now, _ENDLESS if until is None else until(), make())
            if len(self._kept) >= _CACHE_LIMIT:
                self._kept.clear()
            self._kept[key] = kept
        value: T = kept.value  # type: ignore[assignment]  # every key is made by one function only
        return value


def _is_after(event: _Event, query: PageQuery) -> bool:
    return query.after is None or event.control.interval.start.timestamp() > query.after


def _since(control: Control, status: EventStatus, siblings: Sequence[Control], now: datetime) -> datetime | None:
    """Say since when an event has a status that time gave it; None when it was created with it or was given it."""
    if status is control.status:
        return None
    if status is EventStatus.ACTIVE:
        return earliest_start(control)
    # Superseded: since the first start at which it was.
    times = sorted(start for other in siblings if (start := earliest_start(other)) <= now)
    return next(time for time in times if served_status(control, siblings, time) is status)


def _curve_href(curve: Curve) -> str:
    return str(Href(place=Place.DER_CURVE, curve=short(curve.mrid)))


def _list_link(place: Place, program: str, count: int) -> ListLink:
    return ListLink(href=str(Href(place=place, program=program)), all=count)
