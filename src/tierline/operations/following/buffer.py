"""Readings on their way up: kept until their server has acknowledged them, delivered in order, each once."""

from __future__ import annotations

from collections import deque
from itertools import islice
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
        excess = {
            channel: list(islice(waiting, max(0, len(waiting) + len(readings) - self._capacity)))
            for channel, waiting in self._waiting.items()
        }
        # Taken before the wait: a number that was given is never given again.
        self._next += len(readings)
        await self._store.commit(new, [record for records in excess.values() for record in records])
        for channel, records in excess.items():
            self._strike_out(channel, records)
        for record in new:
            self._waiting[record.channel].append(record)
        return sum(map(len, excess.values()))

    def first(self, channel: ChannelId, limit: int) -> list[BufferedReadingRecord]:
        """Give the oldest readings of a channel."""
        return list(islice(self._waiting[channel], limit))

    def count(self, channel: ChannelId) -> int:
        """Count the readings that wait."""
        return len(self._waiting[channel])

    async def done(self, channel: ChannelId, records: Sequence[BufferedReadingRecord]) -> None:
        """Strike out the oldest readings, which the server has acknowledged.

        Raises: LinkError when that cannot be written down; they are delivered again then, and replace themselves.
        """
        await self._store.commit(delete=records)
        self._strike_out(channel, records)

    def _strike_out(self, channel: ChannelId, records: Sequence[BufferedReadingRecord]) -> None:
        """Drop the oldest up to these: some may have gone meanwhile, for want of room or because they were delivered."""
        waiting = self._waiting[channel]
        while records and waiting and waiting[0].sequence <= records[-1].sequence:
            waiting.popleft()
