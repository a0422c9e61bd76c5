"""Readings: canonical points to ReadingType and back; values keep the wire's integer and power of ten.

Source: IEEE 2030.5-2018, UomType, KindType, PhaseCode, FlowDirectionType; IEEE 1547.1 mapping of monitoring.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tierline.model.errors import PeerError
from tierline.model.identity import DerId, Lfdi, Mrid
from tierline.model.telemetry import Phase, Qualifier, Quality, Reading
from tierline.protocols.sep2.mapping.times import read_time, write_time
from tierline.protocols.sep2.resources import metering
from tierline.protocols.sep2.resources.objects import DateTimeInterval

if TYPE_CHECKING:
    from collections.abc import Sequence

ELECTRICITY = 1
"""CommodityType: electricity secondary metered."""
INDICATING = 12
"""AccumulationBehaviourType: an instantaneous value."""
CUMULATIVE = 9
FORWARD = 1
REVERSE = 19
"""FlowDirectionType: delivered by the device, so that generation is positive."""
VOLTS = 29
WATT_HOURS = 72
"""UomType of energy: the only quantity that the direction of flow tells apart."""
POWER = 37
ENERGY = 12
ALL_PHASES = 224
"""PhaseCode ABC."""


@dataclass(frozen=True, slots=True)
class PointType:
    """How one point is described in a ReadingType."""

    point: str
    uom: int
    kind: int | None
    flow: int
    phase: int
    accumulation: int = INDICATING


POINT_TYPES: tuple[PointType, ...] = (
    PointType("w", 38, POWER, REVERSE, 0),
    PointType("var", 63, POWER, REVERSE, 0),
    PointType("va", 61, POWER, REVERSE, 0),
    PointType("hz", 33, None, FORWARD, 0),
    PointType("a", 5, None, FORWARD, 0),
    PointType("pf", 65, None, FORWARD, 0),
    PointType("v_ln", VOLTS, None, FORWARD, 0),
    PointType("v_ll", VOLTS, None, FORWARD, ALL_PHASES),
    PointType("v_an", VOLTS, None, FORWARD, Phase.AN),
    PointType("v_bn", VOLTS, None, FORWARD, Phase.BN),
    PointType("v_cn", VOLTS, None, FORWARD, Phase.CN),
    PointType("v_ab", VOLTS, None, FORWARD, Phase.AB),
    PointType("v_bc", VOLTS, None, FORWARD, Phase.BC),
    PointType("v_ca", VOLTS, None, FORWARD, Phase.CA),
    PointType("w_a", 38, POWER, REVERSE, Phase.A),
    PointType("w_b", 38, POWER, REVERSE, Phase.B),
    PointType("w_c", 38, POWER, REVERSE, Phase.C),
    PointType("var_a", 63, POWER, REVERSE, Phase.A),
    PointType("var_b", 63, POWER, REVERSE, Phase.B),
    PointType("var_c", 63, POWER, REVERSE, Phase.C),
    PointType("wh_generated", 72, ENERGY, REVERSE, 0, CUMULATIVE),
    PointType("wh_absorbed", 72, ENERGY, FORWARD, 0, CUMULATIVE),
)
"""Every point that can be mirrored."""

BY_POINT = {row.point: row for row in POINT_TYPES}
_BY_TYPE = {(row.uom, row.phase, row.flow if row.uom == WATT_HOURS else None): row.point for row in POINT_TYPES} | {
    # Some clients name the conductor alone where a voltage to neutral is meant.
    (VOLTS, Phase.A, None): "v_an",
    (VOLTS, Phase.B, None): "v_bn",
    (VOLTS, Phase.C, None): "v_cn",
}

_QUALIFIERS = {qualifier.value: qualifier for qualifier in Qualifier} | {12: Qualifier.INSTANTANEOUS}
"""DataQualifierType; 12 is `normal`, as some clients call a plain value."""

MIRRORED_DER = 0x0049
"""roleFlags: a mirror (bit 0) of a DER (bit 3) behind a submeter (bit 6)."""


def mirror_mrid(lfdi: Lfdi, name: str, pen: int) -> Mrid:
    """Give the mRID of a DER's mirror (empty name) or of one of its series: the same after every restart."""
    digest = hashlib.sha256(f"mup/{lfdi}/{name}".encode()).hexdigest()
    return Mrid(f"{digest[:24].upper()}{pen:08X}")


def reading_type(point: str, power_of_ten: int, qualifier: Qualifier = Qualifier.INSTANTANEOUS) -> metering.ReadingType:
    """Describe a point."""
    row = BY_POINT[point]
    return metering.ReadingType(
        accumulation_behaviour=row.accumulation,
        commodity=ELECTRICITY,
        data_qualifier=qualifier.value,
        flow_direction=row.flow,
        kind=row.kind,
        phase=row.phase,
        power_of_ten_multiplier=power_of_ten,
        uom=row.uom,
    )


