"""The table of points: what a DER measures, is rated for, is set to, and says of its state; with a privacy label each.

As for functions, no protocol stands here: each has its own `mapping.py`. Enumerated states carry the numbers of
IEEE 2030.5-2018; an adapter whose numbers differ converts. Signs are those of `model.telemetry`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum
from types import MappingProxyType

from tierline.model.functions import Unit
from tierline.model.telemetry import Phase


class PointKind(StrEnum):
    """Where a point belongs."""

    MEASUREMENT = "measurement"
    RATING = "rating"
    """Nameplate: does not change."""
    SETTING = "setting"
    """The nameplate as adjusted; at most the rating."""
    STATUS = "status"
    AVAILABILITY = "availability"
    ALARM = "alarm"
    INFORMATION = "information"
    """Texts that say which device it is."""


class PointType(StrEnum):
    """The type of a point's value."""

    NUMBER = "number"
    """Decimal; readings as an integer and a power of ten."""
    STATE = "state"
    """One member of the row's enumeration, or several where that is a set of flags."""
    FUNCTIONS = "functions"
    """A set of names of `model.functions.FUNCTIONS`."""
    BOOLEAN = "boolean"
    TEXT = "text"
    TIME = "time"


class Label(StrEnum):
    """Who may see a value; `engine.privacy` decides by it."""

    PUBLIC = "public"
    OPERATIONAL = "operational"
    """For those who operate the grid or the DER."""
    PERSONAL = "personal"
    """Reveals what people consume or when they are at home."""
    LOCATION = "location"
    """Never leaves the node that owns the registry without an explicit grant."""
    IDENTITY = "identity"
    """The same."""
    SECRET = "secret"  # noqa: S105  # a label, not a password
    """Never leaves at all."""


class InverterStatus(IntEnum):
    """InverterStatusType.inverterStatus.

    Source: IEEE 2030.5-2018, InverterStatusType.
    """

    NOT_APPLICABLE = 0
    OFF = 1
    SLEEPING = 2
    STARTING = 3
    RUNNING = 4
    """Tracking the maximum power point, or running at its set point."""
    THROTTLED = 5
    """Forced power reduction, derating."""
    SHUTTING_DOWN = 6
    FAULT = 7
    STANDBY = 8
    TEST = 9
    VENDOR = 10


class ConnectStatus(IntFlag):
    """ConnectStatusType of generators and of storage.

    Source: IEEE 2030.5-2018, ConnectStatusType.
    """

    NONE = 0
    CONNECTED = 1
    AVAILABLE = 2
    OPERATING = 4
    TEST = 8
    FAULT = 16


class OperationalMode(IntEnum):
    """OperationalModeStatusType; 100 and more are the demand response modes of AS/NZS 4755 in CSIP-AUS.

    Source: IEEE 2030.5-2018, OperationalModeStatusType.
    """

    UNKNOWN = 0
    OFF = 1
    OPERATIONAL = 2
    TEST = 3
    DRM0 = 100
    DRM1 = 101
    DRM2 = 102
    DRM3 = 103
    DRM4 = 104
    DRM5 = 105
    DRM6 = 106
    DRM7 = 107
    DRM8 = 108


class LocalControlMode(IntEnum):
    """LocalControlModeStatusType.

    Source: IEEE 2030.5-2018, LocalControlModeStatusType.
    """

    LOCAL = 0
    REMOTE = 1


class StorageMode(IntEnum):
    """StorageModeStatusType.

    Source: IEEE 2030.5-2018, StorageModeStatusType.
    """

    CHARGING = 0
    DISCHARGING = 1
    HOLDING = 2


class DerType(IntEnum):
    """DERType.

    Source: IEEE 2030.5-2018, DERType.
    """

    UNKNOWN = 0
    VIRTUAL = 1
    """Virtual, or a mixture."""
    RECIPROCATING_ENGINE = 2
    FUEL_CELL = 3
    PHOTOVOLTAIC = 4
    COMBINED_HEAT_AND_POWER = 5
    OTHER_GENERATION = 6
    OTHER_STORAGE = 80
    ELECTRIC_VEHICLE = 81
    EVSE = 82
    PHOTOVOLTAIC_WITH_STORAGE = 83


class NormalCategory(IntEnum):
    """Normal operating performance category.

    Source: IEEE 1547-2018 1.4; the numbers are those of IEEE 2030.5-2018.
    """

    NOT_SPECIFIED = 0
    A = 1
    B = 2


