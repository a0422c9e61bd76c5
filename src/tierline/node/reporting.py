"""The reports of one DER to one server: the shell of `engine.following.report` over a link and the buffer of readings."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import structlog

from tierline.engine.following.report import (
    Delivered,
    Describe,
    Forgotten,
    Measured,
    NotDelivered,
    Pace,
    Post,
    PostRate,
    Report,
    Tick,
)
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.node.waiting import within

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from decimal import Decimal

    from tierline.engine.following.report import ReportEffect, ReportEvent
    from tierline.model.identity import ChannelId
    from tierline.operations.following.buffer import ReadingBuffer
    from tierline.ports import Clock, DeviceFacts, Northbound, Random

log = structlog.get_logger(__name__)


class Paced(Protocol):
    """A north link and what it learned about how often its server wants readings."""

    @property
    def link(self) -> Northbound:
        """The link itself."""
        ...

    @property
    def post_s(self) -> float:
        """Civil seconds between posts of readings."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a DER is and does."""

    facts: DeviceFacts
    status: Mapping[str, Decimal | int]


def next_phase(now: datetime, interval_s: float, phase_s: float) -> datetime:
    """Give the next time that lies at our phase of an interval."""
    since = (now.timestamp() - phase_s) % interval_s
    return now + timedelta(seconds=interval_s - since)


class Reporter:
    """Delivers to one channel; what failed in the world is tried again by its machine, our own faults end `run`."""

    def __init__(
        self,
        *,
        channel: ChannelId,
        server: Paced,
        buffer: ReadingBuffer,
        clock: Clock,
        random: Random,
        phase_s: float,
    ) -> None:
        self._channel = channel
        self._server = server
        self._buffer = buffer
        self._clock = clock
        self._random = random
        self._phase_s = phase_s
        self._description: Description | None = None
        self._is_forgotten = False
        self._awake = asyncio.Event()

    def measured(self, description: Description) -> None:
        """Take over that the DER was measured and its readings are in the buffer."""
        self._description = description
        self._awake.set()

    def forgotten(self) -> None:
        """Take over that the server may have lost what it was told."""
        self._is_forgotten = True
        self._awake.set()

    async def run(self) -> None:
        """Report until cancelled, to a server that was walked."""
        post_s = self._server.post_s
        report: Report[Description] = Report(
            Pace(post_every=timedelta(seconds=post_s)),
            self._random.between,
            first_post_at=next_phase(self._clock.now(), post_s, self._phase_s),
            waiting=self._buffer.count(self._channel),
        )
        while True:
            self._awake.clear()
            events = deque(self._news())
            while events:
                for effect in report.handle(events.popleft(), self._clock.now()):
                    events.append(await self._deliver(effect))
                    # The first post is what makes a server say at which rate it wants them.
                    events.append(PostRate(post_every=timedelta(seconds=self._server.post_s)))
            await within(self._clock, report.wake_at(), self._awake.wait())

    def _news(self) -> list[ReportEvent[Description]]:
        news: list[ReportEvent[Description]] = [Tick()]
        if self._is_forgotten:
            self._is_forgotten = False
            news.append(Forgotten())
        if self._description is not None:
            news.append(Measured(waiting=self._buffer.count(self._channel), description=self._description))
        return news

    async def _deliver(self, effect: ReportEffect[Description]) -> ReportEvent[Description]:
        try:
            match effect:
                case Describe():
                    await self._describe(effect.description)
                case Post():
                    await self._post(effect.limit)
        except (LinkError, PeerError, Forbidden) as error:
            log.warning("not_delivered", what=type(effect).__name__.lower(), channel=self._channel, why=str(error))
            return NotDelivered(sequence=effect.sequence)
        return Delivered(sequence=effect.sequence, waiting=self._buffer.count(self._channel))

    async def _describe(self, description: Description) -> None:
        await self._server.link.describe(description.facts, description.status, self._clock.now())

    async def _post(self, limit: int) -> None:
        records = self._buffer.first(self._channel, limit)
        if records:
            await self._server.link.report([record.reading for record in records])
            await self._buffer.done(self._channel, records)
