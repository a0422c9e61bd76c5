"""Responses on their way up: kept with the state that caused them, posted in order, each once."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tierline.model.programs import Response
from tierline.model.records import OutboxRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from tierline.model.identity import ChannelId, DerId
    from tierline.ports import Store


_AT_ONCE: Final = 2_000
"""Responses that are dropped in one step, which holds the writer for a fraction of a second only."""


class Outbox:
    """The Responses of one node that were not acknowledged yet, by channel, the oldest first."""

    def __init__(self, store: Store, channels: Collection[ChannelId] | None = None) -> None:
        """Take up what waits for some channels, or for all."""
        self._store = store
        waiting = [
            record for record in store.load_pending(OutboxRecord) if channels is None or record.channel in channels
        ]
        self._waiting: dict[ChannelId, list[OutboxRecord]] = {}
        for record in sorted(waiting, key=lambda item: (item.created_at, item.mrid, item.status)):
            self._waiting.setdefault(record.channel, []).append(record)

    def add(self, records: Iterable[OutboxRecord]) -> None:
        """Take over what has just been made durable."""
        for record in records:
            self._waiting.setdefault(record.channel, []).append(record)

    def first(self, channel: ChannelId) -> OutboxRecord | None:
        """Give the oldest Response of a channel."""
        waiting = self._waiting.get(channel)
        return waiting[0] if waiting else None

    def postpone(self, record: OutboxRecord) -> None:
        """Let the Responses to other events go first: of several servers that of this one may be the only one away."""
        waiting = self._waiting[record.channel]
        self._waiting[record.channel] = [
            *(other for other in waiting if other.mrid != record.mrid),
            *(other for other in waiting if other.mrid == record.mrid),
        ]

    def heads(self, channel: ChannelId, limit: int) -> list[OutboxRecord]:
        """Give the oldest Response of each DER, of at most so many of them: those of one DER are posted in order."""
        found: dict[DerId, OutboxRecord] = {}
        for record in self._waiting.get(channel, ()):
            if len(found) == limit:
                break
            found.setdefault(record.der_id, record)
        return list(found.values())

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    async def done(self, record: OutboxRecord, now: datetime) -> None:
        """Strike out a Response that its server has acknowledged, or refused for good.

        Raises: LinkError when that cannot be written down; the Response is posted again then, as the same one.
        """
        await self.all_done([record], now)

    async def all_done(self, records: Sequence[OutboxRecord], now: datetime) -> None:
        """Strike out several, as `done` does one.

        Raises: LinkError.
        """
        await self._store.commit([replace(record, posted_at=now) for record in records])
        for record in records:
            self._waiting[record.channel].remove(record)


async def forget_posted(store: Store, before: datetime) -> int:
    """Drop what was posted before a time; gives how many. That it was sent stays with the event itself.

    Raises: LinkError when the store refuses.
    """
    total = 0
    while count := await store.forget_before(OutboxRecord, before, limit=_AT_ONCE):
        total += count
    return total


def as_response(record: OutboxRecord) -> Response:
    """Give the Response a record stands for."""
    return Response(
        mrid=record.mrid,
        der_id=record.der_id,
        lfdi=record.lfdi,
        status=record.status,
        created_at=record.created_at,
        channel=record.channel,
    )
