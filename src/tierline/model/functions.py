"""The table of canonical control functions: what can be commanded, in which unit, and how channels are merged.

One row per function, and no protocol: which link can carry a row is said by that protocol's `mapping.py`, its default and
range by `model.defaults`. Signs are those of `model.telemetry`: generation and injection positive, absorption negative.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What sort of command a function is."""

    LIMIT = "limit"
    """A bound that other functions move within."""
    SETPOINT = "setpoint"
    """A value to reach."""
    CURVE = "curve"
    """A dependence given by points."""
    MODE = "mode"
    """A dependence given by parameters."""
    PERMISSION = "permission"
    """A leave to be connected or energised."""
    SETTING = "setting"
    """A parameter that holds until it is changed; it has no event."""
    AUTONOMOUS = "autonomous"
    """Carried out by the DER itself, unasked."""
    SERVICE = "service"
    """Carried out by the exchange of messages; it has no value of its own."""


class ValueType(StrEnum):
    """The type of `model.control.Value` that a function takes."""

    NUMBER = "number"
    """Decimal."""
    BOOLEAN = "boolean"
    """bool."""
    POWER_FACTOR = "power_factor"
    """PowerFactor."""
    DROOP = "droop"
    """Droop."""
    FIXED_VAR = "fixed_var"
    """FixedVar."""
    CURVE = "curve"
    """Curve."""
    NONE = "none"
    """The function has no value."""


class Unit(StrEnum):
    """Units of functions and points; a percentage names what it is a percentage of."""

    NONE = ""
    W = "W"
    VAR = "var"
    VA = "VA"
    V = "V"
    A = "A"
    HZ = "Hz"
    S = "s"
    WH = "Wh"
    AH = "Ah"
    SIEMENS = "S"
    PF = "power factor"
    PCT = "%"
    """Percent of what the description says."""
    PCT_WMAX = "% of set_max_w"
    PCT_VARMAX = "% of set_max_var"
    PCT_VA = "% of the apparent power rating"
    PCT_REFERENCE = "% of the reference in the value"
    PCT_VREF = "% of the effective voltage"
    """(voltage - set_v_ref_ofs) / set_v_ref."""
    PCT_WMAX_PER_S = "% of set_max_w per second"
    PU_PER_PU = "pu/pu"


class Quantity(StrEnum):
    """What a function acts on: between channels, controls merge by quantity, never by function."""

    NONE = "none"
    """Nothing that two channels could disagree about."""
    CONNECTION = "connection"
    ACTIVE_POWER_DER = "active_power_der"
    ACTIVE_POWER_PCC = "active_power_pcc"
    ACTIVE_POWER_BY_VOLTAGE = "active_power_by_voltage"
    ACTIVE_POWER_BY_FREQUENCY = "active_power_by_frequency"
    REACTIVE_POWER = "reactive_power"
    DYNAMIC_VOLTAGE_SUPPORT = "dynamic_voltage_support"
    HIGH_VOLTAGE_MUST_TRIP = "high_voltage_must_trip"
    HIGH_VOLTAGE_MAY_TRIP = "high_voltage_may_trip"
    HIGH_VOLTAGE_MOMENTARY_CESSATION = "high_voltage_momentary_cessation"
    LOW_VOLTAGE_MUST_TRIP = "low_voltage_must_trip"
    LOW_VOLTAGE_MAY_TRIP = "low_voltage_may_trip"
    LOW_VOLTAGE_MOMENTARY_CESSATION = "low_voltage_momentary_cessation"
    HIGH_FREQUENCY_MUST_TRIP = "high_frequency_must_trip"
    HIGH_FREQUENCY_MAY_TRIP = "high_frequency_may_trip"
    LOW_FREQUENCY_MUST_TRIP = "low_frequency_must_trip"
    LOW_FREQUENCY_MAY_TRIP = "low_frequency_may_trip"
    RAMP = "ramp"
    ENTER_SERVICE = "enter_service"
    PROTECTION = "protection"


class Merge(StrEnum):
    """How the values of several channels become one."""

    TIGHTEST = "tightest"
    """All stay in force, the tightest binds."""
    ONE_WINNER = "one_winner"
    """One channel wins the quantity, clipped by the limits."""
    ALL_PERMIT = "all_permit"
    """Logical AND; only the authority class that opened may close."""
    DEFAULT_ONLY = "default_only"
    """It stands in defaults only, never in an event; of several channels one wins."""
    NONE = "none"
    """No channel commands it."""


