"""Tariffs and their prices: what this node publishes about money, and nothing else.

One rule: a price is information. Nothing here or elsewhere makes a control of one; who wants power moved is granted that and
says how much. (A test walks the imports for it.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.model.errors import ConfigError, Conflict
from tierline.model.records import PriceRecord, TariffRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.programs import new_mrid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from tierline.model.identity import Mrid
    from tierline.model.parties import Principal
    from tierline.operations.serving.state import Serving

_CURRENCIES = range(1, 1000)
"""Source: ISO 4217 numeric codes; IEEE 2030.5-2018, CurrencyCode."""
_POWERS = range(-9, 10)
"""Source: IEEE 2030.5-2018, PowerOfTenMultiplierType."""
_PRICE_MAX = 2**31 - 1
"""Source: IEEE 2030.5-2018, ConsumptionTariffInterval.price is an Int32."""
_DURATION_MAX_S = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrice:
    """A price to publish."""

    start: datetime
    duration_s: int
    price: Decimal
    """Per kWh, in the currency of the tariff."""


async def create_tariff(
    principal: Principal, serving: Serving, description: str, currency: int, price_power_of_ten: int
) -> TariffRecord:
    """Make a tariff without prices.

    Raises: ConfigError.
    """
    require(principal, Verb.CONFIGURE, "tariffs")
    if not description.strip() or len(description) > 192:
        raise ConfigError(f"{description!r} does not describe a tariff; use 1 to 192 characters")
    if currency not in _CURRENCIES:
        raise ConfigError(
            f"{currency} is no number of a currency; ISO 4217 has 978 for the euro, 840 for the US dollar"
        )
    if price_power_of_ten not in _POWERS:
        raise ConfigError(f"prices in steps of 10^{price_power_of_ten} cannot be published; use -9 to 9")
    async with serving.writing:
        record = TariffRecord(
            party=serving.party,
            mrid=new_mrid(serving),
            description=description,
            currency=currency,
            price_power_of_ten=price_power_of_ten,
            created_at=serving.clock.now(),
        )
        detail = {"description": description, "currency": currency}
        await serving.commit([record, entry(principal, serving, "tariff", f"tariff {record.mrid}", "created", detail)])
    return record


async def set_prices(
    principal: Principal, serving: Serving, tariff: Mrid, prices: Sequence[NewPrice]
) -> list[PriceRecord]:
    """Publish prices, all or none; one that begins when a known one does takes its place.

    Raises: ConfigError for a price that cannot be written down; Conflict when two hold at the same time.
    """
    require(principal, Verb.CONFIGURE, f"tariff {tariff}")
    async with serving.writing:
        of = _tariff(serving, tariff)
        records = [_record(serving, of, price) for price in prices]
        _check_overlaps({**serving.prices.get(tariff, {}), **{record.start: record for record in records}}, records)
        detail = {"prices": [[record.start.isoformat(), record.duration_s, record.price] for record in records]}
        await serving.commit([*records, entry(principal, serving, "price", f"tariff {tariff}", "done", detail)])
    return records


def tariffs(principal: Principal, serving: Serving) -> list[TariffRecord]:
    """List tariffs, the newest last."""
    require(principal, Verb.READ, "tariffs")
    return sorted(serving.tariffs.values(), key=lambda record: (record.created_at, record.mrid))


def prices_since(
    principal: Principal, serving: Serving, tariff: Mrid, since: datetime, limit: int
) -> list[PriceRecord]:
    """List the prices of a tariff that hold at or after a time, in order.

    Raises: ConfigError when there is no such tariff.
    """
    require(principal, Verb.READ, f"tariff {tariff}")
    _tariff(serving, tariff)
    known = sorted(serving.prices.get(tariff, {}).items())
    return [record for _, record in known if _end(record) > since][:limit]


def in_currency(tariff: TariffRecord, record: PriceRecord) -> Decimal:
    """Give a price per kWh in the currency of its tariff."""
    return Decimal(record.price).scaleb(tariff.price_power_of_ten)


def _tariff(serving: Serving, mrid: Mrid) -> TariffRecord:
    record = serving.tariffs.get(mrid)
    if record is None:
        raise ConfigError(f"there is no tariff {mrid}; `tierline price tariffs` shows those there are")
    return record


def _record(serving: Serving, tariff: TariffRecord, price: NewPrice) -> PriceRecord:
    steps = price.price.scaleb(-tariff.price_power_of_ten)
    if steps != steps.to_integral_value() or abs(steps) > _PRICE_MAX:
        raise ConfigError(
            f"{price.price} is no price of this tariff, which counts in steps of {Decimal(1).scaleb(tariff.price_power_of_ten)}"
        )
    if not 1 <= price.duration_s <= _DURATION_MAX_S:
        raise ConfigError(f"a price holds for at least one second, not {price.duration_s}")
    start = price.start.replace(microsecond=0)
    return PriceRecord(
        party=serving.party, tariff=tariff.mrid, start=start, duration_s=price.duration_s, price=int(steps)
    )


def _check_overlaps(known: dict[datetime, PriceRecord], new: Sequence[PriceRecord]) -> None:
    if len({record.start for record in new}) < len(new):
        raise Conflict("two of these prices begin at the same time; name each time once")
    ordered = [record for _, record in sorted(known.items())]
    for one, other in pairwise(ordered):
        if _end(one) > other.start:
            raise Conflict(
                f"the price from {one.start:%Y-%m-%d %H:%M} holds until {_end(one):%H:%M}, "
                f"after the one from {other.start:%H:%M} begins; shorten it, or replace the other"
            )


def _end(record: PriceRecord) -> datetime:
    return record.start + timedelta(seconds=record.duration_s)
