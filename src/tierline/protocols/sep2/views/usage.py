"""What is measured, to be read: usage points, their series, and the last readings of each.

A usage point is the mirror that a peer made, read back; its EndDevice sees it and who is shown the assignments of that, nobody
else: not a control point that could feed it, though it may still post what it holds (docs/rules.md R9). Words that a peer
wrote into it are not shown: they may name a place or a person. Of each series there is the latest reading, and one set of
those that are in memory, which goes on with time and keeps its path; in it they are numbered anew, oldest first.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierline.model.identity import Mrid
from tierline.protocols.sep2.codec import parse, render, render_fragment, render_list
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.lists import mrid_descending, page
from tierline.protocols.sep2.mapping.times import write_time
from tierline.protocols.sep2.resources import metering
from tierline.protocols.sep2.resources.objects import DateTimeInterval, Link, ListLink
from tierline.protocols.sep2.views.keeping import cut
from tierline.protocols.sep2.views.names import short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.model.records import MirrorUsagePointRecord
    from tierline.operations.serving.state import Serving
    from tierline.operations.serving.tails import Kept
    from tierline.protocols.sep2.views.keeping import Asked, Rates
    from tierline.protocols.sep2.views.reports import ReportViews
    from tierline.protocols.sep2.views.sight import Sight

LAST: Final = "l"
"""The one set of readings of a series: the last ones."""
_BOTH_WAYS: Final = 3
"""Subscribable with conditions and without. Source: IEEE 2030.5-2018, SubscribableType."""
_METER: Final = re.compile(rb"<MirrorMeterReading><mRID>([0-9A-F]{32})</mRID>")
"""In documents that were rendered here."""


def meters_of(document: bytes) -> list[Mrid]:
    """Give the mRIDs of the series of a mirror as it is kept."""
    return [Mrid(mrid.decode()) for mrid in _METER.findall(document)]


def find_series(serving: Serving, href: Href) -> tuple[MirrorUsagePointRecord, Mrid] | None:
    """Find the series that a path names, and the mirror it is of."""
    mirror = serving.mirrors.get(href.mup or "")
    if mirror is None or href.meter is None:
        return None
    return next(((mirror, mrid) for mrid in meters_of(mirror.document) if short(mrid) == href.meter), None)


@dataclass(frozen=True, slots=True)
class _Series:
    """One series and where it is."""

    mirror: MirrorUsagePointRecord
    mrid: Mrid

    def at(self, place: Place, readings: str | None = None) -> str:
        return str(Href(place=place, mup=self.mirror.mup_id, meter=short(self.mrid), set=readings))


class UsageViews:
    """The usage points of one serving node."""

    def __init__(self, serving: Serving, rates: Rates, sight: Sight, reports: ReportViews) -> None:
        self._serving = serving
        self._rates = rates
        self._sight = sight
        self._reports = reports

    def points(self, asked: Asked) -> bytes:
        """Render the list of all usage points a peer may read."""
        return self._point_list(asked, self._reports.usage_points(asked))

    def points_of_one(self, asked: Asked) -> bytes | None:
        """Render the list of the usage points of one EndDevice."""
        if not self._sight.hears(asked.peer, asked.subject.der_id):
            return None
        own = self._serving.mirrors_of.get(asked.subject.der_id, {}).values()
        return self._point_list(asked, sorted(own, key=lambda mirror: mrid_descending(mirror.mrid)))

    def point(self, asked: Asked) -> bytes | None:
        """Render one usage point."""
        mirror = self._mirror(asked)
        return None if mirror is None else render(_point(mirror))

    def meters(self, asked: Asked) -> bytes | None:
        """Render the list of its series."""
        mirror = self._mirror(asked)
        if mirror is None:
            return None
        ordered = sorted(meters_of(mirror.document), key=mrid_descending)
        return cut(
            metering.MeterReadingList, asked, ordered, lambda mrid: render_fragment(_meter(_Series(mirror, mrid)))
        )

    def meter(self, asked: Asked) -> bytes | None:
        """Render one series."""
        series = self._series(asked)
        return None if series is None else render(_meter(series))

    def reading_type(self, asked: Asked) -> bytes | None:
        """Render what a series measures."""
        series = self._series(asked)
        if series is None:
            return None
        mirror = parse(series.mirror.document, metering.MirrorUsagePoint)
        kinds = {meter.mrid: meter.reading_type for meter in mirror.mirror_meter_readings}
        return render(kinds[series.mrid] or metering.ReadingType(), href=str(asked.href))

    def reading(self, asked: Asked) -> bytes | None:
        """Render the latest reading of a series; an empty one while there is none."""
        series = self._series(asked)
        if series is None:
            return None
        last = self._serving.tails.last(series.mirror.der_id, series.mrid)
        return render(
            metering.Reading(href=str(asked.href), subscribable=_BOTH_WAYS)
            if last is None
            else _reading(last, href=str(asked.href), subscribable=_BOTH_WAYS)
        )

    def sets(self, asked: Asked) -> bytes | None:
        """Render the list of the sets of a series, which has one."""
        series = self._series(asked)
        if series is None:
            return None
        return cut(metering.ReadingSetList, asked, [series], lambda one: render_fragment(self._set(one)))

    def set(self, asked: Asked) -> bytes | None:
        """Render the one set of a series."""
        series = self._series(asked)
        return None if series is None or asked.href.set != LAST else render(self._set(series))

    def readings(self, asked: Asked) -> bytes | None:
        """Render the list of the last readings of a series."""
        series = self._series(asked)
        if series is None or asked.href.set != LAST:
            return None
        kept = self._kept(series)
        shown = page([*enumerate(kept)], asked.query.start, asked.query.limit)
        fragments = [render_fragment(_reading(one, local_id=index)) for index, one in shown.items]
        href = str(asked.href)
        return render_list(metering.ReadingList, href, len(kept), fragments, subscribable=_BOTH_WAYS)

    def start_of_last(self, href: Href, limit: int) -> int:
        """Give the position from which a list is told to a subscriber: of readings the last are told, else the first."""
        if href.place is not Place.READING_LIST or (found := find_series(self._serving, href)) is None:
            return 0
        return max(0, len(self._kept(_Series(*found))) - limit)

    def _mirror(self, asked: Asked) -> MirrorUsagePointRecord | None:
        found = self._serving.mirrors.get(asked.href.mup or "")
        if found is None or not self._sight.hears(asked.peer, found.der_id):
            return None
        return found

    def _series(self, asked: Asked) -> _Series | None:
        found = None if self._mirror(asked) is None else find_series(self._serving, asked.href)
        return None if found is None else _Series(*found)

    def _kept(self, series: _Series) -> tuple[Kept, ...]:
        return self._serving.tails.of(series.mirror.der_id, series.mrid)

    def _point_list(self, asked: Asked, mirrors: Sequence[MirrorUsagePointRecord]) -> bytes:
        return cut(
            metering.UsagePointList,
            asked,
            mirrors,
            lambda mirror: render_fragment(_point(mirror)),
            self._rates.poll_s,
        )

    def _set(self, series: _Series) -> metering.ReadingSet:
        digest = hashlib.sha256(f"rs/{series.mirror.mrid}/{series.mrid}".encode()).hexdigest()
        kept = self._kept(series)
        start = write_time(kept[0].time if kept else series.mirror.changed_at)
        end = max((write_time(one.time) + one.duration_s for one in kept), default=start)
        return metering.ReadingSet(
            href=series.at(Place.READING_SET, LAST),
            mrid=Mrid(f"{digest[:24].upper()}{self._serving.pen:08X}"),
            time_period=DateTimeInterval(duration=end - start, start=start),
            reading_list_link=ListLink(href=series.at(Place.READING_LIST, LAST), all=len(kept)),
        )


def _point(mirror: MirrorUsagePointRecord) -> metering.UsagePoint:
    made = parse(mirror.document, metering.MirrorUsagePoint)
    return metering.UsagePoint(
        href=str(Href(place=Place.USAGE_POINT, mup=mirror.mup_id)),
        mrid=mirror.mrid,
        role_flags=made.role_flags,
        service_category_kind=made.service_category_kind,
        status=made.status,
        device_lfdi=made.device_lfdi,
        meter_reading_list_link=ListLink(
            href=str(Href(place=Place.METER_READING_LIST, mup=mirror.mup_id)), all=len(made.mirror_meter_readings)
        ),
    )


def _meter(series: _Series) -> metering.MeterReading:
    return metering.MeterReading(
        href=series.at(Place.METER_READING),
        mrid=series.mrid,
        reading_link=Link(href=series.at(Place.READING)),
        reading_set_list_link=ListLink(href=series.at(Place.READING_SET_LIST), all=1),
        reading_type_link=Link(href=series.at(Place.READING_TYPE)),
    )


def _reading(
    kept: Kept, *, href: str | None = None, subscribable: int | None = None, local_id: int | None = None
) -> metering.Reading:
    return metering.Reading(
        href=href,
        subscribable=subscribable,
        quality_flags=kept.quality,
        time_period=DateTimeInterval(duration=kept.duration_s, start=write_time(kept.time)),
        value=kept.value,
        local_id=local_id,
    )
