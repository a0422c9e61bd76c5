"""Whether anybody could carry out an event (docs/rules.md E5); its values are judged by `model.validity`."""

from datetime import timedelta

from tierline.model.control import Control
from tierline.model.functions import FUNCTIONS
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