class Bound(StrEnum):
    """Which side of a quantity a limit bounds."""

    MAX_GENERATION = "max_generation"
    """The value, not negative, is the most that may be generated, discharged or exported."""
    MAX_ABSORPTION = "max_absorption"
    """The value, not negative, is the most that may be absorbed, charged or imported: power >= -value."""
    MIN_GENERATION = "min_generation"
    """The value is the least that must be generated."""


class Rule21Phase(StrEnum):
    """The phase of California Rule 21 that brought a function."""

    PHASE_1 = "1"
    """Seven autonomous functions (D.14-12-035)."""
    PHASE_3 = "3"
    """Eight functions that need communications (Res. E-4898)."""
    COMMON = "common"
    """Neither: IEEE 1547-2018 or CSIP-AUS only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionRow:
    """One canonical function."""

    name: str
    """Key of the row; the unit is its suffix where it has one."""
    kind: Kind
    value: ValueType
    quantity: Quantity
    merge: Merge
    unit: Unit = Unit.NONE
    """Unit of the number, or of a curve's y."""
    x_unit: Unit = Unit.NONE
    """Unit of a curve's x."""
    low: Decimal | None = None
    """The smallest number (of a curve: y) that is valid at all; the range a device may be adjusted in stands in `model.defaults`."""
    high: Decimal | None = None
    """The largest number that is valid at all."""
    bound: Bound | None = None
    """For limits: the side they bound."""
    phase1: int | None = None
    """Number of the Rule 21 Phase 1 function it belongs to, 1 to 7."""
    phase3: int | None = None
    """Number of the Rule 21 Phase 3 function it belongs to, 1 to 8."""
    key: str = ""
    """IEC 61850-7-420 logical node and data object, as the IEEE 1547.1 tables name it."""
    key_ed2: str = ""
    """The name in IEC 61850-7-420 Ed.2 where it is known to differ."""
    key_uncertain: bool = False
    """No source settles the 61850 name."""
    clause: str = ""
    """Clause of IEEE 1547-2018."""
    description: str

    @property
    def default_only(self) -> bool:
        """Whether it may stand in a default control only, never in an event."""
        return self.merge is Merge.DEFAULT_ONLY

    @property
    def phase(self) -> Rule21Phase:
        """The phase of Rule 21 it belongs to."""
        if self.phase1 is not None:
            return Rule21Phase.PHASE_1
        return Rule21Phase.COMMON if self.phase3 is None else Rule21Phase.PHASE_3


_ZERO, _HUNDRED = Decimal(0), Decimal(100)

_CONNECTION = (
    FunctionRow(
        name="connect",
        kind=Kind.PERMISSION,
        value=ValueType.BOOLEAN,
        quantity=Quantity.CONNECTION,
        merge=Merge.ALL_PERMIT,
        phase3=2,
        key="CSWI.Pos",
        key_uncertain=True,
        clause="4.6.1",
        description="Close the switch to the grid (true) or open it galvanically (false).",
    ),
    FunctionRow(
        name="energize",
        kind=Kind.PERMISSION,
        value=ValueType.BOOLEAN,
        quantity=Quantity.CONNECTION,
        merge=Merge.ALL_PERMIT,
        phase3=2,
        key="DCTE.RtnSrvAuth",
        clause="4.6.1",
        description="Permit to energise the grid (true), or cease to energise (false) without a galvanic opening.",
    ),
    FunctionRow(
        name="enter_service_permit",
        kind=Kind.PERMISSION,
        value=ValueType.BOOLEAN,
        quantity=Quantity.CONNECTION,
        merge=Merge.NONE,
        phase1=7,
        key="DCTE.RtnSrvAuto",
        clause="4.10",
        description="Return to service by itself once voltage and frequency are normal; over the wire `energize` says it.",
    ),
)

