"""What the operator API answers: JSON objects, with units in their names and times as ISO 8601 text in UTC.

A test keeps them equal to what the API declares.
"""

from typing import Any, TypedDict

Setpoint = bool | int | float | str | list[Any] | dict[str, Any]
"""A number, true or false, or an object. Any: its parts, by the function's value type."""


class Status(TypedDict):
    """The node at a glance."""

    node: str
    level: int
    party: str
    now: str
    speed: float
    poll_s: int
    grid: str | None
    devices: int
    devices_seen: int
    active_controls: list[str]
    ready: bool
    unready: dict[str, str]
    healthy: bool
    unhealthy: dict[str, str]
    clocks: dict[str, float]
    you: str
    role: str


class Reading(TypedDict):
    """One measured value."""

    der_id: str
    point: str
    phase: str
    value: float
    unit: str
    time: str
    duration_s: int
    received_at: str


class Device(TypedDict):
    """A DER in the registry."""

    der_id: str
    lfdi: str | None
    sfdi: int | None
    service_point: str
    rating_w: float
    groups: list[str]
    managed_by: str | None
    aggregates: str | None
    enabled: bool
    registered_at: str
    last_seen: str | None


class DeviceDetail(Device):
    """A DER with what only its installer and the operator should know, and what it last said."""

    pin: int | None
    described: dict[str, str]
    readings: list[Reading]


class Devices(TypedDict):
    """A page of DERs."""

    total: int
    offset: int
    devices: list[Device]


class Registered(TypedDict):
    """DERs just enrolled, in the order they were sent."""

    devices: list[DeviceDetail]


class Group(TypedDict):
    """A group of DERs with its program."""

    id: str
    name: str
    tier: str
    parent: str | None
    element: str | None
    members: int
    rating_w: float
    program: str
    primacy: int


class Groups(TypedDict):
    """All groups."""

    groups: list[Group]


class Member(TypedDict):
    """A DER in a group."""

    der_id: str
    lfdi: str | None
    service_point: str
    rating_w: float
    since: str
    cause: str


class Members(TypedDict):
    """Who belongs to a group now."""

    group: str
    members: list[Member]


class Program(TypedDict):
    """A DERProgram."""

    mrid: str
    group: str
    primacy: int
    controls: int
    default: dict[str, Setpoint]


class Programs(TypedDict):
    """All programs, the strongest first."""

    programs: list[Program]


class Excluded(TypedDict):
    """A DER that would not get the control."""

    der_id: str
    service_point: str
    why: str


class Overlap(TypedDict):
    """A control in force at the same time."""

    mrid: str
    group: str
    functions: list[str]
    start: str
    end: str
    shared_members: int
    new_one_wins: bool


class Preview(TypedDict):
    """What a control would do."""

    group: str
    start: str
    end: str
    members: list[Member]
    excluded: list[Excluded]
    not_seen: list[str]
    refusing: list[Excluded]
    warnings: list[str]
    rated_w: float
    relief_w: float | None
    overlaps: list[Overlap]
    refused: str


class Control(TypedDict):
    """A control as it stands now."""

    mrid: str
    group: str
    program: str
    primacy: int
    state: str
    setpoints: dict[str, Setpoint]
    start: str
    end: str
    duration_s: int
    randomize_start_s: int
    randomize_duration_s: int
    ramp_time_s: float | None
    created_at: str
    created_by: str
    members: int
    answers: dict[str, int]


class Act(TypedDict):
    """Who did something to a control, and why."""

    verb: str
    principal: str
    party: str
    time: str
    reason: str


class DerProgress(TypedDict):
    """How far one DER has come with a control."""

    der_id: str
    lfdi: str | None
    service_point: str
    is_member: bool
    answers: list[str]
    answered_at: str | None


class ControlDetail(Control):
    """A control with all its DERs."""

    acts: list[Act]
    devices: list[DerProgress]


class Controls(TypedDict):
    """Controls, the newest first."""

    controls: list[Control]


class Created(TypedDict):
    """A control just created."""

    control: Control
    members: list[str]


class Default(TypedDict):
    """What holds for a group while no control does."""

    group: str
    program: str
    mrid: str | None
    setpoints: dict[str, Setpoint]
    changed_at: str | None


