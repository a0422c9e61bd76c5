"""What a simulated node is made of, with somebody who notes what happens: stores, the follower of a DER and its machine."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from tierline.engine.following.obey import OWNER, Obey, OptOut, Persist, Seen
from tierline.model.errors import LinkError
from tierline.model.records import FollowedProgramsRecord, ResponseRecord
from tierline.node.follower import Follower, Self, Server
from tierline.sim.evidence import Refusal, Take, second
from tierline.sim.inverter import InverterLink
from tierline.sim.store_behind import StoreBehind
from tierline.storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tierline.engine.arbitration import Applied
    from tierline.engine.following.obey import ObeyEffect, ObeyEvent
    from tierline.engine.lifecycle import EventState
    from tierline.model.identity import ChannelId, DerId, Mrid
    from tierline.model.programs import ProgramsSeen, ResponseStatus
    from tierline.model.records import Record
    from tierline.ports import DeviceFacts, Store
    from tierline.sim.evidence import DerEvidence, Seeing
    from tierline.sim.nodes import Node


class Watched(Server, Protocol):
    """A north link that remembers what stands behind the walks it brought."""

    walks: list[Seeing]
    """Of those that were not yet taken in."""


class Recording(Protocol):
    """Where Responses are noted in the order in which a store took them."""

    recorded: list[tuple[DerId, Mrid, ResponseStatus]]


class ServerStore(MemoryStore):
    """A server's store, which tells in what order Responses were kept."""

    def __init__(self, evidence: Recording) -> None:
        super().__init__()
        self._evidence = evidence

    def apply(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        """Take one batch over, and tell."""
        super().apply(put, delete)
        for record in put:
            if isinstance(record, ResponseRecord):
                self._evidence.recorded.append((record.der_id, record.mrid, record.status))


class DerStore(MemoryStore):
    """A DER's store, which tells what is durable."""

    def __init__(self, der: DerEvidence) -> None:
        super().__init__()
        self._der = der

    def apply(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        """Take one batch over, and tell."""
        super().apply(put, delete)
        self._der.keep(put)


class WatchedStore(StoreBehind):
    """A store as the follower sees it, which tells when it refuses."""

    def __init__(self, inner: Store, node: Node, der: DerEvidence) -> None:
        super().__init__(inner)
        self._node = node
        self._der = der

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Write all of it or nothing, durably.

        Raises: LinkError when the disk refuses.
        """
        try:
            await super().commit(put, delete)
        except LinkError:
            self._der.refuse(self._node.clock.deadline(), put)
            raise
        self._der.accept(self._node.clock.deadline(), put)


class WatchedFollower(Follower):
    """The follower, watched."""

    def __init__(
        self, *, node: Node, der: DerEvidence, servers: Mapping[ChannelId, Watched], me: Self, store: Store
    ) -> None:
        super().__init__(
            me=me,
            south=InverterLink(der.inverter, node),
            servers=servers,
            store=store,
            clock=node.clock,
            random=node.random,
        )
        self._node = node
        self._der = der
        self._watched = servers

    def refusable(self) -> list[Mrid]:
        """Give the events that the owner may refuse now; none while nothing is obeyed."""
        return self._obey.refusable() if isinstance(self._obey, WatchedMachine) else []

    def _take_facts(self, facts: DeviceFacts) -> None:
        is_first = self._obey is None
        super()._take_facts(facts)
        if is_first and self._obey is not None:
            kept = {record.channel: record.clock_offset_s for record in self._store.load(FollowedProgramsRecord)}
            offsets = {channel: kept.get(channel) for channel in self._watched}
            self._der.restore(self._node.clock.deadline(), offsets)
            self._obey = WatchedMachine(self._obey, self._node, self._der, self._watched)


class WatchedMachine(Obey):
    """The machine of a follower, watched."""

    def __init__(self, inner: Obey, node: Node, der: DerEvidence, servers: Mapping[ChannelId, Watched]) -> None:
        self._inner = inner
        self._node = node
        self._der = der
        self._servers = servers

    @property
    def applied(self) -> Applied | None:
        """What the DER holds."""
        return self._inner.applied

    @property
    def decision(self) -> Applied:
        """What it shall hold."""
        return self._inner.decision

    def events(self) -> Mapping[ChannelId, tuple[EventState, ...]]:
        """Give the events that are remembered."""
        return self._inner.events()

    def why_not_opt_out(self, mrid: Mrid) -> str:
        """Say why an event cannot be refused."""
        return self._inner.why_not_opt_out(mrid)

    def refusable(self) -> list[Mrid]:
        """Give the events that the owner may refuse now, in order."""
        return sorted(
            event.mrid
            for events in self._inner.events().values()
            for event in events
            if not self._inner.why_not_opt_out(event.mrid)
        )

    def seen(self, channel: ChannelId) -> ProgramsSeen | None:
        """Give the last walk of a channel."""
        return self._inner.seen(channel)

    def wake_at(self) -> datetime | None:
        """Say when to hand in a Tick at the latest."""
        return self._inner.wake_at()

    def handle(self, event: ObeyEvent, now: datetime) -> tuple[ObeyEffect, ...]:
        """Take in what happened; note the walks, and what is to be made durable."""
        effects = self._inner.handle(event, now)
        if isinstance(event, OptOut):
            self._der.opt_out(Refusal(at_s=self._node.clock.deadline(), mrid=event.mrid))
        if isinstance(event, Seen) and event.walk.channel == OWNER:
            assert self._der.owner is not None
            self._der.owner.take(self._node.clock.deadline(), second(now), event.walk.programs)
        elif isinstance(event, Seen):
            walk = event.walk
            self._der.take(
                Take(
                    at_s=self._node.clock.deadline(),
                    server_s=second(now + timedelta(seconds=walk.clock_offset_s)),
                    offset_s=walk.clock_offset_s,
                    programs=walk.programs,
                    shown=self._servers[walk.channel].walks.pop(0),
                    channel=walk.channel,
                )
            )
        for effect in effects:
            if isinstance(effect, Persist):
                self._der.ask(effect)
        return effects