_ACTIVE_POWER = (
    FunctionRow(
        name="max_lim_w_pct",
        kind=Kind.LIMIT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_DER,
        merge=Merge.TIGHTEST,
        unit=Unit.PCT_WMAX,
        low=_ZERO,
        high=_HUNDRED,
        bound=Bound.MAX_GENERATION,
        phase3=3,
        key="DWMX.LimW",
        key_ed2="DWMX.WMaxSptPct",
        clause="4.6.2",
        description="Limit the active power that is generated.",
    ),
    FunctionRow(
        name="min_lim_w_pct",
        kind=Kind.LIMIT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_DER,
        merge=Merge.NONE,  # no protocol in use carries it, so no rule was needed between channels
        unit=Unit.PCT_WMAX,
        low=_ZERO,
        high=_HUNDRED,
        bound=Bound.MIN_GENERATION,
        phase3=3,
        key="DWMN.LimW",
        key_uncertain=True,
        description="Generate at least so much active power; IEC 61850 only.",
    ),
    FunctionRow(
        name="fixed_w_pct",
        kind=Kind.SETPOINT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_DER,
        merge=Merge.ONE_WINNER,
        unit=Unit.PCT_WMAX,
        low=-_HUNDRED,
        high=_HUNDRED,
        phase3=4,
        key="DAGC.WSptPct",
        key_ed2="DWGC.WSptPct",
        description="Set the active power; negative values are percent of set_max_charge_rate_w.",
    ),
    FunctionRow(
        name="target_w",
        kind=Kind.SETPOINT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_DER,
        merge=Merge.ONE_WINNER,
        unit=Unit.W,
        phase3=4,
        key="DAGC.WSpt",
        key_ed2="DWGC.WSpt",
        description="Set the active power in watts.",
    ),
    FunctionRow(
        name="gen_lim_w",
        kind=Kind.LIMIT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_DER,
        merge=Merge.TIGHTEST,
        unit=Unit.W,
        low=_ZERO,
        bound=Bound.MAX_GENERATION,
        description="Limit generation or discharge of the controlled devices (CSIP-AUS).",
    ),
    FunctionRow(
        name="load_lim_w",
        kind=Kind.LIMIT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_DER,
        merge=Merge.TIGHTEST,
        unit=Unit.W,
        low=_ZERO,
        bound=Bound.MAX_ABSORPTION,
        description="Limit charging or load of the controlled devices (CSIP-AUS).",
    ),
    FunctionRow(
        name="exp_lim_w",
        kind=Kind.LIMIT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_PCC,
        merge=Merge.TIGHTEST,
        unit=Unit.W,
        low=_ZERO,
        bound=Bound.MAX_GENERATION,
        description="Limit the export at the connection point (CSIP-AUS).",
    ),
    FunctionRow(
        name="imp_lim_w",
        kind=Kind.LIMIT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_PCC,
        merge=Merge.TIGHTEST,
        unit=Unit.W,
        low=_ZERO,
        bound=Bound.MAX_ABSORPTION,
        description="Limit the import at the connection point (CSIP-AUS).",
    ),
    FunctionRow(
        name="storage_target_w",
        kind=Kind.SETPOINT,
        value=ValueType.NUMBER,
        quantity=Quantity.ACTIVE_POWER_DER,
        merge=Merge.ONE_WINNER,
        unit=Unit.W,
        description="Set the summed active power of the storage parts (CSIP-AUS 1.3).",
    ),
    FunctionRow(
        name="volt_watt",
        kind=Kind.CURVE,
        value=ValueType.CURVE,
        quantity=Quantity.ACTIVE_POWER_BY_VOLTAGE,
        merge=Merge.ONE_WINNER,
        unit=Unit.PCT_REFERENCE,
        x_unit=Unit.PCT_VREF,
        phase3=6,
        key="DVWC.VWCrv",
        clause="5.4.2",
        description="Limit active power by voltage.",
    ),
    FunctionRow(
        name="freq_droop",
        kind=Kind.MODE,
        value=ValueType.DROOP,
        quantity=Quantity.ACTIVE_POWER_BY_FREQUENCY,
        merge=Merge.ONE_WINNER,
        phase3=5,
        key="DHFW.HzStr, DLFW.HzStr",
        clause="6.5.2.7",
        description="Change active power with frequency by dead bands and slopes.",
    ),
    FunctionRow(
        name="freq_watt",
        kind=Kind.CURVE,
        value=ValueType.CURVE,
        quantity=Quantity.ACTIVE_POWER_BY_FREQUENCY,
        merge=Merge.ONE_WINNER,
        unit=Unit.PCT_WMAX,
        x_unit=Unit.HZ,
        phase3=5,
        key="DHFW, DLFW",
        key_uncertain=True,
        clause="6.5.2.7",
        description="Change active power with frequency by a curve.",
    ),
)

