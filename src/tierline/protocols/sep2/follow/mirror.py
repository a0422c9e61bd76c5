"""Mirror a DER's meter: one MirrorUsagePoint, one MirrorMeterReading per point.

Source: IEEE 2030.5-2018 10.11.3; CSIP 2.1 P41, P42.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tierline.model.errors import Forbidden
from tierline.protocols.sep2.client import get, post
from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.mapping.telemetry import (
    BY_POINT,
    MIRRORED_DER,
    mirror_mrid,
    reading_type,
    write_readings,
)
from tierline.protocols.sep2.resources import metering

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.model.identity import Lfdi
    from tierline.model.telemetry import Reading
    from tierline.protocols.sep2.client import Steps
    from tierline.protocols.sep2.resources.objects import Link


def create_mirror(link: Link | None, lfdi: Lfdi, points: Sequence[str], pen: int) -> Steps[metering.MirrorUsagePoint]:
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
            metering.MirrorMeterReading(mrid=mirror_mrid(lfdi, point, pen), reading_type=reading_type(point, 0))
            for point in points
        ),
    )
    answer = yield from post(link.href, render(mirror))
    return (yield from get(answer.location, metering.MirrorUsagePoint))


def post_readings(href: str, lfdi: Lfdi, readings: Sequence[Reading], pen: int) -> Steps[None]:
    """Post readings, point by point, each in order of time.

    Raises: Forbidden when the server has forgotten the mirror; LinkError, PeerError.
    """
    by_point: dict[str, list[Reading]] = {}
    for reading in readings:
        if reading.point in BY_POINT:
            by_point.setdefault(reading.point, []).append(reading)
    for point, own in by_point.items():
        own.sort(key=lambda reading: reading.time)
        yield from post(href, render(write_readings(lfdi, point, own, pen)))
