"""What a simulated hierarchy leaves behind for its judges: bare facts in order, no opinion.

Times are virtual seconds since the world began (`at_s`) or seconds on a clock since `START` (`…_s` of a clock).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from tierline.model.records import FollowedEventRecord, OutboxRecord
from tierline.sim.loop import START

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from tierline.engine.following.obey import Persist
    from tierline.model.control import FunctionName, Setpoints
    from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid
    from tierline.model.programs import Program, Response, ResponseStatus
    from tierline.model.records import ControlRecord, DefaultRecord, Record
    from tierline.model.telemetry import Reading
    from tierline.ports import Random, Store
    from tierline.sim.faults import ClockStep
    from tierline.sim.owner_evidence import OwnerEvidence

FAILURE = 0.02
"""Probability that an inverter fails a request in one of its ways."""


def second(when: datetime) -> float:
    """Give a civil time in seconds since the beginning of all simulations."""
    return (when - START).total_seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Created:
    """A control exists from now on."""

    at_s: float
    record: ControlRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled:
    """A control is cancelled from now on."""

    at_s: float
    mrid: Mrid
    randomized: bool
    server_s: float
    """When, by the server's clock, in whole seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaulted:
    """A program has this default from now on."""

    at_s: float
    record: DefaultRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """The switches named stand so from now on."""

    at_s: float
    positions: Mapping[int, bool]


Deed = Created | Cancelled | Defaulted | Switched
"""What an operator did and the utility made durable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What was in force at the server while a walk was answered."""

    deeds: int
    """How many deeds were done before it."""
    server_s: float
    """The server's clock at that moment."""
    deeds_after: int
    """The same when it was over; a walk of many requests may see a deed half."""
    server_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one of several servers answered to a walk."""

    shown: Shown
    programs: tuple[Program, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A walk over all servers of one channel: what each of them answered in the last round."""

    answers: Mapping[str, Answer]
    """By server."""
    is_reached: bool
    """Whether all answered, or said that they do not know the DER."""
    is_first: bool
    """Whether it is the first one of a life."""


Seeing = Shown | Sighting
"""What stands behind a walk."""


@dataclass(slots=True, kw_only=True)
class Take:
    """A walk as the machine took it in."""

    at_s: float
    server_s: float
    """The server's clock as the machine estimates it."""
    offset_s: float
    programs: tuple[Program, ...]
    shown: Seeing
    is_durable: bool = False
    """Whether what came of it survives a crash."""
    channel: ChannelId | None = None
    """Where there are several."""


@dataclass(slots=True, kw_only=True)
class Refusal:
    """An event that the owner refused (E23), as the machine took it in."""

    at_s: float
    mrid: Mrid
    is_durable: bool = False
    """Whether it survives a crash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A stretch of virtual time."""

    from_s: float
    until_s: float


@dataclass(slots=True, kw_only=True)
class Inverter:
    """A device: outside every node, it survives the crash of its gateway; it fails now and then."""

    name: str
    functions: frozenset[FunctionName]
    held: Setpoints
    random: Random
    carries_ramp_time: bool
    calm_from_s: float
    """From when on it fails no more."""
    writes: list[tuple[float, Setpoints]] = field(default_factory=list)
    """When it came to hold what."""
    troubles: list[Window] = field(default_factory=list)
    """From the begin of a write that was made to fail to the end of the next one that was not."""
    trouble_since_s: float | None = None
    measured: dict[tuple[str, float], int] = field(default_factory=dict)
    """By point and whole second."""


@dataclass(slots=True)
class Posts:
    """Which Responses a node has struck out durably, and which of those it sent again all the same."""

    _struck: set[tuple[Lfdi | None, ChannelId, Mrid, ResponseStatus]] = field(default_factory=set)
    again: list[Response] = field(default_factory=list)

    def keep(self, put: Sequence[Record]) -> None:
        """Note that records are durable."""
        self._struck |= {
            (record.lfdi, record.channel, record.mrid, record.status)
            for record in put
            if isinstance(record, OutboxRecord) and record.posted_at is not None
        }

    def send(self, response: Response) -> None:
        """Note that one is being sent: first, or because nothing came back, but never when it has arrived."""
        if (response.lfdi, response.channel, response.mrid, response.status) in self._struck:
            self.again.append(response)