_REACTIVE_POWER = (
    FunctionRow(
        name="fixed_pf_inject_w",
        kind=Kind.SETPOINT,
        value=ValueType.POWER_FACTOR,
        quantity=Quantity.REACTIVE_POWER,
        merge=Merge.ONE_WINNER,
        unit=Unit.PF,
        phase1=6,
        key="DFPF.PFGnTgt",
        key_ed2="DFPF.PFGnTgtSpt",
        clause="5.3.2",
        description="Hold a power factor while active power is injected.",
    ),
    FunctionRow(
        name="fixed_pf_absorb_w",
        kind=Kind.SETPOINT,
        value=ValueType.POWER_FACTOR,
        quantity=Quantity.REACTIVE_POWER,
        merge=Merge.ONE_WINNER,
        unit=Unit.PF,
        phase1=6,
        key="DFPF.PFLodTgt",
        key_ed2="DFPF.PFLodTgtSpt",
        clause="5.3.2",
        description="Hold a power factor while active power is absorbed.",
    ),
    FunctionRow(
        name="fixed_var",
        kind=Kind.SETPOINT,
        value=ValueType.FIXED_VAR,
        quantity=Quantity.REACTIVE_POWER,
        merge=Merge.ONE_WINNER,
        unit=Unit.PCT_REFERENCE,
        low=-_HUNDRED,
        high=_HUNDRED,
        key="DVAR.VArTgt",
        key_ed2="DVAR.VArTgtSptPct",
        clause="5.3.5",
        description="Hold a reactive power given as a percentage.",
    ),
    FunctionRow(
        name="target_var",
        kind=Kind.SETPOINT,
        value=ValueType.NUMBER,
        quantity=Quantity.REACTIVE_POWER,
        merge=Merge.ONE_WINNER,
        unit=Unit.VAR,
        key="DVAR.VArTgt",
        key_ed2="DVAR.VArTgtSpt",
        clause="5.3.5",
        description="Hold a reactive power in var.",
    ),
    FunctionRow(
        name="volt_var",
        kind=Kind.CURVE,
        value=ValueType.CURVE,
        quantity=Quantity.REACTIVE_POWER,
        merge=Merge.ONE_WINNER,
        unit=Unit.PCT_REFERENCE,
        x_unit=Unit.PCT_VREF,
        phase1=4,
        key="DVVR.VVArCrv",
        clause="5.3.3",
        description="Set reactive power by voltage.",
    ),
    FunctionRow(
        name="watt_var",
        kind=Kind.CURVE,
        value=ValueType.CURVE,
        quantity=Quantity.REACTIVE_POWER,
        merge=Merge.ONE_WINNER,
        unit=Unit.PCT_REFERENCE,
        x_unit=Unit.PCT_WMAX,
        key="DWVR.WVArCrv",
        clause="5.3.4",
        description="Set reactive power by active power.",
    ),
    FunctionRow(
        name="watt_pf",
        kind=Kind.CURVE,
        value=ValueType.CURVE,
        quantity=Quantity.REACTIVE_POWER,
        merge=Merge.ONE_WINNER,
        unit=Unit.PF,
        x_unit=Unit.PCT_WMAX,
        low=_ZERO,
        high=Decimal(1),
        key="DPFW.PFSetA",
        key_uncertain=True,
        description="Set the power factor by active power.",
    ),
    FunctionRow(
        name="dynamic_reactive_current",
        kind=Kind.MODE,
        value=ValueType.NUMBER,
        quantity=Quantity.DYNAMIC_VOLTAGE_SUPPORT,
        merge=Merge.ONE_WINNER,
        unit=Unit.PU_PER_PU,
        low=_ZERO,
        phase3=7,
        key="DRGS.ArGraSag",
        key_uncertain=True,
        clause="6.4.2.6",
        description="Inject reactive current during sags and swells: current per change of voltage. Not in IEEE 2030.5-2018.",
    ),
)


def _ride_through(name: str, quantity: Quantity, key: str, clause: str, what: str, *, uncertain: bool) -> FunctionRow:
    by_voltage = "volt" in quantity.value
    return FunctionRow(
        name=name,
        kind=Kind.CURVE,
        value=ValueType.CURVE,
        quantity=quantity,
        merge=Merge.ONE_WINNER,  # a tighter trip curve is a looser duty to ride through: there is no tightest
        unit=Unit.PCT_VREF if by_voltage else Unit.HZ,
        x_unit=Unit.S,
        low=_ZERO,
        phase1=2 if by_voltage else 3,
        key=key,
        key_uncertain=uncertain,
        clause=clause,
        description=what,
    )


