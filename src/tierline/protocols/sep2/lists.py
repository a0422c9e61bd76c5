"""The standard order of every list, and pages of it.

The orders come as keys over the few facts they need, so that a view can sort what it holds without making resources of it,
and once more over whole resources for whoever has them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from tierline.model.identity import Mrid
from tierline.protocols.sep2.resources import (
    DER,
    ConsumptionTariffInterval,
    DERControl,
    DERCurve,
    DERProgram,
    EndDevice,
    FunctionSetAssignments,
    LogEvent,
    MeterReading,
    MirrorMeterReading,
    MirrorReadingSet,
    MirrorUsagePoint,
    Notification,
    RateComponent,
    Reading,
    ReadingSet,
    Response,
    ResponseSet,
    Subscription,
    TariffProfile,
    TimeTariffInterval,
    UsagePoint,
    Value,
)

T = TypeVar("T")
V = TypeVar("V", bound=Value)
Key = tuple[int | str, ...]

_EARLIEST: Final = -(2**63)


def mrid_descending(mrid: Mrid) -> Key:
    """Order function set assignments, tariffs, rate components, response sets, mirror usage points and meter readings."""
    return (-int(mrid, 16),)


def end_device_key(*, sfdi: int, href: str) -> Key:
    """Order devices: sFDI ascending, href ascending."""
    return sfdi, href


def der_program_key(*, primacy: int, mrid: Mrid) -> Key:
    """Order programs: primacy ascending, mRID descending."""
    return primacy, -int(mrid, 16)


def der_control_key(*, start: int, creation_time: int, mrid: Mrid) -> Key:
    """Order controls and intervals of tariffs: interval.start ascending, creationTime descending, mRID descending."""
    return start, -creation_time, -int(mrid, 16)


def der_curve_key(*, creation_time: int, mrid: Mrid) -> Key:
    """Order curves: creationTime descending, mRID descending."""
    return -creation_time, -int(mrid, 16)


def response_key(*, created_date_time: int | None, end_device_lfdi: str) -> Key:
    """Order responses: createdDateTime descending, LFDI ascending; one without a time counts as oldest."""
    return -(_EARLIEST if created_date_time is None else created_date_time), end_device_lfdi


def log_event_key(*, created_date_time: int, log_event_id: int) -> Key:
    """Order log events: createdDateTime ascending, logEventID ascending."""
    return created_date_time, log_event_id


def reading_set_key(*, start: int, mrid: Mrid) -> Key:
    """Order reading sets: timePeriod.start descending, mRID descending."""
    return -start, -int(mrid, 16)


def consumption_key(start_value: int) -> Key:
    """Order prices by consumption: startValue ascending."""
    return (start_value,)


def href_ascending(href: str | None) -> Key:
    """Order DERs, subscriptions and notifications."""
    return (href or "",)


def local_id_key(local_id: int | None) -> Key:
    """Order readings: localID ascending, those without one first."""
    return (-1 if local_id is None else local_id,)


def key_of(item: Value) -> Key:
    """Give the key by which a list's item is sorted.

    Raises: TypeError for a type that is no item of a list here.
    """
    match item:
        case EndDevice():
            return end_device_key(sfdi=item.sfdi, href=item.href or "")
        case DERProgram():
            return der_program_key(primacy=item.primacy, mrid=item.mrid)
        case DERControl() | TimeTariffInterval():
            return der_control_key(start=item.interval.start, creation_time=item.creation_time, mrid=item.mrid)
        case DERCurve():
            return der_curve_key(creation_time=item.creation_time, mrid=item.mrid)
        case Response():
            return response_key(created_date_time=item.created_date_time, end_device_lfdi=item.end_device_lfdi)
        case LogEvent():
            return log_event_key(created_date_time=item.created_date_time, log_event_id=item.log_event_id)
        case MirrorReadingSet() | ReadingSet():
            return reading_set_key(start=item.time_period.start, mrid=item.mrid)
        case Reading():
            return local_id_key(item.local_id)
        case DER() | Subscription() | Notification():
            return href_ascending(item.href)
        case ConsumptionTariffInterval():
            return consumption_key(item.start_value)
        case TariffProfile() | RateComponent():
            return mrid_descending(item.mrid)
        case FunctionSetAssignments() | ResponseSet() | MirrorUsagePoint() | MirrorMeterReading():
            return mrid_descending(item.mrid)
        case UsagePoint() | MeterReading():
            return mrid_descending(item.mrid)
        case _:
            raise TypeError(f"{type(item).__name__} is no item of a list")


def time_of(item: Value) -> int | None:
    """Give the time an item of a list ordered by time stands at, None in other lists.

    Units: seconds since 1970.
    """
    match item:
        case DERControl() | TimeTariffInterval():
            return item.interval.start
        case DERCurve():
            return item.creation_time
        case Response() | LogEvent():
            return item.created_date_time
        case MirrorReadingSet() | ReadingSet():
            return item.time_period.start
        case _:
            return None


def in_order(items: Iterable[V]) -> list[V]:
    """Sort the items of one list in its standard order."""
    return sorted(items, key=key_of)


def later_than(items: Iterable[V], after: int | None) -> list[V]:
    """Keep what query parameter `a` asks for; lists that are not ordered by time are left whole.

    Units: after in seconds since 1970.
    """
    if after is None:
        return list(items)
    return [item for item in items if (time := time_of(item)) is None or time > after]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """One page of a list."""

    items: tuple[T, ...]
    all: int
    """The true total: a client that is promised more than it can get waits for ever."""

    @property
    def results(self) -> int:
        """The number of items on this page."""
        return len(self.items)


def page(items: Sequence[T], start: int, limit: int) -> Page[T]:
    """Cut the page that starts at a position; past the end it is empty."""
    return Page(items=tuple(items[start : start + limit]), all=len(items))
