"""The narrow interfaces between the rules and the world: all that an adapter author must read.

Nothing here does anything. The real world stands behind `tierline.env`, the protocols and the store; the simulated one
behind `tierline.sim`.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol, TypeVar, runtime_checkable

from tierline.model.capability import ANYTHING, Capability, Refusal
from tierline.model.control import FunctionName, Setpoints
from tierline.model.identity import ChannelId, Lfdi, Mrid
from tierline.model.programs import FleetMember, FleetSeen, ProgramsSeen, Response
from tierline.model.records import DerInfoKind, Record
from tierline.model.telemetry import Alarm, PointName, Quality, Reading


class Clock(Protocol):
    """Two clocks: civil time, scaled, for protocol and rules; unscaled time for sockets."""

    def now(self) -> datetime:
        """Give civil time, UTC and aware; runs `speed` times as fast as the wall."""
        ...

    def deadline(self) -> float:
        """Give unscaled monotonic seconds, for deadlines of sockets, handshakes and Modbus."""
        ...

    async def sleep(self, civil_s: float) -> None:
        """Sleep for some civil seconds."""
        ...

    async def sleep_until(self, when: datetime) -> None:
        """Sleep until a civil time; returns at once when it is past."""
        ...


class Random(Protocol):
    """Randomness; seeded in the simulation and the demo."""

    def bits(self, n: int) -> int:
        """Draw n random bits."""
        ...

    def between(self, low: int, high: int) -> int:
        """Draw an integer from low to high, both included."""
        ...

    def fraction(self) -> float:
        """Draw from [0, 1)."""
        ...


class Server(Protocol):
    """A listener that can be closed."""

    def close(self) -> None:
        """Stop listening."""
        ...

    async def wait_closed(self) -> None:
        """Wait until the listener is gone."""
        ...

    @property
    def port(self) -> int:
        """The port it listens on, useful when 0 was asked for."""
        ...


class Network(Protocol):
    """Streams in and out."""

    async def open_tcp(
        self, host: str, port: int, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream, with TLS when a context is given (no host-name check).

        Raises: LinkError.
        """
        ...

    async def serve(
        self,
        protocol: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        handshake_timeout_s: float | None = None,
    ) -> Server:
        """Listen on one address.

        Raises: ConfigError when the address cannot be had.
        """
        ...