_RIDE_THROUGH = (
    _ride_through(
        "hvrt_must_trip",
        Quantity.HIGH_VOLTAGE_MUST_TRIP,
        "DHVT.TrZnSt, PTOV.TmVCrv",
        "6.4.1",
        "Trip by the time given for a high voltage.",
        uncertain=False,
    ),
    _ride_through(
        "hvrt_may_trip",
        Quantity.HIGH_VOLTAGE_MAY_TRIP,
        "DHVT",
        "6.4.2",
        "Do not trip before the time given for a high voltage.",
        uncertain=True,
    ),
    _ride_through(
        "hvrt_momentary_cessation",
        Quantity.HIGH_VOLTAGE_MOMENTARY_CESSATION,
        "DHVT.CeaZnSt, PTOV.TmVCrv",
        "6.4.2",
        "Cease to energise, without tripping, at a high voltage.",
        uncertain=False,
    ),
    _ride_through(
        "lvrt_must_trip",
        Quantity.LOW_VOLTAGE_MUST_TRIP,
        "DLVT.TrZnSt, PTUV.TmVCrv",
        "6.4.1",
        "Trip by the time given for a low voltage.",
        uncertain=False,
    ),
    _ride_through(
        "lvrt_may_trip",
        Quantity.LOW_VOLTAGE_MAY_TRIP,
        "DLVT",
        "6.4.2",
        "Do not trip before the time given for a low voltage.",
        uncertain=True,
    ),
    _ride_through(
        "lvrt_momentary_cessation",
        Quantity.LOW_VOLTAGE_MOMENTARY_CESSATION,
        "DLVT.CeaZnSt, PTUV.TmVCrv",
        "6.4.2",
        "Cease to energise, without tripping, at a low voltage.",
        uncertain=False,
    ),
    _ride_through(
        "hfrt_must_trip",
        Quantity.HIGH_FREQUENCY_MUST_TRIP,
        "DHFT.TrZnSt, PTOF.TmVCrv",
        "6.5.1",
        "Trip by the time given for a high frequency.",
        uncertain=False,
    ),
    _ride_through(
        "hfrt_may_trip",
        Quantity.HIGH_FREQUENCY_MAY_TRIP,
        "DHFT",
        "6.5.2",
        "Do not trip before the time given for a high frequency.",
        uncertain=True,
    ),
    _ride_through(
        "lfrt_must_trip",
        Quantity.LOW_FREQUENCY_MUST_TRIP,
        "DLFT.TrZnSt, PTUF.TmVCrv",
        "6.5.1",
        "Trip by the time given for a low frequency.",
        uncertain=False,
    ),
    _ride_through(
        "lfrt_may_trip",
        Quantity.LOW_FREQUENCY_MAY_TRIP,
        "DLFT",
        "6.5.2",
        "Do not trip before the time given for a low frequency.",
        uncertain=True,
    ),
)


def _setting(
    name: str,
    quantity: Quantity,
    unit: Unit,
    phase1: int,
    keys: tuple[str, str],
    clause: str,
    what: str,
    *,
    uncertain: bool = False,
) -> FunctionRow:
    return FunctionRow(
        name=name,
        kind=Kind.SETTING,
        value=ValueType.NUMBER,
        quantity=quantity,
        merge=Merge.DEFAULT_ONLY,
        unit=unit,
        low=_ZERO,
        phase1=phase1,
        key=keys[0],
        key_ed2=keys[1],
        key_uncertain=uncertain,
        clause=clause,
        description=what,
    )


