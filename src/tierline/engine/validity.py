"""Whether an event can be carried out, by anybody and by one DER (docs/rules.md E5); its values are judged by `model.validity`."""

from datetime import timedelta

from tierline.model.capability import Capability
from tierline.model.control import Control, FunctionName, Value
from tierline.model.functions import FUNCTIONS
from tierline.model.ramps import ramp_of
from tierline.model.validity import fault_of

RANDOMIZE_MAX_S = 3600
"""The widest randomization. Source: IEEE 2030.5-2018, OneHourRangeType."""


def problem_of(control: Control) -> str:
    """Say why an event cannot be carried out by anybody (E5); empty when it can.

    A function that no table knows is no fault of the event: it is for what the DER supports to refuse it.
    """
    if control.invalid:
        return control.invalid
    if not control.setpoints:
        return "it has no mode"
    for name, offset in (("start", control.randomize_start_s), ("duration", control.randomize_duration_s)):
        if abs(offset) > RANDOMIZE_MAX_S:
            return f"its {name} is randomized by {offset} s, more than {RANDOMIZE_MAX_S} s"
    if control.interval.duration_s < 1:
        return f"it lasts {control.interval.duration_s} s"
    try:
        control.interval.end + timedelta(seconds=2 * RANDOMIZE_MAX_S)
    except OverflowError:
        return f"it lasts {control.interval.duration_s} s, beyond the year 9999"
    for name, value in control.setpoints.items():
        row = FUNCTIONS.get(name)
        if row is None:
            continue
        fault = f"{name} stands in defaults only" if row.default_only else fault_of(name, value)
        if fault:
            return fault
    return ""


def lack_of(
    control: Control, *, supported: frozenset[FunctionName], carries_ramp_time: bool, capability: Capability
) -> str:
    """Say why one DER does not keep an event that is valid (E5); empty when it does."""
    if control.ramp_time_s is not None and not carries_ramp_time:
        return f"its ramp time of {control.ramp_time_s} s is not carried out by this DER"
    for name, value in control.setpoints.items():
        if name not in supported:
            return f"{name} is not carried out by this DER"
        if lack := lack_of_value(name, value, carries_ramp_time=carries_ramp_time, capability=capability):
            return lack
    return ""


def lack_of_value(name: FunctionName, value: Value, *, carries_ramp_time: bool, capability: Capability) -> str:
    """Say why one DER that carries out a function does not keep a value of it (E5); empty when it does."""
    if not carries_ramp_time and (ramp := ramp_of(name, value)):
        return f"its {ramp} is not carried out by this DER"
    return capability.why_not(name, value)