class Files(Protocol):
    """Files, written so that a crash leaves the old or the new content."""

    def read(self, path: str) -> bytes:
        """Read a whole file.

        Raises: ConfigError when it cannot be read.
        """
        ...

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Replace a file atomically and durably."""
        ...

    def append(self, path: str, data: bytes) -> None:
        """Append to a file, made when missing; not synced."""
        ...

    def make_folder(self, path: str) -> None:
        """Make a folder and those above it, where they are missing.

        Raises: ConfigError when it cannot be made.
        """
        ...


class Running(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def kill(self, signal: int) -> None:
        """Send a signal to its process group."""
        ...

    async def wait(self) -> int:
        """Wait for its end; gives the exit status."""
        ...


class Process(Protocol):
    """Other programs."""

    async def spawn(
        self, argv: Sequence[str], *, env: Mapping[str, str] | None = None, stdout: str = "", stderr: str = ""
    ) -> Running:
        """Start a program in a process group of its own; output goes to the files named."""
        ...


R = TypeVar("R", bound=Record)


class Store(Protocol):
    """What survives a crash: the part of a database that belongs to one node.

    What `commit` has returned from is durable. Changes of one call are one transaction. Records replace those with the same
    key. Calls that wait at the same time may share one disk sync (group commit).
    """

    async def commit(self, put: Sequence[Record] = (), delete: Sequence[Record] = ()) -> None:
        """Write all of it or nothing, durably; `delete` goes by key.

        A caller that is cancelled while it waits is so at its next await, when the outcome is known: memory follows disk.
        Raises: LinkError when the disk refuses: nothing of this call may be acknowledged; ValueError for a value that no
        database holds.
        """
        ...

    async def forget_before(self, kind: type[Record], time: datetime, *, limit: int = 10_000) -> int:
        """Delete the oldest readings, audit records or posted Responses from before a time, at most `limit`; gives how many.

        Raises: LinkError when the disk refuses: nothing was deleted.
        """
        ...

    def load(self, kind: type[R]) -> list[R]:
        """Read all records of one kind, in order of their key.

        Raises: LinkError when the disk cannot be read.
        """
        ...

    def load_since(self, kind: type[R], time: datetime, *, limit: int = 10_000) -> list[R]:
        """Read readings or audit records at or after a time, oldest first, then in order of their key.

        Raises: LinkError when the disk cannot be read.
        """
        ...

    def load_pending(self, kind: type[R]) -> list[R]:
        """Read those records of one kind whose time is still to come about, in order of their key: Responses not posted yet.

        Raises: LinkError when the disk cannot be read.
        """
        ...

    def each(
        self,
        kind: type[R],
        *,
        of: Sequence[object] = (),
        prefix: str = "",
        after: Sequence[object] = (),
        newest_first: bool = False,
    ) -> Iterator[R]:
        """Read records of one kind in order of their key, one by one: never more than a few thousand are held.

        Those whose key begins with the values `of`, and where what comes next is a text that begins with `prefix`, or is greater
        than the values `after`; not both. With `newest_first` from the last key to the first. Records that are written while
        this goes on may come or not.
        Raises: LinkError when the disk cannot be read.
        """
        ...

    def close(self) -> None:
        """Finish what was accepted and release the database."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What our own check says of a peer's certificate."""

    ok: bool
    lfdi: Lfdi | None
    reason: str = ""
    """Why not, in words an operator can act on."""


