"""The check *circuit*: a limit on one feeder reaches exactly what the feeder feeds, on time, and shows at its head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alone import explained
from events import RAMP_S, Limits, flow_before, flow_from, judge_responses, the_control
from records import Why

if TYPE_CHECKING:
    from evidence import Evidence
    from records import Control, Device
    from registers import Layout

HEAD_TOLERANCE = 0.05  # of the members' change
LOSS_ALLOWANCE = 0.005  # of the members' summed rating: the change of line losses and of nothing else
NO_CHANGE = 0.01  # of the members' summed rating: below it the limit changed nothing, and nothing was shown


def check_circuit(evidence: Evidence, layout: Layout) -> tuple[list[str], dict[str, Any]]:
    """Judge the limit on one feeder."""
    why = Why()
    control = the_control(evidence, "circuit", "max_lim_w_pct", why)
    if control is None:
        return why.lines(), {}
    members = evidence.members(control)
    limits = Limits(evidence, layout)
    figures: dict[str, Any] = {
        "group": control.group,
        "members": len(members),
        "limit_pct": control.limit_pct,
        "duration_s": control.end_t - control.start_t,
    }
    figures["written"] = _written_set(evidence, control, members, limits, why)
    figures |= limits.judge(control, members, why)
    if control.said:
        figures["explained"] = explained(evidence, control, members, why)
    figures |= judge_responses(evidence, control, members, why, on_the_wire=True, retries_free=False)
    first = (
        control.start_t + min(figures["set_first_s"] or 0, 0),
        control.end_t + min(figures["release_first_s"] or 0, 0),
    )
    figures |= _head(evidence, control, members, first, why)
    return why.lines(), figures


def _written_set(evidence: Evidence, control: Control, members: list[Device], limits: Limits, why: Why) -> int:
    """Require that the devices whose limit registers were written for this event are exactly the members."""
    inside = {device.service_point for device in members}
    tolerance = evidence.on_time_s
    count = 0
    for device in evidence.devices:
        others = [other for other in limits.applying(device) if other.control is not control]
        found = False
        for state in limits.history[device.service_point]:
            if not control.start_t - tolerance <= state.t <= control.end_t + tolerance:
                continue
            # A write for the event enables a limit, or prepares a new value of one.
            values = {pct for pct in (state.pct, state.prepared_pct) if pct is not None}
            values = {pct for pct in values if pct < 100 - limits.resolution}
            for value in values:
                theirs = [
                    other.pct for other in others if other.since - tolerance <= state.t <= other.until + tolerance
                ]
                own = control.limit_pct is not None and limits.same(value, control.limit_pct)
                explained = any(limits.same(value, pct) for pct in theirs)
                if (own and device.service_point in inside) or (not explained and (own or not theirs)):
                    found = True
        count += found
        if found and device.service_point not in inside:
            why.add("the limit register of a device not fed by the element was written", device.service_point)
        if not found and device.service_point in inside:
            why.add("the limit register of a member was not written", device.service_point)
    return count


def _head(
    evidence: Evidence, control: Control, members: list[Device], first: tuple[float, float], why: Why
) -> dict[str, Any]:
    """Compare the change of power at the feeder's head with the sum of its members'; `first` is when the first of them acted."""
    if control.group not in evidence.start["feeders"]:
        why.add("the control is not on a feeder")
        return {}
    head = evidence.start["feeders"].index(control.group)
    places = [evidence.start["service_points"].index(device.service_point) for device in members]
    rating_w = sum(device.rating_w for device in members)
    allowance_w = LOSS_ALLOWANCE * rating_w
    figures: dict[str, Any] = {"head_tolerance": HEAD_TOLERANCE, "loss_allowance_w": round(allowance_w)}
    for name, boundary, acted in (("start", control.start_t, first[0]), ("end", control.end_t, first[1])):
        before, after = flow_before(evidence.flows, min(boundary, acted)), flow_from(evidence.flows, boundary + RAMP_S)
        if before is None or after is None:
            why.add(f"no flow lines around the {name} of the event")
            continue
        members_w = sum(after.p[place] - before.p[place] for place in places)
        head_w = after.head_p[head] - before.head_p[head]
        figures[f"{name}_members_w"], figures[f"{name}_head_w"] = round(members_w), round(head_w)
        if abs(head_w + members_w) > max(HEAD_TOLERANCE * abs(members_w), allowance_w):
            why.add(
                f"at the {name} the head changed by {head_w:.0f} W, the members by {members_w:.0f} W: not opposite and equal"
            )
        if name == "start" and -members_w < NO_CHANGE * rating_w:
            why.add(f"at the start the members changed by {members_w:.0f} W only: the limit did not bind")
    return figures
