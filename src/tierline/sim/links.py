"""The protocol of a simulated hierarchy at message level, and the courier that carries real 2030.5 bytes.

At message level the north face says what it wants in values of the model; the south face answers out of the real serving
state by the rules of docs/rules.md S1 to S5, as the 2030.5 server does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, Self

from tierline.engine.serving_status import listed_until, next_boundary, served_status
from tierline.model.errors import Forbidden, LinkError, PeerError
from tierline.model.identity import Mrid
from tierline.model.programs import Program, ProgramsSeen, Response
from tierline.model.records import DerInfoKind
from tierline.operations.serving import registry, telemetry
from tierline.protocols.sep2.transport import HttpResponse, Peer, Request
from tierline.protocols.sep2.views.sight import Sight
from tierline.sim.evidence import Said, Shown, second

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

    from tierline.model.identity import ChannelId, Lfdi
    from tierline.model.records import EndDeviceRecord
    from tierline.model.telemetry import Reading
    from tierline.operations.serving.state import Served, Serving
    from tierline.ports import DeviceFacts, Northbound
    from tierline.protocols.sep2.north import Sep2North
    from tierline.protocols.sep2.server import Sep2Server
    from tierline.sim.evidence import DerEvidence, Evidence, Seeing
    from tierline.sim.nodes import Node

UTILITY = "utility"


@dataclass(frozen=True, slots=True)
class WalkRequest:
    """Show me everything."""


@dataclass(frozen=True, slots=True)
class Walked:
    """Everything a DER may see at one moment."""

    programs: tuple[Program, ...]
    now: datetime
    """The server's clock."""
    shown: Shown


@dataclass(frozen=True, slots=True)
class RespondRequest:
    """Take a Response."""

    response: Response


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """Take readings."""

    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True)
class DescribeRequest:
    """Take what I say of myself."""

    document: bytes


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Take a request of IEEE 2030.5."""

    method: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """It was done."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not done."""

    error: LinkError | PeerError | Forbidden


def meter_of(lfdi: Lfdi, point: str) -> Mrid:
    """Name the meter reading of one point of one DER."""
    return Mrid(hashlib.sha256(f"{lfdi}/{point}".encode()).hexdigest()[:32].upper())


class Heard(Protocol):
    """What is noted of one server, and what it does of its own."""

    said: list[Said]
    doubles: frozenset[str]

    @property
    def done(self) -> Sequence[object]:
        """The deeds in force."""
        ...


