"""Readings on their way up: kept until their server has acknowledged them, delivered in order, each once."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from tierline.model.records import BufferedReadingRecord

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.model.identity import ChannelId, PartyId
    from tierline.model.telemetry import Reading
    from tierline.ports import Store

CAPACITY = 50_000
"""Readings kept per channel: about a week at five points a minute; beyond it the oldest are given up."""


class ReadingBuffer:
    """The readings of one node that wait, by channel."""

    def __init__(self, store: Store, party: PartyId, channels: Sequence[ChannelId], capacity: int = CAPACITY) -> None:
        self._store = store
        self._party = party
        self._capacity = capacity
        self._waiting: dict[ChannelId, deque[BufferedReadingRecord]] = {channel: deque() for channel in channels}
        for record in store.load(BufferedReadingRecord):
            if record.channel in self._waiting:
                self._waiting[record.channel].append(record)
        last = [waiting[-1].sequence for waiting in self._waiting.values() if waiting]
        self._next = max(last, default=0) + 1

    async def add(self, readings: Sequence[Reading]) -> int:
        """Keep readings for every channel; gives how many old ones had to be given up.

        Raises: LinkError when the store refuses; nothing of it is kept then.
        """
        if not readings:
            return 0
        new = [
            BufferedReadingRecord(party=self._party, channel=channel, sequence=self._next + index, reading=reading)
            for channel in self._waiting
            for index, reading in enumerate(readings)
        ]
        excess = [
            record
            for waiting in self._waiting.values()
            for record in list(waiting)[: max(0, len(waiting) + len(readings) - self._capacity)]
        ]
        await self._store.commit(new, excess)
        self._next += len(readings)
        for record in excess:
            self._waiting[record.channel].popleft()
        for record in new:
            self._waiting[record.channel].append(record)
        return len(excess)

    def first(self, channel: ChannelId, limit: int) -> list[BufferedReadingRecord]:
        """Give the oldest readings of a channel."""
        waiting = self._waiting[channel]
        return [waiting[index] for index in range(min(limit, len(waiting)))]

    def count(self, channel: ChannelId) -> int:
        """Count the readings that wait."""
        return len(self._waiting[channel])

    async def done(self, channel: ChannelId, records: Sequence[BufferedReadingRecord]) -> None:
        """Strike out the oldest readings, which the server has acknowledged.

        Raises: LinkError when that cannot be written down; they are delivered again then, and replace themselves.
        """
        await self._store.commit(delete=records)
        waiting = self._waiting[channel]
        for _ in records:
            waiting.popleft()
