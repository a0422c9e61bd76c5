"""The check *channels*: two parties speak to one inverter; the tightest limit binds, one set-point wins, and it is told who speaks."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from answers import answers, controls_of, expect, expect_order
from check_volt_var import ADOPTION_S
from events import COMPLETED, POWER_TOLERANCE, RAMP_S, RECEIVED, STARTED, Limits, limit_at, most
from records import Why
from setpoints import count_w, setpoint_at, setpoint_history

if TYPE_CHECKING:
    from evidence import Evidence
    from records import Control, Device, Explanation
    from registers import Layout

DISPLACED = 13
FOLLOWS = 0.01  # of the rating: how closely the power keeps to a set-point


def check_channels(evidence: Evidence, layout: Layout) -> tuple[list[str], dict[str, Any]]:
    """Judge the inverters that two parties command."""
    why = Why()
    controls = controls_of(evidence, "channels", why, "max_lim_w_pct", "fixed_w_pct")
    limits_asked = [control for control in controls if control.limit_pct is not None]
    points_asked = [control for control in controls if "fixed_w_pct" in control.setpoints]
    devices = _meant(evidence, controls)
    if not devices:
        why.add("no device is commanded by both parties")
        return why.lines(), {}
    figures: dict[str, Any] = {"devices": len(devices), "limits": len(limits_asked), "setpoints": len(points_asked)}
    limits = Limits(evidence, layout)
    single = [
        device
        for device in evidence.devices
        if device.way == "direct" and _mine(evidence, controls, device) and device not in devices
    ]
    compared = explained = won = 0
    for device in devices:
        explained += _explained(evidence, _mine(evidence, limits_asked, device), device, why)
    # Who has one link obeys the party it has.
    for device in (*devices, *single):
        compared += _registers(evidence, limits_asked, limits, device, why)
        _limit_answers(evidence, _mine(evidence, limits_asked, device), device, why)
        won += _setpoints(evidence, layout, _mine(evidence, points_asked, device), device, why)
    figures["with_one_link"] = len(single)
    figures["instants"], figures["explained"], figures["won"] = compared, explained, won
    figures["register_late_s"] = _late(evidence, limits_asked, limits, devices)
    for station in {device.aggregator for device in devices}:
        _shape(evidence, controls, station, why)
    return why.lines(), figures


def _meant(evidence: Evidence, controls: list[Control]) -> list[Device]:
    """Find the devices that are the utility's and an aggregator's, in groups of both."""

    def in_group(device: Device, *, head: bool) -> bool:
        return any(
            evidence.issued_by_head(control) is head and device.service_point in evidence.stays(control)
            for control in controls
        )

    return [
        device
        for device in evidence.devices
        if device.way == "dual" and in_group(device, head=True) and in_group(device, head=False)
    ]


def _mine(evidence: Evidence, controls: list[Control], device: Device) -> list[Control]:
    return [control for control in controls if device.service_point in evidence.stays(control)]


def _shape(evidence: Evidence, controls: list[Control], aggregator: str, why: Why) -> None:
    """Require what makes the check mean something: a wider and a tighter limit beside the utility's, and two set-points at once."""
    own = [control for control in controls if evidence.issued_by_head(control)]
    theirs = [control for control in controls if control.node == aggregator]
    pairs = [(one, other) for one in own for other in theirs if _together(one, other)]
    limits = [(one.limit_pct, other.limit_pct) for one, other in pairs]
    if not any(one is not None and other is not None and other > one for one, other in limits):
        why.add("no limit of an aggregator wider than the utility's was in force beside it", aggregator)
    if not any(one is not None and other is not None and other < one for one, other in limits):
        why.add("no limit of an aggregator tighter than the utility's was in force beside it", aggregator)
    if not any("fixed_w_pct" in one.setpoints and "fixed_w_pct" in other.setpoints for one, other in pairs):
        why.add("no set-point of an aggregator was in force beside the utility's", aggregator)


def _together(one: Control, other: Control) -> bool:
    return max(one.start_t, other.start_t) < min(one.end_t, other.end_t)


# Limits


