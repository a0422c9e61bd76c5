"""Mirror a DER's meter: one MirrorUsagePoint, one MirrorMeterReading per series.

Source: IEEE 2030.5-2018 10.11.3; CSIP 2.1 P41, P42.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import structlog

from tierline.model.errors import Forbidden, PeerError
from tierline.protocols.sep2.client import FLEET_LONGEST, follow_list, get, post
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.mapping.telemetry import BY_POINT, MIRRORED_DER, Series, mirror_mrid, write_readings
from tierline.protocols.sep2.resources import metering, objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tierline.model.identity import Lfdi
    from tierline.model.telemetry import Reading
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.resources.objects import Link

log = structlog.get_logger(__name__)

PER_POST = 200
"""Readings in one message: far below what a server takes at once."""


def series_of(readings: Iterable[Reading]) -> dict[Series, list[Reading]]:
    """Sort readings into their series, each in order of time; points that cannot be mirrored are left out."""
    found: dict[Series, list[Reading]] = {}
    for reading in sorted(readings, key=lambda reading: reading.time):
        if reading.point in BY_POINT:
            found.setdefault(Series.of(reading), []).append(reading)
    return found


def create_mirror(
    link: Link | None, lfdi: Lfdi, series: Iterable[Series], pen: int
) -> Steps[metering.MirrorUsagePoint]:
    """Create the mirror, or find it again: its mRID is the same after every restart. Gives it as the server keeps it.

    Raises: Forbidden when the server offers no mirror metering; LinkError, PeerError.
    """
    if link is None:
        raise Forbidden("the server offers no MirrorUsagePointList to this device")
    mirror = metering.MirrorUsagePoint(
        mrid=mirror_mrid(lfdi, "", pen),
        description="DER",
        role_flags=MIRRORED_DER,
        service_category_kind=0,
        status=1,
        device_lfdi=lfdi,
        mirror_meter_readings=tuple(
            metering.MirrorMeterReading(mrid=mirror_mrid(lfdi, one.name, pen), reading_type=one.type)
            for one in sorted(series)
        ),
    )
    answer = yield from post(link.href, render(mirror))
    if not answer.location:
        return (yield from _find(link, mirror))
    try:
        kept = yield from get(answer.location, metering.MirrorUsagePoint)
    except (Forbidden, PeerError):
        # Reading it is optional for a server (IEEE 2030.5-2018 annex A): its postRate stays unknown then.
        kept = mirror
    # Where it was made is where it is, whatever it says of itself.
    return msgspec.structs.replace(kept, href=answer.location)


def _find(link: Link, mirror: metering.MirrorUsagePoint) -> Steps[metering.MirrorUsagePoint]:
    """Find a mirror of ours that the server knew before and does not say where."""
    listed = yield from follow_list(objects.Link(href=link.href), metering.MirrorUsagePointList, FLEET_LONGEST)
    for one in listed:
        if isinstance(one, metering.MirrorUsagePoint) and one.mrid == mirror.mrid and one.href:
            return one
    raise PeerError("the server took the MirrorUsagePoint and does not say where it is", path="Location")


def post_readings(href: str, lfdi: Lfdi, readings: Sequence[Reading], pen: int) -> Steps[None]:
    """Post readings, all series together where they fit into one message, each in order of time.

    A server that takes no list of series gets one after the other.

    Raises: Forbidden when the server has forgotten the mirror; LinkError, PeerError.
    """
    for meters in _messages(lfdi, readings, pen):
        try:
            if len(meters) > 1:
                together = metering.MirrorMeterReadingList(all=len(meters), results=len(meters), items=tuple(meters))
                yield from post(href, render(together))
                continue
        except PeerError as error:
            log.info("list_refused", why=str(error))
        for meter in meters:
            yield from post(href, render(meter))


def _messages(lfdi: Lfdi, readings: Sequence[Reading], pen: int) -> Iterator[list[metering.MirrorMeterReading]]:
    """Put series together until a message is full."""
    meters: list[metering.MirrorMeterReading] = []
    count = 0
    for own in series_of(readings).values():
        for start in range(0, len(own), PER_POST):
            some = own[start : start + PER_POST]
            if meters and count + len(some) > PER_POST:
                yield meters
                meters, count = [], 0
            meters.append(write_readings(lfdi, some, pen))
            count += len(some)
    if meters:
        yield meters