class Curve(TypedDict):
    """A curve that controls or defaults of a program use."""

    mrid: str
    function: str
    group: str
    curve: dict[str, Any]


class Curves(TypedDict):
    """All curves."""

    curves: list[Curve]


class Readings(TypedDict):
    """Readings, oldest first."""

    readings: list[Reading]


class Response(TypedDict):
    """What a DER answered."""

    mrid: str
    der_id: str
    status: int
    answer: str
    created_at: str
    received_at: str


class Responses(TypedDict):
    """Responses by time of receipt, oldest first."""

    responses: list[Response]


class Switch(TypedDict):
    """A switch of the grid."""

    id: int
    kind: str
    node: str
    element: str
    normally_open: bool
    closed: bool


class Switches(TypedDict):
    """All switches."""

    switches: list[Switch]


class Moved(TypedDict):
    """What an operation does to one DER."""

    der_id: str
    service_point: str
    leaves: list[str]
    joins: list[str]


class MovedEvent(TypedDict):
    """An event that is not over, and how many DERs come out of it or under it."""

    mrid: str
    group: str
    state: str
    setpoints: dict[str, Setpoint]
    start: str
    end: str
    leave: int
    join: int


class Moves(TypedDict):
    """Who moves between groups, and which events that touches."""

    done: bool
    moves: list[Moved]
    events: list[MovedEvent]


class Feeder(TypedDict):
    """A feeder and what hangs on it now."""

    id: str
    transformer: str
    members: int
    rating_w: float


class GridShown(TypedDict):
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


class GroupSince(TypedDict):
    """A group the DER belongs to, since when and why."""

    name: str
    tier: str
    since: str
    cause: str


class ProgramNow(TypedDict):
    """A program of the DER; defaults in words."""

    mrid: str
    group: str
    primacy: int
    default: dict[str, str]


class Answer(TypedDict):
    """What the DER answered."""

    status: int
    answer: str
    at: str


class EventNow(TypedDict):
    """An event of one of the DER's programs."""

    mrid: str
    group: str
    primacy: int
    status: str
    start: str
    end: str
    randomized_s: int
    setpoints: dict[str, str]
    holds: list[str]
    why: str
    acts: list[Act]
    answers: list[Answer]


class FunctionNow(TypedDict):
    """What should be in effect for one function."""

    function: str
    value: str
    unit: str
    source: str
    mrid: str
    group: str
    until: str | None
    binding: bool | None
    why: str
    confirmed: bool | None


class Explanation(TypedDict):
    """Why a DER should do what it does, by what this server knows."""

    device: DeviceDetail
    at: str
    groups: list[GroupSince]
    programs: list[ProgramNow]
    functions: list[FunctionNow]
    events: list[EventNow]


class AuditLine(TypedDict):
    """One act in the audit."""

    sequence: int
    time: str
    principal: str
    party: str
    verb: str
    resource: str
    outcome: str
    detail: dict[str, Any]
    sha256: str


class Audit(TypedDict):
    """A page of the audit, oldest first."""

    lines: list[AuditLine]


class Verification(TypedDict):
    """Whether the audit is whole."""

    whole: bool
    records: int
    last_sha256: str | None
    faults: list[str]


class Token(TypedDict):
    """A token that was made; never its secret."""

    name: str
    role: str
    created_at: str
    revoked_at: str | None


class Tokens(TypedDict):
    """All tokens."""

    tokens: list[Token]


class Secret(TypedDict):
    """A token just made: the only time it is shown."""

    name: str
    role: str
    token: str


class Tariff(TypedDict):
    """A tariff: information, never a control."""

    mrid: str
    description: str
    currency: int
    price_power_of_ten: int
    created_at: str
    audience: str
    group: str | None
    flow: str
    primacy: int
    followed_from: str
    prices: int


class Tariffs(TypedDict):
    """All tariffs."""

    tariffs: list[Tariff]


class Price(TypedDict):
    """A price from one time on."""

    mrid: str
    start: str
    end: str
    duration_s: int
    price: float
    status: str
    created_at: str


class Prices(TypedDict):
    """Prices of a tariff, in order."""

    tariff: str
    currency: int
    prices: list[Price]