class SouthFace:
    """One life of a server, as those below see it."""

    def __init__(self, serving: Serving, evidence: Heard, lfdis: Mapping[str, Lfdi], sep2: Sep2Server) -> None:
        self._serving = serving
        self._evidence = evidence
        self._sight = Sight(serving)
        self._lfdis = lfdis
        self._sep2 = sep2
        self._kept: dict[Mrid, tuple[int, datetime, datetime | None, Program]] = {}

    async def handle(self, source: str, request: object) -> object:
        """Answer a request of a DER, or of who stands for some; its name is its certificate."""
        lfdi = self._lfdis[source]
        if isinstance(request, HttpRequest):
            return await self._carry(lfdi, request)
        device = registry.device_of(self._serving, lfdi)
        if device is None:
            return Refused(Forbidden(f"{source} is not registered"))
        try:
            return await self.answer(source, device, request)
        except (LinkError, PeerError, Forbidden) as error:
            return Refused(error)

    async def answer(self, source: str, device: EndDeviceRecord, request: object) -> object:
        """Answer a request of an EndDevice.

        Raises: LinkError, PeerError, Forbidden.
        """
        lfdi = self._lfdis[source]
        principal = registry.principal_of(device, lfdi)
        match request:
            case WalkRequest():
                return self._walk(source, device)
            case RespondRequest(response):
                self._hear(source, response)
                await telemetry.record_response(
                    principal, self._serving, device.der_id, response.mrid, response.status, response.created_at
                )
            case ReportRequest(readings):
                # A node below has a name of its own for its DER, a server that of its registry.
                own = [replace(reading, der_id=device.der_id) for reading in readings]
                pairs = [(meter_of(lfdi, reading.point), reading) for reading in own]
                await telemetry.record_readings(principal, self._serving, device.der_id, pairs)
            case DescribeRequest(document):
                await telemetry.put_info(principal, self._serving, device.der_id, DerInfoKind.STATUS, document)
            case _:
                raise AssertionError(f"{request} is no request")
        return Done()

    def _hear(self, source: str, response: Response) -> None:
        self._evidence.said.append(
            Said(
                at_s=self._serving.clock.deadline(),
                der=source,
                mrid=response.mrid,
                status=response.status,
                created_s=second(response.created_at),
            )
        )

    def _walk(self, source: str, device: EndDeviceRecord) -> Walked:
        now = self._serving.clock.now()
        assigned = self._serving.programs_for(device.der_id) if self._sight.has_assignments(device) else []
        programs = [self.program(served, now) for served in assigned]
        if source in self._evidence.doubles:
            # As if a second function set assignment led to the first program as well (E8).
            programs += programs[:1]
        return Walked(tuple(programs), now, self.stamp(now))

    def stamp(self, now: datetime) -> Shown:
        """Say what is in force now."""
        deeds = len(self._evidence.done)
        return Shown(deeds=deeds, server_s=second(now), deeds_after=deeds, server_after_s=second(now))

    def program(self, served: Served, now: datetime) -> Program:
        """Give a program as it is shown now."""
        version = self._serving.versions[f"program:{served.record.mrid}"]
        kept = self._kept.get(served.record.mrid)
        if kept is None or kept[0] != version or now < kept[1] or (kept[2] is not None and kept[2] <= now):
            controls = [record.control for record in served.controls.values()]
            listed = [control for control in controls if listed_until(control) > now]
            program = Program(
                mrid=served.record.mrid,
                primacy=served.record.primacy,
                controls=tuple(replace(one, status=served_status(one, controls, now)) for one in listed),
                default=None if served.default is None else served.default.default,
            )
            kept = self._kept[served.record.mrid] = (version, now, next_boundary(controls, now), program)
        return kept[3]

    async def _carry(self, lfdi: Lfdi, request: HttpRequest) -> object:
        path, _, query = request.path.partition("?")
        headers = {"accept": "application/sep+xml"} | ({"content-type": "application/sep+xml"} if request.body else {})
        peer = Peer(lfdi=lfdi, fingerprint="", address="")
        asked = Request(method=request.method, path=path, query=query, headers=headers, body=request.body, peer=peer)
        try:
            answer = self._sep2.handle(asked, self._serving.clock.now())
            if isinstance(answer, Awaitable):
                answer = await answer
        except (LinkError, PeerError, Forbidden) as error:
            return Refused(error)
        return HttpResponse(status=answer.status, headers={"location": answer.location}, body=answer.body, path=path)


async def ask(node: Node, request: object, target: str = UTILITY) -> object:
    """Ask a server.

    Raises: LinkError; what the server refused with.
    """
    answer = await node.call(target, request)
    if isinstance(answer, Refused):
        raise answer.error
    return answer


class MessageNorth:
    """A server above, at message level, as the port `Northbound`."""

    poll_s = 300.0
    post_s = 3600.0

    def __init__(self, node: Node, der: DerEvidence, channel: ChannelId, target: str = UTILITY) -> None:
        self._node = node
        self._der = der
        self._channel = channel
        self._target = target
        self._offset_s = 0.0
        self._described = b""
        self.walks: list[Seeing] = []
        """Walks that were brought and not yet taken in."""

    @property
    def link(self) -> MessageNorth:
        """The link itself."""
        return self

    async def walk(self) -> ProgramsSeen:
        """Read everything; compare the clocks as far as the time of the request itself allows.

        Raises: LinkError, Forbidden.
        """
        asked = self._node.clock.now()
        answer = await ask(self._node, WalkRequest(), self._target)
        assert isinstance(answer, Walked)
        early = (answer.now - self._node.clock.now()).total_seconds()
        late = (answer.now - asked).total_seconds()
        if not early <= self._offset_s <= late:
            self._offset_s = (early + late) / 2
        self.walks.append(answer.shown)
        return ProgramsSeen(channel=self._channel, programs=answer.programs, clock_offset_s=self._offset_s)

    async def respond(self, response: Response) -> None:
        """Deliver one Response.

        Raises: LinkError, PeerError, Forbidden.
        """
        self._der.posts.send(response)
        await ask(self._node, RespondRequest(response), self._target)

    async def report(self, readings: Sequence[Reading]) -> None:
        """Deliver readings.

        Raises: LinkError, PeerError, Forbidden.
        """
        await ask(self._node, ReportRequest(tuple(readings)), self._target)
        self._der.acknowledge(self._target, readings)

    async def describe(self, facts: DeviceFacts, status: Mapping[str, Decimal | int], now: datetime) -> None:
        """Say what the device is and does, when it changed.

        Raises: LinkError, PeerError, Forbidden.
        """
        del now
        document = f"{facts.serial} {sorted(status.items())}".encode()
        if document != self._described:
            await ask(self._node, DescribeRequest(document), self._target)
            self._described = document

    async def close(self) -> None:
        """Let go of nothing."""


