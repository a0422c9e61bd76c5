"""What all devices of a program share: the program, its events, default and curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from tierline.engine.serving_status import earliest_start, listed_until, next_boundary, served_status
from tierline.model.control import EventStatus
from tierline.model.errors import Unsupported
from tierline.model.identity import Mrid
from tierline.protocols.sep2.codec import render, render_fragment
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.lists import der_control_key, der_curve_key
from tierline.protocols.sep2.mapping.curves import write_curve
from tierline.protocols.sep2.mapping.events import write_control, write_default
from tierline.protocols.sep2.mapping.times import write_time
from tierline.protocols.sep2.resources import der
from tierline.protocols.sep2.resources.objects import Link, ListLink
from tierline.protocols.sep2.views.keeping import ENDLESS, joined
from tierline.protocols.sep2.views.names import RESPONSES, Index, curve_href, short

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierline.model.control import Control
    from tierline.operations.serving.state import Served, Serving
    from tierline.protocols.sep2.hrefs import PageQuery
    from tierline.protocols.sep2.views.keeping import Asked, Keeping

log = structlog.get_logger(__name__)

_NOBODY: Final = Mrid("")
"""The name of nothing."""


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


class ProgramViews:
    """The programs of one serving node, whoever sees them."""

    def __init__(self, serving: Serving, keeping: Keeping) -> None:
        self._serving = serving
        self._keeping = keeping
        self._programs = Index(serving.programs)
        self.controls = Index(serving.program_of_control)
        self._curves = Index(serving.program_of_curve)

    def served(self, href: Href) -> Served | None:
        """Find the program that a path names, or to which what it names belongs."""
        serving = self._serving
        mrid: Mrid | None = None
        if href.program is not None:
            mrid = self._programs.find(href.program)
        elif href.control is not None:
            mrid = serving.program_of_control.get(self.controls.find(href.control) or _NOBODY)
        else:
            mrid = serving.program_of_curve.get(self._curves.find(href.curve or "") or _NOBODY)
        return None if mrid is None else serving.program(mrid)

    def body(self, served: Served, asked: Asked) -> bytes | None:
        """Render what is at a place of a program."""
        href, now = asked.href, asked.now
        match href.place:
            case Place.DER_CONTROL_LIST | Place.ACTIVE_DER_CONTROL_LIST:
                return self._control_list(served, href, asked.query, now)
            case Place.DER_PROGRAM:
                return self.program(served, now)[1]
            case Place.DEFAULT_DER_CONTROL:
                return self._default(served, now)
            case Place.DER_CURVE_LIST:
                fragments = [curve.fragment for curve in self._curve_list(served, now)]
                return joined(der.DERCurveList, href, asked.query, fragments)
            case Place.DER_CONTROL:
                wanted = str(href)
                return next((event.document for event in self._events(served, now) if event.href == wanted), None)
            case _:  # a curve
                wanted = str(href)
                return next((curve.document for curve in self._curve_list(served, now) if curve.href == wanted), None)

    def program(self, served: Served, now: datetime) -> tuple[bytes, bytes]:
        """Render a program as an item of a list and by itself."""
        mrid = served.record.mrid
        events = self._events(served, now)
        until = self._keeping.until("events", mrid)
        curves, default = self._curve_list(served, now), self._default(served, now)

        def make() -> tuple[bytes, bytes]:
            at = short(mrid)
            active = sum(event.status is EventStatus.ACTIVE for event in events)
            resource = der.DERProgram(
                href=str(Href(place=Place.DER_PROGRAM, program=at)),
                subscribable=1,
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

        return self._keeping.keep(("program", mrid), self._version(mrid), make, now, lambda: until)

    def _version(self, mrid: Mrid) -> int:
        return self._serving.versions[f"program:{mrid}"]

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
            events = (_event(control, siblings, now) for control in listed)
            return [event for event in events if event is not None]

        mrid = served.record.mrid
        return self._keeping.keep(
            ("events", mrid), self._version(mrid), make, now, lambda: next_boundary(controls(), now) or ENDLESS
        )

    def _control_list(self, served: Served, href: Href, query: PageQuery, now: datetime) -> bytes:
        events = self._events(served, now)
        mrid = served.record.mrid
        until = self._keeping.until("events", mrid)

        def make() -> bytes:
            is_active = href.place is Place.ACTIVE_DER_CONTROL_LIST
            listed = [event for event in events if event.status is EventStatus.ACTIVE] if is_active else events
            fragments = [event.fragment for event in listed if _is_after(event, query)]
            return joined(der.DERControlList, href, query, fragments, subscribable=True)

        # Only the whole list is kept, as followers ask for it: there are as many other pages as anybody likes to name.
        if query.start or query.after is not None or query.limit < len(events):
            return make()
        return self._keeping.keep(("list", href.place, mrid), self._version(mrid), make, now, lambda: until)

    def _default(self, served: Served, now: datetime) -> bytes | None:
        record, mrid = served.default, served.record.mrid
        if record is None:
            return None
        href = str(Href(place=Place.DEFAULT_DER_CONTROL, program=short(mrid)))

        def make() -> bytes | None:
            try:
                resource = write_default(record.default, href=href, curve_href=curve_href)
            except Unsupported as error:
                log.error("default_not_served", mrid=record.default.mrid, why=str(error))  # noqa: TRY400 - the text says it all
                return None
            return render(msgspec.structs.replace(resource, subscribable=1))

        return self._keeping.keep(("default", mrid), self._version(mrid), make, now)

    def _curve_list(self, served: Served, now: datetime) -> list[_Curve]:
        def make() -> list[_Curve]:
            found = []
            for record in served.curves.values():
                href = curve_href(record.curve)
                try:
                    resource = write_curve(record.curve, record.function, href)
                except Unsupported as error:
                    log.error("curve_not_served", mrid=record.mrid, why=str(error))  # noqa: TRY400 - as above
                    continue
                key = der_curve_key(creation_time=resource.creation_time, mrid=record.mrid)
                found.append((key, _Curve(href, render_fragment(resource), render(resource))))
            return [curve for _, curve in sorted(found, key=lambda pair: pair[0])]

        mrid = served.record.mrid
        return self._keeping.keep(("curves", mrid), self._version(mrid), make, now)


def _event(control: Control, siblings: Sequence[Control], now: datetime) -> _Event | None:
    status = served_status(control, siblings, now)
    href = str(Href(place=Place.DER_CONTROL, control=short(control.mrid)))
    try:
        resource = write_control(
            control,
            status,
            href=href,
            reply_to=str(Href(place=Place.RESPONSE_LIST, set=RESPONSES)),
            curve_href=curve_href,
            since=_since(control, status, siblings, now),
        )
    except Unsupported as error:
        # Half an event would be carried out as if it were whole: it is not shown at all, and the others are.
        log.error("control_not_served", mrid=control.mrid, why=str(error))  # noqa: TRY400 - the text says it all
        return None
    return _Event(control, status, href, render_fragment(resource), render(resource))


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


def _list_link(place: Place, program: str, count: int) -> ListLink:
    return ListLink(href=str(Href(place=place, program=program)), all=count)
