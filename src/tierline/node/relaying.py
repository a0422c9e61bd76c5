"""The relay at work: for each channel the walks that go down, and what goes up.

What was mirrored stays when a link is down, so those below go on being served with what was known last; the first walk
afterwards brings everything in line, in one transaction.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.records import EndDeviceRecord, IdentityRecord
from tierline.node.relay_clocks import RelayClocks
from tierline.node.reporting import next_phase
from tierline.node.supervise import supervise
from tierline.node.waiting import within
from tierline.operations.following.buffer import ReadingBuffer
from tierline.operations.following.outbox import Outbox, as_response
from tierline.operations.relay.downward import mirror
from tierline.operations.relay.enrolling import offered
from tierline.operations.relay.upward import Upward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tierline.model.identity import ChannelId, DerId
    from tierline.model.parties import Principal
    from tierline.model.programs import FleetMember, FleetSeen
    from tierline.model.records import BufferedReadingRecord, OutboxRecord, Record
    from tierline.operations.relay.relayed import Relayed
    from tierline.operations.serving.state import Serving
    from tierline.ports import Clock, FleetNorthbound, Random

log = structlog.get_logger(__name__)

BATCH = 500
"""Readings in one delivery, as a single DER posts them."""

AT_ONCE = 8
"""Responses, or members' readings, under way at the same time, each of another DER."""


