"""Which series of readings are watched, and which of them new readings change."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from tierline.model.records import ReadingRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tierline.model.identity import DerId
    from tierline.model.records import Record
    from tierline.operations.serving.tails import Tails
    from tierline.operations.serving.watching import Watch

Thresholds = tuple[int, int]
"""Only values below the first or above the second are to be told."""


class SeriesWatched:
    """The index: by DER, then by series. Most readings are watched by nobody, and one look-up says so."""

    def __init__(self) -> None:
        self._of: dict[DerId, dict[str, set[Watch]]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def add(self, watch: Watch) -> None:
        """Take in a series; once more changes nothing."""
        self._of.setdefault(watch.der, {}).setdefault(watch.series, set()).add(watch)

    def remove(self, watch: Watch) -> None:
        """Take out a series that nobody watches any more."""
        of_der = self._of[watch.der]
        of_der[watch.series].discard(watch)
        if not of_der[watch.series]:
            del of_der[watch.series]
        if not of_der:
            del self._of[watch.der]

    def of(self, der: DerId) -> list[Watch]:
        """Give what is watched of a DER."""
        return [watch for watches in self._of.get(der, {}).values() for watch in watches]

    def changed(self, put: Iterable[Record], tails: Tails) -> dict[Watch, list[int]]:
        """Give what says something else with new readings, and the values it says; the tails are still those of before.

        A latest reading says the newest of them, a list all that are new in it.
        """
        newest: dict[Watch, ReadingRecord] = {}
        values: dict[Watch, list[int]] = defaultdict(list)
        for record in put:
            if not isinstance(record, ReadingRecord):
                continue
            watches = self._of.get(record.reading.der_id, {}).get(record.meter_reading)
            if not watches or not tails.would_change(record):
                continue
            for watch in watches:
                if not watch.is_latest:
                    values[watch].append(record.reading.value)
                elif tails.is_newest(record) and (
                    watch not in newest or newest[watch].reading.time <= record.reading.time
                ):
                    newest[watch] = record
        return values | {watch: [record.reading.value] for watch, record in newest.items()}


def is_beyond(value: int, thresholds: Thresholds | None) -> bool:
    """Tell whether a value is to be told.

    Source: IEEE 2030.5-2018, Condition.
    """
    return thresholds is None or not thresholds[0] <= value <= thresholds[1]
