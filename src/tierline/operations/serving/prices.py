"""Tariffs and their prices: what this node publishes about money, and nothing else.

Three rules. A price is information: nothing here or elsewhere makes a control of one; who wants power moved is granted that
and says how much. (A test walks the imports for it.) What was published is never changed in silence: a price that is
withdrawn or replaced stays listed as such until it would have ended, and the one in its place has a name of its own. And a
tariff that was followed from a server above is only that server's to change.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING

from tierline.engine.access import Verb
from tierline.engine.price_status import ends, holds, served_status
from tierline.model.control import EventStatus
from tierline.model.errors import ConfigError, Conflict
from tierline.model.records import Flow, PriceRecord, TariffRecord
from tierline.operations.serving.access import require
from tierline.operations.serving.audit import entry
from tierline.operations.serving.programs import new_mrid

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from tierline.model.identity import GroupId, Mrid
    from tierline.model.parties import Principal
    from tierline.operations.serving.state import Serving

_CURRENCIES = range(1, 1000)
"""Source: ISO 4217 numeric codes; IEEE 2030.5-2018, CurrencyCode."""
_POWERS = range(-9, 10)
"""Source: IEEE 2030.5-2018, PowerOfTenMultiplierType."""
_PRICE_MAX = 2**31 - 1
"""Source: IEEE 2030.5-2018, ConsumptionTariffInterval.price is an Int32."""
_DURATION_MAX_S = 2**32 - 1
_DESCRIPTION_BYTES = 32
"""Source: IEEE 2030.5-2018, IdentifiedObject.description is a String32."""
CONTRACTED, NON_CONTRACTUAL = 1, 2
"""Primacies: what was agreed with a group is stronger than what everybody is told. Source: IEEE 2030.5-2018, PrimacyType."""
_PRIMACIES = frozenset({0, CONTRACTED, NON_CONTRACTUAL, *range(65, 192)})
"""The others are reserved. Source: IEEE 2030.5-2018, PrimacyType."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTariff:
    """A tariff to make."""

    description: str
    currency: int
    price_power_of_ten: int = -5
    group: GroupId | None = None
    """Whom it concerns; None for everybody."""
    flow: Flow = Flow.DELIVERED
    primacy: int | None = None
    """None: CONTRACTED for a group, NON_CONTRACTUAL for everybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPrice:
    """A price to publish."""

    start: datetime
    duration_s: int
    price: Decimal
    """Per kWh, in the currency of the tariff."""


async def create_tariff(principal: Principal, serving: Serving, new: NewTariff) -> TariffRecord:
    """Make a tariff without prices.

    Raises: ConfigError.
    """
    require(principal, Verb.CONFIGURE, "tariffs")
    _check_tariff(serving, new)
    primacy = new.primacy
    if primacy is None:
        primacy = NON_CONTRACTUAL if new.group is None else CONTRACTED
    async with serving.writing:
        record = TariffRecord(
            party=serving.party,
            mrid=new_mrid(serving),
            description=new.description,
            currency=new.currency,
            price_power_of_ten=new.price_power_of_ten,
            created_at=serving.clock.now(),
            rate_component=new_mrid(serving),
            group=new.group,
            flow=new.flow,
            primacy=primacy,
        )
        detail = {"description": new.description, "currency": new.currency, "group": new.group, "primacy": primacy}
        await serving.commit([record, entry(principal, serving, "tariff", f"tariff {record.mrid}", "created", detail)])
    return record


async def remove_tariff(principal: Principal, serving: Serving, tariff: Mrid) -> TariffRecord:
    """Let a tariff go with all its prices; the audit keeps that they were published.

    Raises: ConfigError; Conflict for one that was followed, or has prices that hold now or later.
    """
    require(principal, Verb.CONFIGURE, f"tariff {tariff}")
    async with serving.writing:
        of = _own(serving, tariff)
        now = serving.clock.now()
        known = list(serving.prices.get(tariff, {}).values())
        if any(holds(record) and ends(record) > now for record in known):
            raise Conflict(f"tariff {of.description!r} has prices that hold now or later; withdraw them first")
        detail = {"description": of.description, "prices": len(known)}
        put = [entry(principal, serving, "tariff", f"tariff {tariff}", "removed", detail)]
        await serving.commit(put, [*known, of])
    return of


async def set_prices(
    principal: Principal, serving: Serving, tariff: Mrid, prices: Sequence[NewPrice]
) -> list[PriceRecord]:
    """Publish prices, all or none; one that begins when a known one does takes its place.

    Raises: ConfigError for a price that cannot be written down; Conflict when two hold at the same time.
    """
    require(principal, Verb.CONFIGURE, f"tariff {tariff}")
    async with serving.writing:
        of, now = _own(serving, tariff), serving.clock.now()
        records = [_record(serving, of, price, now) for price in prices]
        starts = {record.start for record in records}
        if len(starts) < len(records):
            raise Conflict("two of these prices begin at the same time; name each time once")
        valid = [record for record in serving.prices.get(tariff, {}).values() if holds(record)]
        _check_overlaps([*(record for record in valid if record.start not in starts), *records])
        replaced = [_ended(record, now, record.start) for record in valid if record.start in starts]
        detail = {"prices": [[record.start.isoformat(), record.duration_s, record.price] for record in records]}
        done = entry(principal, serving, "price", f"tariff {tariff}", "done", detail)
        await serving.commit([*replaced, *records, done])
    return records


async def withdraw_prices(
    principal: Principal, serving: Serving, tariff: Mrid, starts: Sequence[datetime]
) -> list[PriceRecord]:
    """Withdraw the prices that begin at some times, all or none; they stay listed as cancelled until they would have ended.

    Raises: ConfigError where no price begins then; Conflict for one that is over.
    """
    require(principal, Verb.CONFIGURE, f"tariff {tariff}")
    async with serving.writing:
        of, now = _own(serving, tariff), serving.clock.now()
        known = {record.start: record for record in serving.prices.get(tariff, {}).values() if holds(record)}
        gone = []
        for start in dict.fromkeys(starts):
            record = known.get(start)
            if record is None:
                raise ConfigError(
                    f"no price of {of.description!r} begins at {start.isoformat()}; "
                    f"`tierline price list {tariff[:8]}` shows those there are"
                )
            if ends(record) <= now:
                raise Conflict(f"the price from {start.isoformat()} is over and cannot be withdrawn any more")
            gone.append(replace(record, status=EventStatus.CANCELLED, status_at=now))
        detail = {"prices": [[record.start.isoformat(), record.mrid] for record in gone]}
        await serving.commit([*gone, entry(principal, serving, "price", f"tariff {tariff}", "withdrawn", detail)])
    return gone


def tariffs(principal: Principal, serving: Serving) -> list[TariffRecord]:
    """List tariffs, the newest last."""
    require(principal, Verb.READ, "tariffs")
    return sorted(serving.tariffs.values(), key=lambda record: (record.created_at, record.mrid))


def prices_since(
    principal: Principal, serving: Serving, tariff: Mrid, since: datetime, limit: int, *, ended: bool = False
) -> list[PriceRecord]:
    """List the prices of a tariff that hold at or after a time, in order; with `ended` also those withdrawn or replaced.

    Raises: ConfigError when there is no such tariff.
    """
    require(principal, Verb.READ, f"tariff {tariff}")
    _tariff(serving, tariff)
    known = [record for record in serving.prices.get(tariff, {}).values() if ends(record) > since]
    found = [record for record in known if ended or holds(record)]
    return sorted(found, key=lambda record: (record.start, record.created_at, record.mrid))[:limit]


def status_of(serving: Serving, record: PriceRecord) -> EventStatus:
    """Say what this node shows of a price now."""
    siblings = serving.prices.get(record.tariff, {}).values()
    return served_status(record, siblings, serving.clock.now())[0]


def in_currency(tariff: TariffRecord, record: PriceRecord) -> Decimal:
    """Give a price per kWh in the currency of its tariff."""
    return Decimal(record.price).scaleb(tariff.price_power_of_ten)


def _check_tariff(serving: Serving, new: NewTariff) -> None:
    if not new.description.strip() or len(new.description.encode()) > _DESCRIPTION_BYTES:
        raise ConfigError(f"{new.description!r} does not describe a tariff; use 1 to {_DESCRIPTION_BYTES} bytes")
    if new.currency not in _CURRENCIES:
        raise ConfigError(
            f"{new.currency} is no number of a currency; ISO 4217 has 978 for the euro, 840 for the US dollar"
        )
    if new.price_power_of_ten not in _POWERS:
        raise ConfigError(f"prices in steps of 10^{new.price_power_of_ten} cannot be published; use -9 to 9")
    if new.group is not None and new.group not in serving.groups:
        raise ConfigError(f"there is no group {new.group!r}; `tierline group list` shows those there are")
    if new.primacy is not None and new.primacy not in _PRIMACIES:
        raise ConfigError(f"{new.primacy} is no primacy; use 0, 1, 2 or 65 to 191, lower is stronger")


def _tariff(serving: Serving, mrid: Mrid) -> TariffRecord:
    record = serving.tariffs.get(mrid)
    if record is None:
        raise ConfigError(f"there is no tariff {mrid}; `tierline price tariffs` shows those there are")
    return record


def _own(serving: Serving, mrid: Mrid) -> TariffRecord:
    record = _tariff(serving, mrid)
    if record.followed_from:
        raise Conflict(
            f"tariff {record.description!r} is followed from {record.followed_from} and changes there; name one of this node"
        )
    return record


def _record(serving: Serving, tariff: TariffRecord, price: NewPrice, now: datetime) -> PriceRecord:
    steps = price.price.scaleb(-tariff.price_power_of_ten)
    if steps != steps.to_integral_value() or abs(steps) > _PRICE_MAX:
        raise ConfigError(
            f"{price.price:f} is no price of this tariff, which counts in steps of {Decimal(1).scaleb(tariff.price_power_of_ten):f}"
        )
    if not 1 <= price.duration_s <= _DURATION_MAX_S:
        raise ConfigError(f"a price holds for at least one second, not {price.duration_s}")
    return PriceRecord(
        party=serving.party,
        tariff=tariff.mrid,
        mrid=new_mrid(serving),
        start=price.start.replace(microsecond=0),
        duration_s=price.duration_s,
        price=int(steps),
        created_at=now,
        status_at=now,
    )


def _ended(record: PriceRecord, now: datetime, by: datetime) -> PriceRecord:
    """End a price that another takes the place of from a time on: what has begun is superseded, what has not is cancelled."""
    status = EventStatus.SUPERSEDED if by <= now else EventStatus.CANCELLED
    return replace(record, status=status, status_at=now)


def _check_overlaps(prices: Iterable[PriceRecord]) -> None:
    for one, other in pairwise(sorted(prices, key=lambda record: record.start)):
        if ends(one) > other.start:
            raise Conflict(
                f"the price from {one.start:%Y-%m-%d %H:%M} holds until {ends(one):%H:%M}, "
                f"after the one from {other.start:%H:%M} begins; shorten it, or replace the other"
            )
