"""The message level between servers: what a relay asks of the server above it, and several servers of one channel below.

A relay's walk is one message. Beyond that the server does what the 2030.5 server does: it lists those for whom the peer
stands, with the assignments it is shown, and takes note that it has read them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.programs import FleetMember, FleetSeen, Program, ProgramsSeen, Response
from tierline.node.shared_channel import SharedChannel
from tierline.operations.serving import registry, telemetry
from tierline.sim.evidence import Answer, Shown, Sighting, second
from tierline.sim.links import UTILITY, Done, MessageNorth, Passing, SouthFace, ask, meter_of
from tierline.sim.relay_evidence import Read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid
    from tierline.model.records import DerInfoKind, EndDeviceRecord, FollowedProgramsRecord
    from tierline.model.telemetry import Reading
    from tierline.operations.serving.state import Serving
    from tierline.protocols.sep2.server import Sep2Server
    from tierline.sim.evidence import Seeing
    from tierline.sim.nodes import Node
    from tierline.sim.relay_evidence import ServerEvidence


@dataclass(frozen=True, slots=True)
class FleetWalkRequest:
    """Show me all for whom I stand."""


@dataclass(frozen=True, slots=True)
class FleetWalked:
    """All that one who stands for many may see at one moment."""

    members: Mapping[Lfdi, FleetMember]
    programs: Mapping[Mrid, Program]
    now: datetime
    """The server's clock."""
    shown: Shown


@dataclass(frozen=True, slots=True)
class FleetRespondRequest:
    """Take the Response of a member."""

    response: Response


@dataclass(frozen=True, slots=True)
class FleetReportRequest:
    """Take readings of a member."""

    lfdi: Lfdi
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class FleetInfoRequest:
    """Take what a member says of itself."""

    lfdi: Lfdi
    kind: DerInfoKind
    document: bytes


@dataclass(frozen=True, slots=True)
class FleetKeptRequest:
    """What was shown to me is kept, and shown by me from now on."""

    read_by: datetime
    """The server's clock when it was shown."""
    deeds: int
    """Of the server, then."""


class FleetFace(SouthFace):
    """One life of a server that has relays below it."""

    def __init__(self, serving: Serving, evidence: ServerEvidence, lfdis: Mapping[str, Lfdi], sep2: Sep2Server) -> None:
        super().__init__(serving, evidence, lfdis, sep2)
        self._server = evidence

    async def answer(self, source: str, device: EndDeviceRecord, request: object) -> object:
        """Answer a request of a DER or a relay.

        Raises: LinkError, PeerError, Forbidden.
        """
        principal = registry.principal_of(device, self._lfdis[source])
        match request:
            case FleetWalkRequest():
                return self._show_fleet(device)
            case FleetKeptRequest(read_by, deeds):
                if device.aggregates is not None:
                    self._serving.standing.hand_over(self._serving, device.aggregates, read_by)
                at_s = self._serving.clock.deadline()
                self._server.reads.append(Read(at_s=at_s, relay=source, deeds=deeds, shown_s=second(read_by)))
            case FleetRespondRequest(response):
                await telemetry.record_response(
                    principal,
                    self._serving,
                    self._der_of(response.lfdi),
                    response.mrid,
                    response.status,
                    response.created_at,
                )
            case FleetReportRequest(lfdi, readings):
                der = self._der_of(lfdi)
                pairs = [(meter_of(lfdi, reading.point), replace(reading, der_id=der)) for reading in readings]
                await telemetry.record_readings(principal, self._serving, der, pairs)
            case FleetInfoRequest(lfdi, kind, document):
                await telemetry.put_info(principal, self._serving, self._der_of(lfdi), kind, document)
            case _:
                return await super().answer(source, device, request)
        return Done()

    def _show_fleet(self, peer: EndDeviceRecord) -> FleetWalked:
        serving, now = self._serving, self._serving.clock.now()
        members: dict[Lfdi, FleetMember] = {}
        programs: dict[Mrid, Program] = {}
        for der in self._sight.ordered(peer):
            device = serving.devices[der]
            if device.aggregates is not None:
                continue  # its own entry
            assigned = serving.programs_for(der) if self._sight.sees_assignments(peer, der) else []
            programs |= {served.record.mrid: self.program(served, now) for served in assigned}
            lfdi = serving.lfdi_of[der]
            members[lfdi] = FleetMember(
                lfdi=lfdi,
                pin=device.pin,
                device_category=device.device_category,
                programs=tuple(served.record.mrid for served in assigned),
                is_assigned=self._sight.sees_assignments(peer, der),
            )
            if peer.aggregates is not None:
                serving.standing.read(serving, peer.aggregates, der)
        return FleetWalked(members, programs, now, self.stamp(now))

    def _der_of(self, lfdi: Lfdi | None) -> DerId:
        device = None if lfdi is None else registry.device_of(self._serving, lfdi)
        if device is None:
            raise Forbidden(f"LFDI {lfdi} is not listed here")
        return device.der_id


