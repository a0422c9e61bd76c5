"""What the servers of several levels leave behind for their judges, and what a DER of several channels does.

Deeds come in the order in which the server has taken them over, from whom they are shown: the operators' and, at a relay, each
walk upward that has changed what it mirrors. What a dying life made durable without a chance to take it over is in force with
the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tierline.model.records import (
    ControlRecord,
    CurveRecord,
    DefaultRecord,
    MembershipRecord,
    OutboxRecord,
    ProgramRecord,
)
from tierline.sim.evidence import DerEvidence, Posts, RunEvidence, Shown
from tierline.sim.watched import ServerStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tierline.model.identity import ChannelId, DerId, Mrid
    from tierline.model.programs import ResponseStatus
    from tierline.model.records import Record
    from tierline.model.telemetry import Reading
    from tierline.sim.evidence import Deed, Said, Take


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """A relay shows from now on what a walk upward has brought."""

    at_s: float
    shown: Shown
    """What was in force above when it was answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A relay has said that it keeps the assignments that were shown to it."""

    at_s: float
    relay: str
    deeds: int
    """Of the server above, by when they were shown."""
    shown_s: float
    """Its clock, then."""


@dataclass(slots=True, kw_only=True)
class ServerEvidence:
    """All that happened at one server."""

    name: str
    deeds: list[Deed | Mirrored] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    recorded: list[tuple[DerId, Mrid, ResponseStatus]] = field(default_factory=list)
    """Responses in the order in which its store took them."""
    refused: int = 0
    """Acts that it would not do."""
    doubles: frozenset[str] = frozenset()
    """DERs that reach their first program twice."""
    der_ids: dict[str, DerId] = field(default_factory=dict)
    """In its registry, by the name of the DER."""
    births: list[float] = field(default_factory=list)
    """When its lives began."""
    reads: list[Read] = field(default_factory=list)
    posts: Posts = field(default_factory=Posts)
    """Of a relay: the Responses that it passes on."""
    store: ServerStore | None = None
    walked: Shown | None = None
    """Of a relay: what was in force above when it walked last."""
    untaken: list[tuple[Sequence[Record], Shown]] = field(default_factory=list)
    """Changes of what is mirrored that are durable and not yet taken over."""

    @property
    def done(self) -> Sequence[Deed | Mirrored]:
        """The deeds in force."""
        return self.deeds

    def note(self, deed: Deed) -> None:
        """Note what an operator did."""
        self.deeds.append(deed)

    def take_over(self, at_s: float, put: Sequence[Record] | None = None) -> None:
        """Note that the node has taken over what is durable; with `put` one change of it, without all."""
        for kept, shown in self.untaken:
            if put is None or kept is put:
                self.deeds.append(Mirrored(at_s=at_s, shown=shown))
        self.untaken = [] if put is None else [(kept, shown) for kept, shown in self.untaken if kept is not put]


class RelayStore(ServerStore):
    """The store of a relay, which tells when what it mirrors has changed."""

    def __init__(self, evidence: ServerEvidence) -> None:
        super().__init__(evidence)
        self._server = evidence
        self._own: set[str] = set()
        """Programs of this node, and their groups."""

    def apply(self, put: Sequence[Record], delete: Sequence[Record]) -> None:
        """Take one batch over, and tell."""
        super().apply(put, delete)
        self._server.posts.keep(put)
        for record in put:
            if isinstance(record, ProgramRecord) and record.channel is None:
                self._own |= {record.mrid, record.group_id}
        if self._server.walked is not None and self._is_of_above((*put, *delete)):
            self._server.untaken.append((put, self._server.walked))

    def _is_of_above(self, records: Iterable[Record]) -> bool:
        for record in records:
            match record:
                case ProgramRecord(channel=channel):
                    found = channel is not None
                case ControlRecord(program=program) | DefaultRecord(program=program) | CurveRecord(program=program):
                    found = program not in self._own
                case MembershipRecord(membership=membership):
                    found = membership.group_id not in self._own
                case _:
                    found = False
            if found:
                return True
        return False


@dataclass(slots=True, kw_only=True)
class LeafEvidence(DerEvidence):
    """All that happened at one DER, over all its channels."""

    way: str
    """D: the utility's alone, over two servers; A: the aggregator's alone; U: both."""
    clocks: dict[ChannelId, list[tuple[float, float | None]]] = field(default_factory=dict)
    """By channel: when the machine began to reckon with which offset between that server's clock and its own."""
    taken_by: dict[str, list[Reading]] = field(default_factory=dict)
    """By server: the readings that it acknowledged."""
    answered: list[tuple[ChannelId, Mrid, ResponseStatus]] = field(default_factory=list)
    """Its Responses in the order in which they became durable."""

    def keep(self, put: Sequence[Record]) -> None:
        """Note that records are durable."""
        DerEvidence.keep(self, put)
        self.answered += [
            (record.channel, record.mrid, record.status)
            for record in put
            if isinstance(record, OutboxRecord) and record.posted_at is None
        ]

    def restore(self, at_s: float, offsets_s: Mapping[ChannelId, float | None]) -> None:
        """Note that a life restored its machine, with the offsets of its channels."""
        self.begin(at_s, None)
        for channel, offset_s in offsets_s.items():
            self.clocks.setdefault(channel, []).append((at_s, offset_s))

    def take(self, take: Take) -> None:
        """Note a walk that the machine took in."""
        DerEvidence.take(self, take)
        assert take.channel is not None
        self.clocks.setdefault(take.channel, []).append((take.at_s, take.offset_s))

    def acknowledge(self, server: str, readings: Sequence[Reading]) -> None:
        """Note that a server has taken readings."""
        self.taken_by.setdefault(server, []).extend(readings)


@dataclass(slots=True, kw_only=True)
class LevelsEvidence(RunEvidence[LeafEvidence]):
    """All that happened in one run with several servers."""

    servers: dict[str, ServerEvidence]

    def notice(self, at_s: float, who: str, what: str) -> None:
        """Note of the lives of all nodes when they begin, and of DERs when they end."""
        RunEvidence.notice(self, at_s, who, what)
        if who in self.servers and what.startswith("start of life"):
            self.servers[who].births.append(at_s)