class AbnormalCategory(IntEnum):
    """Abnormal operating performance category.

    Source: IEEE 1547-2018 1.4; the numbers are those of IEEE 2030.5-2018.
    """

    NOT_SPECIFIED = 0
    I = 1  # noqa: E741  # the standard's own name
    II = 2
    III = 3


class AlarmStatus(IntFlag):
    """DERStatus.alarmStatus: bit n stands for the LogEvent codes 2n (alarm) and 2n + 1 (return to normal).

    Source: IEEE 2030.5-2018, DERStatus.
    """

    NONE = 0
    OVER_CURRENT = 1 << 0
    OVER_VOLTAGE = 1 << 1
    UNDER_VOLTAGE = 1 << 2
    OVER_FREQUENCY = 1 << 3
    UNDER_FREQUENCY = 1 << 4
    VOLTAGE_IMBALANCE = 1 << 5
    CURRENT_IMBALANCE = 1 << 6
    EMERGENCY_LOCAL = 1 << 7
    EMERGENCY_REMOTE = 1 << 8
    LOW_POWER_INPUT = 1 << 9
    PHASE_ROTATION = 1 << 10


class DoeModes(IntFlag):
    """Supported or enabled dynamic operating envelope limits.

    The bits go by their names: what the schema prints beside bits 0 and 1 says import and export the other way round.

    Source: CSIP-AUS 1.2, DOEControlType, by the names of its bits.
    """

    NONE = 0
    EXPORT_LIMIT = 1
    IMPORT_LIMIT = 2
    GENERATION_LIMIT = 4
    LOAD_LIMIT = 8


class VppModes(IntFlag):
    """Supported or enabled virtual power plant controls.

    Source: CSIP-AUS 1.3, VPPControlType.
    """

    NONE = 0
    STORAGE_TARGET = 1


State = type[IntEnum] | type[IntFlag]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointRow:
    """One canonical point."""

    name: str
    """Key of the row."""
    kind: PointKind
    value: PointType
    label: Label
    unit: Unit = Unit.NONE
    phase: Phase = Phase.NONE
    """Electrical phase of a measurement."""
    state: State | None = None
    """The enumeration of a STATE."""
    alarm: AlarmStatus | None = None
    """For alarms of a DER: their bit. None: an alarm of the device's own hardware or software."""
    rating: str = ""
    """For settings: the rating that bounds it."""
    phase3: int | None = None
    """1 where Rule 21 Phase 3 function 1 (monitoring) asks for it."""
    key: str = ""
    """IEC 61850-7-420 logical node and data object, as the IEEE 1547.1 tables name it."""
    key_ed2: str = ""
    """The name in IEC 61850-7-420 Ed.2 where it is known to differ."""
    description: str


def _measured(
    name: str,
    unit: Unit,
    what: str,
    *,
    key: str = "",
    phase: Phase = Phase.NONE,
    label: Label = Label.PERSONAL,
    monitored: bool = False,
) -> PointRow:
    return PointRow(
        name=name,
        kind=PointKind.MEASUREMENT,
        value=PointType.NUMBER,
        label=label,
        unit=unit,
        phase=phase,
        phase3=1 if monitored else None,
        key=key,
        description=what,
    )


_OP = Label.OPERATIONAL

# Power, energy and current of a home show when it is lived in; voltage and frequency are the grid's.
_MEASUREMENTS = (
    _measured("w", Unit.W, "Active power.", key="DECP.MMXU.TotW", monitored=True),
    _measured("var", Unit.VAR, "Reactive power.", key="DECP.MMXU.TotVAr", monitored=True),
    _measured("va", Unit.VA, "Apparent power."),
    _measured("pf", Unit.PF, "Power factor."),
    _measured("a", Unit.A, "Current, sum of the phases."),
    _measured("hz", Unit.HZ, "Frequency.", key="DECP.MMXU.Hz", label=_OP, monitored=True),
    *(
        _measured(
            f"v_{phase.name.lower()}",
            Unit.V,
            f"Voltage between {phase.name[0]} and {'neutral' if phase.name[1] == 'N' else phase.name[1]}.",
            key=f"DECP.MMXU.PhV.phs{phase.name[0]}" if phase.name[1] == "N" else f"DECP.MMXU.PPV.phs{phase.name}",
            phase=phase,
            label=_OP,
            monitored=True,
        )
        for phase in (Phase.AN, Phase.BN, Phase.CN, Phase.AB, Phase.BC, Phase.CA)
    ),
    _measured("v_ln", Unit.V, "Voltage to neutral, mean of the phases.", label=_OP, monitored=True),
    _measured("v_ll", Unit.V, "Voltage between phases, mean of the pairs.", label=_OP, monitored=True),
    *(
        _measured(f"{name}_{phase.name.lower()}", unit, f"{what}, phase {phase.name}.", phase=phase)
        for name, unit, what in (
            ("w", Unit.W, "Active power"),
            ("var", Unit.VAR, "Reactive power"),
            ("a", Unit.A, "Current"),
        )
        for phase in (Phase.A, Phase.B, Phase.C)
    ),
    _measured("wh_generated", Unit.WH, "Energy generated or discharged since the meter began."),
    _measured("wh_absorbed", Unit.WH, "Energy absorbed or charged since the meter began."),
    _measured("wh_stored", Unit.WH, "Energy stored now."),
    _measured("site_w", Unit.W, "Active power at the connection point; export positive."),
    _measured("site_var", Unit.VAR, "Reactive power at the connection point; injection positive."),
    _measured("site_v", Unit.V, "Voltage at the connection point.", label=_OP),
    _measured("site_hz", Unit.HZ, "Frequency at the connection point.", label=_OP),
)

