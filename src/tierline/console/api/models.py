"""What goes over the operator API: JSON objects with units in their names and times in UTC."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, PlainSerializer

_YEARS = range(1970, 2200)


def _in_utc(time: datetime) -> datetime:
    if time.year not in _YEARS:
        raise ValueError(f"the year must be from {_YEARS.start} to {_YEARS.stop - 1}")
    return time.astimezone(UTC)


Number = Annotated[
    Decimal, PlainSerializer(lambda value: int(value) if value == int(value) else float(value), return_type=float)
]
"""A Decimal, written as a JSON number."""

Reason = Annotated[str, Field(max_length=1000)]
"""Why, for the audit."""

Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time with its zone, taken over in UTC."""

Setpoint = JsonValue
"""A number, true or false, or an object: see `tierline.console.api.values`."""


class Sent(BaseModel):
    """A body that an operator sends; what it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class Shown(BaseModel):
    """A body that is shown."""


class Fault(Shown):
    """What was wrong."""

    kind: str
    """unauthenticated, forbidden, not_found, conflict, invalid, unsupported, unavailable, or internal."""
    message: str
    what_to_do: str | None = None


class Refusal(Shown):
    """The body of every answer that is no success."""

    error: Fault


class Since(Sent):
    """From when, and how many at most."""

    since: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=100_000)] = 10_000


class Status(Shown):
    """The node at a glance."""

    node: str
    level: int
    party: str
    now: datetime
    speed: float
    """Civil seconds per second of the wall; 1 outside demonstrations."""
    poll_s: int
    grid: str | None
    devices: int
    devices_seen: int
    """Those that called within two polls."""
    active_controls: list[str]
    ready: bool
    unready: dict[str, str]
    healthy: bool
    """False where something is wrong, even if the node does its work."""
    unhealthy: dict[str, str]
    clocks: dict[str, float]
    """Relayed channels whose server's clock differs: seconds it is ahead."""
    you: str
    role: str


class NewDevice(Sent):
    """A DER to enrol."""

    lfdi: str | None = None
    service_point: str = ""
    pin: Annotated[int, Field(ge=0, le=999_999)] | None = None
    managed_by: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    """The party that stands for it, as the configuration of a node names it."""
    aggregates: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None
    """The party whose own entry this is: its certificate stands for all DERs which that party manages."""


class NewDevices(Sent):
    """DERs to enrol, all or none."""

    devices: Annotated[list[NewDevice], Field(min_length=1, max_length=20_000)]


class Place(Sent):
    """Where a DER hangs in the grid."""

    service_point: str
    """By the grid file's id; empty for nowhere."""


class Reading(Shown):
    """One measured value."""

    der_id: str
    point: str
    phase: str
    value: Number
    unit: str
    time: datetime
    duration_s: int
    received_at: datetime


class Device(Shown):
    """A DER in the registry."""

    der_id: str
    lfdi: str | None
    sfdi: int | None
    service_point: str
    rating_w: Number
    groups: list[str]
    managed_by: str | None
    aggregates: str | None
    enabled: bool
    registered_at: datetime
    last_seen: datetime | None


class DeviceDetail(Device):
    """A DER with what only its installer and the operator should know, and what it last said."""

    pin: int | None
    described: dict[str, datetime]
    """When it last sent its capability, settings, status and availability."""
    readings: list[Reading]


class Devices(Shown):
    """A page of DERs."""

    total: int
    offset: int
    devices: list[Device]


class Registered(Shown):
    """DERs just enrolled, in the order they were sent."""

    devices: list[DeviceDetail]


class Group(Shown):
    """A group of DERs with its program."""

    id: str
    name: str
    tier: str
    parent: str | None
    element: str | None
    members: int
    rating_w: Number
    program: str
    primacy: int


class Groups(Shown):
    """All groups."""

    groups: list[Group]


class NewGroup(Sent):
    """A group to make: an empty one, or one of everybody or of all DERs of a party, whose members follow by themselves."""

    name: str
    everybody: bool = False
    party: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | None = None


class GroupName(Sent):
    """Another name for a group."""

    name: str


class DeviceNames(Sent):
    """DERs by DerId, LFDI (or its beginning) or service point."""

    devices: Annotated[list[str], Field(min_length=1, max_length=20_000)]
    reason: Reason = ""


class Member(Shown):
    """A DER in a group."""

    der_id: str
    lfdi: str | None
    service_point: str
    rating_w: Number
    since: datetime
    cause: str


class Members(Shown):
    """Who belongs to a group now."""

    group: str
    members: list[Member]


class Program(Shown):
    """A DERProgram."""

    mrid: str
    group: str
    primacy: int
    controls: int
    default: dict[str, Setpoint]


