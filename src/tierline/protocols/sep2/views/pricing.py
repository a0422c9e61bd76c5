"""Tariffs and their prices, as those read them whom they concern: everybody, or the DERs of a group.

A tariff has one part (RateComponent), a price is an interval of it with one cost, from the first watt-hour on. Prices are told
per kilowatt-hour: the ReadingType of every part counts watt-hours times ten to the third, so no price needs to be divided.
No Response is asked for: a price commands nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tierline.engine.price_status import listed_until, next_boundary, served_status
from tierline.model.control import EventStatus
from tierline.protocols.sep2.codec import render, render_fragment
from tierline.protocols.sep2.hrefs import Href, Place
from tierline.protocols.sep2.lists import der_control_key, mrid_descending
from tierline.protocols.sep2.mapping.tariffs import KILO
from tierline.protocols.sep2.mapping.telemetry import ELECTRICITY, ENERGY, WATT_HOURS
from tierline.protocols.sep2.mapping.times import write_time
from tierline.protocols.sep2.resources import der, metering, pricing
from tierline.protocols.sep2.resources.objects import DateTimeInterval, Link, ListLink
from tierline.protocols.sep2.views.keeping import ENDLESS, joined
from tierline.protocols.sep2.views.names import FSA, Index, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from tierline.model.identity import DerId, GroupId, Mrid
    from tierline.model.records import PriceRecord, TariffRecord
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.hrefs import PageQuery
    from tierline.protocols.sep2.views.keeping import Asked, Keeping, Rates
    from tierline.protocols.sep2.views.sight import Sight

_DESCRIPTION_BYTES: Final = 32
"""Source: IEEE 2030.5-2018, String32."""
_NO_ROLE: Final = 0
"""roleFlags: whatever usage point a tariff is applied to."""


@dataclass(frozen=True, slots=True)
class _Interval:
    """One price as it is listed now."""

    record: PriceRecord
    status: EventStatus
    fragment: bytes
    document: bytes


class PricingViews:
    """The tariffs of one serving node."""

    def __init__(self, serving: Serving, rates: Rates, keeping: Keeping, sight: Sight) -> None:
        self._serving = serving
        self._rates = rates
        self._keeping = keeping
        self._sight = sight
        self._tariffs = Index(serving.tariffs)

    def link(self) -> ListLink:
        """Link what concerns everybody."""
        return ListLink(href=str(Href(place=Place.TARIFF_PROFILE_LIST)), all=len(self._concerning()))

    def link_of(self, der_id: DerId) -> ListLink:
        """Link what concerns one DER."""
        href = Href(place=Place.DEVICE_TARIFF_PROFILE_LIST, der=der_id, fsa=FSA)
        return ListLink(href=str(href), all=len(self._concerning(der_id)))

    def for_all(self, asked: Asked) -> bytes:
        """Render the list of the tariffs that concern everybody."""
        return self._list(asked, self._concerning())

    def for_one(self, asked: Asked) -> bytes:
        """Render the list of the tariffs that concern one DER: everybody's and those of its groups."""
        return self._list(asked, self._concerning(asked.subject.der_id))

    def body(self, asked: Asked) -> bytes | None:
        """Render what is at a place of a tariff, for whom it concerns."""
        mrid = self._tariffs.find(asked.href.tariff or "")
        tariff = None if mrid is None else self._serving.tariffs.get(mrid)
        if tariff is None or not (tariff.group is None or self._sight.reads(asked.peer, tariff.group)):
            return None
        return self._body(tariff, asked)

    def _body(self, tariff: TariffRecord, asked: Asked) -> bytes | None:
        href, now = asked.href, asked.now
        match href.place:
            case Place.TARIFF_PROFILE:
                return render(_profile(tariff))
            case Place.RATE_COMPONENT_LIST:
                return joined(
                    pricing.RateComponentList, href, asked.query, [render_fragment(self._component(tariff, now))]
                )
            case Place.RATE_COMPONENT:
                return render(self._component(tariff, now))
            case Place.RATE_READING_TYPE:
                return render(_reading_type(tariff, str(href)))
            case Place.TIME_TARIFF_INTERVAL_LIST | Place.ACTIVE_TIME_TARIFF_INTERVAL_LIST:
                return self._interval_list(tariff, href, asked.query, now)
            case _:
                found = next(
                    (one for one in self._intervals(tariff, now) if short(one.record.mrid) == href.price), None
                )
                return None if found is None else _of_interval(found, tariff, asked)

    def _concerning(self, der_id: DerId | None = None) -> list[TariffRecord]:
        """Give the tariffs that concern everybody, and with a DER those of its groups too, in the order of their list."""
        groups: AbstractSet[GroupId] = set() if der_id is None else self._serving.groups_of.get(der_id, set())
        found = [one for one in self._serving.tariffs.values() if one.group is None or one.group in groups]
        return sorted(found, key=lambda one: mrid_descending(one.mrid))

    def _list(self, asked: Asked, tariffs: Iterable[TariffRecord]) -> bytes:
        fragments = [render_fragment(_profile(one)) for one in tariffs]
        return joined(
            pricing.TariffProfileList, asked.href, asked.query, fragments, self._rates.poll_s, subscribable=True
        )

    def _intervals(self, tariff: TariffRecord, now: datetime) -> list[_Interval]:
        """Give the prices that are listed now, in standard order."""
        siblings = self._serving.prices.get(tariff.mrid, {})

        def make() -> list[_Interval]:
            listed = [one for one in siblings.values() if listed_until(one) > now]
            listed.sort(
                key=lambda one: der_control_key(
                    start=write_time(one.start), creation_time=write_time(one.created_at), mrid=one.mrid
                )
            )
            return [_interval(one, tariff, listed, now) for one in listed]

        return self._keeping.keep(
            ("intervals", tariff.mrid),
            self._version(tariff.mrid),
            make,
            now,
            lambda: next_boundary(siblings.values(), now) or ENDLESS,
        )

    def _interval_list(self, tariff: TariffRecord, href: Href, query: PageQuery, now: datetime) -> bytes:
        listed = self._intervals(tariff, now)
        until = self._keeping.until("intervals", tariff.mrid)

        def make() -> bytes:
            is_active = href.place is Place.ACTIVE_TIME_TARIFF_INTERVAL_LIST
            shown = [one for one in listed if one.status is EventStatus.ACTIVE] if is_active else listed
            fragments = [
                one.fragment for one in shown if query.after is None or write_time(one.record.start) > query.after
            ]
            return joined(pricing.TimeTariffIntervalList, href, query, fragments, subscribable=True)

        # Only the whole list is kept, as with controls.
        if query.start or query.after is not None or query.limit < len(listed):
            return make()
        key = ("prices", href.place, tariff.mrid)
        return self._keeping.keep(key, self._version(tariff.mrid), make, now, lambda: until)

    def _component(self, tariff: TariffRecord, now: datetime) -> pricing.RateComponent:
        listed = self._intervals(tariff, now)
        active = sum(one.status is EventStatus.ACTIVE for one in listed)
        return pricing.RateComponent(
            href=_at(tariff, Place.RATE_COMPONENT),
            mrid=tariff.rate_component,
            active_time_tariff_interval_list_link=ListLink(
                href=_at(tariff, Place.ACTIVE_TIME_TARIFF_INTERVAL_LIST), all=active
            ),
            reading_type_link=Link(href=_at(tariff, Place.RATE_READING_TYPE)),
            role_flags=_NO_ROLE,
            time_tariff_interval_list_link=ListLink(href=_at(tariff, Place.TIME_TARIFF_INTERVAL_LIST), all=len(listed)),
        )

    def _version(self, mrid: Mrid) -> int:
        return self._serving.versions[f"tariff:{mrid}"]


