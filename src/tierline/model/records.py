"""What a node keeps: one frozen record per table of the store; every record names its party.

A record is the whole row. The store writes it under its key (the fields named in `KEYS`) and reads it back by kind.
Nested values (a Control, a Program) stay values here; how they are written down is the store's business.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum

from tierline.model.control import Control, Curve, EventStatus
from tierline.model.identity import ChannelId, DerId, GroupId, Lfdi, Mrid, PartyId
from tierline.model.programs import DefaultControl, Program, ResponseStatus
from tierline.model.telemetry import Reading
from tierline.model.topology import Group, Membership


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The root of all records."""

    party: PartyId
    """The party whose data this is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyRecord(Record):
    """A party this node knows."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord(Record):
    """An operator's access token; only its hash is kept."""

    name: str
    role: str
    token_sha256: str
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndDeviceRecord(Record):
    """A DER or gateway in the registry, keyed by its DerId."""

    der_id: DerId
    service_point: str
    """Where it is in the grid, by the grid file's id; empty when unknown. Label: location."""
    pin: int | None
    device_category: int
    managed_by: PartyId | None
    """The aggregator that stands for it, None for a direct DER."""
    enabled: bool
    registered_at: datetime
    changed_at: datetime
    aggregates: PartyId | None = None
    """The party whose own entry this is: it stands for others and is no DER; None for a DER."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityRecord(Record):
    """An LFDI of a DER, with its validity: a renewed certificate adds a row."""

    der_id: DerId
    lfdi: Lfdi
    valid_from: datetime
    valid_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRecord(Record):
    """A group of DERs: a part of the grid, or any other set. Its name never leaves the node."""

    group: Group
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MembershipRecord(Record):
    """That a DER belonged to a group from one time to another, as known since `recorded_at`."""

    membership: Membership
    cause: str
    """What moved it: `registered`, `switch 107 closed`, `operator`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchRecord(Record):
    """The confirmed state of one switch."""

    switch_id: int
    closed: bool
    changed_at: datetime
    recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRecord(Record):
    """A DERProgram: one per group and purpose."""

    mrid: Mrid
    group_id: GroupId
    primacy: int
    description: str
    created_at: datetime
    channel: ChannelId | None = None
    """The north channel it is relayed from, None for a program of this node's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRecord(Record):
    """The default of a program."""

    program: Mrid
    default: DefaultControl
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveRecord(Record):
    """A curve that controls and defaults of a program refer to."""

    mrid: Mrid
    program: Mrid
    function: str
    curve: Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlRecord(Record):
    """An event of a program, with its status as set by this node."""

    mrid: Mrid
    program: Mrid
    control: Control
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseRecord(Record):
    """A Response this node received."""

    mrid: Mrid
    der_id: DerId
    status: ResponseStatus
    lfdi: Lfdi | None
    created_at: datetime
    received_at: datetime


class DerInfoKind(StrEnum):
    """The resources a DER keeps current at its server."""

    CAPABILITY = "dercap"
    SETTINGS = "derg"
    STATUS = "ders"
    AVAILABILITY = "dera"
    DEVICE_INFORMATION = "di"


@dataclass(frozen=True, slots=True, kw_only=True)
class DerInfoRecord(Record):
    """The last DERCapability, DERSettings, DERStatus, DERAvailability or DeviceInformation of a DER."""

    der_id: DerId
    kind: DerInfoKind
    document: bytes
    """As received and checked, in the protocol's own form."""
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorUsagePointRecord(Record):
    """A MirrorUsagePoint a DER created; its meter readings are inside the document."""

    mrid: Mrid
    der_id: DerId
    mup_id: str
    """Opaque, in hrefs."""
    document: bytes
    changed_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRecord(Record):
    """A reading this node received, present once."""

    meter_reading: Mrid
    """The MirrorMeterReading it belongs to."""
    reading: Reading
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRecord(Record):
    """A peer's wish to be told of changes of one resource."""

    subscription_id: str
    """Opaque, in hrefs."""
    der_id: DerId
    """The EndDevice it stands under: that of the peer which made it."""
    resource: str
    """Path of what is subscribed to, as the peer wrote it."""
    notification_uri: str
    """Where notices go; checked when it was made and again before every notice."""
    encoding: int
    level: str
    limit: int
    """The most list items per notice; 0: notices without a body."""
    created_at: datetime
    renewed_at: datetime
    lower_threshold: int | None = None
    upper_threshold: int | None = None
    """Of readings: only values below the one or above the other are told, in the power of ten of their series. None: all."""


class NoticeStatus(IntEnum):
    """Why a notice is sent.

    Source: IEEE 2030.5-2018, Notification.status.
    """

    CHANGED = 0
    CANCELLED = 1
    MOVED = 2
    REDEFINED = 3
    DELETED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRecord(Record):
    """That a subscriber is still to be told; one per subscription, as a notice tells the state at its sending."""

    subscription_id: str
    status: NoticeStatus
    since: datetime
    """When what it tells of happened."""
    attempts: int
    next_at: datetime
    """When to try (again)."""