class PeerTrust(Protocol):
    """The judge of peers, called once per connection with what the handshake showed."""

    def judge(self, leaf_der: bytes, chain_der: Sequence[bytes] | None, now: datetime) -> Verdict:
        """Judge a peer; `chain_der` is None on a resumed session, which needs a stored positive verdict."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What a south link found out about a device."""

    manufacturer: str
    model: str
    serial: str
    """Label: identity."""
    version: str
    nameplate: Mapping[str, Decimal | int]
    """By point name of `model.points` (rtg_max_w …)."""
    settings: Mapping[str, Decimal | int]
    """By point name (set_max_w …)."""
    functions: frozenset[str]
    """The canonical functions it can carry out."""
    carries_ramp_time: bool = False
    """Whether `apply` carries out `ramp_time_s`, and curves with ramps of their own."""
    capability: Capability = ANYTHING
    """Which values of its functions it keeps; of what is not in it nothing is known beforehand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """What the device holds after a write."""

    setpoints: Setpoints
    """As read back, within the protocol's resolution."""
    writes: int
    """How many register writes it took; 0 when nothing differed."""
    refused: Mapping[FunctionName, Refusal] = field(default_factory=dict)
    """What the device did not take of it, or does not let go of; of these it holds what it held. All else holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behind:
    """What stands behind the value of one function of a target."""

    channel: ChannelId
    """Who wants it."""
    mrid: Mrid
    """The event or default it comes from; empty for the owner's standing limits."""
    until: datetime | None = None
    """When the event ends; None for what has no end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """What will be held from a time on, unless something changes until then."""

    channel: ChannelId
    mrid: Mrid
    """The event."""
    setpoints: Setpoints
    starts_at: datetime
    ends_at: datetime


class Southbound(Protocol):
    """One device, one writer: the link to what obeys."""

    async def discover(self) -> DeviceFacts:
        """Find out what the device is and can do.

        Raises: LinkError, PeerError.
        """
        ...

    async def apply(
        self,
        target: Setpoints,
        *,
        ramp_time_s: Decimal | None = None,
        behind: Mapping[FunctionName, Behind] | None = None,
    ) -> ReadBack:
        """Make the device hold exactly `target` and read it back; functions that are absent are released.

        `behind` is for what hands a target on to others: a device of its own has no use for it. One that can tell which
        functions it refuses says so in the answer and carries out the others.
        Raises: LinkError (unknown what holds), Unsupported, PeerError (it was refused as a whole; the old values hold).
        """
        ...

    async def measure(self) -> tuple[Sequence[tuple[str, int, int, int]], Sequence[Alarm]]:
        """Measure: (point, phase, value, power of ten) each, and alarms active now.

        Raises: LinkError, PeerError.
        """
        ...

    async def close(self) -> None:
        """Let go of the device."""
        ...


@runtime_checkable
class Heeding(Protocol):
    """A south link that hands its target on, and so must know when others come to stand behind the same values."""

    def heed(self, behind: Mapping[FunctionName, Behind], coming: Sequence[Coming] = ()) -> None:
        """Take over who stands behind each function now, and what comes; what is to be held is only said by `apply`."""
        ...

    def quality_of(self, point: PointName) -> Quality:
        """Say what is to be thought of a value that `measure` gave last."""
        ...

    def changed(self) -> DeviceFacts | None:
        """Give what the device is now, once, when it is no longer what it was said to be or what it holds is in doubt."""
        ...


@runtime_checkable
class Adjustable(Protocol):
    """A south link to a device that others may adjust while it is obeyed with."""

    async def refreshed(self) -> DeviceFacts | None:
        """Look at its ratings and settings again where that is due, and give what it is now where that changed.

        Raises: LinkError, PeerError.
        """
        ...


@runtime_checkable
class Yielding(Protocol):
    """A south link whose `apply` may wait long for the device, while something else is urgent."""

    def give_way(self, target: Setpoints) -> None:
        """Let an `apply` that only waits end with a LinkError, where it holds up what this target asks for at once."""
        ...


class Northbound(Protocol):
    """One server above: brings programs, takes Responses, readings and status."""

    async def walk(self) -> ProgramsSeen:
        """Read the whole tree once.

        Raises: LinkError, PeerError, Forbidden (not registered here, or the PIN differs).
        """
        ...

    async def respond(self, response: Response) -> None:
        """Deliver one Response; returns when the server has acknowledged it."""
        ...

    async def report(self, readings: Sequence[Reading]) -> None:
        """Deliver readings; returns when the server has acknowledged all."""
        ...

    async def describe(self, facts: DeviceFacts, status: Mapping[str, Decimal | int], now: datetime) -> None:
        """Put capability, settings, status and availability where they changed."""
        ...

    async def close(self) -> None:
        """Let go of the link."""
        ...


class FleetNorthbound(Protocol):
    """One server above a node that stands for many EndDevices there: what a relay needs of it."""

    async def walk(self) -> FleetSeen:
        """Read everything once, shared programs once each; what did not change since may be taken from memory.

        Raises: LinkError, PeerError, Forbidden (this node is not known there).
        """
        ...

    async def enrol(self, members: Sequence[FleetMember]) -> None:
        """Register EndDevices that the server does not list yet, and take out those it lists and we do not name.

        Raises: LinkError, PeerError, Forbidden.
        """
        ...

    async def respond(self, response: Response) -> None:
        """Deliver the Response of one member, under the member's own LFDI.

        Raises: LinkError (come again); PeerError or Forbidden (refused for good).
        """
        ...

    async def report(self, lfdi: Lfdi, readings: Sequence[Reading]) -> None:
        """Deliver readings of one member; returns when the server has acknowledged all.

        Raises: LinkError, PeerError, Forbidden.
        """
        ...

    async def put_info(self, lfdi: Lfdi, kind: DerInfoKind, document: bytes) -> None:
        """Hand on what a member said of itself, as it was received.

        Raises: LinkError, PeerError, Forbidden.
        """
        ...

    async def close(self) -> None:
        """Let go of the link."""
        ...