class ByteCourier:
    """Carries requests of IEEE 2030.5 as the messages of the simulated network."""

    def __init__(self, node: Node, target: str = UTILITY) -> None:
        self._node = node
        self._target = target

    async def request(self, method: str, path: str, body: bytes = b"") -> HttpResponse:
        """Send and wait for the answer.

        Raises: LinkError, PeerError.
        """
        answer = await ask(self._node, HttpRequest(method, path, body), self._target)
        assert isinstance(answer, HttpResponse)
        return answer

    async def close(self) -> None:
        """Let go of nothing."""


class Passing:
    """A north link that passes everything on to another."""

    def __init__(self, inner: Northbound) -> None:
        self._inner = inner

    @property
    def link(self) -> Self:
        """The link itself."""
        return self

    async def walk(self) -> ProgramsSeen:
        """Read everything.

        Raises: LinkError, PeerError, Forbidden.
        """
        return await self._inner.walk()

    async def respond(self, response: Response) -> None:
        """Deliver one Response.

        Raises: LinkError, PeerError, Forbidden.
        """
        await self._inner.respond(response)

    async def report(self, readings: Sequence[Reading]) -> None:
        """Deliver readings.

        Raises: LinkError, PeerError, Forbidden.
        """
        await self._inner.report(readings)

    async def describe(self, facts: DeviceFacts, status: Mapping[str, Decimal | int], now: datetime) -> None:
        """Say what the device is and does.

        Raises: LinkError, PeerError, Forbidden.
        """
        await self._inner.describe(facts, status, now)

    async def close(self) -> None:
        """Let go of the link."""
        await self._inner.close()


class ByteNorth(Passing):
    """The real north face of IEEE 2030.5 over real XML, watched."""

    def __init__(self, inner: Sep2North, evidence: Evidence, der: DerEvidence, server_s: Callable[[], float]) -> None:
        super().__init__(inner)
        self._sep2 = inner
        self._evidence = evidence
        self._der = der
        self._server_s = server_s
        self.walks: list[Seeing] = []
        """Walks that were brought and not yet taken in."""

    @property
    def poll_s(self) -> float:
        """Civil seconds between walks."""
        return float(self._sep2.poll_s)

    @property
    def post_s(self) -> float:
        """Civil seconds between posts."""
        return float(self._sep2.post_s or 3600.0)

    async def walk(self) -> ProgramsSeen:
        """Read everything.

        Raises: LinkError, PeerError, Forbidden.
        """
        deeds, server_s = len(self._evidence.deeds), self._server_s()
        seen = await super().walk()
        self.walks.append(
            Shown(
                deeds=deeds,
                server_s=server_s,
                deeds_after=len(self._evidence.deeds),
                server_after_s=self._server_s(),
            )
        )
        return seen

    async def respond(self, response: Response) -> None:
        """Deliver one Response.

        Raises: LinkError, PeerError, Forbidden.
        """
        self._der.posts.send(response)
        await super().respond(response)

    async def report(self, readings: Sequence[Reading]) -> None:
        """Deliver readings.

        Raises: LinkError, PeerError, Forbidden.
        """
        await super().report(readings)
        self._der.acknowledge(UTILITY, readings)
