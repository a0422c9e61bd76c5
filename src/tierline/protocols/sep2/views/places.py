"""Every place that can be read, and who shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tierline.protocols.sep2.codec import render
from tierline.protocols.sep2.hrefs import Href, PageQuery, Place, parse_path
from tierline.protocols.sep2.mapping.times import write_time
from tierline.protocols.sep2.resources import devices
from tierline.protocols.sep2.resources.objects import Link, ListLink
from tierline.protocols.sep2.views.entries import EntryViews
from tierline.protocols.sep2.views.keeping import Asked, Keeping
from tierline.protocols.sep2.views.pricing import PricingViews
from tierline.protocols.sep2.views.programs import ProgramViews
from tierline.protocols.sep2.views.reports import ReportViews
from tierline.protocols.sep2.views.sight import Sight
from tierline.protocols.sep2.views.usage import UsageViews

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from tierline.model.records import EndDeviceRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.views.keeping import Rates

_LONGEST_PAGE: Final = 255
_UNCOORDINATED: Final = 7
"""Time.quality: intentionally uncoordinated, as CSIP tests serve it."""


class Views:
    """Everything that can be read, for one serving node."""

    def __init__(self, serving: Serving, rates: Rates) -> None:
        self._serving = serving
        self._rates = rates
        self._keeping = Keeping()
        self._sight = Sight(serving)
        self._programs = ProgramViews(serving, self._keeping)
        self._reports = ReportViews(serving, rates, self._keeping, self._sight, self._programs.controls)
        pricing = self._pricing = PricingViews(serving, rates, self._keeping, self._sight)
        entries = EntryViews(serving, rates, self._keeping, self._sight, self._programs, pricing)
        reports = self._reports
        usage = self._usage = UsageViews(serving, rates, self._sight, reports)
        self._at: dict[Place, Callable[[Asked], bytes | None]] = {
            Place.DEVICE_CAPABILITY: self._device_capability,
            Place.TIME: self._time,
            Place.END_DEVICE_LIST: entries.end_devices,
            Place.END_DEVICE: entries.end_device,
            Place.REGISTRATION: entries.registration,
            Place.FUNCTION_SET_ASSIGNMENTS_LIST: entries.assignments_list,
            Place.FUNCTION_SET_ASSIGNMENTS: entries.assignments,
            Place.DER_PROGRAM_LIST: entries.programs,
            Place.DER_LIST: entries.ders,
            Place.DER: entries.der,
            Place.DER_CAPABILITY: entries.info,
            Place.DER_SETTINGS: entries.info,
            Place.DER_STATUS: entries.info,
            Place.DER_AVAILABILITY: entries.info,
            Place.DEVICE_INFORMATION: entries.info,
            Place.SUBSCRIPTION_LIST: entries.subscriptions,
            Place.SUBSCRIPTION: entries.subscription,
            Place.MIRROR_USAGE_POINT_LIST: reports.mirror_list,
            Place.MIRROR_USAGE_POINT: reports.mirror,
            Place.USAGE_POINT_LIST: usage.points,
            Place.DEVICE_USAGE_POINT_LIST: usage.points_of_one,
            Place.USAGE_POINT: usage.point,
            Place.METER_READING_LIST: usage.meters,
            Place.METER_READING: usage.meter,
            Place.READING_TYPE: usage.reading_type,
            Place.READING: usage.reading,
            Place.READING_SET_LIST: usage.sets,
            Place.READING_SET: usage.set,
            Place.READING_LIST: usage.readings,
            Place.TARIFF_PROFILE_LIST: pricing.for_all,
            Place.DEVICE_TARIFF_PROFILE_LIST: entries.tariffs,
            Place.TARIFF_PROFILE: pricing.body,
            Place.RATE_COMPONENT_LIST: pricing.body,
            Place.RATE_COMPONENT: pricing.body,
            Place.RATE_READING_TYPE: pricing.body,
            Place.TIME_TARIFF_INTERVAL_LIST: pricing.body,
            Place.ACTIVE_TIME_TARIFF_INTERVAL_LIST: pricing.body,
            Place.TIME_TARIFF_INTERVAL: pricing.body,
            Place.CONSUMPTION_TARIFF_INTERVAL_LIST: pricing.body,
            Place.CONSUMPTION_TARIFF_INTERVAL: pricing.body,
            Place.RESPONSE_SET_LIST: reports.response_set_list,
            Place.RESPONSE_SET: reports.response_set,
            Place.RESPONSE_LIST: reports.response_list,
            Place.RESPONSE: reports.response,
            Place.DER_PROGRAM: self._of_program,
            Place.DER_CONTROL_LIST: self._of_program,
            Place.ACTIVE_DER_CONTROL_LIST: self._of_program,
            Place.DEFAULT_DER_CONTROL: self._of_program,
            Place.DER_CURVE_LIST: self._of_program,
            Place.DER_CONTROL: self._of_program,
            Place.DER_CURVE: self._of_program,
        }

    def body(self, href: Href, query: PageQuery, device: EndDeviceRecord, now: datetime) -> bytes | None:
        """Render what is at a place for the EndDevice of a peer; None when there is nothing for it there."""
        subject = device
        if href.der is not None and href.der != device.der_id:
            other = self._sight.subject(device, href.der)
            if other is None:
                return None
            subject = other
        show = self._at.get(href.place)
        return None if show is None else show(Asked(href, query, device, subject, now))

    def resource(self, path: str, limit: int, device: EndDeviceRecord, now: datetime) -> bytes | None:
        """Render what a path names as a peer would read it, for a notice; a list is cut to `limit` items, readings to the last.

        `device` is the peer's EndDevice; None when it is not let in now, or there is nothing for it there.
        """
        href = parse_path(path)
        current = self._serving.devices.get(device.der_id)
        if href is None or current is None or not current.enabled or current.der_id not in self._serving.lfdi_of:
            return None
        limit = min(limit, _LONGEST_PAGE)
        query = PageQuery(start=self._usage.start_of_last(href, limit), limit=limit)
        return self.body(href, query, current, now)

    def subject(self, href: Href, device: EndDeviceRecord) -> EndDeviceRecord | None:
        """Find the EndDevice that a path names, or the peer's own when it names none; None for one it does not stand for."""
        if href.der is None or href.der == device.der_id:
            return device
        return self._sight.subject(device, href.der)

    def _of_program(self, asked: Asked) -> bytes | None:
        served = self._programs.served(asked.href)
        if served is None or not self._sight.reads(asked.peer, served.record.group_id):
            return None
        return self._programs.body(served, asked)

    def _device_capability(self, asked: Asked) -> bytes:
        peer = asked.peer

        def make() -> bytes:
            points, mirrors = len(self._reports.usage_points(asked)), len(self._reports.mirrors(asked))
            return render(
                devices.DeviceCapability(
                    href=str(Href(place=Place.DEVICE_CAPABILITY)),
                    poll_rate=self._rates.poll_s,
                    response_set_list_link=ListLink(href=str(Href(place=Place.RESPONSE_SET_LIST)), all=1),
                    tariff_profile_list_link=self._pricing.link(),
                    time_link=Link(href=str(Href(place=Place.TIME))),
                    usage_point_list_link=ListLink(href=str(Href(place=Place.USAGE_POINT_LIST)), all=points),
                    end_device_list_link=ListLink(
                        href=str(Href(place=Place.END_DEVICE_LIST)), all=len(self._sight.ordered(peer))
                    ),
                    mirror_usage_point_list_link=ListLink(
                        href=str(Href(place=Place.MIRROR_USAGE_POINT_LIST)), all=mirrors
                    ),
                )
            )

        versions = self._serving.versions
        version: object = versions[f"device:{peer.der_id}"], versions["tariffs"]
        if peer.aggregates is not None:
            version = (version, self._sight.heard_version(peer, peer.aggregates), versions["mirrors"])
        return self._keeping.keep(("dcap", peer.der_id), version, make, asked.now)

    def _time(self, asked: Asked) -> bytes:
        seconds = write_time(asked.now)
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
