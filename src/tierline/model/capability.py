"""What one device can be told to keep of each function, as it was found, and the question whether it keeps a value.

Two rules. What nothing is known of is not refused here: a device that says nothing of a function keeps all of it that is
valid. And a part of a value that is not asked for is no reason to refuse the rest.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import Final, assert_never

from tierline.model.control import Curve, Droop, FixedVar, FunctionName, PowerFactor, Reference, Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The numbers that a device can hold for one part of a value, in the unit of that part."""

    low: Decimal
    high: Decimal
    """Both included."""
    finest: Decimal = Decimal(0)
    """The least magnitude of what is not 0: anything finer would become 0, where that means something else."""

    def fault_of(self, number: Decimal) -> str:
        """Say why a number is not held; empty when it is."""
        if not self.low <= number <= self.high:
            return f"the device holds {_said(self.low)} to {_said(self.high)}"
        if number and abs(number) < self.finest:
            return f"the device tells nothing finer than {_said(self.finest)} from 0"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeps:
    """What a device keeps of one function."""

    parts: Mapping[str, Span]
    """By part of the value, under the name it has in `model.control`, `value` for a bare number; other parts it has not."""
    points: int = 0
    """How many points its curve has at most."""
    references: frozenset[Reference] | None = None
    """What its percentages may refer to; None where it is told no reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """What a device keeps, function by function."""

    functions: Mapping[FunctionName, Keeps] = field(default_factory=dict)
    """Of a function that is not here nothing is known."""

    def why_not(self, name: FunctionName, value: Value) -> str:
        """Say why the device cannot keep a value, in words for an operator; empty when it can, or nothing says otherwise."""
        keeps = self.functions.get(name)
        return "" if keeps is None else next(_reasons(name, value, keeps), "")


ANYTHING: Final = Capability()
"""That of a device of which nothing is known but its functions."""


class Firmness(Enum):
    """How a device, or the link to it, refuses a value at the write."""

    NEVER = "it cannot hold the value at all"
    DECLINED = "it did not take it; it may at another time"
    PASSING = "that says nothing of the value: the device failed, or was not asked because what comes first was refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """That a function was not written, or did not hold what was written."""

    reason: str
    """In words for an operator."""
    firmness: Firmness


def _reasons(name: FunctionName, value: Value, keeps: Keeps) -> Iterator[str]:
    reference = _reference(value)
    if keeps.references is not None and reference is not None and reference not in keeps.references:
        known = ", ".join(one.name for one in sorted(keeps.references)) or "none"
        yield f"{name} refers to {reference.name}; the device knows {known}"
    if isinstance(value, Curve) and len(value.points) > keeps.points:
        yield f"{name} has {len(value.points)} points; the device takes at most {keeps.points}"
    for part, number in _parts(value):
        span = keeps.parts.get(part)
        if span is None:
            yield f"{name} asks for {part} = {_said(number)}; the device has no such thing"
        elif fault := span.fault_of(number):
            yield f"{name} asks for {part} = {_said(number)}; {fault}"


def _reference(value: Value) -> Reference | None:
    match value:
        case Curve(y_reference=reference) | FixedVar(reference=reference):
            return reference
        case _:
            return None


def _parts(value: Value) -> Iterator[tuple[str, Decimal]]:
    """Give the numbers that a value asks for; a permission is none."""
    match value:
        case bool():
            return
        case Decimal():
            yield "value", value
        case PowerFactor():
            yield "displacement", value.displacement
        case FixedVar():
            yield "value_pct", value.value_pct
        case Droop():
            yield "dead_band_over_hz", value.dead_band_over_hz
            yield "dead_band_under_hz", value.dead_band_under_hz
            yield "slope_over", value.slope_over
            yield "slope_under", value.slope_under
            yield "open_loop_s", value.open_loop_s
        case Curve():
            yield from _parts_of_curve(value)
        case _:
            assert_never(value)


def _parts_of_curve(curve: Curve) -> Iterator[tuple[str, Decimal]]:
    for point in curve.points:
        yield "x", point.x
        yield "y", point.y
    if curve.low_pass_s:  # 0 is no filter (IEEE 2030.5-2018, DERCurve: rampPT1Tms)
        yield "low_pass_s", curve.low_pass_s
    elif curve.open_loop_s is not None:
        yield "open_loop_s", curve.open_loop_s
    if curve.v_ref_pct is not None:
        yield "v_ref_pct", curve.v_ref_pct
    if curve.autonomous_v_ref_time_constant_s is not None:
        yield "autonomous_v_ref_time_constant_s", curve.autonomous_v_ref_time_constant_s
    if curve.autonomous_v_ref:
        yield "autonomous_v_ref", Decimal(1)


def _said(number: Decimal) -> str:
    return f"{number.normalize():f}"