class Programs(Shown):
    """All programs, the strongest first."""

    programs: list[Program]


class NewControl(Sent):
    """A control to send, or to preview."""

    group: str
    """A group by name, id or element of the grid: `feeder-1`."""
    setpoints: dict[str, Setpoint]
    start: Moment | None = None
    """When it begins; now when neither this nor `start_in_s` is given."""
    start_in_s: Annotated[float, Field(ge=0, le=366 * 86_400)] | None = None
    duration_s: Annotated[int, Field(ge=1, le=10 * 366 * 86_400)]
    randomize_start_s: int = 0
    randomize_duration_s: int = 0
    ramp_time_s: Annotated[Decimal, Field(ge=0, le=Decimal("655.35"), decimal_places=2)] | None = None
    """opModRampTms counts hundredths of a second in 16 bits (IEEE 2030.5-2018, DERControlBase)."""
    reason: Reason = ""


class Excluded(Shown):
    """A DER that would not get the control."""

    der_id: str
    service_point: str
    why: str


class Overlap(Shown):
    """A control in force at the same time."""

    mrid: str
    group: str
    functions: list[str]
    start: datetime
    end: datetime
    shared_members: int
    new_one_wins: bool


class Preview(Shown):
    """What a control would do."""

    group: str
    start: datetime
    end: datetime
    members: list[Member]
    excluded: list[Excluded]
    not_seen: list[str]
    refusing: list[Excluded]
    """Members that are known to answer 252, and why."""
    warnings: list[str]
    """What members may refuse of which that is not known."""
    rated_w: Number
    relief_w: Number | None
    overlaps: list[Overlap]
    refused: str
    """Why the governor would refuse it now; empty when it would not."""


class Control(Shown):
    """A control as it stands now."""

    mrid: str
    group: str
    program: str
    primacy: int
    state: str
    """scheduled, active, cancelled, superseded or ended."""
    setpoints: dict[str, Setpoint]
    start: datetime
    end: datetime
    duration_s: int
    randomize_start_s: int
    randomize_duration_s: int
    ramp_time_s: Number | None
    created_at: datetime
    created_by: str
    """The party."""
    members: int
    answers: dict[str, int]
    """How many DERs answered what."""


class Act(Shown):
    """Who did something to a control, and why."""

    verb: str
    principal: str
    party: str
    time: datetime
    reason: str


class DerProgress(Shown):
    """How far one DER has come with a control."""

    der_id: str
    lfdi: str | None
    service_point: str
    is_member: bool
    answers: list[str]
    answered_at: datetime | None


class ControlDetail(Control):
    """A control with all its DERs."""

    acts: list[Act]
    devices: list[DerProgress]


class Controls(Shown):
    """Controls, the newest first."""

    controls: list[Control]


class Created(Shown):
    """A control just created."""

    control: Control
    members: list[str]


class Cancel(Sent):
    """How to cancel."""

    randomized: bool = False
    reason: Reason = ""


class NewDefault(Sent):
    """What shall hold while no control does."""

    setpoints: dict[str, Setpoint]


class Default(Shown):
    """What holds for a group while no control does."""

    group: str
    program: str
    mrid: str | None
    setpoints: dict[str, Setpoint]
    changed_at: datetime | None


class Curve(Shown):
    """A curve that controls or defaults of a program use."""

    mrid: str
    function: str
    group: str
    curve: dict[str, Any]  # Any: the setpoint form of a curve


class Curves(Shown):
    """All curves."""

    curves: list[Curve]


class Readings(Shown):
    """Readings, oldest first."""

    readings: list[Reading]


class Response(Shown):
    """What a DER answered."""

    mrid: str
    der_id: str
    status: int
    answer: str
    created_at: datetime
    received_at: datetime


class Responses(Shown):
    """Responses by time of receipt, oldest first."""

    responses: list[Response]


class Switch(Shown):
    """A switch of the grid."""

    id: int
    kind: str
    node: str
    element: str
    normally_open: bool
    closed: bool


class Switches(Shown):
    """All switches."""

    switches: list[Switch]


class Positions(Sent):
    """Where switches stand, or would."""

    closed: dict[int, bool]
    """By number: true is closed."""


class Moved(Shown):
    """What an operation does to one DER."""

    der_id: str
    service_point: str
    leaves: list[str]
    joins: list[str]


class MovedEvent(Shown):
    """An event that is not over, and how many DERs come out of it or under it."""

    mrid: str
    group: str
    state: str
    setpoints: dict[str, Setpoint]
    start: datetime
    end: datetime
    leave: int
    join: int


class Moves(Shown):
    """Who moves between groups, and which events that touches."""

    done: bool
    moves: list[Moved]
    events: list[MovedEvent]