class FleetServer(Protocol):
    """A north link that stands for many, and the pace its server wants."""

    @property
    def link(self) -> FleetNorthbound:
        """The link itself."""
        ...

    @property
    def poll_s(self) -> float:
        """Civil seconds between walks."""
        ...

    @property
    def post_s(self) -> float:
        """Civil seconds between posts of readings."""
        ...

    @property
    def woken(self) -> asyncio.Event:
        """Set when there is news, so that the next walk does not wait."""
        ...

    async def subscribe(self) -> None:
        """Say that what the last walk saw is kept, and ask to be told of changes of it, where the server tells of any.

        Raises: LinkError when that cannot be written down.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayChannel:
    """One channel of a relay."""

    principal: Principal
    """The server above, as whoever acts on what is mirrored."""
    relayed: Relayed
    server: FleetServer

    @property
    def id(self) -> ChannelId:
        """Its name."""
        return self.relayed.channel


class Relaying:
    """Everything a node relays, over all its channels."""

    def __init__(
        self,
        *,
        serving: Serving,
        channels: Sequence[RelayChannel],
        clock: Clock,
        random: Random,
        phase_s: float = 0.0,
        capacity: int | None = None,
    ) -> None:
        """Take up what waits on the way up; `capacity` is how many readings may, per channel."""
        names = [channel.id for channel in channels]
        self.clocks = RelayClocks(serving)
        """How the clocks of the servers above agree with that of this node."""
        self._serving = serving
        self._clock = clock
        self._random = random
        self._phase_s = phase_s
        self._outbox = Outbox(serving.store, names)
        self._buffer = (
            ReadingBuffer(serving.store, serving.party, names)
            if capacity is None
            else ReadingBuffer(serving.store, serving.party, names, capacity)
        )
        self._links = [_Link(channel) for channel in channels]
        self._upward = Upward(
            serving, [channel.relayed for channel in channels], self._outbox, self._buffer, self._wake
        )
        serving.observers.append(self._observe)

    def unwalked(self) -> list[ChannelId]:
        """Give the channels whose server was not read since the start."""
        return [link.id for link in self._links if not link.walked.is_set()]

    def waiting_responses(self) -> int:
        """Count the Responses that no server has acknowledged yet."""
        return len(self._outbox)

    async def run(self) -> None:
        """Relay until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for link in self._links:
                    for name, work in (
                        ("walk", self._walking),
                        ("respond", self._responding),
                        ("inform", self._informing),
                        ("report", self._reporting),
                        ("trim", self._trimming),
                    ):
                        group.create_task(
                            supervise(
                                f"relay_{name}",
                                partial(work, link),
                                self._clock,
                                self._random,
                                last_pause_s=60.0,
                                channel=link.id,
                            )
                        )
        finally:
            for link in self._links:
                await link.server.link.close()

    def _wake(self, channel: ChannelId) -> None:
        for link in self._links:
            if link.id == channel:
                link.to_post.set()
                link.to_inform.set()

    def _observe(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        """Walk at once when somebody was registered here who is to be registered above too."""
        del delete
        if any(isinstance(record, EndDeviceRecord | IdentityRecord) for record in put):
            for link in self._links:
                if link.relayed.enrol == "offer":
                    link.server.woken.set()

    # --- down -------------------------------------------------------------------------------------------------------

    async def _walking(self, link: _Link) -> None:
        """Walk at the pace the server wants, and whenever it tells of a change."""
        server = link.server
        while True:
            server.woken.clear()
            await self._walk(link)
            wake_at = next_phase(self._clock.now(), server.poll_s, self._phase_s)
            await within(self._clock, wake_at, server.woken.wait())

    async def _walk(self, link: _Link) -> None:
        # One after the other: what was seen last must be what is mirrored last.
        async with link.walking:
            await self._walk_alone(link)

    async def _walk_alone(self, link: _Link) -> None:
        try:
            seen = await link.server.link.walk()
        except Forbidden:
            # A server that let us go knows nothing of ours when it takes us back.
            await self._upward.forget_handed_on(link.relayed)
            raise
        await self.clocks.compare(link.id, link.principal, seen.clock_offset_s)
        changes = await mirror(link.principal, self._serving, link.relayed, seen)
        if changes.commits:
            log.info(
                "mirrored",
                channel=link.id,
                programs=len(seen.programs),
                created=changes.created,
                changed=changes.changed,
                cancelled=changes.cancelled,
                moved=len(changes.moved),
            )
            link.to_inform.set()
        if not link.walked.is_set():
            link.walked.set()
            log.info("walked", channel=link.id, members=len(seen.members), programs=len(seen.programs))
        if link.relayed.enrol == "offer":
            await self._offer(link, seen)
        await link.server.subscribe()

    async def _offer(self, link: _Link, seen: FleetSeen) -> None:
        """Register above whom this node serves; what is refused there goes on being served here."""
        wanted = offered(self._serving)
        if {member.lfdi for member in wanted} == set(seen.members):
            return
        try:
            await link.server.link.enrol(wanted)
        except (PeerError, Forbidden) as error:
            if link.refusal != str(error):
                link.refusal = str(error)
                log.warning("not_enrolled", channel=link.id, why=str(error))
        if link.offered != wanted:
            # See at once what came of it, but only once: a server may take its time, or refuse.
            link.offered = wanted
            link.server.woken.set()

    # --- up ---------------------------------------------------------------------------------------------------------

    async def _responding(self, link: _Link) -> None:
        """Post Responses, those of each DER in order; one that is refused for good is struck out and logged."""
        await link.walked.wait()
        while True:
            records = self._outbox.heads(link.id, AT_ONCE)
            if not records:
                link.to_post.clear()
                await link.to_post.wait()
                continue
            async with asyncio.TaskGroup() as group:
                posts = [group.create_task(_post(link.server.link, record)) for record in records]
            outcomes = list(zip(records, (post.result() for post in posts), strict=True))
            delivered = [record for record, error in outcomes if error is None]
            if delivered:
                await self._outbox.all_done(delivered, self._clock.now())
            for _, error in outcomes:
                if isinstance(error, LinkError):
                    raise error
            await self._strike_out(link, [(record, error) for record, error in outcomes if error is not None])

    async def _strike_out(
        self, link: _Link, refused: Sequence[tuple[OutboxRecord, LinkError | PeerError | Forbidden]]
    ) -> None:
        """Give up what was refused for good; a server that does not know this node at all refuses nothing for good.

        Raises: LinkError, PeerError, Forbidden when that cannot be found out, or it does not: then all of it waits.
        """
        if any(isinstance(error, Forbidden) for _, error in refused):
            await self._walk(link)
        for record, error in refused:
            log.warning("response_refused", mrid=record.mrid, status=record.status, lfdi=record.lfdi, why=str(error))
        if refused:
            await self._outbox.all_done([record for record, _ in refused], self._clock.now())

    async def _informing(self, link: _Link) -> None:
        """Hand on what members say of themselves: when it changed, and again later what was not taken."""
        await link.walked.wait()
        while True:
            link.to_inform.clear()
            for lfdi, info in self._upward.infos(link.relayed):
                try:
                    await link.server.link.put_info(lfdi, info.kind, info.document)
                except Forbidden as error:
                    log.warning("info_not_taken", lfdi=lfdi, kind=info.kind, why=str(error))
                    continue
                except PeerError as error:
                    log.warning("info_refused", lfdi=lfdi, kind=info.kind, why=str(error))
                await self._upward.handed_on(link.relayed, info)
            again_at = next_phase(self._clock.now(), link.server.post_s, self._phase_s)
            await within(self._clock, again_at, link.to_inform.wait())

    async def _reporting(self, link: _Link) -> None:
        """Post the readings that wait, at the pace the server wants."""
        await link.walked.wait()
        while True:
            await self._clock.sleep_until(next_phase(self._clock.now(), link.server.post_s, self._phase_s))
            await self._report(link)

    async def _report(self, link: _Link) -> None:
        """Post member by member; whom the server fails for comes last the next time, so that the others go on."""
        by_member: dict[DerId, list[BufferedReadingRecord]] = {}
        for record in self._buffer.first(link.id, self._buffer.count(link.id)):
            by_member.setdefault(record.reading.der_id, []).append(record)
        members = deque(sorted(by_member, key=lambda der: der in link.failed))

        async def report() -> LinkError | None:
            while members:
                der = members.popleft()
                try:
                    await self._report_member(link, der, by_member[der])
                except LinkError as error:
                    return error
            return None

        async with asyncio.TaskGroup() as group:
            reports = [group.create_task(report()) for _ in range(AT_ONCE)]
        for error in (done.result() for done in reports):
            if error is not None:
                raise error

    async def _report_member(self, link: _Link, der: DerId, records: list[BufferedReadingRecord]) -> None:
        for at in range(0, len(records), BATCH):
            if not await self._report_batch(link, der, records[at : at + BATCH]):
                break

    async def _report_batch(self, link: _Link, der: DerId, batch: list[BufferedReadingRecord]) -> bool:
        """Post some readings of one member; tells whether the rest of it may follow."""
        lfdi = link.relayed.lfdi_of(der)
        try:
            if lfdi is None:
                log.info("readings_given_up", der=der, count=len(batch), why="the server does not list it any more")
            else:
                await link.server.link.report(lfdi, [record.reading for record in batch])
        except LinkError:
            link.failed.add(der)
            raise
        except Forbidden as error:
            log.warning("readings_not_taken", lfdi=lfdi, count=len(batch), why=str(error))
            return False
        except PeerError as error:
            log.warning("readings_refused", lfdi=lfdi, count=len(batch), why=str(error))
        link.failed.discard(der)
        await self._buffer.done(link.id, batch)
        return True

    async def _trimming(self, link: _Link) -> None:
        """Give up the oldest readings when there are too many, also while nothing can be posted."""
        while True:
            given_up = await self._buffer.give_up(link.id)
            if given_up:
                log.warning("readings_given_up", channel=link.id, count=given_up, why="too many wait")
            await self._clock.sleep(link.server.post_s)


async def _post(link: FleetNorthbound, record: OutboxRecord) -> LinkError | PeerError | Forbidden | None:
    """Post one Response; gives what was against it."""
    try:
        await link.respond(as_response(record))
    except (LinkError, PeerError, Forbidden) as error:
        return error
    return None


class _Link:
    """One channel while it runs."""

    def __init__(self, channel: RelayChannel) -> None:
        self.id = channel.id
        self.principal = channel.principal
        self.relayed = channel.relayed
        self.server = channel.server
        self.walking = asyncio.Lock()
        self.walked = asyncio.Event()
        self.to_post = asyncio.Event()
        self.to_inform = asyncio.Event()
        self.offered: list[FleetMember] | None = None
        """Whom this node asked to be registered last."""
        self.refusal = ""
        """What the server said against it last."""
        self.failed: set[DerId] = set()
        """Those whose readings could not be delivered last."""