# name without prefix, unit, what, (rating key, its Ed.2 name), setting key
_RATED_AND_SET = (
    ("max_w", Unit.W, "active power at unity power factor", ("DGEN.WMaxRtg", ""), "DGEN.WMax"),
    ("over_excited_w", Unit.W, "active power at the over-excited power factor", ("DGEN.WGnOvPFRtg", ""), ""),
    ("over_excited_pf", Unit.PF, "power factor of that, injecting", ("DGEN.OvPFRtg", ""), ""),
    ("under_excited_w", Unit.W, "active power at the under-excited power factor", ("DGEN.WGnUnPFRtg", ""), ""),
    ("under_excited_pf", Unit.PF, "power factor of that, absorbing", ("DGEN.UnPFRtg", ""), ""),
    ("max_va", Unit.VA, "apparent power", ("DGEN.VAMaxRtg", ""), "DGEN.VAMax"),
    ("max_var", Unit.VAR, "reactive power injected", ("DGEN.VarMaxSupRtg", "DGEN.IvarMaxRtg"), ""),
    ("max_var_neg", Unit.VAR, "reactive power absorbed; not positive", ("DGEN.VarMaxAbgRtg", "DGEN.AvarMaxRtg"), ""),
    ("max_a", Unit.A, "current", ("", ""), ""),
    ("max_wh", Unit.WH, "energy stored", ("DSTO.WhRtg", ""), ""),
    ("max_ah", Unit.AH, "charge stored", ("", ""), ""),
    ("max_charge_rate_w", Unit.W, "active power of charging", ("DSTO.WChaUnPFRtg", "DSTO.ChaWUnPFRtg"), ""),
    ("max_charge_rate_va", Unit.VA, "apparent power of charging", ("DSTO.VAMaxChaRtg", "DSTO.ChaVAMaxRtg"), ""),
    ("max_discharge_rate_w", Unit.W, "active power of discharging", ("DSTO", ""), ""),
    ("max_discharge_rate_va", Unit.VA, "apparent power of discharging", ("DSTO", ""), ""),
    ("min_pf_over_excited", Unit.PF, "least power factor, injecting", ("", ""), ""),
    ("min_pf_under_excited", Unit.PF, "least power factor, absorbing", ("", ""), ""),
    ("v_nom", Unit.V, "nominal voltage", ("DECP.VRef", ""), ""),
    ("max_v", Unit.V, "highest voltage", ("DGEN.VMaxRtg", ""), ""),
    ("min_v", Unit.V, "lowest voltage", ("DGEN.VMinRtg", ""), ""),
)

_NAMEPLATE = tuple(
    PointRow(
        name=f"rtg_{name}",
        kind=PointKind.RATING,
        value=PointType.NUMBER,
        label=_OP,
        unit=unit,
        key=keys[0],
        key_ed2=keys[1],
        description=f"Rating: {what}.",
    )
    for name, unit, what, keys, _ in _RATED_AND_SET
)

_SET = tuple(
    PointRow(
        name=f"set_{name}",
        kind=PointKind.SETTING,
        value=PointType.NUMBER,
        label=_OP,
        unit=unit,
        rating=f"rtg_{name}",
        key=setting_key,
        description=f"Setting: {what}.",
    )
    for name, unit, what, _, setting_key in _RATED_AND_SET
)