def _registers(evidence: Evidence, controls: list[Control], limits: Limits, device: Device, why: Why) -> int:
    """Require the smallest limit in the register at every instant of the journal, and the power below it after the ramp."""
    tolerance = evidence.on_time_s
    edges = sorted({edge for claim in limits.applying(device) for edge in claim.edges})
    low = min(control.start_t for control in controls) - tolerance
    high = max(control.end_t for control in controls) + tolerance
    states = limits.history[device.service_point]
    place = evidence.place[device.service_point]
    name = device.service_point
    compared = 0
    instants = [(flow.t, flow.p[place]) for flow in evidence.flows_within(low, high)]
    instants += [(state.t, -math.inf) for state in states if low <= state.t < high]
    for t, power_w in sorted(instants):
        if _unsettled(evidence, device, t, edges):
            continue
        compared += 1
        found, asked = limit_at(states, t), limits.expected(device, t)
        if not limits.is_right(device, t, found):
            why.add(
                "the limit register does not hold the smallest limit in force",
                f"{name} ({found:g} % instead of {asked:g} % at {t - controls[0].start_t:.0f} s)",
            )
            break
        ramped = not any(t - tolerance - RAMP_S < edge <= t for edge in edges)
        if ramped and power_w > device.rating_w * (asked / 100 + POWER_TOLERANCE):
            why.add(
                f"the power is above the smallest limit {RAMP_S:g} s after it came into force",
                f"{name} ({power_w / device.rating_w:.1%} of the rating at {t - controls[0].start_t:.0f} s)",
            )
            break
    return compared


def _unsettled(evidence: Evidence, device: Device, t: float, edges: list[float]) -> bool:
    """Tell whether a limit came or went so shortly before (or after) that the register may not show it, or its gateway was away then."""
    tolerance = evidence.on_time_s
    if any(edge - tolerance < t < edge + tolerance for edge in edges):
        return True
    last = max((edge for edge in edges if edge <= t), default=None)
    down = evidence.down(device.process, last) if last is not None else None
    return down is not None and t < down.until + tolerance


def _late(evidence: Evidence, controls: list[Control], limits: Limits, devices: list[Device]) -> float | None:
    """Find how late the register followed, at most, where what must be in it changed."""
    late: list[float] = []
    for device in devices:
        states = limits.history[device.service_point]
        for control in _mine(evidence, controls, device):
            for edge in (control.start_t, control.end_t):
                before, after = limits.expected(device, edge - 1), limits.expected(device, edge)
                if before != after:
                    low = edge - evidence.on_time_s
                    late += [state.t - edge for state in states if state.t >= low and limits.same(state.pct, after)][:1]
    return most(late)


def _limit_answers(evidence: Evidence, controls: list[Control], device: Device, why: Why) -> None:
    for control in controls:
        station = evidence.stations.get(control.node, evidence.head)
        got = answers(station.responses, control.mrid).get(device.lfdi, {})
        where = f"to the limit of {control.limit_pct:g} % at {station.name}"
        expect(evidence, got, device, {RECEIVED, STARTED, COMPLETED}, (), where, why)
        expect_order(got, device, where, why)
        for status, t in ((STARTED, control.start_t), (COMPLETED, control.end_t)):
            for response in got.get(status, [])[:1]:
                late = response.created_t - t
                if abs(late) > evidence.on_time_s and evidence.down(device.process, t) is None:
                    why.add(
                        f"Response {status} {where} was not created on time", f"{device.service_point} ({late:+.0f} s)"
                    )


# Explanations


def _explained(evidence: Evidence, controls: list[Control], device: Device, why: Why) -> int:
    """Require that while two limits are in force the tighter is marked as binding and the other not, each with its party."""
    count = 0
    said = evidence.explanations.get(device.lfdi, [])
    for own in controls:
        if not evidence.issued_by_head(own):
            continue
        for other in controls:
            if evidence.issued_by_head(other) or not _together(own, other):
                continue
            low = max(own.start_t, other.start_t) + evidence.on_time_s
            high = min(own.end_t, other.end_t) - evidence.on_time_s
            if (down := evidence.down(device.process, low)) is not None:
                low = down.until + evidence.on_time_s
            assert own.limit_pct is not None
            assert other.limit_pct is not None
            tighter, wider = (own, other) if own.limit_pct <= other.limit_pct else (other, own)
            faults = [_fault(evidence, item, tighter, wider) for item in _in_force(said, low, high)]
            if not faults:
                faults = ["nothing was explained"]
            if wrong := [fault for fault in faults if fault]:
                pair = f"{own.limit_pct:g} % and {other.limit_pct:g} %"
                why.add(f"while the limits of {pair} are in force, {wrong[0]}", device.service_point)
            count += 1
    return count