def point_of(kind: metering.ReadingType) -> str:
    """Find the point a ReadingType describes; what has no canonical name is kept under the numbers of its type.

    Raises: PeerError when it does not say what is measured.
    """
    if kind.uom is None:
        raise PeerError("uom is missing: what is measured?", path="MirrorMeterReading/ReadingType/uom")
    phase = kind.phase or 0
    flow = kind.flow_direction if kind.uom == WATT_HOURS else None
    numbers = f"uom_{kind.uom}_phase_{phase}"
    if (kind.data_qualifier or 0) not in _QUALIFIERS:
        # A standard deviation of a voltage is no voltage.
        return f"{numbers}_qualifier_{kind.data_qualifier}"
    return _BY_TYPE.get((kind.uom, phase, flow), numbers)


@dataclass(frozen=True, slots=True, order=True)
class Series:
    """What one MirrorMeterReading holds: its ReadingType never changes, so another power of ten is another series."""

    point: str
    power_of_ten: int
    qualifier: Qualifier = Qualifier.INSTANTANEOUS

    @classmethod
    def of(cls, reading: Reading) -> Series:
        """Give the series that a reading belongs to."""
        return cls(reading.point, reading.power_of_ten, reading.qualifier)

    @property
    def name(self) -> str:
        """Its name among the series of one DER."""
        return f"{self.point}/{self.power_of_ten}/{self.qualifier.value}"

    @property
    def type(self) -> metering.ReadingType:
        """Its description on the wire."""
        return reading_type(self.point, self.power_of_ten, self.qualifier)


def write_readings(lfdi: Lfdi, readings: Sequence[Reading], pen: int) -> metering.MirrorMeterReading:
    """Write the readings of one series as one MirrorMeterReading with one set, in the order they stand in."""
    (series,) = {Series.of(reading) for reading in readings}
    start = min(write_time(reading.time) for reading in readings)
    end = max(write_time(reading.time) + reading.duration_s for reading in readings)
    mrid = mirror_mrid(lfdi, series.name, pen)
    digest = hashlib.sha256(f"{mrid}/{start}".encode()).hexdigest()
    return metering.MirrorMeterReading(
        mrid=mrid,
        mirror_reading_sets=(
            metering.MirrorReadingSet(
                mrid=Mrid(f"{digest[:24].upper()}{pen:08X}"),
                time_period=DateTimeInterval(duration=end - start, start=start),
                readings=tuple(
                    metering.Reading(
                        quality_flags=reading.quality.value,
                        time_period=DateTimeInterval(duration=reading.duration_s, start=write_time(reading.time)),
                        value=reading.value,
                        local_id=index,
                    )
                    for index, reading in enumerate(readings)
                ),
            ),
        ),
        reading_type=series.type,
    )


def read_readings(
    meter: metering.MirrorMeterReading, kind: metering.ReadingType, der: DerId
) -> list[tuple[Mrid, Reading]]:
    """Read all readings of a MirrorMeterReading, by set and localID.

    Raises: PeerError for a reading without a value or a time.
    """
    point = point_of(kind)
    found = _of_sets(meter)
    if meter.reading is not None:
        found.append((meter.reading, None))
    readings = []
    for reading, period in found:
        when = reading.time_period or period
        if reading.value is None or when is None:
            missing = "value" if reading.value is None else "timePeriod"
            raise PeerError(f"{missing} is missing", path="MirrorMeterReading/Reading")
        readings.append(
            (
                meter.mrid,
                Reading(
                    der_id=der,
                    point=point,
                    value=reading.value,
                    power_of_ten=kind.power_of_ten_multiplier or 0,
                    time=read_time(when.start, "MirrorMeterReading/Reading/timePeriod/start"),
                    duration_s=when.duration,
                    phase=_phase(kind.phase),
                    qualifier=_QUALIFIERS.get(kind.data_qualifier or 0, Qualifier.INSTANTANEOUS),
                    quality=Quality((reading.quality_flags or 0) & 0x7F),
                ),
            )
        )
    return readings


def _of_sets(meter: metering.MirrorMeterReading) -> list[tuple[metering.Reading, DateTimeInterval | None]]:
    found: list[tuple[metering.Reading, DateTimeInterval | None]] = []
    for one in sorted(meter.mirror_reading_sets, key=lambda item: item.time_period.start):
        ordered = sorted(one.readings, key=lambda reading: reading.local_id or 0)
        found += [(reading, one.time_period if len(ordered) == 1 else None) for reading in ordered]
    return found


def _phase(code: int | None) -> Phase:
    try:
        return Phase(code or 0)
    except ValueError:
        return Phase.NONE