class Feeder(Shown):
    """A feeder and what hangs on it now."""

    id: str
    transformer: str
    members: int
    rating_w: Number


class GridShown(Shown):
    """The network of this node."""

    name: str
    source: str
    licence: str
    nodes: int
    lines: int
    service_points: int
    transformers: list[str]
    feeders: list[Feeder]
    switches: list[Switch]


class GroupSince(Shown):
    """A group the DER belongs to, since when and why."""

    name: str
    tier: str
    since: datetime
    cause: str


class ProgramNow(Shown):
    """A program of the DER; defaults in words."""

    mrid: str
    group: str
    primacy: int
    default: dict[str, str]


class Answer(Shown):
    """What the DER answered."""

    status: int
    answer: str
    at: datetime


class EventNow(Shown):
    """An event of one of the DER's programs."""

    mrid: str
    group: str
    primacy: int
    status: str
    start: datetime
    end: datetime
    randomized_s: int
    setpoints: dict[str, str]
    holds: list[str]
    why: str
    acts: list[Act]
    answers: list[Answer]


class FunctionNow(Shown):
    """What should be in effect for one function."""

    function: str
    value: str
    unit: str
    source: str
    mrid: str
    group: str
    until: datetime | None
    binding: bool | None
    why: str
    confirmed: bool | None


class Explanation(Shown):
    """Why a DER should do what it does, by what this server knows."""

    device: DeviceDetail
    at: datetime
    groups: list[GroupSince]
    programs: list[ProgramNow]
    functions: list[FunctionNow]
    events: list[EventNow]


class AuditLine(Shown):
    """One act in the audit."""

    sequence: int
    time: datetime
    principal: str
    party: str
    verb: str
    resource: str
    outcome: str
    detail: dict[str, Any]  # Any: what the act was about
    sha256: str


class Audit(Shown):
    """A page of the audit, oldest first."""

    lines: list[AuditLine]


class Verification(Shown):
    """Whether the audit is whole."""

    whole: bool
    records: int
    last_sha256: str | None
    faults: list[str]


class NewToken(Sent):
    """A token to make."""

    name: str
    role: str = "viewer"


class Token(Shown):
    """A token that was made; never its secret."""

    name: str
    role: str
    created_at: datetime
    revoked_at: datetime | None


class Tokens(Shown):
    """All tokens."""

    tokens: list[Token]


class Secret(Shown):
    """A token just made: the only time it is shown."""

    name: str
    role: str
    token: str


class NewTariff(Sent):
    """A tariff to make."""

    description: str
    currency: int
    """ISO 4217 number: 978 is the euro."""
    price_power_of_ten: int = -5
    """Prices are counted in steps of ten to this power."""
    group: str | None = None
    """Whom it concerns: a group by its name, id or element of the grid; everybody without one."""
    flow: Literal["delivered", "received"] = "delivered"
    """Which way the energy flows that it prices: delivered to the customer, or received from him."""
    primacy: int | None = None
    """Lower is stronger; 1 for a group and 2 for everybody unless given."""


class Tariff(Shown):
    """A tariff: information, never a control."""

    mrid: str
    description: str
    currency: int
    price_power_of_ten: int
    created_at: datetime
    audience: str
    """Whom it concerns: the name of a group, or everybody."""
    group: str | None
    """The id of that group, None for everybody."""
    flow: str
    primacy: int
    followed_from: str
    """The channel it is followed from, where alone it can be changed; empty when it is published here."""
    prices: int
    """How many are known that were neither withdrawn nor replaced."""


class Tariffs(Shown):
    """All tariffs."""

    tariffs: list[Tariff]


class NewPrice(Sent):
    """A price from one time on."""

    start: Moment
    duration_s: int
    price: Decimal
    """Per kWh."""


class PricesSince(Since):
    """Which prices to list."""

    ended: bool = False
    """Also those that were withdrawn or replaced."""


class NewPrices(Sent):
    """Prices to publish, all or none."""

    prices: Annotated[list[NewPrice], Field(min_length=1, max_length=10_000)]


class Withdrawal(Sent):
    """Prices to withdraw, all or none, by the times at which they begin."""

    starts: Annotated[list[Moment], Field(min_length=1, max_length=10_000)]


class Price(Shown):
    """A price from one time on."""

    mrid: str
    """The same wherever it is handed on to."""
    start: datetime
    end: datetime
    duration_s: int
    price: Number
    """Per kWh."""
    status: str
    """scheduled, active, cancelled (it was withdrawn) or superseded (it was replaced)."""
    created_at: datetime


class Prices(Shown):
    """Prices of a tariff, in order."""

    tariff: str
    currency: int
    prices: list[Price]
