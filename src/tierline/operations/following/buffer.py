"""Readings on their way up: kept until their server has acknowledged them, delivered in order, each once."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice
from typing import TYPE_CHECKING

from tierline.model.records import BufferedReadingRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
        self._waiting: dict[ChannelId, OrderedDict[int, BufferedReadingRecord]] = {
            channel: OrderedDict() for channel in channels
        }
        for record in store.load(BufferedReadingRecord):
            if record.channel in self._waiting:
                self._waiting[record.channel][record.sequence] = record
        last = [next(reversed(waiting)) for waiting in self._waiting.values() if waiting]
        self._next = max(last, default=0) + 1

    async def add(self, readings: Sequence[Reading]) -> int:
        """Keep readings for every channel; gives how many old ones had to be given up.

        Raises: LinkError when the store refuses; nothing of it is kept then.
        """
        if not readings:
            return 0
        # Numbered before the wait: a number that was given is never given again.
        new = [record for reading in readings for record in self.numbered(self._waiting, reading)]
        excess = [
            record for channel in self._waiting for record in self.first(channel, self.excess(channel, len(readings)))
        ]
        await self._store.commit(new, excess)
        for channel in self._waiting:
            self._strike_out(channel, excess)
        self.take(new)
        return len(excess)

    def numbered(self, channels: Iterable[ChannelId], reading: Reading) -> list[BufferedReadingRecord]:
        """Give a reading its place in some channels; whoever asks makes the records durable, then has them taken over."""
        number = self._next
        self._next += 1
        return [
            BufferedReadingRecord(party=self._party, channel=channel, sequence=number, reading=reading)
            for channel in channels
        ]

    def take(self, records: Iterable[BufferedReadingRecord]) -> None:
        """Take over what has just been made durable."""
        for record in records:
            self._waiting[record.channel][record.sequence] = record

    def excess(self, channel: ChannelId, more: int = 0) -> int:
        """Count the readings for which there is no room, or would be none with some more."""
        return max(0, len(self._waiting[channel]) + more - self._capacity)

    async def give_up(self, channel: ChannelId) -> int:
        """Drop the oldest readings for which there is no room; gives how many.

        Raises: LinkError when that cannot be written down.
        """
        excess = self.first(channel, self.excess(channel))
        if excess:
            await self.done(channel, excess)
        return len(excess)

    def first(self, channel: ChannelId, limit: int) -> list[BufferedReadingRecord]:
        """Give the oldest readings of a channel."""
        return list(islice(self._waiting[channel].values(), limit))

    def count(self, channel: ChannelId) -> int:
        """Count the readings that wait."""
        return len(self._waiting[channel])

    async def done(self, channel: ChannelId, records: Sequence[BufferedReadingRecord]) -> None:
        """Strike out readings of a channel which the server has acknowledged, or which are given up.

        Raises: LinkError when that cannot be written down; they are delivered again then, and replace themselves.
        """
        await self._store.commit(delete=records)
        self._strike_out(channel, records)

    def _strike_out(self, channel: ChannelId, records: Iterable[BufferedReadingRecord]) -> None:
        """Drop those of a channel; some may have gone meanwhile, for want of room or because they were delivered."""
        for record in records:
            if record.channel == channel:
                self._waiting[channel].pop(record.sequence, None)