class Flow(IntEnum):
    """Which way the energy flows that a tariff prices.

    Source: IEEE 2030.5-2018, FlowDirectionType.
    """

    DELIVERED = 1
    """To the customer: what consumption costs."""
    RECEIVED = 19
    """From the customer: what generation earns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TariffRecord(Record):
    """A tariff whose prices this node publishes: information, never a control."""

    mrid: Mrid
    description: str
    currency: int
    """ISO 4217 number."""
    price_power_of_ten: int
    created_at: datetime
    rate_component: Mrid
    """Its one RateComponent; like its own mRID and those of its prices the same wherever the tariff is handed on to."""
    group: GroupId | None = None
    """Whom it concerns: the DERs of a group, None for everybody this node serves."""
    flow: Flow = Flow.DELIVERED
    service: int = 0
    """ServiceKind: 0 electricity."""
    primacy: int = 2
    """Lower is stronger. Source: IEEE 2030.5-2018, PrimacyType: 1 contracted, 2 non-contractual service provider."""
    followed_from: str = ""
    """The channel it was followed from, where alone it is changed; empty when it is published here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRecord(Record):
    """The price of a tariff for a time: a TimeTariffInterval with its one ConsumptionTariffInterval."""

    tariff: Mrid
    mrid: Mrid
    """The same wherever the price is handed on to, like its creation time."""
    start: datetime
    duration_s: int
    price: int
    """Per kWh, in the tariff's currency and power of ten."""
    created_at: datetime
    status: EventStatus = EventStatus.SCHEDULED
    """What its publisher did to it: SCHEDULED unless it was withdrawn or replaced; whether it is active follows from the time."""
    status_at: datetime
    """When the status last changed by its publisher's doing."""
    tou_tier: int = 0
    """TOUType: 0 where no tiers are told apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord(Record):
    """One link of the hash chain: who did what to what, when, and what came of it."""

    sequence: int
    time: datetime
    principal: str
    verb: str
    resource: str
    outcome: str
    detail: str
    """JSON."""
    previous_sha256: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedProgramsRecord(Record):
    """The last walk of a channel, so that a restart without a link still knows its schedule."""

    channel: ChannelId
    der_id: DerId
    programs: tuple[Program, ...]
    clock_offset_s: float
    seen_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedEventRecord(Record):
    """What a follower knows and has done about one event; the offsets are drawn once and kept."""

    channel: ChannelId
    der_id: DerId
    mrid: Mrid
    document: bytes
    """The state as `engine.following.obey` writes it down."""
    ends_at: datetime
    """When it may be forgotten, some time after its last effective end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRecord(Record):
    """A Response that must reach its channel once."""

    channel: ChannelId
    der_id: DerId
    mrid: Mrid
    status: ResponseStatus
    lfdi: Lfdi | None
    created_at: datetime
    posted_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferedReadingRecord(Record):
    """A reading that waits to be posted, in order of `sequence`."""

    channel: ChannelId
    sequence: int
    reading: Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedRecord(Record):
    """The last explanation of what one DER applies, as `engine.arbitration` states it."""

    der_id: DerId
    explanation: bytes
    """JSON."""
    applied_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRecord(Record):
    """A small fact a node must remember across restarts, by name (its own DerId, hrefs it was given)."""

    name: str
    value: str


KEYS: dict[type[Record], tuple[str, ...]] = {
    PartyRecord: ("party",),
    TokenRecord: ("name",),
    EndDeviceRecord: ("der_id",),
    IdentityRecord: ("der_id", "lfdi"),
    GroupRecord: ("group.id",),
    MembershipRecord: (
        "membership.der_id",
        "membership.group_id",
        "membership.valid_from",
        "membership.recorded_at",
    ),
    SwitchRecord: ("switch_id", "recorded_at"),
    ProgramRecord: ("mrid",),
    DefaultRecord: ("program",),
    CurveRecord: ("mrid",),
    ControlRecord: ("mrid",),
    ResponseRecord: ("mrid", "der_id", "status"),
    DerInfoRecord: ("der_id", "kind"),
    MirrorUsagePointRecord: ("mrid",),
    ReadingRecord: ("reading.der_id", "meter_reading", "reading.time"),
    SubscriptionRecord: ("subscription_id",),
    NoticeRecord: ("subscription_id",),
    TariffRecord: ("mrid",),
    PriceRecord: ("tariff", "mrid"),
    AuditRecord: ("sequence",),
    FollowedProgramsRecord: ("channel", "der_id"),
    FollowedEventRecord: ("channel", "der_id", "mrid"),
    OutboxRecord: ("channel", "der_id", "mrid", "status"),
    BufferedReadingRecord: ("channel", "sequence"),
    AppliedRecord: ("der_id",),
    KnownRecord: ("name",),
}
"""The key of each record, within one node's part of the store. `reading.time` is a field of a nested value."""