_RATINGS_ALONE = (
    PointRow(
        name="rtg_normal_category",
        kind=PointKind.RATING,
        value=PointType.STATE,
        label=Label.PUBLIC,
        state=NormalCategory,
        key="DGEN.Ieee1547Cat1",
        description="Category of IEEE 1547-2018 in normal operation.",
    ),
    PointRow(
        name="rtg_abnormal_category",
        kind=PointKind.RATING,
        value=PointType.STATE,
        label=Label.PUBLIC,
        state=AbnormalCategory,
        key="DGEN.Ieee1547Cat2",
        description="Category of IEEE 1547-2018 in abnormal operation.",
    ),
    PointRow(
        name="rtg_reactive_susceptance",
        kind=PointKind.RATING,
        value=PointType.NUMBER,
        label=_OP,
        unit=Unit.SIEMENS,
        key="DGEN.SuscRtg",
        description="Susceptance that stays connected when the DER has ceased to energise.",
    ),
    PointRow(
        name="modes_supported",
        kind=PointKind.RATING,
        value=PointType.FUNCTIONS,
        label=_OP,
        description="The functions it can carry out.",
    ),
    PointRow(
        name="der_type",
        kind=PointKind.RATING,
        value=PointType.STATE,
        label=_OP,
        state=DerType,
        description="What sort of DER it is.",
    ),
    PointRow(
        name="doe_modes_supported",
        kind=PointKind.RATING,
        value=PointType.STATE,
        label=_OP,
        state=DoeModes,
        description="The operating envelope limits it can carry out (CSIP-AUS).",
    ),
    PointRow(
        name="vpp_modes_supported",
        kind=PointKind.RATING,
        value=PointType.STATE,
        label=_OP,
        state=VppModes,
        description="The virtual power plant controls it can carry out (CSIP-AUS 1.3).",
    ),
)

_SETTINGS_ALONE = (
    PointRow(
        name="set_v_ref",
        kind=PointKind.SETTING,
        value=PointType.NUMBER,
        label=_OP,
        unit=Unit.V,
        key="DECP.VRef",
        description="Voltage that percentages of the effective voltage refer to.",
    ),
    PointRow(
        name="set_v_ref_ofs",
        kind=PointKind.SETTING,
        value=PointType.NUMBER,
        label=_OP,
        unit=Unit.V,
        description="Offset of the DER's own voltage from the reference point.",
    ),
    PointRow(
        name="set_min_wh",
        kind=PointKind.SETTING,
        value=PointType.NUMBER,
        label=_OP,
        unit=Unit.WH,
        description="Stored energy at which discharging stops (CSIP-AUS 1.3).",
    ),
    PointRow(
        name="modes_enabled",
        kind=PointKind.SETTING,
        value=PointType.FUNCTIONS,
        label=_OP,
        rating="modes_supported",
        description="The functions that are enabled.",
    ),
    PointRow(
        name="doe_modes_enabled",
        kind=PointKind.SETTING,
        value=PointType.STATE,
        label=_OP,
        state=DoeModes,
        rating="doe_modes_supported",
        description="The operating envelope limits that are enabled (CSIP-AUS).",
    ),
    PointRow(
        name="vpp_modes_enabled",
        kind=PointKind.SETTING,
        value=PointType.STATE,
        label=_OP,
        state=VppModes,
        rating="vpp_modes_supported",
        description="The virtual power plant controls that are enabled (CSIP-AUS 1.3).",
    ),
)


def _state(
    name: str, state: State, what: str, *, key: str = "", label: Label = _OP, monitored: bool = True
) -> PointRow:
    return PointRow(
        name=name,
        kind=PointKind.STATUS,
        value=PointType.STATE,
        label=label,
        state=state,
        phase3=1 if monitored else None,
        key=key,
        description=what,
    )


_STATUS = (
    _state("inverter_status", InverterStatus, "State of the inverter.", key="DGEN.DERState"),
    _state("operational_mode", OperationalMode, "Whether it is off, operational or in test.", key="DGEN.DERState"),
    _state("connect_status", ConnectStatus, "Connection of the generator.", key="CSWI.Pos, XCBR.Pos"),
    _state("stor_connect_status", ConnectStatus, "Connection of the storage.", key="DSTO.DERState"),
    _state("alarm_status", AlarmStatus, "Alarms that are active.", key="CALH.GrAlm"),
    _state("local_control_mode", LocalControlMode, "Whether it obeys local or remote control.", monitored=False),
    _state(
        "storage_mode",
        StorageMode,
        "Whether the storage charges, discharges or holds.",
        label=Label.PERSONAL,
        monitored=False,
    ),
    PointRow(
        name="soc_pct",
        kind=PointKind.STATUS,
        value=PointType.NUMBER,
        label=Label.PERSONAL,
        unit=Unit.PCT,
        phase3=1,
        key="DSTO.SocUsePct",
        key_ed2="DSTO.UseSocPct",
        description="State of charge, percent of the usable capacity.",
    ),
    PointRow(
        name="manufacturer_status",
        kind=PointKind.STATUS,
        value=PointType.TEXT,
        label=_OP,
        description="The maker's own status, up to six characters.",
    ),
    PointRow(
        name="es_delay_remaining_s",
        kind=PointKind.STATUS,
        value=PointType.NUMBER,
        label=_OP,
        unit=Unit.S,
        description="What is left of the delay before it enters service.",
    ),
)

