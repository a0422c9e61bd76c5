"""Who acts: parties, the principals that act for them, and the channels through which they speak to a DER."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from tierline.model.identity import ChannelId, Lfdi, PartyId


class Role(StrEnum):
    """What a principal is to this node."""

    OPERATOR = "operator"
    """A person or program at the operator interface of this node."""
    VIEWER = "viewer"
    """The same, without the right to change anything."""
    DEVICE = "device"
    """A DER or gateway that stands for one EndDevice, known by its certificate."""
    AGGREGATOR = "aggregator"
    """A party that stands for many EndDevices, known by its certificate."""
    UPSTREAM = "upstream"
    """A server above this node whose programs it follows or relays."""
    SELF = "self"
    """The node itself: migrations, expiry, its own schedules."""


class Authority(IntEnum):
    """Authority classes, the lower the stronger.

    Source: docs/rules.md section 5.
    """

    PROTECTION = 0
    LOCAL_EMERGENCY = 1
    UTILITY = 2
    AGGREGATOR = 3
    OWNER = 4
    DEFAULT = 5


class ChannelMode(StrEnum):
    """How many channels may command one DER."""

    SINGLE = "single"
    DUAL = "dual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An organisation or person that owns, operates or commands."""

    id: PartyId
    """Its short name in the configuration."""
    name: str
    """What people call it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks for an operation: the first argument of every use case."""

    party: PartyId
    """For whom it acts."""
    role: Role
    """As what it acts."""
    name: str
    """Operator's name, LFDI of the certificate, or the node's own name: what the audit shows."""
    lfdi: Lfdi | None = None
    """The LFDI of the certificate of the very connection, where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """An authenticated source of controls for a DER; all servers of one party are one channel."""

    id: ChannelId
    """Its name at this node."""
    party: PartyId
    """The party that speaks."""
    authority: Authority
    """Its authority class."""
    rank: int
    """Unique per DER, lower first."""