def _in_force(said: list[Explanation], low: float, high: float) -> list[Explanation]:
    """List what was said at some time between two."""
    first = bisect_right(said, low, key=lambda item: item.t) - 1
    return [item for item in said[max(first, 0) :] if item.t <= high]


def _fault(evidence: Evidence, said: Explanation, tighter: Control, wider: Control) -> str:
    for control, binding in ((tighter, True), (wider, False)):
        party = evidence.stations.get(control.node, evidence.head).party
        entries = [entry for entry in said.entries if (entry["mrid"] or "").upper() == control.mrid]
        if not entries:
            return f"the limit of {control.limit_pct:g} % is not explained"
        for entry in entries:
            if entry["party"] != party:
                return f"the limit of {control.limit_pct:g} % is explained as {entry['party']!r}'s"
            if entry["binding"] is not binding:
                return f"the limit of {control.limit_pct:g} % is explained with binding {entry['binding']}"
            if float(entry["value"]) != control.limit_pct:
                return f"the limit of {control.limit_pct:g} % is explained with the value {entry['value']}"
    return ""


# Set-points


def _setpoints(evidence: Evidence, layout: Layout, controls: list[Control], device: Device, why: Why) -> int:
    """Require that the utility's set-point is applied and followed, and that the other one's event ends displaced."""
    won = 0
    states = setpoint_history(layout, device, evidence.sent_to(device))
    for control in controls:
        station = evidence.stations.get(control.node, evidence.head)
        got = answers(station.responses, control.mrid).get(device.lfdi, {})
        where = f"to the set-point at {station.name}"
        if not evidence.issued_by_head(control):
            expect(evidence, got, device, {RECEIVED, DISPLACED}, (), where, why)
            expect_order(got, device, where, why)
            continue
        expect(evidence, got, device, {RECEIVED, STARTED, COMPLETED}, (), where, why)
        expect_order(got, device, where, why)
        wanted_w = float(control.setpoints["fixed_w_pct"]) / 100 * device.rating_w
        fine_w = count_w(layout, device) + 1e-3 * device.rating_w
        low, high = control.start_t + evidence.on_time_s, control.end_t - evidence.on_time_s
        looks = [low, *(state.t for state in states if low < state.t < high)]
        wrong = [t for t in looks if (found := setpoint_at(states, t)) is None or abs(found - wanted_w) > fine_w]
        if wrong:
            found = setpoint_at(states, wrong[0])
            said = "none" if found is None else f"{found:.0f} W"
            why.add(
                "the set-point of the utility is not in the registers",
                f"{device.service_point} ({said}, asked {wanted_w:.0f} W)",
            )
        released_by = control.end_t + evidence.on_time_s + _adoption_s(evidence, control.end_t, device)
        if setpoint_at(states, released_by) is not None:
            why.add("the set-point was not released on time", device.service_point)
        won += not wrong
        _follows(evidence, control, device, wanted_w, why)
    return won


def _adoption_s(evidence: Evidence, t: float, device: Device) -> float:
    """Find what a device is granted beyond the time that counts as on time: the adoption of a curve that falls on the same moment."""
    edges = [
        edge
        for control in evidence.controls
        if "volt_var" in control.setpoints and device.service_point in evidence.stays(control)
        for edge in (control.start_t, control.end_t)
    ]
    return ADOPTION_S if any(abs(edge - t) <= evidence.on_time_s for edge in edges) else 0.0


def _follows(evidence: Evidence, control: Control, device: Device, wanted_w: float, why: Why) -> None:
    """Require the power of the set-point, or what the plant alone would have given when that is less."""
    place = evidence.place[device.service_point]
    times = [flow.t for flow in evidence.replay]
    worst, low_t = 0.0, control.start_t + evidence.on_time_s + RAMP_S
    for flow in evidence.flows_within(low_t, control.end_t - evidence.on_time_s):
        alone = evidence.replay[max(bisect_right(times, flow.t) - 1, 0)].p[place]
        worst = max(worst, abs(flow.p[place] - min(wanted_w, alone)))
    if worst > FOLLOWS * device.rating_w:
        why.add(
            f"the power does not follow the set-point of the utility to {FOLLOWS:.0%} of the rating",
            f"{device.service_point} ({worst:.0f} W off)",
        )
