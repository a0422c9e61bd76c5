"""What any north protocol brings: programs with their controls and defaults, and what goes back. Free of hrefs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from tierline.model.control import Control, Provenance, Setpoints
from tierline.model.identity import ChannelId, DerId, Lfdi, Mrid


class ResponseStatus(IntEnum):
    """What a DER answers to an event.

    Source: IEEE 2030.5-2018 table 27.
    """

    RECEIVED = 1
    STARTED = 2
    COMPLETED = 3
    USER_OPT_OUT = 4
    USER_OPT_IN = 5
    CANCELLED = 6
    SUPERSEDED = 7
    PARTIAL_OPT_OUT = 8
    PARTIAL_OPT_IN = 9
    COMPLETED_NO_PARTICIPATION = 10
    ABORTED_SERVER = 13
    ABORTED_PROGRAM = 14
    REJECTED_PARAMETER = 252
    REJECTED_INVALID = 253
    REJECTED_EXPIRED = 254


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultControl:
    """What holds while no event does; settings such as ramp rates exist only here."""

    mrid: Mrid
    setpoints: Setpoints
    description: str = ""
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One DERProgram with everything a DER needs of it."""

    mrid: Mrid
    primacy: int
    """Lower is stronger."""
    controls: tuple[Control, ...] = ()
    default: DefaultControl | None = None
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Which programs one EndDevice is assigned to at this moment."""

    der_id: DerId
    programs: tuple[Program, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramsSeen:
    """One complete walk of a channel: all assignments, programs, controls and defaults of one DER."""

    channel: ChannelId
    programs: tuple[Program, ...]
    clock_offset_s: float = 0.0
    """Time of the server minus time of this node, in civil seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What one DER answers to one event; at most one per (mRID, DER, status)."""

    mrid: Mrid
    """The event."""
    der_id: DerId
    lfdi: Lfdi | None
    """The LFDI of the DER, not of the connection that carries it."""
    status: ResponseStatus
    created_at: datetime
    channel: ChannelId
    """The channel that asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetMember:
    """One EndDevice for which this node stands at a server above."""

    lfdi: Lfdi
    pin: int | None
    """Its registration PIN, None where the server shows none."""
    device_category: int
    enabled: bool = True
    programs: tuple[Mrid, ...] = ()
    """The programs it is assigned to now, in the server's order."""
    is_assigned: bool = True
    """False for an empty list of function set assignments: another server shows them. One that is in no group has assignments
    without a program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSeen:
    """All that a server above shows to a node that stands for many: each program once, whoever is assigned to it."""

    channel: ChannelId
    members: Mapping[Lfdi, FleetMember] = field(default_factory=dict)
    programs: Mapping[Mrid, Program] = field(default_factory=dict)
    clock_offset_s: float = 0.0
    """Time of the server minus time of this node, in civil seconds."""
