"""What is measured and reported.

The sign convention, stated once: at the DER, generation (injection into the grid) is positive, absorption negative, for
active and reactive power alike. Codecs convert where a protocol differs.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum, IntFlag

from tierline.model.identity import DerId

PointName = str
"""Key of a row in `model.points.POINTS`."""


class Phase(IntEnum):
    """Phase of a reading; the numbers are those of PhaseCode in IEEE 2030.5-2018."""

    NONE = 0
    C = 32
    CN = 33
    CA = 40
    B = 64
    BN = 65
    BC = 66
    A = 128
    AN = 129
    AB = 132


class Qualifier(IntEnum):
    """DataQualifier of a reading."""

    INSTANTANEOUS = 0
    AVERAGE = 2
    MAXIMUM = 8
    MINIMUM = 9


class Quality(IntFlag):
    """QualityFlags of a reading."""

    NONE = 0
    VALID = 1
    MANUALLY_EDITED = 2
    ESTIMATED_REFERENCE_DAY = 4
    ESTIMATED_LINEAR = 8
    QUESTIONABLE = 16
    DERIVED = 32
    PROJECTED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measured value; integer and power of ten stay as the wire had them."""

    der_id: DerId
    point: PointName
    value: int
    power_of_ten: int
    time: datetime
    """When it was measured, or the start of its period."""
    duration_s: int = 0
    """0 for an instantaneous value."""
    phase: Phase = Phase.NONE
    qualifier: Qualifier = Qualifier.INSTANTANEOUS
    quality: Quality = Quality.VALID

    @property
    def scaled(self) -> Decimal:
        """The value in the unit of its point."""
        return Decimal(self.value).scaleb(self.power_of_ten)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """An alarm that began or returned to normal."""

    der_id: DerId
    point: PointName
    active: bool
    time: datetime
    details: str = ""
