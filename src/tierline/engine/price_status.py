"""What a server says of a price: an event of information, which is scheduled, active, withdrawn or replaced like any other.

The rules are those of events (docs/rules.md S1 to S4) without randomization. Of two prices of one tariff for the same time
the one created later holds, from its start on, unless it was withdrawn or replaced itself: times on the wire are whole seconds,
so what takes the place of another may seem to be as old. By its publisher's doing here there are never two.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tierline.engine.serving_status import LINGER, ChangedByTime
from tierline.model.control import CANCELLED, ENDED_EARLY, EventStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from tierline.model.records import PriceRecord


def ends(price: PriceRecord) -> datetime:
    """Give when a price ends."""
    return price.start + timedelta(seconds=price.duration_s)


def holds(price: PriceRecord) -> bool:
    """Tell whether a price was neither withdrawn nor replaced."""
    return price.status not in ENDED_EARLY


def listed_until(price: PriceRecord) -> datetime:
    """Give the first instant at which a price is no longer in its list (S4), also one that was withdrawn."""
    return ends(price) + LINGER


def served_status(price: PriceRecord, siblings: Iterable[PriceRecord], now: datetime) -> tuple[EventStatus, datetime]:
    """Say what the server shows and since when; `siblings` are the prices of the same tariff, it may be among them."""
    if price.status in ENDED_EARLY:
        return price.status, price.status_at
    replaced = min(
        (max(other.start, price.start, other.created_at) for other in siblings if _supersedes(other, price)),
        default=None,
    )
    if replaced is not None and replaced <= now:
        return EventStatus.SUPERSEDED, replaced
    if now < price.start:
        return EventStatus.SCHEDULED, price.status_at
    return EventStatus.ACTIVE, max(price.start, price.created_at)


def next_boundary(prices: Iterable[PriceRecord], now: datetime) -> datetime | None:
    """Give the next instant at which a status changes or a price leaves its list; None when nothing will."""
    times = [time for price in prices for time in (price.start, listed_until(price))]
    return min((time for time in times if time > now), default=None)


def changed_by_time(prices: Collection[PriceRecord], after: datetime, until: datetime) -> ChangedByTime:
    """Say what time alone changed after an instant and up to another; `prices` are those of one tariff."""
    begun = [price.start for price in prices if after < price.start <= until and not _cancelled_before_start(price)]
    left = [price for price in prices if after < listed_until(price) <= until]
    gone = [listed_until(price) for price in left]
    was_active = [listed_until(price) for price in left if holds(price)]
    return ChangedByTime(listed=max(begun + gone, default=None), active=max(begun + was_active, default=None))


def _supersedes(other: PriceRecord, price: PriceRecord) -> bool:
    return (
        other.mrid != price.mrid
        and holds(other)
        and (other.created_at, other.mrid) > (price.created_at, price.mrid)
        and max(other.start, price.start) < min(ends(other), ends(price))
    )


def _cancelled_before_start(price: PriceRecord) -> bool:
    return price.status in CANCELLED and price.status_at < price.start