class MessageFleetNorth:
    """The server above a relay, at message level, as the port `FleetNorthbound`."""

    poll_s = 300.0
    post_s = 3600.0

    def __init__(self, node: Node, relay: ServerEvidence, channel: ChannelId, target: str = UTILITY) -> None:
        self._node = node
        self._relay = relay
        self._channel = channel
        self._target = target
        self._kept: FleetKeptRequest | None = None
        """What is to be said once the last walk is kept."""
        self.woken = asyncio.Event()
        """Never set: nobody tells of changes at message level."""

    @property
    def link(self) -> MessageFleetNorth:
        """The link itself."""
        return self

    async def subscribe(self) -> None:
        """Say that what the last walk saw is kept; nothing is asked for: everything is polled."""
        if self._kept is not None:
            try:
                await ask(self._node, self._kept, self._target)
            except (LinkError, PeerError, Forbidden):
                return  # the next walk says it as well

    async def walk(self) -> FleetSeen:
        """Read everything. The clocks of relays and servers agree.

        Raises: LinkError, Forbidden.
        """
        answer = await ask(self._node, FleetWalkRequest(), self._target)
        assert isinstance(answer, FleetWalked)
        self._relay.walked = answer.shown
        self._kept = FleetKeptRequest(answer.now, answer.shown.deeds)
        return FleetSeen(channel=self._channel, members=answer.members, programs=answer.programs)

    async def enrol(self, members: Sequence[FleetMember]) -> None:
        """Register nobody.

        Raises: PeerError always: these servers register out of band.
        """
        raise PeerError(f"{self._target} registers out of band, so not {len(members)} EndDevices that are offered")

    async def respond(self, response: Response) -> None:
        """Deliver the Response of one member.

        Raises: LinkError, PeerError, Forbidden.
        """
        self._relay.posts.send(response)
        await ask(self._node, FleetRespondRequest(response), self._target)

    async def report(self, lfdi: Lfdi, readings: Sequence[Reading]) -> None:
        """Deliver readings of one member.

        Raises: LinkError, PeerError, Forbidden.
        """
        await ask(self._node, FleetReportRequest(lfdi, tuple(readings)), self._target)

    async def put_info(self, lfdi: Lfdi, kind: DerInfoKind, document: bytes) -> None:
        """Hand on what a member said of itself.

        Raises: LinkError, PeerError, Forbidden.
        """
        await ask(self._node, FleetInfoRequest(lfdi, kind, document), self._target)

    async def close(self) -> None:
        """Let go of nothing."""


class _Part(Passing):
    """One of several servers of a channel, which tells what it answered."""

    poll_s = MessageNorth.poll_s
    post_s = MessageNorth.post_s

    def __init__(self, inner: MessageNorth) -> None:
        super().__init__(inner)
        self._brought = inner.walks
        self.answer: Answer | None = None
        """To the last walk, if there was one."""
        self.is_reached = False
        """Whether it answered the last walk, or said that it does not know us."""

    async def walk(self) -> ProgramsSeen:
        """Read everything.

        Raises: LinkError, PeerError, Forbidden.
        """
        self.answer, self.is_reached = None, False
        try:
            seen = await super().walk()
        except Forbidden:
            self.is_reached = True
            raise
        shown = self._brought.pop()
        assert isinstance(shown, Shown)
        self.answer, self.is_reached = Answer(shown=shown, programs=seen.programs), True
        return seen


class WatchedShared(SharedChannel):
    """Several servers of one channel, watched."""

    def __init__(
        self, channel: ChannelId, servers: Mapping[str, MessageNorth], last: FollowedProgramsRecord | None
    ) -> None:
        self._parts = {name: _Part(server) for name, server in servers.items()}
        super().__init__(channel, self._parts, last)
        self._is_first = True
        self.walks: list[Seeing] = []
        """Walks that were brought and not yet taken in."""

    async def walk(self) -> ProgramsSeen:
        """Ask every server; note what each of them answered.

        Raises: LinkError, PeerError, Forbidden.
        """
        seen = await super().walk()
        self.walks.append(
            Sighting(
                answers={name: part.answer for name, part in self._parts.items() if part.answer is not None},
                is_reached=all(part.is_reached for part in self._parts.values()),
                is_first=self._is_first,
            )
        )
        self._is_first = False
        return seen
