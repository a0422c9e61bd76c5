"""DERControl and DefaultDERControl, and the canonical Control and DefaultControl."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.control import Control, EventStatus, Interval, ResponseRequired
from tierline.model.programs import DefaultControl
from tierline.protocols.sep2.mapping.functions import (
    BY_FUNCTION,
    read_base,
    read_default,
    write_base,
    write_settings,
)
from tierline.protocols.sep2.mapping.numbers import from_scale
from tierline.protocols.sep2.mapping.times import read_time, write_time
from tierline.protocols.sep2.resources import der
from tierline.protocols.sep2.resources.objects import DateTimeInterval
from tierline.protocols.sep2.resources.rows import Edition

if TYPE_CHECKING:
    from datetime import datetime

    from tierline.model.control import Provenance
    from tierline.protocols.sep2.mapping.functions import CurveAt, CurveHref


def write_control(
    control: Control,
    status: EventStatus,
    *,
    href: str,
    reply_to: str,
    curve_href: CurveHref,
    since: datetime | None = None,
    edition: Edition = Edition.IEEE_2018,
) -> der.DERControl:
    """Write an event with the status it has now, and since when it has it; by itself, since it was created or last changed.

    Raises: Unsupported for what 2030.5 has no element for, or a value that does not fit its element.
    """
    changed = since or control.status_time or control.creation_time
    return der.DERControl(
        href=href,
        reply_to=reply_to,
        response_required=int(control.response_required),
        mrid=control.mrid,
        description=control.description or None,
        creation_time=write_time(control.creation_time),
        event_status=der.EventStatus(
            current_status=status.value,
            date_time=write_time(changed),
            potentially_superseded=control.potentially_superseded,
        ),
        interval=DateTimeInterval(duration=control.interval.duration_s, start=write_time(control.interval.start)),
        randomize_duration=control.randomize_duration_s or None,
        randomize_start=control.randomize_start_s or None,
        der_control_base=write_base(control.setpoints, curve_href, ramp_time_s=control.ramp_time_s, edition=edition),
        device_category=control.device_category or None,
    )


def read_control(event: der.DERControl, curve_at: CurveAt, provenance: Provenance | None = None) -> Control:
    """Read an event; what cannot be carried out is marked invalid, for the DER to answer.

    Raises: PeerError when a linked curve could not be had (the walk is not complete then), or for a time of no era.
    """
    base = event.der_control_base
    invalid = ""
    try:
        status = EventStatus(event.event_status.current_status)
    except ValueError:
        # 5 (completed) of the 2023 edition and anything newer: nothing is left to do for this DER.
        status = EventStatus.CANCELLED
    for curve_link in (mode for mode in BY_FUNCTION.values() if mode.curve_type is not None):
        link = getattr(base, curve_link.attribute)  # the names are those of the rows
        curve = None if link is None else curve_at(link.href)
        if curve is not None and not curve.points:
            invalid = f"{curve_link.element} has no points"
    return Control(
        mrid=event.mrid,
        creation_time=read_time(event.creation_time, "DERControl/creationTime"),
        interval=Interval(
            start=read_time(event.interval.start, "DERControl/interval/start"), duration_s=event.interval.duration
        ),
        setpoints=read_base(base, curve_at),
        randomize_start_s=event.randomize_start or 0,
        randomize_duration_s=event.randomize_duration or 0,
        ramp_time_s=None if base.ramp_tms is None else from_scale(base.ramp_tms, -2),
        device_category=event.device_category or 0,
        status=status,
        status_time=read_time(event.event_status.date_time, "DERControl/EventStatus/dateTime"),
        potentially_superseded=event.event_status.potentially_superseded,
        response_required=ResponseRequired(0 if event.reply_to is None else (event.response_required or 0) & 7),
        description=event.description or "",
        invalid=invalid,
        provenance=provenance,
    )


def write_default(
    default: DefaultControl, *, href: str, curve_href: CurveHref, edition: Edition = Edition.IEEE_2018
) -> der.DefaultDERControl:
    """Write a default.

    Raises: Unsupported for what 2030.5 has no element for, or a value that does not fit its element.
    """
    return der.DefaultDERControl(
        href=href,
        mrid=default.mrid,
        description=default.description or None,
        der_control_base=write_base(default.setpoints, curve_href, edition=edition),
        **write_settings(default.setpoints),
    )


def read_default_control(
    default: der.DefaultDERControl, curve_at: CurveAt, provenance: Provenance | None = None
) -> DefaultControl:
    """Read a default.

    Raises: PeerError when a linked curve could not be had.
    """
    return DefaultControl(
        mrid=default.mrid,
        setpoints=read_default(default, curve_at),
        description=default.description or "",
        provenance=provenance,
    )