def _at(tariff: TariffRecord, place: Place, price: Mrid | None = None) -> str:
    return str(Href(place=place, tariff=short(tariff.mrid), price=None if price is None else short(price)))


def _profile(tariff: TariffRecord) -> pricing.TariffProfile:
    return pricing.TariffProfile(
        href=_at(tariff, Place.TARIFF_PROFILE),
        mrid=tariff.mrid,
        description=_cut(tariff.description) or None,
        currency=tariff.currency or None,
        price_power_of_ten_multiplier=tariff.price_power_of_ten,
        primacy=tariff.primacy,
        rate_component_list_link=ListLink(href=_at(tariff, Place.RATE_COMPONENT_LIST), all=1),
        service_category_kind=tariff.service,
    )


def _reading_type(tariff: TariffRecord, href: str) -> metering.ReadingType:
    return metering.ReadingType(
        href=href,
        commodity=ELECTRICITY,
        flow_direction=tariff.flow.value,
        kind=ENERGY,
        power_of_ten_multiplier=KILO,
        uom=WATT_HOURS,
    )


def _interval(record: PriceRecord, tariff: TariffRecord, siblings: Sequence[PriceRecord], now: datetime) -> _Interval:
    status, since = served_status(record, siblings, now)
    resource = pricing.TimeTariffInterval(
        href=_at(tariff, Place.TIME_TARIFF_INTERVAL, record.mrid),
        mrid=record.mrid,
        creation_time=write_time(record.created_at),
        event_status=der.EventStatus(
            current_status=status.value, date_time=write_time(since), potentially_superseded=False
        ),
        interval=DateTimeInterval(duration=record.duration_s, start=write_time(record.start)),
        consumption_tariff_interval_list_link=ListLink(
            href=_at(tariff, Place.CONSUMPTION_TARIFF_INTERVAL_LIST, record.mrid), all=1
        ),
        tou_tier=record.tou_tier,
    )
    return _Interval(record, status, render_fragment(resource), render(resource))


def _of_interval(found: _Interval, tariff: TariffRecord, asked: Asked) -> bytes:
    if asked.href.place is Place.TIME_TARIFF_INTERVAL:
        return found.document
    cost = pricing.ConsumptionTariffInterval(
        href=_at(tariff, Place.CONSUMPTION_TARIFF_INTERVAL, found.record.mrid),
        consumption_block=0,
        price=found.record.price,
        start_value=0,
    )
    if asked.href.place is Place.CONSUMPTION_TARIFF_INTERVAL:
        return render(cost)
    return joined(pricing.ConsumptionTariffIntervalList, asked.href, asked.query, [render_fragment(cost)])


def _cut(description: str) -> str:
    """Cut what an earlier edition let be longer, never within a character."""
    return description.encode()[:_DESCRIPTION_BYTES].decode(errors="ignore")