_AVAILABILITY = tuple(
    PointRow(
        name=name,
        kind=PointKind.AVAILABILITY,
        value=PointType.NUMBER,
        label=label,
        unit=unit,
        description=what,
    )
    for name, unit, label, what in (
        ("stat_w_avail", Unit.W, _OP, "Active power it could inject now."),
        ("stat_var_avail", Unit.VAR, _OP, "Reactive power it could inject or absorb now."),
        ("availability_duration_s", Unit.S, Label.PERSONAL, "For how long the reserve can be delivered."),
        ("max_charge_duration_s", Unit.S, Label.PERSONAL, "Time to a full charge at the highest rate."),
        ("reserve_pct", Unit.PCT, _OP, "Reserve of generation, percent of set_max_w."),
        ("reserve_charge_pct", Unit.PCT, _OP, "Reserve of charging, percent of set_max_charge_rate_w."),
    )
)

_ALARMS = (
    *(
        PointRow(
            name=f"alarm_{str(alarm.name).lower()}",
            kind=PointKind.ALARM,
            value=PointType.BOOLEAN,
            label=_OP,
            alarm=alarm,
            phase3=1,
            key="CALH.GrAlm",
            description=f"{str(alarm.name).replace('_', ' ').capitalize()}.",
        )
        for alarm in AlarmStatus
        if alarm
    ),
    *(
        PointRow(
            name=f"alarm_{part}",
            kind=PointKind.ALARM,
            value=PointType.BOOLEAN,
            label=_OP,
            phase3=1,
            description=f"A fault of the device's {part} that is none of the DER alarms; the alarm's details say which.",
        )
        for part in ("hardware", "software")
    ),
)

_INFORMATION = tuple(
    PointRow(
        name=name,
        kind=PointKind.INFORMATION,
        value=value,
        label=label,
        key=key,
        description=what,
    )
    for name, value, label, key, what in (
        ("manufacturer", PointType.TEXT, Label.PUBLIC, "LPHD.PhyNam.vendor", "Maker, as a text."),
        ("manufacturer_pen", PointType.NUMBER, Label.PUBLIC, "", "Private enterprise number of the maker."),
        ("model", PointType.TEXT, Label.PUBLIC, "LPHD.PhyNam.model", "Model of the maker."),
        ("software_version", PointType.TEXT, _OP, "LPHD.PhyNam.swRev", "Version of the firmware."),
        ("hardware_version", PointType.TEXT, _OP, "", "Version of the hardware."),
        ("manufacturing_date", PointType.TIME, _OP, "", "When it was made."),
        ("serial_number", PointType.TEXT, Label.IDENTITY, "LPHD.PhyNam.serNum", "Serial number of the maker."),
        ("lfdi", PointType.TEXT, Label.IDENTITY, "", "Long form device identifier of its certificate."),
        (
            "connection_point_id",
            PointType.TEXT,
            Label.IDENTITY,
            "",
            "Number of the connection point (NMI in Australia).",
        ),
        ("gps_latitude", PointType.NUMBER, Label.LOCATION, "", "Latitude in degrees, north positive."),
        ("gps_longitude", PointType.NUMBER, Label.LOCATION, "", "Longitude in degrees, east positive."),
        ("registration_pin", PointType.NUMBER, Label.SECRET, "", "PIN by which a device knows its server."),
    )
)

POINTS: Mapping[str, PointRow] = MappingProxyType(
    {
        row.name: row
        for rows in (
            _MEASUREMENTS,
            _NAMEPLATE,
            _RATINGS_ALONE,
            _SET,
            _SETTINGS_ALONE,
            _STATUS,
            _AVAILABILITY,
            _ALARMS,
            _INFORMATION,
        )
        for row in rows
    }
)
"""Every canonical point by name."""
