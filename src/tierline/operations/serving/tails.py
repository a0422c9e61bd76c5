"""The last readings of every series, in memory and bounded, so that reading them back never asks the store.

Two rules. Of a series the last `KEPT` by the time they were measured are held, packed, as there are many series; of a DER the
`SERIES` that were fed last. What was received in the last minutes before a restart is held again after it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import TYPE_CHECKING, Final

from tierline.model.records import ReadingRecord

if TYPE_CHECKING:
    from tierline.model.identity import DerId, Mrid
    from tierline.model.telemetry import Reading
    from tierline.ports import Store

KEPT: Final = 24
"""Readings per series: two hours of one every five minutes."""
SERIES: Final = 256
"""Series per DER; a device with a meter per phase and quantity has some 30."""
RECALLED: Final = (timedelta(minutes=15), timedelta(minutes=4), timedelta(minutes=1))
"""How far back readings are held again after a restart: the shorter times are for when there are too many."""
_RECALLED_AT_MOST: Final = 200_000

_ROW: Final = Struct("<qqqB")
"""Time in microseconds since 1970, value, duration in seconds, quality."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One reading; its unit and power of ten are those of its series."""

    time: datetime
    value: int
    duration_s: int
    quality: int


class Tails:
    """The last readings, by DER and series."""

    def __init__(self) -> None:
        self._of: dict[DerId, dict[Mrid, bytearray]] = {}

    def take(self, record: ReadingRecord) -> None:
        """Take in a reading; one of the same time is replaced."""
        of_der = self._of.setdefault(record.reading.der_id, {})
        tail = of_der.pop(record.meter_reading, None)
        if tail is None:
            tail = bytearray()
            if len(of_der) >= SERIES:
                del of_der[next(iter(of_der))]
        of_der[record.meter_reading] = tail  # at the end: it was fed last
        at = _microseconds(record.reading)
        place, is_same = _place(tail, at)
        start = place * _ROW.size
        tail[start : start + _ROW.size * is_same] = _packed(at, record.reading)
        if len(tail) > KEPT * _ROW.size:
            del tail[: _ROW.size]

    def would_change(self, record: ReadingRecord) -> bool:
        """Tell whether a reading would be held and is not yet, with the same value."""
        tail = self._tail(record)
        at = _microseconds(record.reading)
        place, is_same = _place(tail, at)
        if is_same:
            start = place * _ROW.size
            return bytes(tail[start : start + _ROW.size]) != _packed(at, record.reading)
        return place > 0 or len(tail) < KEPT * _ROW.size

    def is_newest(self, record: ReadingRecord) -> bool:
        """Tell whether no later reading of its series is held."""
        tail = self._tail(record)
        return not tail or _time_at(tail, len(tail) // _ROW.size - 1) <= _microseconds(record.reading)

    def of(self, der: DerId, series: Mrid) -> tuple[Kept, ...]:
        """Give the last readings of a series, oldest first."""
        return tuple(_kept(row) for row in _ROW.iter_unpack(self._of.get(der, {}).get(series, b"")))

    def last(self, der: DerId, series: Mrid) -> Kept | None:
        """Give the latest reading of a series."""
        tail = self._of.get(der, {}).get(series)
        return None if tail is None else _kept(_ROW.unpack_from(tail, len(tail) - _ROW.size))

    def forget(self, der: DerId) -> None:
        """Let go of all series of a DER."""
        self._of.pop(der, None)

    def recall(self, store: Store, now: datetime) -> None:
        """Take in what the store has of the last minutes; of fewer when that is too much.

        Raises: LinkError when the store cannot be read.
        """
        for back in RECALLED:
            found = store.load_since(ReadingRecord, now - back, limit=_RECALLED_AT_MOST)
            if len(found) < _RECALLED_AT_MOST:
                for record in found:
                    self.take(record)
                return

    def _tail(self, record: ReadingRecord) -> bytes | bytearray:
        return self._of.get(record.reading.der_id, {}).get(record.meter_reading, b"")


def _microseconds(reading: Reading) -> int:
    return (reading.time - _EPOCH) // _MICROSECOND


def _packed(at: int, reading: Reading) -> bytes:
    return _ROW.pack(at, reading.value, reading.duration_s, reading.quality)


def _time_at(tail: bytes | bytearray, index: int) -> int:
    at: int
    at, *_ = _ROW.unpack_from(tail, index * _ROW.size)
    return at


def _place(tail: bytes | bytearray, at: int) -> tuple[int, bool]:
    """Find where a time belongs, and whether it is there; what comes in order, as nearly all does, belongs to the end."""
    count = len(tail) // _ROW.size
    if not count or _time_at(tail, count - 1) < at:
        return count, False
    place = bisect_left(range(count), at, key=lambda index: _time_at(tail, index))
    return place, _time_at(tail, place) == at


def _kept(row: tuple[int, ...]) -> Kept:
    at, value, duration_s, quality = row
    return Kept(time=_EPOCH + at * _MICROSECOND, value=value, duration_s=duration_s, quality=quality)
