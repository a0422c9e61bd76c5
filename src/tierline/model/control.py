"""What can be commanded: values of the canonical functions, when they hold, and who said so."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import IntEnum, IntFlag

from tierline.model.identity import ChannelId, Lfdi, Mrid, PartyId

FunctionName = str
"""Key of a row in `model.functions.FUNCTIONS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerFactor:
    """A displacement power factor."""

    displacement: Decimal
    """0 < displacement <= 1."""
    absorbing: bool
    """True: under-excited, absorbing reactive power; False: over-excited, injecting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Droop:
    """Frequency droop.

    Source: IEEE 1547-2018 6.5.2.7.
    """

    dead_band_over_hz: Decimal
    dead_band_under_hz: Decimal
    slope_over: Decimal
    """Per-unit frequency per per-unit power: 0.05 means 5 % of nominal frequency for 100 % of power."""
    slope_under: Decimal
    open_loop_s: Decimal


class Reference(IntEnum):
    """What a percentage refers to; the numbers are those of DERUnitRefType in IEEE 2030.5-2018."""

    NONE = 0
    SET_MAX_W = 1
    SET_MAX_VAR = 2
    STAT_VAR_AVAIL = 3
    SET_EFFECTIVE_V = 4
    SET_MAX_CHARGE_RATE_W = 5
    SET_MAX_DISCHARGE_RATE_W = 6
    STAT_W_AVAIL = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedVar:
    """A constant reactive power."""

    value_pct: Decimal
    """Percent of the reference; positive injects."""
    reference: Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """One point of a curve, in the units of the curve's function row."""

    x: Decimal
    y: Decimal
    absorbing: bool | None = None
    """For watt-PF curves only: the excitation of the power factor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """A function by points, as volt-var or ride-through curves are.

    Ride-through curves have x = time in seconds, y = voltage in percent or frequency in hertz; volt-var and volt-watt
    x = percent of the effective voltage, freq-watt x = hertz.
    """

    mrid: Mrid
    points: tuple[CurvePoint, ...]
    """1 to 10 points."""
    y_reference: Reference = Reference.NONE
    open_loop_s: Decimal | None = None
    ramp_decrease_pct_per_s: Decimal | None = None
    ramp_increase_pct_per_s: Decimal | None = None
    low_pass_s: Decimal | None = None
    """rampPT1Tms: how long a low-pass filter takes to settle to 95 % of a step."""
    v_ref_pct: Decimal | None = None
    autonomous_v_ref: bool = False
    autonomous_v_ref_time_constant_s: Decimal | None = None
    creation_time: datetime | None = None


Value = Decimal | bool | PowerFactor | Droop | FixedVar | Curve
"""What a function can be set to; the kind is that of its row."""


@dataclass(frozen=True, slots=True)
class Setpoints(Mapping[FunctionName, Value]):
    """Values by function name: an immutable, hashable, ordered mapping."""

    items_by_name: tuple[tuple[FunctionName, Value], ...] = ()
    """Sorted by name, each name once; use `Setpoints.of`."""

    @classmethod
    def of(cls, values: Mapping[FunctionName, Value]) -> "Setpoints":
        """Make setpoints from any mapping."""
        return cls(tuple(sorted(values.items(), key=lambda item: item[0])))

    def __getitem__(self, name: FunctionName) -> Value:
        for key, value in self.items_by_name:
            if key == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[FunctionName]:
        return (key for key, _ in self.items_by_name)

    def __len__(self) -> int:
        return len(self.items_by_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """When an event is scheduled, before randomization; half open."""

    start: datetime
    duration_s: int

    @property
    def end(self) -> datetime:
        """The scheduled end."""
        return self.start + timedelta(seconds=self.duration_s)


class EventStatus(IntEnum):
    """EventStatus.currentStatus.

    Source: IEEE 2030.5-2018, EventStatus.
    """

    SCHEDULED = 0
    ACTIVE = 1
    CANCELLED = 2
    CANCELLED_RANDOMIZED = 3
    SUPERSEDED = 4


CANCELLED = frozenset({EventStatus.CANCELLED, EventStatus.CANCELLED_RANDOMIZED})
"""The statuses of an event that was cancelled."""
ENDED_EARLY = CANCELLED | {EventStatus.SUPERSEDED}
"""The statuses by which a server ends an event before its time."""


class ResponseRequired(IntFlag):
    """Which Responses an event asks for."""

    NONE = 0
    RECEIVED = 1
    SPECIFIC = 2
    USER_OPT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Who speaks: kept with a control down to the register and back in the Response."""

    party: PartyId
    """The party that first issued it."""
    channel: ChannelId
    """The channel through which it came to this node."""
    lfdi: Lfdi | None = None
    """The authenticated LFDI of the server or operator connection that brought it."""
    server: str = ""
    """Host and port of that server, without a path."""
    received_at: datetime | None = None
    derived_from: Mrid | None = None
    """The parent event when a relay disaggregated it."""
    signature: bytes = b""
    """Room for an object signature that survives relays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """An event: functions set to values for an interval."""

    mrid: Mrid
    creation_time: datetime
    interval: Interval
    setpoints: Setpoints
    randomize_start_s: int = 0
    """-3600..3600; the sign gives the direction."""
    randomize_duration_s: int = 0
    """-3600..3600."""
    ramp_time_s: Decimal | None = None
    """opModRampTms: how long the change may take; None: the default ramp rate."""
    device_category: int = 0
    """DeviceCategoryType bitmap; 0 means all."""
    status: EventStatus = EventStatus.SCHEDULED
    status_time: datetime | None = None
    potentially_superseded: bool = False
    response_required: ResponseRequired = ResponseRequired.RECEIVED | ResponseRequired.SPECIFIC
    description: str = ""
    invalid: str = ""
    """Why the event cannot be carried out although it could be read, empty when it can: it is answered 253."""
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlGrant:
    """What lets a party that only has market information turn it into a control."""

    party: PartyId
    functions: frozenset[FunctionName]
    power_w: Decimal
    """The most it may move at once."""
    until: datetime
