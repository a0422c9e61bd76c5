"""TariffProfile, RateComponent, TimeTariffInterval and what they cost, as canonical tariffs and prices.

A tariff is kept for one flow of energy, with prices by time alone and per kilowatt-hour; whatever says more than that is
refused, never kept in part. Randomization is left out: it is for those that act by a price, and nothing here does.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tierline.model.control import EventStatus
from tierline.model.errors import Unsupported
from tierline.model.identity import Mrid
from tierline.model.prices import Price, Tariff
from tierline.model.records import Flow
from tierline.protocols.sep2.mapping.telemetry import WATT_HOURS
from tierline.protocols.sep2.mapping.times import read_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.protocols.sep2.resources.metering import ReadingType
    from tierline.protocols.sep2.resources.pricing import (
        ConsumptionTariffInterval,
        RateComponent,
        TariffProfile,
        TimeTariffInterval,
    )

KILO = 3
"""powerOfTenMultiplier of the watt-hours that a price is for here."""
_POWERS = range(-9, 10)
"""Source: IEEE 2030.5-2018, PowerOfTenMultiplierType."""
_RUNNING = frozenset({EventStatus.SCHEDULED, EventStatus.ACTIVE})


def read_tariff(profile: TariffProfile, component: RateComponent, unit: ReadingType) -> Tariff:
    """Read a tariff with one of its components; its prices are counted per kWh, whatever power of ten of Wh they are said for.

    Raises: Unsupported for prices of anything but energy, or of a part of it only.
    """
    if unit.uom != WATT_HOURS:
        raise Unsupported(f"its prices are for unit {unit.uom}, not for watt-hours ({WATT_HOURS})")
    if component.flow_rate_start_limit is not None or component.flow_rate_end_limit is not None:
        raise Unsupported("its prices hold within limits of power only")
    try:
        # 0, or nothing, tells no direction: then it is what a customer pays.
        flow = Flow(unit.flow_direction or Flow.DELIVERED)
    except ValueError as error:
        raise Unsupported(f"its prices are for flow direction {unit.flow_direction}, not for 1 or 19") from error
    power = (profile.price_power_of_ten_multiplier or 0) + KILO - (unit.power_of_ten_multiplier or 0)
    if power not in _POWERS:
        raise Unsupported(f"its prices are in steps of 10^{power} per kWh, which is none of 10^-9 to 10^9")
    return Tariff(
        mrid=profile.mrid,
        description=profile.description or "",
        currency=profile.currency or 0,
        price_power_of_ten=power,
        rate_component=component.mrid,
        flow=flow,
        service=profile.service_category_kind,
        primacy=profile.primacy,
    )


def received_mrid(profile: Mrid) -> Mrid:
    """Name the tariff of what is received, where a TariffProfile prices both flows: the same at every node, of the same maker."""
    return Mrid(hashlib.sha256(f"{profile}/received".encode()).hexdigest()[:24].upper() + profile[24:])


def read_price(interval: TimeTariffInterval, costs: Sequence[ConsumptionTariffInterval]) -> Price:
    """Read a price.

    Raises: Unsupported for one that depends on how much is consumed, or none at all; PeerError for a time of no era.
    """
    if not costs or costs[0].price is None:
        raise Unsupported("it states no price")
    if len(costs) > 1 or costs[0].start_value:
        raise Unsupported("it depends on how much is consumed")
    if interval.interval.duration < 1:
        raise Unsupported("it holds for no time")
    span = interval.interval
    # An end that no calendar has would be met wherever the price is compared.
    read_time(span.start + span.duration, "TimeTariffInterval/interval")
    created_at = read_time(interval.creation_time, "TimeTariffInterval/creationTime")
    status, status_at = _status(interval)
    return Price(
        mrid=interval.mrid,
        created_at=created_at,
        start=read_time(span.start, "TimeTariffInterval/interval/start"),
        duration_s=span.duration,
        price=costs[0].price,
        status=status,
        status_at=created_at if status is EventStatus.SCHEDULED else read_time(status_at, "EventStatus/dateTime"),
        tou_tier=interval.tou_tier,
    )


def _status(interval: TimeTariffInterval) -> tuple[EventStatus, int]:
    said = interval.event_status
    try:
        status = EventStatus(said.current_status)
    except ValueError:
        # 5 (completed) of the 2023 edition and anything newer: it holds no more.
        status = EventStatus.CANCELLED
    return (EventStatus.SCHEDULED if status in _RUNNING else status), said.date_time