@dataclass(slots=True, kw_only=True)
class DerEvidence:
    """All that happened at one DER."""

    name: str
    lfdi: Lfdi
    inverter: Inverter
    supersede_code: str
    der_id: DerId | None = None
    """In the registry of the utility."""
    starts: list[float] = field(default_factory=list)
    """When a life began to obey: its machine was restored."""
    births: list[float] = field(default_factory=list)
    crashes: list[float] = field(default_factory=list)
    takes: list[Take] = field(default_factory=list)
    offsets: list[tuple[float, float | None]] = field(default_factory=list)
    """When the machine began to reckon with which offset between its server's clock and its own; None: it knows none."""
    documents: dict[Mrid, list[bytes]] = field(default_factory=dict)
    """Every durable state of every event."""
    full: list[Window] = field(default_factory=list)
    """From a refused Persist to the moment it was taken."""
    applied: list[float] = field(default_factory=list)
    """When the machine was told that the device holds what it wants."""
    acknowledged: list[Reading] = field(default_factory=list)
    posts: Posts = field(default_factory=Posts)
    """Its Responses on their way."""
    owner: OwnerEvidence | None = None
    """What its owner says; None: he never does."""
    store: Store | None = None
    refusals: list[Refusal] = field(default_factory=list)
    unclaimed: list[Take | Refusal] = field(default_factory=list)
    pending: list[tuple[tuple[Record, ...], list[Take | Refusal]]] = field(default_factory=list)
    refused_since_s: dict[int, float] = field(default_factory=dict)

    def restore(self, at_s: float, offsets_s: Mapping[ChannelId, float | None]) -> None:
        """Note that a life restored its machine, with the offsets of its channels."""
        self.begin(at_s, next(iter(offsets_s.values()), None))

    def begin(self, at_s: float, offset_s: float | None) -> None:
        """Note that a life restored its machine; what was not durable is gone. None: its server was never heard."""
        self.starts.append(at_s)
        if self.owner is not None:
            self.owner.begin()
        self.takes = [take for take in self.takes if take.is_durable]
        self.refusals = [refusal for refusal in self.refusals if refusal.is_durable]
        self.full.extend(Window(from_s=since_s, until_s=at_s) for since_s in self.refused_since_s.values())
        self.unclaimed, self.pending, self.refused_since_s = [], [], {}
        self.offsets.append((at_s, offset_s))

    def take(self, take: Take) -> None:
        """Note a walk that the machine took in."""
        self.takes.append(take)
        self.unclaimed.append(take)
        self.offsets.append((take.at_s, take.offset_s))

    def opt_out(self, refusal: Refusal) -> None:
        """Note that the machine took in that the owner refuses an event."""
        self.refusals.append(refusal)
        self.unclaimed.append(refusal)

    def acknowledge(self, server: str, readings: Sequence[Reading]) -> None:
        """Note that a server has taken readings."""
        del server
        self.acknowledged.extend(readings)

    def ask(self, effect: Persist) -> None:
        """Note that the machine wants something kept: all it took in so far stands behind it."""
        self.pending.append((effect.put, self.unclaimed))
        self.unclaimed = []

    def keep(self, put: Sequence[Record]) -> None:
        """Note that records are durable."""
        if self.owner is not None:
            self.owner.keep(put)
        for asked, takes in self.pending:
            if _is_same(asked, put):
                for take in takes:
                    take.is_durable = True
        self.pending = [(asked, takes) for asked, takes in self.pending if not _is_same(asked, put)]
        self.posts.keep(put)
        for record in put:
            if isinstance(record, FollowedEventRecord):
                self.documents.setdefault(record.mrid, []).append(record.document)

    def refuse(self, at_s: float, put: Sequence[Record]) -> None:
        """Note that the disk refused what the machine wants kept."""
        if any(_is_same(asked, put) for asked, _ in self.pending):
            self.refused_since_s.setdefault(id(put), at_s)

    def accept(self, at_s: float, put: Sequence[Record]) -> None:
        """Note that the disk took it at last."""
        since_s = self.refused_since_s.pop(id(put), None)
        if since_s is not None:
            self.full.append(Window(from_s=since_s, until_s=at_s))


def _is_same(asked: Sequence[Record], put: Sequence[Record]) -> bool:
    """Tell whether this is what the machine wants kept, in whatever it is handed on."""
    return len(asked) == len(put) and all(map(_is_handed_on, asked, put))


def _is_handed_on(asked: Record, put: Record) -> bool:
    """Tell whether this is the record that was asked for; of a Response to the owner it is noted on the way that it arrived (A10)."""
    if isinstance(asked, OutboxRecord) and isinstance(put, OutboxRecord):
        return replace(asked, posted_at=put.posted_at) == put
    return asked is put


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A Response that arrived at the utility, once or again."""

    at_s: float
    der: str
    mrid: Mrid
    status: ResponseStatus
    created_s: float


D = TypeVar("D", bound=DerEvidence)


@dataclass(slots=True, kw_only=True)
class RunEvidence(Generic[D]):
    """What happened at the DERs in one run."""

    ders: dict[str, D] = field(default_factory=dict)
    waiting: dict[str, list[OutboxRecord]] = field(default_factory=dict)
    """What is left in their outboxes."""
    clock_steps: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """By node: when its clock was stepped by how much."""
    end_s: float = 0.0

    def step_clocks(self, steps: Iterable[ClockStep]) -> None:
        """Note which clocks will be stepped."""
        for step in steps:
            self.clock_steps.setdefault(step.node, []).append((max(0.0, step.at_s), step.by_s))

    def notice(self, at_s: float, who: str, what: str) -> None:
        """Note of the lives of DERs when they begin and end, as the world tells it."""
        der = self.ders.get(who)
        if der is not None and what.startswith("crash of life"):
            der.crashes.append(at_s)
        elif der is not None and what.startswith("start of life"):
            der.births.append(at_s)

    def end(self, at_s: float) -> None:
        """Gather what is left when time is over."""
        self.end_s = at_s
        for name, der in self.ders.items():
            kept = der.store.load(OutboxRecord) if der.store is not None else []
            self.waiting[name] = [record for record in kept if record.posted_at is None]


@dataclass(slots=True, kw_only=True)
class Evidence(RunEvidence[DerEvidence]):
    """All that happened in one run with one server."""

    deeds: list[Deed] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    recorded: list[tuple[DerId, Mrid, ResponseStatus]] = field(default_factory=list)
    """Responses in the order in which the utility's store took them."""
    utility: Store | None = None
    """Its store."""
    refused: int = 0
    """Deeds that the utility would not do: too late, or done already."""
    doubles: frozenset[str] = frozenset()
    """DERs that reach their first program twice, as through two function set assignments."""

    @property
    def done(self) -> Sequence[Deed]:
        """What the operators did."""
        return self.deeds

    def note(self, deed: Deed) -> None:
        """Note what an operator did."""
        self.deeds.append(deed)