_SETTINGS = (
    _setting(
        "grad_w_pct_per_s",
        Quantity.RAMP,
        Unit.PCT_WMAX_PER_S,
        5,
        ("DGEN.WGra", ""),
        "",
        "Ramp rate in normal operation; 0 means no limit.",
        uncertain=True,
    ),
    _setting(
        "soft_grad_w_pct_per_s",
        Quantity.RAMP,
        Unit.PCT_WMAX_PER_S,
        5,
        ("DCTE.RtnSrvRmpTim", "DCTE.RtnRmpTmms"),
        "4.10.3",
        "Ramp rate after the connection; 0 means no limit. The 61850 object is the equivalent time.",
    ),
    _setting(
        "es_ramp_s",
        Quantity.ENTER_SERVICE,
        Unit.S,
        7,
        ("DCTE.RtnSrvRmpTim", "DCTE.RtnRmpTmms"),
        "4.10.3",
        "Duration of the ramp after entering service.",
    ),
    _setting(
        "es_delay_s",
        Quantity.ENTER_SERVICE,
        Unit.S,
        7,
        ("DCTE.RtnSrvDlyTim", "DCTE.RtnDlTmms"),
        "4.10.3",
        "How long voltage and frequency must be normal before entering service.",
    ),
    _setting(
        "es_random_delay_s",
        Quantity.ENTER_SERVICE,
        Unit.S,
        7,
        ("DCTE.RtnSrvDlyTim", "DCTE.RtnDlTmms"),
        "4.10.3",
        "Largest random delay added before entering service; 0 means none.",
        uncertain=True,
    ),
    _setting(
        "es_high_volt_pct",
        Quantity.ENTER_SERVICE,
        Unit.PCT_VREF,
        7,
        ("DCTE.VHiLim", ""),
        "4.10.2",
        "Highest voltage at which it may enter service.",
    ),
    _setting(
        "es_low_volt_pct",
        Quantity.ENTER_SERVICE,
        Unit.PCT_VREF,
        7,
        ("DCTE.VLoLim", ""),
        "4.10.2",
        "Lowest voltage at which it may enter service.",
    ),
    _setting(
        "es_high_freq_hz",
        Quantity.ENTER_SERVICE,
        Unit.HZ,
        7,
        ("DCTE.HzHiLim", ""),
        "4.10.2",
        "Highest frequency at which it may enter service.",
    ),
    _setting(
        "es_low_freq_hz",
        Quantity.ENTER_SERVICE,
        Unit.HZ,
        7,
        ("DCTE.HzLoLim", ""),
        "4.10.2",
        "Lowest frequency at which it may enter service.",
    ),
)

_OF_THE_DEVICE = (
    FunctionRow(
        name="anti_islanding",
        kind=Kind.AUTONOMOUS,
        value=ValueType.BOOLEAN,
        quantity=Quantity.PROTECTION,
        merge=Merge.NONE,
        phase1=1,
        key="DOPM",
        key_uncertain=True,
        clause="8.1",
        description="Detect an unintended island and trip.",
    ),
    FunctionRow(
        name="mode_transition_s",
        kind=Kind.SETTING,
        value=ValueType.NUMBER,
        quantity=Quantity.NONE,
        merge=Merge.NONE,
        unit=Unit.S,
        low=_ZERO,
        clause="4.6.3",
        description="Time over which the output moves from one mode to another.",
    ),
    FunctionRow(
        name="setting_execution_s",
        kind=Kind.SETTING,
        value=ValueType.NUMBER,
        quantity=Quantity.NONE,
        merge=Merge.NONE,
        unit=Unit.S,
        low=_ZERO,
        clause="4.6.3",
        description="Time from the receipt of a setting to its execution.",
    ),
    FunctionRow(
        name="monitoring",
        kind=Kind.SERVICE,
        value=ValueType.NONE,
        quantity=Quantity.NONE,
        merge=Merge.NONE,
        phase3=1,
        key="DECP.MMXU",
        clause="10.5",
        description="Report measurements, states and alarms: the rows of `model.points`.",
    ),
    FunctionRow(
        name="scheduling",
        kind=Kind.SERVICE,
        value=ValueType.NONE,
        quantity=Quantity.NONE,
        merge=Merge.NONE,
        phase3=8,
        key="FSCH.SchdEntr",
        description="Hold controls for later intervals and carry each out in its time.",
    ),
)

FUNCTIONS: Mapping[str, FunctionRow] = MappingProxyType(
    {
        row.name: row
        for rows in (_CONNECTION, _ACTIVE_POWER, _REACTIVE_POWER, _RIDE_THROUGH, _SETTINGS, _OF_THE_DEVICE)
        for row in rows
    }
)
"""Every canonical function by name."""


def quantity_at(name: str, *, at_pcc: bool) -> Quantity:
    """Say what a function acts on, given what the EndDevice stands for.

    A limit or setpoint sent to a gateway that stands for a whole facility acts on the aggregate at its point of common
    coupling.

    Source: CSIP 2.1 P28.
    """
    quantity = FUNCTIONS[name].quantity
    if at_pcc and quantity is Quantity.ACTIVE_POWER_DER:
        return Quantity.ACTIVE_POWER_PCC
    return quantity
